//! The host that certificates are for: how operators write it, and how it is compared.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of https, which is left out when a host is written.
const HTTPS: u16 = 443;
/// RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;
/// What people call Docker Hub …
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];
/// … and who answers for it.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A host and port in one spelling: `HOST` and `host:443` are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// The text is no host with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not HOST or HOST:PORT")]
pub struct InvalidHost {
    text: String,
}

impl HostPort {
    /// Joins a host, a name or an address with or without brackets, and a port.
    ///
    /// # Errors
    ///
    /// [`InvalidHost`] when the host is none.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidHost> {
        let host = canonical(host).ok_or_else(|| InvalidHost {
            text: host.to_owned(),
        })?;
        Ok(Self { host, port })
    }

    /// The name or address in lower case, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every spelling by which a directory may be named after this host, the plainest first.
    pub fn spellings(&self) -> Vec<String> {
        let aliases = DOCKER_HUB.iter().filter(|_| self.host == DOCKER_HUB_API);
        let hosts = std::iter::once(self.host.as_str()).chain(aliases.copied());
        hosts
            .flat_map(|host| {
                let bare = (self.port == HTTPS).then(|| host.to_owned());
                bare.into_iter().chain([format!("{host}:{}", self.port)])
            })
            .collect()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == HTTPS {
            f.write_str(&self.host)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = InvalidHost;

    /// Reads `host`, `host:port`, `[::1]:port`, and an `https://` URL without a path.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost {
            text: text.to_owned(),
        };
        let bare = match text.strip_prefix("https://") {
            Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
            None => text,
        };
        let is_address = bare.parse::<Ipv6Addr>().is_ok() || bare.ends_with(']');
        let (host, port) = match bare.rsplit_once(':') {
            Some((host, port)) if !is_address => (host, port_number(port).ok_or_else(invalid)?),
            _ => (bare, HTTPS),
        };
        Self::new(host, port).map_err(|_without_port| invalid())
    }
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

fn canonical(host: &str) -> Option<String> {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = inside.unwrap_or(host).parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        return None;
    }
    if DOCKER_HUB.contains(&name.as_str()) {
        return Some(DOCKER_HUB_API.to_owned());
    }
    Some(name)
}

/// A label of a host name; the underscore is none by RFC 1123 but lives in private zones.
fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && label.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<HostPort>().unwrap().to_string()
    }

    #[test]
    fn p24_spellings_of_one_host_are_one() {
        for text in [
            "registry.example",
            "registry.example:443",
            "Registry.EXAMPLE",
            "registry.example.",
            "https://registry.example/",
        ] {
            assert_eq!(shown(text), "registry.example", "{text}");
        }
        assert_eq!(shown("127.0.0.1:5000"), "127.0.0.1:5000");
        for text in ["::1", "[::1]", "[0:0::1]:443"] {
            assert_eq!(shown(text), "[::1]", "{text}");
        }
        assert_eq!(shown("[::1]:5000"), "[::1]:5000");
        assert_eq!(shown("docker.io"), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ":5000",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:b",
            "a b",
            "a/b",
            "..",
            "../etc",
            "a..b",
            "-a",
            "http://a",
            "https://a/v2",
            "[::1",
            "[::g]",
            "a@b",
            "a\nb",
            "ä.example",
            &long,
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_directory_may_be_named_by_any_spelling() {
        let spellings = |text: &str| text.parse::<HostPort>().unwrap().spellings();
        assert_eq!(spellings("r.example"), ["r.example", "r.example:443"]);
        assert_eq!(spellings("r.example:5000"), ["r.example:5000"]);
        assert!(spellings("docker.io").contains(&"docker.io".to_owned()));
    }
}
