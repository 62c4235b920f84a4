//! Waiting until there is something to read.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Opens a file to read what there is, and does not wait for somebody who writes into a pipe
/// (fifo(7)).
///
/// # Errors
///
/// Any failure of `open`.
pub fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened
        .map(File::from)
        .context("open", || path.display().to_string())
}

/// Waits until one of `fds` can be read or was closed at its other end.
///
/// # Errors
///
/// Any failure of `poll` other than `EINTR`.
pub fn wait_readable<const N: usize>(fds: [BorrowedFd<'_>; N]) -> Result<[bool; N]> {
    wait_readable_until(fds, None)
}

/// Waits until `fd` can be read or was closed at its other end; false when that takes longer than
/// `time`.
///
/// # Errors
///
/// Any failure of `poll` other than `EINTR`.
pub fn is_readable_within(fd: BorrowedFd<'_>, time: Option<Duration>) -> Result<bool> {
    let end = time.and_then(|time| Instant::now().checked_add(time));
    wait_readable_until([fd], end).map(|[ready]| ready)
}

/// Waits until one of `fds` can be read or was closed at its other end, or it is `end`.
///
/// # Errors
///
/// Any failure of `poll` other than `EINTR`.
pub fn wait_readable_until<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    end: Option<Instant>,
) -> Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    poll_until(&mut polled, end)?;
    Ok(polled.map(|fd| !fd.revents().is_empty()))
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Something to read, or the other end closed.
    Reading,
    /// Room to write, or the other end closed.
    Writing,
}

/// Waits until one of `fds` is as it is waited for, or it is `end`; says which are.
///
/// # Errors
///
/// Any failure of `poll` other than `EINTR`.
pub fn wait_any(fds: &[(BorrowedFd<'_>, For)], end: Option<Instant>) -> Result<Vec<bool>> {
    let polled = fds.iter().map(|(fd, what)| {
        let flags = match what {
            For::Reading => PollFlags::IN,
            For::Writing => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(*fd, flags)
    });
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    poll_until(&mut polled, end)?;
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

fn poll_until(polled: &mut [PollFd<'_>], end: Option<Instant>) -> Result<()> {
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(polled, left.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("poll", String::new),
        }
    }
}

/// Waits until the content of a file of the kernel's that tells of changes is another than what was
/// last read of `fd`, sysfs(5) and cgroups(7); false when it is `end` before.
///
/// # Errors
///
/// Any failure of `poll` other than `EINTR`.
pub fn wait_changed_until(fd: BorrowedFd<'_>, end: Instant) -> Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::PRI)];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match poll(&mut polled, left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("poll", || "POLLPRI".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_pipe_is_readable_when_something_or_nothing_more_comes() {
        let (reader, writer) = std::io::pipe().unwrap();
        let moment = Some(Duration::from_millis(1));
        assert!(!is_readable_within(reader.as_fd(), moment).unwrap());
        drop(writer);
        assert!(is_readable_within(reader.as_fd(), None).unwrap());
    }

    #[test]
    fn a_fifo_is_opened_before_anybody_writes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("fifo");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let fifo = open(&path).unwrap();
        let moment = Some(Duration::from_millis(1));
        assert!(!is_readable_within(fifo.as_fd(), moment).unwrap());
    }
}
