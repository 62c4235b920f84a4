//! How much a task has written, looked at now and then (Mesos' `disk/du`).

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use ucr_sys::{Errno, tree};

/// Directories that together may not take more than so much.
#[derive(Debug)]
pub(super) struct Disk {
    folders: Vec<OwnedFd>,
    limit: u64,
    interval: Duration,
    next: Instant,
}

impl Disk {
    /// Watches that `folders` have no more than `limit` bytes, as often as the agent says.
    pub(super) fn new(folders: Vec<OwnedFd>, limit: u64, interval: Duration) -> Self {
        Self {
            folders,
            limit,
            interval,
            next: Instant::now() + interval,
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks if it is time, and says by how much it is too much.
    pub(super) fn look(&mut self) -> Option<String> {
        if Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + self.interval;
        let mut used = 0_u64;
        for folder in &self.folders {
            match tree::disk_use(folder.as_fd()) {
                Ok(more) => used = used.saturating_add(more),
                Err(error) if error.errno() == Errno::NAMETOOLONG => {
                    return Some("its directories are nested too deep to be measured".to_owned());
                }
                // What cannot be looked at now is looked at the next time.
                Err(_) => {}
            }
        }
        (used > self.limit).then(|| {
            let (used, limit) = (used >> 20, self.limit >> 20);
            format!("it has {used} MiB on disk, of {limit} MiB that it may have")
        })
    }
}
