//! Ports of this machine that are had without being used: bound sockets.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::Errno;
use crate::error::{Context, Result};

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SOCK_STREAM`: TCP.
    Stream,
    /// `SOCK_DGRAM`: UDP.
    Datagram,
}

/// Binds a socket to `address` and does not listen: nobody else gets the port while it is open.
///
/// One of version 6 leaves version 4 alone. Ends of connections that were on the port and wait
/// (`TIME_WAIT`) are not in the way; a program that listens is.
///
/// # Errors
///
/// `EADDRINUSE` when somebody has the port, `EADDRNOTAVAIL` when the address is none of this machine;
/// any other failure of `socket`, `setsockopt` or `bind`.
pub fn reserve(kind: Kind, address: SocketAddr) -> Result<OwnedFd> {
    match bound(kind, address, false) {
        // By itself it is not had with ends of connections about; with leave to, it is. What
        // others may do is settled by what the socket says afterwards.
        Err(error) if kind == Kind::Stream && error.errno() == Errno::ADDRINUSE => {
            let socket = bound(kind, address, true)?;
            set_socket_reuseaddr(&socket, false)
                .context("setsockopt", || "SO_REUSEADDR, 0".to_owned())?;
            Ok(socket)
        }
        other => other,
    }
}

fn bound(kind: Kind, address: SocketAddr, reuse: bool) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Datagram => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)
        .context("socket", || format!("{family:?}, {kind:?}"))?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true).context("setsockopt", || "IPV6_V6ONLY, 1".to_owned())?;
    }
    if reuse {
        set_socket_reuseaddr(&socket, true)
            .context("setsockopt", || "SO_REUSEADDR, 1".to_owned())?;
    }
    bind(&socket, &address).context("bind", || address.to_string())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn free() -> SocketAddr {
        // Closed at once; nobody on this machine is quicker in practice.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn what_is_reserved_nobody_gets_and_what_somebody_has_is_not_reserved() {
        let address = free();
        let reserved = reserve(Kind::Stream, address).unwrap();
        assert!(TcpListener::bind(address).is_err());
        assert!(UdpSocket::bind(address).is_ok());
        let again = reserve(Kind::Stream, address).unwrap_err();
        assert_eq!(again.errno(), Errno::ADDRINUSE);
        drop(reserved);
        let listener = TcpListener::bind(address).unwrap();
        let taken = reserve(Kind::Stream, address).unwrap_err();
        assert_eq!(taken.errno(), Errno::ADDRINUSE);
        drop(listener);
        let foreign = reserve(Kind::Datagram, "192.0.2.1:9".parse().unwrap()).unwrap_err();
        assert_eq!(foreign.errno(), Errno::ADDRNOTAVAIL);
    }

    #[test]
    fn ends_of_connections_are_not_in_the_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // The server closes first: its end waits from then on.
        server.write_all(b"x").unwrap();
        drop((server, listener));
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        drop(client);
        let reserved = reserve(Kind::Stream, address).unwrap();
        assert!(TcpListener::bind(address).is_err());
        drop(reserved);
    }
}
