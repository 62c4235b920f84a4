//! Who finds whom by name: `--add-host`, `--dns`.

use std::net::IpAddr;

use clap::Args;

/// Names of hosts inside the container.
#[derive(Debug, Default, Args)]
pub(crate) struct LookupArgs {
    /// Line of the container's /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:IP", value_parser = host)]
    hosts: Vec<(String, IpAddr)>,
    /// Name server instead of the host's
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,
    /// Domain in which short names are looked for, instead of the host's; . for none
    #[arg(long, value_name = "DOMAIN", value_parser = word)]
    dns_search: Vec<String>,
    /// Option of resolv.conf, such as ndots:2
    #[arg(long, value_name = "OPTION", value_parser = word, alias = "dns-opt")]
    dns_option: Vec<String>,
}

/// Reads `NAME:IP` or `NAME=IP`; the address may stand in brackets.
fn host(text: &str) -> Result<(String, IpAddr), String> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.ok_or("it is not of the form NAME:IP")?;
    let name = word(name)?;
    if address == "host-gateway" {
        return Err("host-gateway: there is no bridge with a gateway here".to_owned());
    }
    let inner = address
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'));
    let address = inner.unwrap_or(address).parse();
    address
        .map(|address| (name, address))
        .map_err(|_no_address| "behind the name is no IP address".to_owned())
}

/// A word of a line that programs read: it can neither end the line nor begin another word.
fn word(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("it is no word of letters, digits, \"-\", \"_\", \".\", \":\" and \"/\"".to_owned())
    }
}

impl LookupArgs {
    /// Whether name servers are asked for.
    pub(crate) fn names_servers(&self) -> bool {
        !self.dns.is_empty()
    }

    /// The lines for `/etc/hosts`.
    pub(crate) fn host_lines(&self) -> String {
        let line = |(name, address): &(String, IpAddr)| format!("{address}\t{name}\n");
        self.hosts.iter().map(line).collect()
    }

    /// The text of resolv.conf(5) that comes of that of the host, with what is asked for instead.
    pub(crate) fn resolv(&self, host: Vec<u8>) -> Vec<u8> {
        if self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty() {
            return host;
        }
        let host = String::from_utf8_lossy(&host);
        let of_host = |keys: &[&str]| {
            let is_one = |line: &&str| {
                let key = line.split_ascii_whitespace().next().unwrap_or_default();
                keys.contains(&key)
            };
            let lines = host.lines().filter(is_one).map(|line| format!("{line}\n"));
            lines.collect::<String>()
        };
        let mut text = String::new();
        match &self.dns_search[..] {
            [] => text += &of_host(&["search", "domain"]),
            [none] if none == "." => {}
            domains => text += &format!("search {}\n", domains.join(" ")),
        }
        if self.dns.is_empty() {
            text += &of_host(&["nameserver"]);
        }
        for server in &self.dns {
            text += &format!("nameserver {server}\n");
        }
        match &self.dns_option[..] {
            [] => text += &of_host(&["options"]),
            options => text += &format!("options {}\n", options.join(" ")),
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made\nnameserver 10.0.0.1\nsearch corp.example\noptions edns0\n";

    fn resolv(args: LookupArgs) -> String {
        String::from_utf8(args.resolv(HOST.into())).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_is_the_hosts() {
        assert_eq!(resolv(LookupArgs::default()), HOST);
        let server = LookupArgs {
            dns: vec!["::1".parse().unwrap()],
            ..LookupArgs::default()
        };
        let wanted = "search corp.example\nnameserver ::1\noptions edns0\n";
        assert_eq!(resolv(server), wanted);
        let others = LookupArgs {
            dns_search: vec!["a.b".into(), "c".into()],
            dns_option: vec!["ndots:2".into()],
            ..LookupArgs::default()
        };
        let wanted = "search a.b c\nnameserver 10.0.0.1\noptions ndots:2\n";
        assert_eq!(resolv(others), wanted);
        let none = LookupArgs {
            dns_search: vec![".".into()],
            ..LookupArgs::default()
        };
        assert!(!resolv(none).contains("search"));
    }

    #[test]
    fn s18_a_host_is_one_line_of_a_name_and_an_address() {
        assert_eq!(
            host("db:10.0.0.7").unwrap(),
            ("db".into(), "10.0.0.7".parse().unwrap())
        );
        assert!(host("db:[::1]").unwrap().1.is_ipv6());
        assert!(host("db=fe80::1").unwrap().1.is_ipv6());
        for text in [
            "",
            "db",
            "db:",
            ":1.2.3.4",
            "db:x",
            "a b:1.2.3.4",
            "a\nb:1.2.3.4",
            "a:host-gateway",
        ] {
            assert!(host(text).is_err(), "{text:?}");
        }
        for text in ["", "a b", "a\nnameserver 1.2.3.4"] {
            assert!(word(text).is_err(), "{text:?}");
        }
    }
}
