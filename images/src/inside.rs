//! Addresses that are nobody's business outside of this network.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether a URL names loopback, private, shared or link-local space by its number.
pub fn names_inside(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => is_inside(v4),
        Some(Host::Ipv6(v6)) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || embedded(v6).is_some_and(is_inside)
        }
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

fn is_inside(v4: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is carriers' and clouds' (RFC 6598).
    let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
    v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || is_shared
}

/// The IPv4 address that an IPv6 one stands for: mapped or compatible (RFC 4291, 2.5.5), or
/// behind a translator (RFC 6052).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let is_translated = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = v6.octets();
    v6.to_ipv4()
        .or_else(|| is_translated.then(|| Ipv4Addr::new(a, b, c, d)))
}
