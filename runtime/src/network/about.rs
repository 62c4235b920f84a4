//! What is known of a connection, for its record and for people.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its interfaces but the loopback's, in order; none where the network is the host's.
    pub interfaces: Vec<Interface>,
    /// Its ports, in the order in which they were asked for.
    pub ports: Vec<Published>,
}

impl About {
    /// Its addresses, those of the first interface first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let all = self.interfaces.iter().flat_map(|one| &one.addresses);
        all.map(|(address, _)| *address)
    }
}

/// An interface of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The network that it leads to, as people name it.
    pub network: String,
    /// Its name inside.
    pub name: String,
    /// Its address of the Ethernet, as `02:00:00:00:00:01`.
    pub mac: String,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Where everything else is sent, one for each version of IP at the most.
    pub gateways: Vec<IpAddr>,
}

/// A port of a container, and how the host leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The address of the host that leads to it; none for all of them.
    pub address: Option<IpAddr>,
    /// The port of the host; none where none leads to it.
    pub host: Option<u16>,
    /// The port inside.
    pub container: u16,
    /// What it carries.
    pub protocol: Protocol,
    /// Which of the requests it came of.
    pub request: usize,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name, as in `80/tcp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(format!("\"{text}\" is neither tcp nor udp")),
        }
    }
}

/// Who answers for names, as a network says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of servers.
    pub nameservers: Vec<String>,
    /// The domain that the container is in.
    pub domain: Option<String>,
    /// Domains in which short names are looked for.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}
