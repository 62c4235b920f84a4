//! Ports of the host that lead into containers: elements of maps of nftables.
//!
//! Each bridge has a table of its name, made with it. Which port leads where is in four maps of it:
//! for all addresses of the host and for one, for each version of IP. A start adds elements to them
//! in one transaction of `nft`, and an end takes them away in another one; the rules that look into
//! the maps stay.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use ucr_sys::{memfd, process};

use super::{Error, Protocol};

/// Where the program is looked for: supervisors have no environment to look into.
const NFT: [&str; 5] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/local/sbin/nft",
    "/usr/bin/nft",
    "/bin/nft",
];
/// The most of its words that are passed on.
const WORDS: usize = 2000;

/// A port that leads inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// The address of the host; none for all of the target's version of IP.
    pub(super) address: Option<IpAddr>,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// Where it leads, and to which port there.
    pub(super) to: (IpAddr, u16),
}

impl Rule {
    /// Its map, its key and its value.
    fn element(&self) -> (&'static str, String, String) {
        let Self { protocol, port, .. } = self;
        let map = match (self.address.is_some(), self.to.0.is_ipv4()) {
            (false, true) => "any4",
            (false, false) => "any6",
            (true, true) => "at4",
            (true, false) => "at6",
        };
        let key = match self.address {
            None => format!("{protocol} . {port}"),
            Some(address) => format!("{address} . {protocol} . {port}"),
        };
        (map, key, format!("{} . {}", self.to.0, self.to.1))
    }

    fn add(&self, bridge: &str) -> String {
        let (map, key, value) = self.element();
        format!("add element inet {bridge} {map} {{ {key} : {value} }}\n")
    }
}

/// What adds `rules` to the table of `bridge`; one that is there and leads elsewhere is an error.
pub(super) fn adding(bridge: &str, rules: &[Rule]) -> String {
    rules.iter().map(|rule| rule.add(bridge)).collect()
}

/// What takes `rules` away, those that are there and those that are not.
pub(super) fn removing(bridge: &str, rules: &[Rule]) -> String {
    let both = |rule: &Rule| {
        let (map, key, _) = rule.element();
        // One that is missing could not be deleted; one that is there can be added again.
        format!(
            "{}delete element inet {bridge} {map} {{ {key} }}\n",
            rule.add(bridge)
        )
    };
    rules.iter().map(both).collect()
}

/// What makes the table of `bridge` anew, whose networks are `v4` and `v6`, with `rules` in it.
pub(super) fn table(bridge: &str, (v4, v6): (&str, Option<&str>), rules: &[Rule]) -> String {
    let hairpin = |version: &str, network: &str| {
        format!(
            "    oifname \"{bridge}\" {version} saddr {network} ct status dnat masquerade\n    \
             oifname != \"{bridge}\" {version} saddr {network} fib daddr type != multicast masquerade\n"
        )
    };
    let mut masquerade = hairpin("ip", v4);
    masquerade += &v6.map_or_else(String::new, |v6| hairpin("ip6", v6));
    let table = TABLE
        .replace("BRIDGE", bridge)
        .replace("MASQUERADE", &masquerade);
    table + &adding(bridge, rules)
}

/// The table of a bridge; what begins with # says what the one after it is for.
const TABLE: &str = r#"add table inet BRIDGE
delete table inet BRIDGE
table inet BRIDGE {
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  chain publish {
    dnat ip to ip daddr . meta l4proto . th dport map @at4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6
    fib daddr type local dnat ip to meta l4proto . th dport map @any4
    fib daddr type local dnat ip6 to meta l4proto . th dport map @any6
  }
  # The host's own loopback is nobody else's, though the bridge routes it (CVE-2020-8558).
  chain loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname "BRIDGE" ip daddr 127.0.0.0/8 drop
    iifname "BRIDGE" ip saddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    # Version 6 has no way out of its loopback: there the port is refused, as it were closed.
    ip6 daddr ::1 return
    jump publish
  }
  # Who asks by the host's loopback, or from a container of the same bridge, is answered by way of
  # the host.
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "BRIDGE" ip saddr 127.0.0.0/8 masquerade
MASQUERADE  }
  # Neighbours of the host get to published ports, and nowhere else.
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname != "BRIDGE" oifname "BRIDGE" ct state established,related accept
    iifname != "BRIDGE" oifname "BRIDGE" ct status dnat accept
    iifname != "BRIDGE" oifname "BRIDGE" drop
  }
}
"#;

