//! Descriptors by number: which of them the next program gets, and which this one was given.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::Errno;
use crate::error::{Context, Error, Result};
use crate::process::SingleThreaded;

/// Keeps `fd` open across `execve`.
///
/// # Errors
///
/// Any failure of `fcntl`.
pub fn keep_across_exec(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .context("fcntl", || format!("{}, F_SETFD, 0", fd.as_raw_fd()))
}

/// Keeps descriptor `number`, which a program before `execve` left open, open across the next.
///
/// # Errors
///
/// `EBADF` when no such descriptor is open.
pub fn keep_number_across_exec(number: RawFd) -> Result<()> {
    // SAFETY: F_SETFD takes no memory; a number that is not open is refused.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    if result < 0 {
        let error = io::Error::last_os_error();
        let operands = format!("{number}, F_SETFD, 0");
        return Err(Error::from_io("fcntl", operands, &error));
    }
    Ok(())
}

/// Another descriptor for what descriptor `number`, which a program before `execve` left open, is
/// open on; closed by the next.
///
/// # Errors
///
/// `EBADF` when no such descriptor is open.
pub fn duplicate(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes no memory; a number that is not open is refused.
    let result = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if result < 0 {
        let error = io::Error::last_os_error();
        let operands = format!("{number}, F_DUPFD_CLOEXEC");
        return Err(Error::from_io("fcntl", operands, &error));
    }
    // SAFETY: it was made just now, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Lets reads from and writes to what `fd` is open on never wait; for all who have it open with it.
///
/// # Errors
///
/// Any failure of `ioctl`.
pub fn never_wait(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).context("ioctl", || "FIONBIO".into())
}

/// Reads what there is, read(2), with the bare error number.
///
/// # Errors
///
/// Any failure of `read`.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> std::result::Result<usize, Errno> {
    rustix::io::read(fd, buffer)
}

/// Writes what there is room for, write(2), with the bare error number.
///
/// # Errors
///
/// Any failure of `write`.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> std::result::Result<usize, Errno> {
    rustix::io::write(fd, bytes)
}

/// Takes ownership of descriptor `number`, which a program before `execve` left open.
///
/// # Errors
///
/// `EBADF` when no such descriptor is open; any other failure of `fcntl`.
///
/// # Safety
///
/// Nothing else in this process owns the descriptor.
pub unsafe fn adopt(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_SETFD takes no memory; a number that is not open is refused.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(Error::from_io(
            "fcntl",
            format!("{number}, F_SETFD"),
            &error,
        ));
    }
    // SAFETY: it is open, and the caller says that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Descriptors handed over by the program before `execve`, the rest closed.
///
/// # Errors
///
/// `EBADF` when one of `numbers` is not open or is one of the standard three.
pub fn adopt_only(
    _first_thing_in_main: &SingleThreaded,
    numbers: &[RawFd],
) -> Result<Vec<OwnedFd>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != numbers.len() || sorted.first().is_some_and(|first| *first < 3) {
        return Err(Error::new("adopt", format!("{numbers:?}"), Errno::BADF));
    }
    close_all_but(3, &mut sorted)?;
    let adopted = sorted.iter().map(|number| {
        // SAFETY: the caller has just been exec'd and owns nothing above 2; each
        // number occurs once.
        unsafe { adopt(*number) }
    });
    adopted.collect()
}

/// Closes every descriptor from `first` on but those in `kept`, which it sorts.
///
/// # Errors
///
/// Any failure of `close_range`.
pub(crate) fn close_all_but(first: RawFd, kept: &mut [RawFd]) -> Result<()> {
    kept.sort_unstable();
    let mut next = first;
    for number in kept {
        close_range(next, *number - 1)?;
        next = *number + 1;
    }
    close_range(next, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: close_range takes no memory; nothing uses a descriptor in the
    // range again: the callers run before any is opened, in a copy that runs no
    // destructor, or just before another program takes this one's place.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(Error::from_io(
            "close_range",
            format!("{first}, {last}"),
            &error,
        ));
    }
    Ok(())
}
