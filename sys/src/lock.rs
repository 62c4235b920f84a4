//! Lock files: who holds the `flock` is alive, and nothing else says so.
//!
//! A lock dies with the last fd that holds it, so there is no stale lock after
//! `kill -9` or a reboot. A lock file may be unlinked by whoever holds it
//! exclusively; hence every taker checks, once it has the lock, that the name
//! still leads to the inode that it locked, and starts again if not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, major, minor, openat};

use crate::error::Context;
use crate::{Errno, Error, Result, at};

/// How a lock is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Any number of holders: "I am alive and using it".
    Shared,
    /// One holder: "I am making or removing it".
    Exclusive,
}

impl LockMode {
    fn waiting(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::LockShared,
            Self::Exclusive => FlockOperation::LockExclusive,
        }
    }

    fn trying(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::NonBlockingLockShared,
            Self::Exclusive => FlockOperation::NonBlockingLockExclusive,
        }
    }
}

/// A held lock, given back when dropped (or when the process ends, however it ends).
#[derive(Debug)]
pub struct Lock {
    fd: OwnedFd,
}

impl Lock {
    /// Takes the lock `name` in `dir`, waiting for it if need be.
    pub fn acquire(dir: BorrowedFd<'_>, name: &[u8], mode: LockMode) -> Result<Self> {
        loop {
            let fd = open(dir, name)?;
            lock_file(fd.as_fd(), mode)?;
            if still_named(dir, name, &fd)? {
                return Ok(Self { fd });
            }
        }
    }

    /// Takes the lock `name` in `dir` if nobody is in the way, else `None`.
    pub fn try_acquire(dir: BorrowedFd<'_>, name: &[u8], mode: LockMode) -> Result<Option<Self>> {
        loop {
            let fd = open(dir, name)?;
            if !try_lock_file(fd.as_fd(), mode)? {
                return Ok(None);
            }
            if still_named(dir, name, &fd)? {
                return Ok(Some(Self { fd }));
            }
        }
    }

    /// Locks an open file or directory if nobody is in the way, else `None`.
    ///
    /// The caller checks that the name it used still leads there.
    pub fn try_on(fd: OwnedFd, mode: LockMode) -> Result<Option<Self>> {
        Ok(try_lock_file(fd.as_fd(), mode)?.then_some(Self { fd }))
    }

    /// Whether nobody is in the way of a lock on an open file or directory just now.
    ///
    /// It is taken for a moment.
    pub fn is_free(fd: impl AsFd, mode: LockMode) -> Result<bool> {
        let is_free = try_lock_file(fd.as_fd(), mode)?;
        if is_free {
            unlock_file(fd.as_fd())?;
        }
        Ok(is_free)
    }

    /// The process that took the lock which somebody has on an open file or directory, as far as
    /// /proc/locks tells (proc(5)); its copies may have that lock as well.
    pub fn holder(fd: BorrowedFd<'_>) -> Option<u32> {
        let stat = at::stat_fd(fd).ok()?;
        let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
        let file = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| holder_in(line, &file))
    }

    /// Writes into the lock file which process holds it, for whoever wonders.
    pub fn sign(&self) -> Result<()> {
        let pid = std::process::id().to_string();
        let failed = |errno| Error::new("pwrite64", at::described(self.as_fd()), errno);
        rustix::io::pwrite(&self.fd, pid.as_bytes(), 0).map_err(failed)?;
        rustix::fs::ftruncate(&self.fd, pid.len() as u64).map_err(failed)
    }

    /// Locks an open file or directory, waiting for it if need be.
    ///
    /// The caller checks that the name it used still leads there.
    pub fn on(fd: OwnedFd, mode: LockMode) -> Result<Self> {
        lock_file(fd.as_fd(), mode)?;
        Ok(Self { fd })
    }

    /// Removes the lock file, which the holder of an exclusive lock may do.
    pub fn remove_file(self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        at::remove(dir, name)
    }

    /// The fd that holds the lock, to be kept open elsewhere too.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Who has the lock of a line of /proc/locks, if it is a `flock` on `file` and nobody waits in it.
