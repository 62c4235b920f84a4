//! Whole messages between two processes, unix(7) `SOCK_SEQPACKET`.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Context, Result};

/// Two connected ends that carry whole messages, unix(7), close-on-exec.
///
/// # Errors
///
/// Any failure of `socketpair`.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .context("socketpair", || "AF_UNIX, SOCK_SEQPACKET".into())
}

/// Sends one whole message; never raises `SIGPIPE`.
///
/// # Errors
///
/// Any failure of `sendto`.
pub fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<()> {
    rustix::net::send(socket, message, rustix::net::SendFlags::NOSIGNAL)
        .map(drop)
        .context("sendto", || format!("{} bytes", message.len()))
}

/// Receives one whole message; none when the other end is closed.
///
/// # Errors
///
/// Any failure of `read` other than `EINTR`.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        match rustix::io::read(socket, &mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            // The other end closed with a message of ours unread; unix(7) says so
            // once, and what it sent before is still to be read.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(errno) => return Err(errno).context("read", || "message".into()),
        }
    }
}
