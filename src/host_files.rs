//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! Mounted over the image's, as Docker does, so that neither those nor the host's change.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ucr_runtime::network::{Connected, Dns};
use ucr_sys::Dir;

use crate::command_error::CommandError;
use crate::commands::run::LookupArgs;

/// The most that a host's file may hold to be copied.
const LIMIT: u64 = 1024 * 1024;

const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// What systemd-resolved keeps beside the file of its stub: the servers that it asks itself.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// The network that a container is in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Surroundings<'a> {
    /// The host's.
    Host,
    /// None but its own loopback.
    Alone,
    /// One with addresses of its own.
    Connected(&'a Connected),
}

/// The files of one container.
#[derive(Debug)]
pub(crate) struct HostFiles {
    hosts: Vec<u8>,
    hostname: Vec<u8>,
    resolv: Vec<u8>,
    notes: Vec<String>,
}

impl HostFiles {
    /// Makes them of the host's, with the names that are asked for.
    pub(crate) fn new(
        surroundings: &Surroundings<'_>,
        hostname: &str,
        lookup: &LookupArgs,
    ) -> Result<Self, CommandError> {
        let mut hosts: Vec<u8> = match surroundings {
            // Who shares the host's network shares its names.
            Surroundings::Host => host_file("hosts")?.unwrap_or_else(|| LOCAL_HOSTS.into()),
            Surroundings::Alone => format!("{LOCAL_HOSTS}127.0.0.1\t{hostname}\n").into(),
            Surroundings::Connected(connected) => {
                let own = connected.about().addresses();
                let own = own.map(|address| format!("{address}\t{hostname}\n"));
                (LOCAL_HOSTS.to_owned() + &own.collect::<String>()).into()
            }
        };
        if !hosts.ends_with(b"\n") {
            hosts.push(b'\n');
        }
        hosts.extend_from_slice(lookup.host_lines().as_bytes());
        let (resolv, note) = match surroundings {
            Surroundings::Host => (host_file("resolv.conf")?.unwrap_or_default(), None),
            Surroundings::Alone => (Vec::new(), None),
            Surroundings::Connected(connected) => resolvers(connected.dns())?,
        };
        Ok(Self {
            hosts,
            hostname: format!("{hostname}\n").into(),
            resolv: lookup.resolv(resolv),
            notes: note
                .filter(|_| !lookup.names_servers())
                .into_iter()
                .collect(),
        })
    }

    /// What a person should know of them.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// Their paths in the container, and their texts.
    pub(crate) fn texts(self) -> Vec<(PathBuf, Vec<u8>)> {
        vec![
            ("/etc/hosts".into(), self.hosts),
            ("/etc/hostname".into(), self.hostname),
            ("/etc/resolv.conf".into(), self.resolv),
        ]
    }
}

/// The text of resolv.conf(5) for a container whose loopback is another than the host's, and what is
/// to be said of it.
fn resolvers(dns: &Dns) -> Result<(Vec<u8>, Option<String>), CommandError> {
    if !dns.nameservers.is_empty() {
        return Ok((of_network(dns).into(), None));
    }
    let host = host_file("resolv.conf")?.unwrap_or_default();
    let host = String::from_utf8_lossy(&host).into_owned();
    let (mut text, lost) = reachable(&host);
    if lost.is_empty() || has_server(&text) {
        return Ok((text.into(), None));
    }
    if let Some(behind) = file(Path::new(BEHIND_STUB))? {
        let (servers, _) = reachable(&String::from_utf8_lossy(&behind));
        text += &servers
            .lines()
            .filter(|line| is_server(line))
            .fold(String::new(), |all, line| all + line + "\n");
    }
    let note = (!has_server(&text)).then(|| {
        format!(
            "ucr: the container has no name server: of this host's, {} is its own loopback; \
             --dns IP names another",
            lost.join(", ")
        )
    });
    Ok((text.into(), note))
}

/// The servers that a network says.
fn of_network(dns: &Dns) -> String {
    let mut text = String::new();
    let domains: Vec<_> = dns
        .domain
        .iter()
        .chain(&dns.search)
        .map(String::as_str)
        .collect();
    if !domains.is_empty() {
        text += &format!("search {}\n", domains.join(" "));
    }
    for server in &dns.nameservers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    // What a plugin says is a line each, whatever is in it.
    text.replace('\r', "")
}

/// The text without servers that are reached from the host alone, and those.
fn reachable(host: &str) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let mut text = String::new();
    for line in host.lines() {
        match server(line) {
            Some(server) if is_of_host(server) => lost.push(server.to_owned()),
            _ => text += &format!("{line}\n"),
        }
    }
    (text, lost)
}

/// The server of a line, if it has one.
fn server(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|key| *key == "nameserver")?;
    words.next()
}

fn is_server(line: &str) -> bool {
    server(line).is_some()
}

fn has_server(text: &str) -> bool {
    text.lines().any(is_server)
}

/// Whether an address is one of the host's loopback, or of a cable that only the host is on.
fn is_of_host(server: &str) -> bool {
    let zone = server.contains('%');
    zone || server
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A file of the host's `/etc`, `None` where there is none.
///
/// Links are followed: systemd-resolved and others keep the file elsewhere.
fn host_file(name: &str) -> Result<Option<Vec<u8>>, CommandError> {
    file(&Path::new("/etc").join(name))
}

fn file(path: &Path) -> Result<Option<Vec<u8>>, CommandError> {
    let file = match std::fs::canonicalize(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("cannot find {}: {error}", path.display());
            return Err(CommandError::sentence(text));
        }
    };
    let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(None);
    };
    Dir::open(parent)
        .and_then(|dir| dir.read(name, LIMIT))
        .map_err(CommandError::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w46_servers_of_the_hosts_loopback_are_left_out() {
        let host = "# made\nnameserver 127.0.0.53\nnameserver ::1\n nameserver 127.8.8.8 # x\n\
            nameserver ::ffff:127.0.0.1\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\nsearch a.example\n";
        let (text, lost) = reachable(host);
        assert_eq!(text, "# made\nnameserver 10.0.0.1\nsearch a.example\n");
        assert_eq!(lost.len(), 5, "{lost:?}");
        assert!(has_server(&text));
        let (text, _) = reachable("nameserver 127.0.0.1\noptions edns0\n");
        assert!(!has_server(&text) && text == "options edns0\n");
    }

    #[test]
    fn what_a_network_says_of_names_is_written_down() {
        let dns = Dns {
            nameservers: vec!["10.0.0.1".into(), "fd00::1".into()],
            domain: Some("d.example".into()),
            search: vec!["s.example".into()],
            options: vec!["ndots:2".into()],
        };
        let wanted = "search d.example s.example\nnameserver 10.0.0.1\nnameserver fd00::1\n\
            options ndots:2\n";
        assert_eq!(of_network(&dns), wanted);
        let (text, note) = resolvers(&dns).unwrap();
        assert_eq!((text, note), (wanted.into(), None));
    }
}