/// A transaction of `nft` that is not over yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The process, a child of this one; and of what this one becomes by execve(2).
    pub(crate) pid: i32,
    /// What it has to say.
    pub(crate) words: OwnedFd,
}

impl Pending {
    /// Waits until the rules are in force.
    ///
    /// # Errors
    ///
    /// What `nft` says against them.
    pub(crate) fn wait(self) -> Result<(), Error> {
        let lost = |why: &str| Error::Nft(why.to_owned());
        let mut words = Vec::new();
        // To its end, so that it is never waited for with the pipe full.
        let read = File::from(self.words).read_to_end(&mut words);
        let pidfd = process::open(self.pid).map_err(Error::Detach)?;
        let pidfd = pidfd.ok_or_else(|| lost("its process is gone"))?;
        let ended = process::wait(pidfd.as_fd()).map_err(Error::Detach)?;
        let words = String::from_utf8_lossy(&words);
        let words: String = words.trim().chars().take(WORDS).collect();
        match (ended, read) {
            (process::Ended::Exited(0), Ok(_)) => Ok(()),
            _ if !words.is_empty() => Err(Error::Nft(words)),
            (process::Ended::Signaled(signal), _) => {
                Err(Error::Nft(format!("it was ended by signal {signal}")))
            }
            _ => Err(lost("it does not say why")),
        }
    }
}

/// Begins a transaction.
pub(super) fn begin(script: &str) -> Result<Pending, Error> {
    let nft = NFT.iter().map(Path::new).find(|path| path.exists());
    let nft = nft.ok_or(Error::NoNft)?;
    let failed = |error| Error::Run(PathBuf::from(nft), error);
    let script = memfd::sealed("nft", script.as_bytes()).map_err(Error::Detach)?;
    // Opened anew, from its beginning.
    let script = File::open(format!("/proc/self/fd/{}", script.as_raw_fd())).map_err(failed)?;
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .env_clear()
        .stdin(script)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let words = child.stderr.take().map(OwnedFd::from);
    let words = words.ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
    Ok(Pending { pid, words })
}

/// Takes `rules` away that lead to containers on `bridge`, as far as they are there.
pub(super) fn take_away(bridge: &str, rules: &[Rule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let one_by_one = match begin(&removing(bridge, rules))?.wait() {
        Err(Error::Nft(_)) => rules,
        other => return other,
    };
    // Without its table, or where an element leads to somebody else by now, all of them are refused
    // together: those that are ours still go by themselves.
    for rule in one_by_one {
        match begin(&removing(bridge, &[*rule]))?.wait() {
            Ok(()) | Err(Error::Nft(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(address: Option<&str>, to: &str) -> Rule {
        Rule {
            address: address.map(|text| text.parse().unwrap()),
            protocol: Protocol::Udp,
            port: 8080,
            to: (to.parse().unwrap(), 80),
        }
    }

    #[test]
    fn each_rule_is_an_element_of_its_map() {
        let rules = [
            rule(None, "10.0.0.2"),
            rule(None, "fd00::2"),
            rule(Some("127.0.0.1"), "10.0.0.2"),
            rule(Some("::1"), "fd00::2"),
        ];
        assert_eq!(
            adding("ucr0", &rules),
            "add element inet ucr0 any4 { udp . 8080 : 10.0.0.2 . 80 }\n\
             add element inet ucr0 any6 { udp . 8080 : fd00::2 . 80 }\n\
             add element inet ucr0 at4 { 127.0.0.1 . udp . 8080 : 10.0.0.2 . 80 }\n\
             add element inet ucr0 at6 { ::1 . udp . 8080 : fd00::2 . 80 }\n"
        );
        assert_eq!(
            removing("ucr0", &rules[..1]),
            "add element inet ucr0 any4 { udp . 8080 : 10.0.0.2 . 80 }\n\
             delete element inet ucr0 any4 { udp . 8080 }\n"
        );
    }

    #[test]
    fn without_version_6_there_is_none_of_it_in_the_masquerade() {
        let both = table("ucr0", ("10.0.0.0/16", Some("fd00::/64")), &[]);
        assert!(both.contains("ip6 saddr fd00::/64"), "{both}");
        let one = table("ucr0", ("10.0.0.0/16", None), &[]);
        assert!(
            !one.contains("fd00") && one.contains("ip saddr 10.0.0.0/16"),
            "{one}"
        );
    }
}
