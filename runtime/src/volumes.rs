//! Volumes of a container that others can have too, and what keeps them while they do.
//!
//! A volume of the image's is a part of the container's own overlay. Another container binds it out
//! of the mount namespace of the first (`rootfs::shared`), and holds the first's *lease*: a file
//! whose flock each of them has, shared. Who ends and gets it exclusively is the last one, and
//! removes what the lease keeps. Of those who were killed nobody has it: who sweeps removes that.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Bytes;

/// A volume of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where the container sees it.
    pub target: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A file or directory of the host.
    Bind {
        /// Where it is.
        source: PathBuf,
        /// Options of the mount, in the words of mount(8).
        options: Vec<String>,
    },
    /// A directory that a container has of its image, its own or another's.
    Image {
        /// Whether it can be read alone.
        read_only: bool,
    },
}

/// A file that keeps trees as long as anybody has its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The descriptor that holds the lock, in this container.
    pub held: i32,
    /// The file.
    pub file: PathBuf,
    /// What is removed before it, when nobody has the lock.
    pub trees: Vec<PathBuf>,
}

impl Lease {
    /// Whether `path` goes with it.
    pub fn keeps(&self, path: &Path) -> bool {
        self.everything().any(|kept| kept == path)
    }

    /// What goes with it, in order: itself last.
    pub fn everything(&self) -> impl Iterator<Item = &PathBuf> {
        self.trees.iter().chain([&self.file])
    }

    /// Whether nobody else has the lock, which from here on nobody else can have.
    ///
    /// The lock that was held is lost where another has one (flock(2), "Converting a lock"), so of
    /// several who end at once the last one that asks is told so.
    ///
    /// # Errors
    ///
    /// Any failure of `flock`.
    pub fn is_last(lock: &OwnedFd) -> ucr_sys::Result<bool> {
        ucr_sys::try_lock_file(lock.as_fd(), ucr_sys::LockMode::Exclusive)
    }
}

/// What a plan says of volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volumes {
    /// The container's volumes.
    pub all: Vec<Volume>,
    /// What keeps those that it shares: its own, and those of others.
    pub leases: Vec<Lease>,
}

/// A directory of another container's, as a plan names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The descriptor that stands for the other's first process.
    pub container: i32,
    /// Where the other sees it.
    pub path: Bytes,
}
