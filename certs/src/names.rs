//! Which hosts a certificate is for, as libcurl decides it.

use std::net::IpAddr;

use crate::x509::Facts;

/// The names of a certificate that count for a host: those of its
/// subjectAltName, and the subject's common name only when there are none.
///
/// RFC 9110, section 4.3.4, and RFC 9525 know no common name; libcurl and
/// OpenSSL still take it, and certificates of private registries rely on it.
pub(crate) fn names(facts: &Facts) -> Vec<String> {
    let alternative: Vec<String> = facts
        .alternative_names
        .iter()
        .filter(|name| name.starts_with("DNS:") || name.starts_with("IP:"))
        .cloned()
        .collect();
    if alternative.is_empty() {
        facts
            .common_name
            .iter()
            .map(|name| format!("CN:{name}"))
            .collect()
    } else {
        alternative
    }
}

/// Whether a certificate with these names is for `host`, a bare name or address.
pub(crate) fn cover(names: &[String], host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    names
        .iter()
        .any(|name| match (name.split_once(':'), address) {
            (Some(("IP", name)), Some(address)) => name.parse() == Ok(address),
            (Some(("DNS" | "CN", pattern)), None) => covers(pattern, host),
            // As text, so that only the usual spelling counts.
            (Some(("CN", name)), Some(_)) => name.eq_ignore_ascii_case(host),
            _ => false,
        })
}

/// Whether a pattern, in which a first label `*` stands for exactly one label
/// (RFC 9525, section 6.3), is for a host.
fn covers(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (without_dot(pattern), without_dot(host));
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            // A star directly under a top-level domain is for nobody.
            !label.is_empty() && parent.contains('.') && parent.eq_ignore_ascii_case(rest)
        }),
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(names: &[&str], host: &str) -> bool {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        cover(&names, host)
    }

    #[test]
    fn a_name_covers_itself_in_any_case() {
        assert!(covered(&["DNS:Registry.Example."], "registry.example"));
        assert!(covered(&["CN:registry.example"], "registry.example"));
        assert!(!covered(&["DNS:registry.example"], "example"));
    }

    #[test]
    fn a_star_covers_exactly_one_label() {
        assert!(covered(&["DNS:*.example.org"], "a.example.org"));
        assert!(!covered(&["DNS:*.example.org"], "a.b.example.org"));
        assert!(!covered(&["DNS:*.example.org"], "example.org"));
        assert!(!covered(&["DNS:*.org"], "example.org"));
        assert!(!covered(&["DNS:*.2.3.4"], "1.2.3.4"));
    }

    #[test]
    fn an_address_is_covered_by_addresses_only() {
        assert!(covered(&["IP:127.0.0.1"], "127.0.0.1"));
        assert!(covered(&["IP:::1"], "0:0::1"));
        assert!(!covered(&["DNS:127.0.0.1"], "127.0.0.1"));
        assert!(covered(&["CN:127.0.0.1"], "127.0.0.1"));
        assert!(covered(&["CN:::1"], "::1"));
        assert!(!covered(&["CN:0:0::1"], "::1"));
        assert!(!covered(&["CN:*.0.0.1"], "127.0.0.1"));
    }
}
