//! The host that a registry is known by: one spelling, whoever wrote it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use url::{Host, Url};

/// Docker Hub, as it is called in references …
const DOCKER_HUB: &str = "docker.io";
/// … the names that mean the same, and no other …
const DOCKER_HUB_ALIASES: [&str; 3] = [
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];
/// … and who answers for it.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
/// The port that is left out: `HOST:443` is `HOST`.
const HTTPS: u16 = 443;
/// RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;

/// A registry's host and port in one spelling: lower case, Docker Hub by its one
/// name, an address as the URL Standard writes it, and no port where it is 443.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryHost {
    name: String,
    port: Option<u16>,
}

/// The text is no host with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not HOST or HOST:PORT", shortened(.text))]
pub struct RegistryHostError {
    text: String,
}

fn shortened(text: &str) -> String {
    text.chars()
        .take(300)
        .flat_map(char::escape_default)
        .collect()
}

impl RegistryHost {
    /// Whom a URL leads to; `None` for one without a host.
    pub fn of(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        Self::new(host, url.port())
    }

    fn new(name: &str, port: Option<u16>) -> Option<Self> {
        let name = canonical(name)?;
        let port = port.filter(|port| *port != HTTPS);
        let is_hub = port.is_none() && DOCKER_HUB_ALIASES.contains(&name.as_str());
        let name = if is_hub { DOCKER_HUB.to_owned() } else { name };
        Some(Self { name, port })
    }

    /// The name or address, an IPv6 address in brackets, of whoever serves the API.
    pub fn api_name(&self) -> &str {
        if self.is_docker_hub() {
            DOCKER_HUB_API
        } else {
            &self.name
        }
    }

    /// Host and port of whoever serves the API, as they stand in a URL.
    pub fn api(&self) -> String {
        self.with_port(self.api_name())
    }

    /// The port, where it is not that of the protocol.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is Docker Hub, by whichever of its names.
    pub fn is_docker_hub(&self) -> bool {
        self.name == DOCKER_HUB && self.port.is_none()
    }

    fn with_port(&self, name: &str) -> String {
        self.port
            .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_port(&self.name))
    }
}

impl FromStr for RegistryHost {
    type Err = RegistryHostError;

    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        let parts = match text.rsplit_once(':') {
            // The last colon of an address without a port is within the brackets.
            Some((name, port)) if !text.ends_with(']') => {
                port_number(port).map(|port| (name, Some(port)))
            }
            _ => Some((text, None)),
        };
        parts
            .and_then(|(name, port)| Self::new(name, port))
            .ok_or_else(|| RegistryHostError {
                text: text.to_owned(),
            })
    }
}

impl TryFrom<String> for RegistryHost {
    type Error = RegistryHostError;

    fn try_from(text: String) -> Result<Self, RegistryHostError> {
        text.parse()
    }
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// The spelling of the URL Standard, so that a host is found by whatever way it is written
/// (`0x7f000001` is an address too).
fn canonical(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_address = name.starts_with('[');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !is_address && !name.bytes().all(plain) {
        return None;
    }
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(name).filter(|name| {
            name.len() <= LONGEST_NAME
                && name
                    .split('.')
                    .all(|label| !label.is_empty() && !label.starts_with('-'))
        }),
        address => Some(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<RegistryHost>().unwrap().to_string()
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (text, expected) in [
            ("R.Example", "r.example"),
            ("r.example.", "r.example"),
            ("r.example:443", "r.example"),
            ("r.example:5000", "r.example:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("0x7f000001", "127.0.0.1"),
            ("[0:0::1]:5000", "[::1]:5000"),
            ("[::1]", "[::1]"),
            ("docker.io:5000", "docker.io:5000"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn w3_docker_hub_has_exactly_its_aliases() {
        for text in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "Registry.hub.docker.com:443",
        ] {
            let host: RegistryHost = text.parse().unwrap();
            assert_eq!(
                (host.to_string().as_str(), host.api().as_str()),
                ("docker.io", "registry-1.docker.io")
            );
        }
        for text in [
            "docker.io.evil.example",
            "mydocker.io",
            "hub.docker.com",
            "index.docker.io:5000",
        ] {
            assert!(!text.parse::<RegistryHost>().unwrap().is_docker_hub());
        }
    }

    #[test]
    fn what_is_no_host_is_refused_and_quoted_escaped() {
        for text in [
            "",
            ":",
            "a:",
            "a:0",
            "a:65536",
            "a:x",
            "a:+1",
            "::1",
            "[::1",
            "[::g]",
            "a..b",
            "-a",
            "a/b",
            "u@a",
            "a b",
            "a\n",
            "https://a",
            "%61",
            "ä.example",
            ".",
            "[::1]x",
        ] {
            let error = text.parse::<RegistryHost>().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
