//! Staging: where things are made before they have a name that others look up.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{AsFd, OwnedFd};

use ucr_sys::{Dir, Lock, LockMode, at, random_suffix, still_named};

use super::error::Error;
use super::layout::Store;
use crate::archive::index::IndexWriter;

/// A directory in `tmp/` that its maker holds locked, and that goes when it is dropped.
///
/// Its name begins with the boot ID, so that one from before a reboot is seen
/// as dead at once; one of this boot is dead when its lock can be taken.
#[derive(Debug)]
pub struct Staging {
    tmp: Dir,
    name: String,
    dir: Dir,
    _lock: Lock,
}

impl Store {
    /// Makes a staging directory.
    pub fn stage(&self) -> Result<Staging, Error> {
        loop {
            if let Some(staging) = self.try_stage().map_err(Error::Stage)? {
                return Ok(staging);
            }
        }
    }

    fn try_stage(&self) -> Result<Option<Staging>, ucr_sys::Error> {
        let name = format!("{}-{}", self.boot, random_suffix());
        let dir = match self.tmp.create_dir(&name) {
            // Made, and taken for dead before it could be opened.
            Err(error) if error.is_not_found() && error.call() == "openat" => return Ok(None),
            other => other?,
        };
        // A set-group-ID bit or default ACL of whatever the store stands in stays out (L83).
        at::remove_xattr_fd(dir.as_fd(), b"system.posix_acl_default")?;
        at::set_mode_fd(dir.as_fd(), 0o700)?;
        let fd = at::open_dir(dir.as_fd(), b".")?;
        let Some(lock) = Lock::try_on(fd, LockMode::Exclusive)? else {
            return Ok(None);
        };
        // Between its making and its locking somebody may have taken it for dead.
        let opened: OwnedFd = at::open_dir(dir.as_fd(), b".")?;
        if !still_named(self.tmp.as_fd(), name.as_bytes(), &opened)? {
            return Ok(None);
        }
        let tmp = self.root.dir("tmp")?;
        Ok(Some(Staging {
            tmp,
            name,
            dir,
            _lock: lock,
        }))
    }
}

impl Staging {
    /// The directory itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Makes what a layer is unpacked into: its root, and the index to be written on the way.
    pub fn begin(&self, name: &str) -> Result<(Dir, IndexWriter<'static>), ucr_sys::Error> {
        let tree = self.dir.create_dir(name)?;
        let root = tree.create_dir("fs")?;
        if ucr_sys::is_root() {
            // Not the group of a set-group-ID directory around the store (L83).
            at::set_owner_fd(root.as_fd(), 0, 0)?;
        }
        at::set_mode_fd(root.as_fd(), 0o755)?;
        let index = at::create_file(tree.as_fd(), b"index")?;
        let index = IndexWriter::new(BufWriter::new(File::from(index)))
            .map_err(|error| ucr_sys::Error::from_io("write", "\"index\"", &error))?;
        Ok((root, index))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = self.tmp.remove_tree(&self.name);
    }
}
