//! An address where nobody answers, and nobody says so.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

/// What the kernel does not take within this time it takes never.
const LONG: Duration = Duration::from_millis(300);
/// A queue of no length holds a connection or two.
const MANY: usize = 8;

/// A TCP port that swallows what comes: its queue is full, so the kernel drops
/// each SYN (listen(2)), as a firewall or a wrong route does.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    swallowed_before: u64,
    _listener: OwnedFd,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one at an address of this machine.
    pub fn open(address: SocketAddr) -> Self {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let listener = socket(family, SocketType::STREAM, None).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 0).unwrap();
        let address = getsockname(&listener).unwrap().try_into().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, LONG) {
            queue.push(stream);
            assert!(queue.len() < MANY, "its queue does not fill");
        }
        Self {
            address,
            swallowed_before: swallowed(),
            _listener: listener,
            _queue: queue,
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether something was swallowed since it was opened, by this or another one.
    pub fn has_swallowed(&self) -> bool {
        swallowed() > self.swallowed_before
    }
}

/// How many connections found a full queue, as the kernel counts them (`ListenOverflows`).
fn swallowed() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let names = lines.next().unwrap().split(' ');
    let numbers = lines.next().unwrap().split(' ');
    let (_, number) = names
        .zip(numbers)
        .find(|(name, _)| *name == "ListenOverflows")
        .unwrap();
    number.parse().unwrap()
}
