//! The hosts that are reached without the proxy: what `NO_PROXY` means.
//!
//! It means what libcurl's `CURLOPT_NOPROXY` does. It is decided here and not
//! there because libcurl, as the curl crate has it, never tells whether a
//! failed connection went through the proxy, and whoever reads the error must
//! know. Beyond libcurl, spaces separate as commas do, `*` may stand among
//! others, `*.example` is `.example`, as many programs have it, and an entry
//! with a port counts for that port alone, as Go and so dockerd has it
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>).

use std::net::IpAddr;

use url::{Host, Url};

/// Hosts, domains, addresses and networks, each for one port or for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// `None` for all.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Everything,
    /// The host of that name, and all below it.
    Domain(String),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
}

impl Exceptions {
    /// Reads a list; nothing in it is wrong, but something may match nothing.
    pub(super) fn parse(list: &str) -> Self {
        let words = list.split(|c: char| c == ',' || c.is_ascii_whitespace());
        Self(words.filter_map(Exception::parse).collect())
    }

    /// Whether the host of `url`, at the port that it is reached at, is among them.
    pub(super) fn match_url(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let matches = |host| self.0.iter().any(|one| one.matches(&host, port));
        url.host().is_some_and(matches)
    }
}

impl Exception {
    fn parse(word: &str) -> Option<Self> {
        let (hosts, port) = split_port(word);
        Some(Self {
            hosts: Hosts::parse(hosts)?,
            port,
        })
    }

    fn matches(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        (self.port.is_none() || self.port == port) && self.hosts.matches(host)
    }
}

impl Hosts {
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::Everything);
        }
        let (address, length) = match word.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (word, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(address).parse::<IpAddr>() {
            let longest = width(address);
            let length = length.map_or(Some(longest), |length| length.parse().ok());
            return length
                .filter(|length| *length <= longest)
                .map(|length| Self::Network(address, length));
        }
        let domain = word.strip_prefix('*').unwrap_or(word);
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        (!domain.is_empty()).then(|| Self::Domain(domain.to_ascii_lowercase()))
    }

    fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Domain(domain), Host::Domain(name)) => is_within(name, domain),
            (Self::Network(network, length), Host::Ipv4(address)) => {
                shares_prefix(*network, IpAddr::V4(*address), *length)
            }
            (Self::Network(network, length), Host::Ipv6(address)) => {
                shares_prefix(*network, IpAddr::V6(*address), *length)
            }
            _ => false,
        }
    }
}

/// Takes the port off, if there is one: an IPv6 address has colons of its own.
fn split_port(word: &str) -> (&str, Option<u16>) {
    let split = word.rsplit_once(':');
    let split = split.filter(|(hosts, _)| !hosts.contains(':') || hosts.ends_with(']'));
    match split.map(|(hosts, port)| (hosts, port.parse().ok())) {
        Some((hosts, Some(port))) => (hosts, Some(port)),
        _ => (word, None),
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let above = name.strip_suffix(domain);
    above.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn shares_prefix(one: IpAddr, other: IpAddr, length: u32) -> bool {
    let differing = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()),
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differing.checked_shr(width(one) - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(list: &str, host: &str) -> bool {
        let url = Url::parse(&format!("https://{host}/v2/")).unwrap();
        Exceptions::parse(list).match_url(&url)
    }

    #[test]
    fn p27_no_proxy_takes_domains_with_all_below_them() {
        for list in [
            "corp.example",
            ".corp.example",
            "*.corp.example",
            "Corp.Example.",
        ] {
            assert!(matches(list, "corp.example"), "{list}");
            assert!(matches(list, "R.corp.example:5000"), "{list}");
            assert!(matches(list, "r.corp.example."), "{list}");
            assert!(!matches(list, "notcorp.example"), "{list}");
            assert!(!matches(list, "example"), "{list}");
        }
    }

    #[test]
    fn p27_no_proxy_takes_addresses_and_networks() {
        assert!(matches("10.0.0.0/8", "10.255.0.1:5000"));
        assert!(!matches("10.0.0.0/8", "11.0.0.1"));
        assert!(matches("127.0.0.1", "127.0.0.1"));
        assert!(!matches("127.0.0.1", "127.0.0.2"));
        assert!(matches("0.0.0.0/0", "192.0.2.1") && !matches("0.0.0.0/0", "[::1]"));
        assert!(matches("::1", "[::1]:5000") && matches("[::1]", "[::1]"));
        assert!(matches("fd00::/8", "[fd12::1]") && !matches("fd00::/8", "[fe80::1]"));
        assert!(matches("::/0", "[2001:db8::1]"));
        assert!(!matches("10.0.0.0/33", "10.0.0.0") && !matches("10.0.0.0/x", "10.0.0.0"));
        assert!(!matches("1", "192.0.2.1"), "an address has no domains");
    }

    #[test]
    fn p27_no_proxy_with_a_port_counts_for_that_port_alone() {
        for (entry, host) in [
            ("r.example:5000", "r.example"),
            (".example:5000", "r.example"),
            ("*.example:5000", "r.example"),
            ("*:5000", "r.example"),
            ("192.0.2.1:5000", "192.0.2.1"),
            ("192.0.2.0/24:5000", "192.0.2.1"),
            ("[2001:db8::1]:5000", "[2001:db8::1]"),
        ] {
            assert!(matches(entry, &format!("{host}:5000")), "{entry}");
            assert!(!matches(entry, &format!("{host}:5001")), "{entry}");
            assert!(!matches(entry, host), "{entry}");
            assert!(matches(&format!("{entry},{host}"), host), "{entry}");
        }
        assert!(matches("r.example:443", "r.example"), "the port of https");
        assert!(!matches("r.example:443", "r.example:5000"));
        assert!(!matches("r.example:5000", "x.example:5000"));
        assert!(matches("2001:db8::5000", "[2001:db8::5000]"), "no port");
        assert!(matches("::1", "[::1]:5000") && !matches("[::1]:1", "[::1]:5000"));
        for entry in ["r.example:", "r.example:x", "r.example:70000", ":443"] {
            assert!(!matches(entry, "r.example"), "{entry}");
        }
    }

    #[test]
    fn p27_no_proxy_is_separated_by_commas_and_spaces_and_may_be_everything() {
        for list in [
            "a.example,b.example",
            "a.example b.example",
            " ,a.example ,\tb.example,",
        ] {
            assert!(
                matches(list, "a.example") && matches(list, "b.example"),
                "{list}"
            );
            assert!(!matches(list, "c.example"), "{list}");
        }
        assert!(matches("*", "c.example") && matches("a.example,*", "[::1]"));
        assert!(!matches("", "c.example") && !matches(" , ", "c.example"));
        assert!(!matches(".", "c.example") && !matches("*.", "c.example"));
    }
}
