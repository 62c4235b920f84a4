//! Lock files: who holds the `flock` is alive, and nothing else says so.
//!
//! A lock dies with the last fd that holds it, so there is no stale lock after
//! `kill -9` or a reboot. A lock file may be unlinked by whoever holds it
//! exclusively; hence every taker checks, once it has the lock, that the name
//! still leads to the inode that it locked, and starts again if not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

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
            wait(&fd, mode)?;
            if still_named(dir, name, &fd)? {
                return Ok(Self { fd });
            }
        }
    }

    /// Takes the lock `name` in `dir` if nobody is in the way, else `None`.
    pub fn try_acquire(dir: BorrowedFd<'_>, name: &[u8], mode: LockMode) -> Result<Option<Self>> {
        loop {
            let fd = open(dir, name)?;
            if !try_lock(&fd, mode)? {
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
        Ok(try_lock(&fd, mode)?.then_some(Self { fd }))
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
        wait(&fd, mode)?;
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

fn wait(fd: &OwnedFd, mode: LockMode) -> Result<()> {
    loop {
        match flock(fd, mode.waiting()) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("flock", at::described(fd.as_fd()), errno)),
        }
    }
}

fn try_lock(fd: &OwnedFd, mode: LockMode) -> Result<bool> {
    match flock(fd, mode.trying()) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::new("flock", at::described(fd.as_fd()), errno)),
    }
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