fn holder_in(line: &str, file: &str) -> Option<u32> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    match fields[..] {
        [_, "FLOCK", _, _, pid, locked, ..] if locked == file => pid.parse().ok(),
        _ => None,
    }
}

/// Waits for the lock on an open file, which stays this file's until every copy of it is closed.
///
/// # Errors
///
/// Any failure of `flock` other than `EINTR`.
pub fn lock_file(file: BorrowedFd<'_>, mode: LockMode) -> Result<()> {
    rustix::io::retry_on_intr(|| flock(file, mode.waiting()))
        .context("flock", || at::described(file))
}

/// Tries to take the lock on an open file; false when somebody is in the way.
///
/// # Errors
///
/// Any failure of `flock` other than `EWOULDBLOCK`.
pub fn try_lock_file(file: BorrowedFd<'_>, mode: LockMode) -> Result<bool> {
    match flock(file, mode.trying()) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::new("flock", at::described(file), errno)),
    }
}

/// Gives the lock on an open file back, for every copy of the descriptor that other processes have.
///
/// # Errors
///
/// Any failure of `flock`.
pub fn unlock_file(file: BorrowedFd<'_>) -> Result<()> {
    flock(file, FlockOperation::Unlock).context("flock", || at::described(file))
}

/// Whether `name` in `dir` leads to the very file that `fd` has open.
pub fn still_named(dir: BorrowedFd<'_>, name: &[u8], fd: &OwnedFd) -> Result<bool> {
    let opened = at::stat_fd(fd.as_fd())?;
    let named = at::stat(dir, name)?;
    Ok(named.is_some_and(|named| (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)))
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(0o600)).context("openat", || {
        format!("{}, {}", at::described(dir), at::quoted(name))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn dir(temp: &tempfile::TempDir) -> OwnedFd {
        OwnedFd::from(std::fs::File::open(temp.path()).unwrap())
    }

    #[test]
    fn an_exclusive_lock_keeps_every_other_out() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(&temp);
        let held = Lock::acquire(dir.as_fd(), b"x", LockMode::Exclusive).unwrap();
        assert!(
            Lock::try_acquire(dir.as_fd(), b"x", LockMode::Shared)
                .unwrap()
                .is_none()
        );
        drop(held);
        assert!(
            Lock::try_acquire(dir.as_fd(), b"x", LockMode::Shared)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn who_holds_a_lock_is_told_by_the_kernel() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(&temp);
        assert_eq!(Lock::holder(dir.as_fd()), None);
        assert!(Lock::is_free(&dir, LockMode::Exclusive).unwrap());
        assert_eq!(Lock::holder(dir.as_fd()), None);
        let held = Lock::try_on(dir.try_clone().unwrap(), LockMode::Exclusive).unwrap();
        let other = self::dir(&temp);
        assert!(!Lock::is_free(&other, LockMode::Shared).unwrap());
        assert_eq!(Lock::holder(dir.as_fd()), Some(std::process::id()));
        drop((held, dir));
        let waiting = "7: -> FLOCK  ADVISORY  WRITE 77 fe:00:131 0 EOF";
        assert_eq!(holder_in(waiting, "fe:00:131"), None);
        let other = "7: POSIX  ADVISORY  WRITE 77 fe:00:131 0 EOF";
        assert_eq!(holder_in(other, "fe:00:131"), None);
    }

    #[test]
    fn who_waited_for_a_removed_lock_file_gets_the_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(&temp);
        let held = Lock::acquire(dir.as_fd(), b"x", LockMode::Exclusive).unwrap();
        let (started, waiting) = mpsc::channel();
        let waiter = std::thread::spawn({
            let dir = dir.try_clone().unwrap();
            move || {
                started.send(()).unwrap();
                Lock::acquire(dir.as_fd(), b"x", LockMode::Exclusive).unwrap()
            }
        });
        waiting.recv().unwrap();
        held.remove_file(dir.as_fd(), b"x").unwrap();
        let taken = waiter.join().unwrap();
        assert!(still_named(dir.as_fd(), b"x", &taken.into_fd()).unwrap());
    }
}
