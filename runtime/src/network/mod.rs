//! What a container is connected to: a network namespace that is there before it does.
//!
//! `ucr` makes the namespace, connects it, and hands its descriptor on; pid 1 of the container, or of
//! several, joins it. It lives as long as its processes, and what leads into it dies with it. What
//! does not is written down first:
//!
//! ```text
//! <state root>/networks/
//!   lock       flock: held by who looks for addresses and ports, or makes the bridge; says which
//!              address was given last
//!   <id>       what a container, or a pod, has: its place on the bridge, ports of the host, rules,
//!              networks of plugins. flock, exclusive: held by who keeps the container alive
//! <state root>/netns/<id>    the namespace by a path, where plugins need one
//! ```
//!
//! Whatever stands in the directory is taken, whether somebody holds it or not: rules go before
//! their record. Who ends gives back by a process of its own, which has the lock meanwhile; of who
//! was killed, whoever comes next takes the lock and does the same.
//!
//! Knows no image and no command line, and nothing of what runs in the namespace.

mod about;
#[cfg(feature = "launch")]
mod bridge;
pub mod cni;
#[cfg(feature = "launch")]
mod connect;
#[cfg(feature = "launch")]
mod connected;
mod error;
mod give_back;
#[cfg(feature = "launch")]
mod inside;
#[cfg(feature = "launch")]
mod netlink;
#[cfg(feature = "launch")]
mod ports;
mod record;
mod rules;
#[cfg(feature = "launch")]
mod table;

pub use about::{About, Dns, Interface, Protocol, Published};
#[cfg(feature = "launch")]
pub use bridge::BridgeConfig;
#[cfg(feature = "launch")]
pub use cni::{Name as NetworkName, Places as CniPlaces};
#[cfg(feature = "launch")]
pub use connect::{Network, Request, connect};
#[cfg(feature = "launch")]
pub use connected::{Connected, End, Joining};
pub use error::Error;
pub(crate) use give_back::end_of;
pub use give_back::sweep;
#[cfg(feature = "launch")]
pub use ports::{HostPort, OFFERED, PortRequest};
pub(crate) use rules::Pending;
