//! Whether a web server is well: what it answers, and nothing else of it.
//!
//! It is asked at an address, so no certificate can be for it, and it is sent nothing that anybody
//! may not read. Hence whoever answers is taken as it comes, as Mesos does (`curl -k`); nothing is
//! proven to it, no proxy is on the way, and of what it answers the status alone is used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ucr_images::Deadline;
use url::Url;

use super::client::{Client, Ranges, Settings};
use super::error::Error;
use super::proxy::Proxies;
use super::request::{Identify, Request};
use super::response::Response;
use super::retry::Patience;
use super::trust::{HostTrust, TrustPolicy, Verification};

/// Redirects that are followed; curl has 50, and nobody who is well has more than this.
const MAX_REDIRECTS: u32 = 10;
/// What is waited for of a body: whoever sends more is well.
const BODY: usize = 64 * 1024;
/// Nothing can be below what is no directory: no certificate is found by its hash.
const NO_DIRECTORY: &str = "/dev/null/no-directory";

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The status of the last answer.
    pub status: u16,
}

/// Takes anybody as they come.
#[derive(Debug)]
struct Anybody;

impl TrustPolicy for Anybody {
    fn for_host(&self, _host: &str, _port: u16) -> Arc<HostTrust> {
        Arc::new(HostTrust {
            trusted_pem: Arc::from([]),
            identity: None,
            verification: Verification::Off,
        })
    }
}

/// Asks `url` what it answers within `timeout`, and where that leads on the same host.
///
/// A redirect to another host is an answer like others: it is not followed.
///
/// # Errors
/// When there is no answer.
pub fn probe(url: &Url, timeout: Duration, user_agent: &str) -> Result<Answered, Error> {
    let client = Client::new(Settings {
        trust: Arc::new(Anybody),
        proxies: Proxies::default(),
        empty_ca_path: PathBuf::from(NO_DIRECTORY),
        user_agent: user_agent.to_owned(),
        connect_timeout: timeout,
        patience: Patience {
            deadline: Deadline::within(timeout),
            // Slow is not ill: the timeout is what counts.
            least_rate: 0,
            ..Patience::none()
        },
        ranges: Ranges::Never,
    });
    let mut asked = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let request = Request {
            identify: Identify::Never,
            ..Request::get(asked)
        };
        let response = client.fetch_beginning(&request, BODY)?;
        match next(&response, url) {
            Some(next) => asked = next,
            None => {
                return Ok(Answered {
                    status: response.status,
                });
            }
        }
    }
    Err(Error::TooManyRedirects {
        from: url.into(),
        limit: MAX_REDIRECTS,
    })
}

/// Where an answer leads that is to be followed: anywhere on the host that was asked.
fn next(response: &Response, asked: &Url) -> Option<Url> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = response.url.join(response.header("location")?).ok()?;
    let is_same = target.host() == asked.host() && matches!(target.scheme(), "http" | "https");
    is_same.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_same_host_is_followed() {
        let asked = Url::parse("http://127.0.0.1:8080/ping").unwrap();
        let answer = |status, location: &str| Response {
            url: asked.clone(),
            status,
            headers: vec![("location".to_owned(), location.to_owned())],
            body: Vec::new(),
            counted: 0,
        };
        let next = |status, location: &str| {
            next(&answer(status, location), &asked).map(|url| url.to_string())
        };
        assert_eq!(next(302, "/a").as_deref(), Some("http://127.0.0.1:8080/a"));
        let tls = "https://127.0.0.1:8443/a";
        assert_eq!(next(301, tls).as_deref(), Some(tls));
        for elsewhere in [
            "http://localhost:8080/",
            "http://127.0.0.2/",
            "file:///etc/passwd",
        ] {
            assert_eq!(next(302, elsewhere), None, "{elsewhere}");
        }
        assert_eq!(next(304, "/a"), None);
    }
}
