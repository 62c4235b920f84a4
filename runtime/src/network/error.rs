//! What goes wrong with networks.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Protocol;
use crate::code::Code;

/// A connection that cannot be made or given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records.
    #[error("cannot keep record of networks")]
    Records(#[source] ucr_sys::Error),
    /// A record that is not one.
    #[error("the record {0} of a network is damaged")]
    Damaged(PathBuf, #[source] serde_json::Error),
    /// Another connection of the same name.
    #[error("{0} is connected already")]
    Exists(String),
    /// A network namespace.
    #[error("cannot make a network namespace")]
    Namespace(#[source] ucr_sys::Error),
    /// The namespace by a path.
    #[error("cannot give the network namespace the path {0}")]
    Bind(PathBuf, #[source] ucr_sys::Error),
    /// A question to the kernel about interfaces, addresses or routes.
    #[error("cannot {0}")]
    Netlink(String, #[source] std::io::Error),
    /// A setting of the kernel's.
    #[error("cannot set {0} to {1}")]
    Sysctl(PathBuf, &'static str, #[source] std::io::Error),
    /// An interface of the bridge's name that is none of ours.
    #[error("the interface {0} is there, and ucr did not make it")]
    NotOurs(String),
    /// A bridge of another state directory, or with other addresses.
    #[error("the bridge {name} was made as \"{made}\", not as \"{wanted}\"")]
    OtherBridge {
        /// Its name.
        name: String,
        /// What it says of itself.
        made: String,
        /// What it would say.
        wanted: String,
    },
    /// Addresses that somebody else has.
    #[error("the network {0} of the bridge is that of {1} already")]
    Overlaps(String, String),
    /// All addresses are taken.
    #[error("no address of {0} is free")]
    NoAddress(String),
    /// The program `nft`.
    #[error("there is no nft, which leads ports of the host into containers")]
    NoNft,
    /// A process that cannot be run.
    #[error("cannot run {0}")]
    Run(PathBuf, #[source] std::io::Error),
    /// What `nft` says.
    #[error("nft refused the rules: {0}")]
    Nft(String),
    /// A port of the host that one of our containers has.
    #[error("the port {port}/{protocol} of the host is that of {holder}")]
    Taken {
        /// The port.
        port: u16,
        /// What it carries.
        protocol: Protocol,
        /// Who has it.
        holder: String,
    },
    /// A port of the host that another program has, or that nobody may have.
    #[error("the port {port}/{protocol} of the host cannot be had")]
    Reserve {
        /// The port.
        port: u16,
        /// What it carries.
        protocol: Protocol,
        /// Why.
        #[source]
        source: ucr_sys::Error,
    },
    /// None of the ports that may be used is free.
    #[error("no port of {0} is free")]
    NoPort(String),
    /// An address of a version that the container has not.
    #[error("ports of {0} cannot lead into a container that has no address of that version of IP")]
    NoVersion(IpAddr),
    /// The loopback of version 6.
    #[error("ports of ::1 cannot lead into a container: version 6 of IP does not route it")]
    Loopback,
    /// Networks that cannot be had together.
    #[error("{0}")]
    Together(&'static str),
    /// Ports where none can be led anywhere.
    #[error("ports cannot be published: the network is {0}")]
    NoPorts(&'static str),
    /// A network of plugins.
    #[error("cannot use the network {0}")]
    Cni(String, #[source] super::cni::Error),
    /// A process beside this one.
    #[error("cannot leave the rest to a process of its own")]
    Detach(#[source] ucr_sys::Error),
}

impl Error {
    /// What kind of trouble it is, for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::NotOurs(_)
            | Self::OtherBridge { .. }
            | Self::Overlaps(..)
            | Self::NoNft
            | Self::NoVersion(_)
            | Self::Loopback
            | Self::Together(_)
            | Self::NoPorts(_) => Code::Refused,
            Self::Cni(_, error) if error.is_refusal() => Code::Refused,
            _ => Code::Failed,
        }
    }

    /// What a person can try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoNft => Some("install the package nftables".to_owned()),
            Self::NotOurs(_) => {
                Some("[network] bridge = \"OTHER\" in the configuration".to_owned())
            }
            Self::OtherBridge { name, .. } => Some(format!(
                "ip link delete {name} once no container uses it, or [network] bridge = \"OTHER\" in \
                 the configuration"
            )),
            Self::Overlaps(..) => Some(
                "[network] subnet = \"10.X.0.0/16\" in the configuration, one that nobody has"
                    .to_owned(),
            ),
            Self::Reserve { port, .. } => {
                Some(format!("ss -lntup 'sport = :{port}' shows who has it"))
            }
            Self::Loopback => Some("127.0.0.1, or no address".to_owned()),
            _ => None,
        }
    }
}
