//! Lines for a descriptor that the caller of this program gave it.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Takes a descriptor for writing that this process was started with.
///
/// What is given back is another descriptor for the same, and neither is passed on to a program
/// that is executed.
///
/// # Errors
///
/// `EBADF` where there is none of that number, it is standard input, output or error, or it is
/// not open for writing.
pub fn take(number: RawFd) -> Result<OwnedFd> {
    let wrong = || Error::new("fcntl", number.to_string(), Errno::BADF);
    if number <= libc::STDERR_FILENO {
        return Err(wrong());
    }
    // SAFETY: F_DUPFD_CLOEXEC takes no memory; a number that is not open is refused.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) };
    if copy < 0 {
        let error = std::io::Error::last_os_error();
        let operands = format!("{number}, F_DUPFD_CLOEXEC");
        return Err(Error::from_io("fcntl", operands, &error));
    }
    // SAFETY: it was made just now, and nothing else knows it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    let flags = rustix::fs::fcntl_getfl(&copy).context("fcntl", || format!("{number}, F_GETFL"))?;
    if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        return Err(wrong());
    }
    // SAFETY: F_SETFD takes no memory, and the number is open, as its copy shows.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    match result {
        0.. => Ok(copy),
        _ => Err(wrong()),
    }
}

/// Writes a line in one piece, waiting at most `patience` for room.
///
/// # Errors
///
/// `EAGAIN` when there is no room for so long, `EPIPE` when nobody reads, and any failure of
/// `poll` and `write`. Of a line that failed a part may have been written.
pub fn write(to: BorrowedFd<'_>, line: &[u8], patience: Duration) -> Result<()> {
    let mut rest = line;
    while !rest.is_empty() {
        if !is_writable(to, patience)? {
            return Err(Error::new("poll", "POLLOUT", Errno::AGAIN));
        }
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(errno).context("write", || format!("{} bytes", rest.len()));
            }
        }
    }
    Ok(())
}

fn is_writable(to: BorrowedFd<'_>, patience: Duration) -> Result<bool> {
    let timeout = Timespec::try_from(patience).unwrap_or_default();
    let mut polled = [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
    loop {
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("poll", || "POLLOUT".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_descriptor_is_taken_only_for_writing_and_never_passed_on() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty()).unwrap();
        let taken = take(writer.as_raw_fd()).unwrap();
        for fd in [taken.as_fd(), writer.as_fd()] {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        write(taken.as_fd(), b"x\n", Duration::ZERO).unwrap();
        drop((taken, writer));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "x\n");
        for wrong in [0, 2, -1, reader.as_raw_fd(), 1_000_000] {
            assert_eq!(take(wrong).unwrap_err().errno(), Errno::BADF, "{wrong}");
        }
    }

    #[test]
    fn nobody_who_reads_is_not_waited_for_long() {
        let (reader, writer) = std::io::pipe().unwrap();
        let full = vec![b'x'; 1 << 20];
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let said = write(writer.as_fd(), &full, Duration::ZERO).unwrap_err();
        assert_eq!(said.errno(), Errno::AGAIN);
        drop(reader);
        let said = write(writer.as_fd(), b"x", Duration::ZERO).unwrap_err();
        assert_eq!(said.errno(), Errno::PIPE);
    }
}
