//! Opening a store, and its directories.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ucr_sys::{BootId, Dir, Room};

use super::backend::{self, Backend};
use super::early::Early;
use super::error::Error;
use super::lease::Lease;
use super::settle::Made;
use crate::digest::Algorithm;

/// The format of the tree that this version writes and reads.
const FORMAT: &str = "1";

/// An open store.
#[derive(Debug)]
pub struct Store {
    /// Opened before this process writes anything here, so that its syncfs(2) tells of every
    /// write-back error since.
    pub(super) root: Dir,
    backend: Backend,
    pub(super) boot: BootId,
    pub(super) layers: Dir,
    pub(super) fixups: Dir,
    pub(super) images: Dir,
    pub(super) refs: Dir,
    pub(super) partial: Dir,
    pub(super) tmp: Dir,
    pub(super) trash: Dir,
    pub(super) locks: Dir,
    pub(super) leases: Dir,
    pub(super) containers: Dir,
    /// What keeps others from removing what this process needs, once it needs something.
    pub(super) lease: Mutex<Option<Lease>>,
    /// What this process has made and not yet seen on the disk.
    pub(super) made: Mutex<Vec<Made>>,
    /// What writes that out while there is more to come, where somebody will wait for it.
    pub(super) early: Mutex<Early>,
}

impl Store {
    /// Opens the store at `path`, making it where there is none.
    ///
    /// # Errors
    /// When it cannot be made, is of another format or somebody else's, or stands where no
    /// store can.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let root = Dir::open_or_create(path).map_err(failed)?;
        let backend = backend::detect(&root)?;
        check_version(&root, backend)?;
        Self::open_below(root, backend).map_err(failed)
    }

    /// Opens the store at `path` to read it, making nothing; `None` where there is none.
    ///
    /// # Errors
    /// As [`Store::open`], and when the caller may not read it.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let Some(root) = super::tree::absent(Dir::open(path)).map_err(failed)? else {
            return Ok(None);
        };
        let version = root.read("version", 64).map_err(failed)?;
        if version.is_none_or(|version| version.is_empty()) {
            return Ok(None);
        }
        Self::open(path).map(Some)
    }

    fn open_below(root: Dir, backend: Backend) -> Result<Self, ucr_sys::Error> {
        let open = Dir::dir_or_create;
        open(&root, "empty")?;
        Ok(Self {
            boot: BootId::current()?,
            backend,
            layers: open(&root, "layers")?,
            fixups: open(&root, "fixups")?,
            images: open(&root, "images")?,
            refs: open(&root, "refs")?,
            partial: open(&root, "partial")?,
            tmp: open(&root, "tmp")?,
            trash: open(&root, "trash")?,
            locks: open(&root, "locks")?,
            leases: open(&root, "leases")?,
            containers: open(&root, "containers")?,
            lease: Mutex::new(None),
            made: Mutex::new(Vec::new()),
            early: Mutex::default(),
            root,
        })
    }

    /// Whether nothing can be added to it or removed from it by this process.
    pub fn is_read_only(&self) -> bool {
        self.backend == Backend::ReadOnly
    }

    /// Refuses a store that cannot be changed, before anything is tried.
    pub fn check_writable(&self) -> Result<(), Error> {
        match self.is_read_only() {
            true => Err(Error::ReadOnly {
                path: self.path().to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Keeps leases and containers' writable layers below `path` where the store is read-only.
    ///
    /// # Errors
    /// When the directories cannot be made there.
    pub fn or_write_below(mut self, path: &Path) -> Result<Self, Error> {
        if self.is_read_only() {
            let make = || {
                let aside = Dir::open_or_create(path)?.dir_or_create("store")?;
                Ok((
                    aside.dir_or_create("leases")?,
                    aside.dir_or_create("containers")?,
                ))
            };
            (self.leases, self.containers) = make().map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(self)
    }

    /// An empty directory that nobody else writes to.
    pub fn empty_dir(&self) -> PathBuf {
        self.root.path().join("empty")
    }

    /// Free bytes on the store's file system, where it counts them.
    pub fn free_bytes(&self) -> Option<u64> {
        self.room()?.free_bytes
    }

    /// Free inodes on the store's file system, where it counts them.
    pub fn free_inodes(&self) -> Option<u64> {
        self.room()?.free_inodes
    }

    /// All bytes of the store's file system, used or free.
    pub fn capacity(&self) -> Option<u64> {
        Some(self.room()?.bytes)
    }

    /// What is left of the store's file system, where that can be told.
    pub fn room(&self) -> Option<Room> {
        self.root.room().ok()
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let slot = self.lease.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = slot.take() {
            // One that stays is removed by the next sweep, since nobody holds it.
            let _ = self.leases.remove(&lease.id);
        }
    }
}

fn check_version(root: &Dir, backend: Backend) -> Result<(), Error> {
    let failed = |source| Error::Open {
        path: root.path().to_owned(),
        source,
    };
    match root.read("version", 64).map_err(failed)? {
        // Written once, before anything else; an empty one is what a power cut left of it.
        None => {
            backend::check_new(root, backend)?;
            // Containers come and go: what is unpacked and removed beside them is not in their way.
            root.place_apart();
            root.replace("version", FORMAT.as_bytes(), 0o600)
                .map_err(failed)
        }
        Some(found) if found == FORMAT.as_bytes() => Ok(()),
        Some(found) if found.is_empty() => root
            .replace("version", FORMAT.as_bytes(), 0o600)
            .map_err(failed),
        Some(found) => Err(Error::Version {
            path: root.path().to_owned(),
            found: found.escape_ascii().to_string(),
            known: FORMAT,
        }),
    }
}

/// The directory for one algorithm's digests in `parent`.
pub(super) fn by_algorithm(parent: &Dir, algorithm: Algorithm) -> Result<Dir, ucr_sys::Error> {
    parent.dir_or_create(algorithm.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c23_a_store_of_another_format_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        drop(Store::open(&path).unwrap());
        Dir::open(&path)
            .unwrap()
            .replace("version", b"2", 0o600)
            .unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("has format 2; this ucr knows format 1"),
            "{error}"
        );
    }

    #[test]
    fn s40_the_store_is_closed_to_other_users() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        drop(Store::open(&path).unwrap());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o700
        );
    }
}
