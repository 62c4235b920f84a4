//! What AppArmor confines a task by.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::mount::Tree;

/// A profile of AppArmor that holds once the program is executed, aa_change_onexec(2).
#[derive(Debug)]
pub struct Profile {
    procfs: Tree,
    change: Vec<u8>,
}

impl Profile {
    /// The profile of this `name`, to be asked for by `procfs`, which shows the task and is mounted
    /// nowhere: what is mounted over `/proc` is not met (CVE-2019-16884).
    pub fn new(procfs: Tree, name: &[u8]) -> Self {
        let change = [b"exec ", name].concat();
        Self { procfs, change }
    }

    /// The name of the profile.
    pub fn name(&self) -> &[u8] {
        self.change.strip_prefix(b"exec ").unwrap_or_default()
    }

    /// Asks for it: the calling thread is confined from its next `execve` on.
    ///
    /// Takes no memory and no lock.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is no such profile; any failure of `openat2` or `write`.
    pub(super) fn ask_for(&self) -> Result<(), Errno> {
        let file = match self.open(c"thread-self/attr/apparmor/exec") {
            // Before Linux 5.8 one file is for all security modules.
            Err(Errno::NOENT) => self.open(c"thread-self/attr/exec")?,
            opened => opened?,
        };
        rustix::io::write(&file, &self.change).map(drop)
    }

    fn open(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat2(self.procfs.as_fd(), path, flags, Mode::empty(), resolve)
    }
}
