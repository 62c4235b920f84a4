//! The first word with a registry: whether a connection to it comes about, and what it says.

use url::{Host, Url};

use super::client::{Client, Settings};
use super::error::Error;
use super::proxy::{Proxy, ShownProxy};
use super::request::Request;

/// The header by which a registry says that it is one (distribution, "API Version Check").
const API_HEADER: &str = "docker-distribution-api-version";

/// A server that answered, whatever it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The HTTP status: 200 or 401 from a registry.
    pub status: u16,
    /// Whether it says that it is a registry; newer ones need not.
    pub docker_api: bool,
    /// Whether what it says is JSON, as a registry's answers are.
    pub json: bool,
    /// Its `WWW-Authenticate` headers.
    pub challenges: Vec<String>,
    /// The proxy through which it was reached.
    pub via: Option<ShownProxy>,
}

/// Asks `https://HOST:PORT/v2/`, without a credential and without following anything.
///
/// `host` is a name or an address, IPv6 in brackets.
///
/// # Errors
/// When there is no answer: every error of the way there, of TLS and of trust.
pub fn greet(settings: &Settings, host: &str, port: u16) -> Result<Greeting, Error> {
    let url = Host::parse(host)
        .and_then(|host| Url::parse(&format!("https://{host}:{port}/v2/")))
        .map_err(|source| Error::Host {
            host: host.to_owned(),
            source,
        })?;
    let via = settings.proxies.to(&url).map(Proxy::shown);
    let client = Client::new(settings.clone());
    let response = client.fetch_head(&Request::get(url))?;
    Ok(Greeting {
        status: response.status,
        docker_api: response.header(API_HEADER).is_some(),
        json: response
            .media_type()
            .is_some_and(|media_type| media_type.ends_with("json")),
        challenges: response
            .header_all("www-authenticate")
            .map(str::to_owned)
            .collect(),
        via,
    })
}
