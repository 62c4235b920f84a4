//! Bearer tokens: where one may be asked for, and how (distribution, "Token Authentication").

use std::net::IpAddr;

use serde::Deserialize;
use url::{Host, Url};

use super::error::Error;
use super::error_body;
use crate::credentials::{Credential, Secret};
use crate::http::{Client, Request};

/// The most that a token server's answer may hold.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// What a registry asked for in its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    /// Host and port of the registry.
    pub(crate) registry: String,
    /// The token server's URL, as the registry wrote it.
    pub(crate) realm: String,
    /// What the token server knows the registry by.
    pub(crate) service: Option<String>,
    /// What the token must allow.
    pub(crate) scope: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Asks for a token; the credential goes along only where the registry's may go.
pub(crate) fn fetch(
    client: &Client,
    wanted: &TokenRequest,
    credential: Option<&Credential>,
) -> Result<Secret, Error> {
    let url = token_url(wanted, credential.is_some())?;
    let authorization = credential.map(Credential::basic);
    let request = Request {
        authorization,
        ..Request::get(url.clone())
    };
    let response = client.fetch(&request, ANSWER_LIMIT)?;
    match response.status {
        200 => {}
        401 | 403 => return Err(refused(wanted, credential, error_body::said(&response))),
        status => {
            let said = error_body::said(&response);
            return Err(Error::Status {
                url: (&url).into(),
                status,
                said,
            });
        }
    }
    let missing = || Error::TokenMissing { url: (&url).into() };
    let answer: Answer = serde_json::from_slice(&response.body).map_err(|_no_json| missing())?;
    let token = answer
        .token
        .or(answer.access_token)
        .filter(|token| is_sendable(token));
    token
        .map(|token| Secret::new(format!("Bearer {token}")))
        .ok_or_else(missing)
}

/// A token goes into a header: nothing that could end the line, and something at all.
fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn refused(wanted: &TokenRequest, credential: Option<&Credential>, said: String) -> Error {
    let host = wanted.registry.clone();
    match credential {
        Some(credential) => Error::CredentialRejected {
            host,
            principal: credential.principal.clone(),
            said,
        },
        None => Error::CredentialMissing { host, said },
    }
}

/// The token server's URL, if a pull without a credential would ask it.
pub(super) fn allowed_realm(registry: &str, realm: &str) -> Result<Url, Error> {
    let wanted = TokenRequest {
        registry: registry.to_owned(),
        realm: realm.to_owned(),
        service: None,
        scope: String::new(),
    };
    token_url(&wanted, false)
}

fn token_url(wanted: &TokenRequest, with_credential: bool) -> Result<Url, Error> {
    let refuse = |why| Error::RealmRefused {
        host: wanted.registry.clone(),
        realm: wanted
            .realm
            .chars()
            .take(200)
            .flat_map(char::escape_default)
            .collect(),
        why,
    };
    let Ok(mut url) = Url::parse(&wanted.realm) else {
        return Err(refuse("it is no URL"));
    };
    if url.scheme() != "https" {
        return Err(refuse("it is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries a user name of its own"));
    }
    if !is_same_host(&wanted.registry, &url) {
        if names_inside(&url) {
            return Err(refuse("it is an address inside this network"));
        }
        if with_credential && !is_built_in(&wanted.registry, &url) {
            return Err(refuse("it is another host"));
        }
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &wanted.service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &wanted.scope);
    }
    Ok(url)
}

fn is_same_host(registry: &str, realm: &Url) -> bool {
    let parsed = Url::parse(&format!("https://{registry}/"));
    parsed.is_ok_and(|registry| registry.host().is_some() && registry.host() == realm.host())
}

/// Token servers that are known to belong to a registry of another name.
fn is_built_in(registry: &str, realm: &Url) -> bool {
    registry == "registry-1.docker.io"
        && realm.host_str() == Some("auth.docker.io")
        && realm.port().is_none()
}

/// Whether a URL names loopback, private or link-local space by its number (CVE-2026-48978).
fn names_inside(url: &Url) -> bool {
    let inside = |address: IpAddr| match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    };
    match url.host() {
        Some(Host::Ipv4(v4)) => inside(v4.into()),
        Some(Host::Ipv6(v6)) => inside(v6.to_ipv4_mapped().map_or(v6.into(), IpAddr::from)),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(registry: &str, realm: &str, with_credential: bool) -> Result<Url, Error> {
        let wanted = TokenRequest {
            registry: registry.to_owned(),
            realm: realm.to_owned(),
            service: Some("s v".to_owned()),
            scope: "repository:a/b:pull".to_owned(),
        };
        token_url(&wanted, with_credential)
    }

    #[test]
    fn service_and_scope_are_asked_for() {
        let url = url("r.example", "https://r.example/token?x=1", true).unwrap();
        let expected = "https://r.example/token?x=1&service=s+v&scope=repository%3Aa%2Fb%3Apull";
        assert_eq!(url.as_str(), expected);
    }

    #[test]
    fn s72_a_credential_goes_only_to_the_registrys_own_host() {
        assert!(url("r.example:5000", "https://r.example:5001/token", true).is_ok());
        assert!(url("registry-1.docker.io", "https://auth.docker.io/token", true).is_ok());
        for realm in [
            "https://evil.example/token",
            "https://r.example.evil.example/token",
            "https://sub.r.example/token",
            "https://auth.docker.io/token",
            "http://r.example/token",
            "https://u:p@r.example/token",
            "token",
        ] {
            let result = url("r.example", realm, true);
            assert!(matches!(result, Err(Error::RealmRefused { .. })), "{realm}");
        }
    }

    #[test]
    fn s72_nobody_is_sent_to_an_address_inside_the_network() {
        for realm in [
            "https://169.254.169.254/latest",
            "https://127.0.0.1/token",
            "https://10.1.2.3/token",
            "https://[::1]/token",
            "https://[::ffff:10.0.0.1]/token",
            "https://localhost/token",
            "https://0x7f000001/token",
        ] {
            let result = url("r.example", realm, false);
            assert!(matches!(result, Err(Error::RealmRefused { .. })), "{realm}");
        }
        assert!(url("127.0.0.1:5000", "https://127.0.0.1:5001/token", true).is_ok());
    }

    #[test]
    fn an_anonymous_token_may_come_from_elsewhere() {
        assert!(
            url(
                "registry.gitlab.example",
                "https://gitlab.example/jwt/auth",
                false
            )
            .is_ok()
        );
    }

    #[test]
    fn a_token_that_could_end_a_header_line_is_none() {
        assert!(is_sendable("abc.DEF-_="));
        assert!(!is_sendable("abc\r\nX: y"));
        assert!(!is_sendable(""));
    }
}
