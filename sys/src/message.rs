//! Whole messages between two processes, unix(7) `SOCK_SEQPACKET`.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{Context, Error, Result};

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
    rustix::net::send(socket, message, SendFlags::NOSIGNAL)
        .map(drop)
        .context("sendto", || format!("{} bytes", message.len()))
}

/// Sends one whole message together with a descriptor, unix(7) "SCM_RIGHTS"; never raises `SIGPIPE`.
///
/// # Errors
///
/// Any failure of `sendmsg`.
pub fn send_with(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Error::new("sendmsg", "SCM_RIGHTS", Errno::NOBUFS));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(message)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
    .context("sendmsg", || format!("{} bytes, SCM_RIGHTS", message.len()))
}

/// Receives one whole message, and the descriptor that came with it; none when the other end is
/// closed.
///
/// # Errors
///
/// Any failure of `recvmsg` other than `EINTR`.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        match received.map(|received| received.bytes) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                let fd = ancillary.drain().find_map(first_descriptor);
                buffer.truncate(length);
                return Ok(Some((buffer, fd)));
            }
            // The other end closed with a message of ours unread; unix(7) says so
            // once, and what it sent before is still to be read.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(errno) => return Err(errno).context("recvmsg", || "message".into()),
        }
    }
}

fn first_descriptor(message: RecvAncillaryMessage<'_>) -> Option<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_descriptor_crosses_with_its_message() {
        let (one, other) = pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send_with(one.as_fd(), b"it", writer.as_fd()).unwrap();
        send(one.as_fd(), b"alone").unwrap();
        drop(writer);
        let (bytes, fd) = receive(other.as_fd()).unwrap().unwrap();
        assert_eq!(bytes, b"it");
        let mut received = File::from(fd.unwrap());
        std::io::Write::write_all(&mut received, b"x").unwrap();
        drop(received);
        let mut text = String::new();
        std::io::BufReader::new(reader)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "x");
        let (bytes, fd) = receive(other.as_fd()).unwrap().unwrap();
        assert!(bytes == b"alone" && fd.is_none());
        drop(one);
        assert!(receive(other.as_fd()).unwrap().is_none());
    }
}
