//! Pseudo terminals, pty(7).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::pty::OpenptFlags;

use crate::Errno;
use crate::error::{Context, Error, Result};
use crate::inroot::{self, InRoot};

/// Where a root file system has its terminals, runtime-spec config-linux.md "Default Devices".
const MULTIPLEXER: &str = "/dev/pts/ptmx";

/// `DEVPTS_SUPER_MAGIC`, statfs(2).
const DEVPTS: i64 = 0x1cd1;

/// A pseudo terminal: what is written on one side is read on the other.
#[derive(Debug)]
pub struct Pty {
    /// The side of whoever shows it.
    pub master: OwnedFd,
    /// The side of the programs that use it as their terminal.
    pub slave: OwnedFd,
}

impl Pty {
    /// Makes a new one in the devpts that is mounted on `/dev/pts` inside `root`.
    ///
    /// No path leads from the one side to the other, so that nobody inside can put another file in
    /// the way (CVE-2025-52565).
    ///
    /// # Errors
    ///
    /// `ENOTTY` where no devpts is mounted; any failure of `openat2` or `ioctl`.
    pub fn open(root: &InRoot) -> Result<Self> {
        let master = root.character_device(Path::new(MULTIPLEXER), (5, 2))?;
        if inroot::file_system(master.as_fd())? != DEVPTS {
            return Err(Error::new("open pty", MULTIPLEXER, Errno::NOTTY));
        }
        rustix::pty::unlockpt(&master).context("ioctl", || "TIOCSPTLCK".into())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags);
        let slave = slave.context("ioctl", || "TIOCGPTPEER".into())?;
        Ok(Self { master, slave })
    }

    /// Makes the side of the programs standard input, output and error of this process, and of
    /// user `uid`; returns the other side.
    ///
    /// # Errors
    ///
    /// Any failure of `fchown` or `dup2`.
    pub fn become_standard(self, uid: u32) -> Result<OwnedFd> {
        rustix::fs::fchown(&self.slave, Some(rustix::fs::Uid::from_raw(uid)), None)
            .context("fchown", || format!("terminal, {uid}"))?;
        let standard = rustix::stdio::dup2_stdin(&self.slave)
            .and_then(|()| rustix::stdio::dup2_stdout(&self.slave))
            .and_then(|()| rustix::stdio::dup2_stderr(&self.slave));
        standard.context("dup2", || "terminal".into())?;
        Ok(self.master)
    }
}
