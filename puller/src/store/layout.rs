//! Opening a store, and its directories.

use std::path::{Path, PathBuf};

use ucr_sys::{BootId, Dir, Room};

use super::error::Error;
use crate::digest::Algorithm;

/// The format of the tree that this version writes and reads.
const FORMAT: &str = "1";

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub(super) root: Dir,
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
}

impl Store {
    /// Opens the store at `path`, making it where there is none.
    ///
    /// # Errors
    /// When it cannot be made, or is of another format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let root = Dir::open_or_create(path).map_err(failed)?;
        check_version(&root)?;
        Self::open_below(root).map_err(failed)
    }

    fn open_below(root: Dir) -> Result<Self, ucr_sys::Error> {
        root.dir_or_create("empty")?;
        Ok(Self {
            boot: BootId::current()?,
            layers: root.dir_or_create("layers")?,
            fixups: root.dir_or_create("fixups")?,
            images: root.dir_or_create("images")?,
            refs: root.dir_or_create("refs")?,
            partial: root.dir_or_create("partial")?,
            tmp: root.dir_or_create("tmp")?,
            trash: root.dir_or_create("trash")?,
            locks: root.dir_or_create("locks")?,
            leases: root.dir_or_create("leases")?,
            containers: root.dir_or_create("containers")?,
            root,
        })
    }

    /// An empty directory that nobody else writes to.
    pub fn empty_dir(&self) -> PathBuf {
        self.root.path().join("empty")
    }

    /// Free bytes on the store's file system.
    pub fn free_bytes(&self) -> Option<u64> {
        self.root.free_bytes().ok()
    }

    /// Free inodes on the store's file system.
    pub fn free_inodes(&self) -> Option<u64> {
        self.root.free_inodes().ok()
    }

    /// What is left of the store's file system, where that can be told.
    pub(crate) fn room(&self) -> Option<Room> {
        self.root.room().ok()
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        self.root.path()
    }
}

fn check_version(root: &Dir) -> Result<(), Error> {
    let failed = |source| Error::Open {
        path: root.path().to_owned(),
        source,
    };
    match root.read("version", 64).map_err(failed)? {
        // Written once, before anything else; an empty one is what a power cut left of it.
        None => root
            .replace("version", FORMAT.as_bytes(), 0o600)
            .map_err(failed),
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
