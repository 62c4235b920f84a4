//! Blobs that are not all there yet: their bytes so far, and who is fetching them.
//!
//! A partial blob is named by registry and digest together. Where a credential
//! of one tenant fetched the front of a private blob, only that registry may
//! complete it: it knows who may have the rest. What comes from outside of all
//! registries, for anybody, is therefore kept apart.

use std::os::fd::AsFd;

use ucr_sys::{Dir, Lock, LockMode};

use super::error::Error;
use super::layout::Store;
use crate::Digest;

/// The right to fetch one blob of one registry, with what is there of it.
#[derive(Debug)]
pub struct Partial {
    lock: Option<Lock>,
    locks: Dir,
    parent: Dir,
    name: String,
}

/// What a blob is known by while it is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobName(String);

impl BlobName {
    /// The name of the blob `digest` of `registry`.
    pub fn new(registry: &str, digest: &Digest) -> Self {
        let name = Digest::sha256(format!("{registry} {digest}").as_bytes());
        Self(name.hex().to_owned())
    }

    /// The name of the blob `digest` where no registry has it, but anybody may.
    pub fn outside(digest: &Digest) -> Self {
        // No registry is called by nothing.
        Self::new("", digest)
    }

    fn lock(&self) -> String {
        format!("blob-{}", self.0)
    }
}

impl Store {
    /// Takes the lock of a blob if nobody is fetching it.
    pub fn try_lock_blob(&self, blob: &BlobName) -> Result<Option<Partial>, Error> {
        let lock = Lock::try_acquire(
            self.locks.as_fd(),
            blob.lock().as_bytes(),
            LockMode::Exclusive,
        )
        .map_err(Error::Partial)?;
        let Some(lock) = lock else {
            return Ok(None);
        };
        let again = |name| self.root.dir(name).map_err(Error::Partial);
        Ok(Some(Partial {
            lock: Some(lock),
            locks: again("locks")?,
            parent: again("partial")?,
            name: blob.0.clone(),
        }))
    }

    /// The process that is fetching a blob, as far as it has said so.
    pub fn fetcher(&self, blob: &BlobName) -> Option<u32> {
        self.signed(&blob.lock())
    }

    /// Throws away what is there of a blob that is no longer wanted, unless somebody is at it.
    pub fn clear_blob(&self, blob: &BlobName) -> Result<(), Error> {
        if !self.partial.contains(&blob.0).map_err(Error::Partial)? {
            return Ok(());
        }
        match self.try_lock_blob(blob)? {
            Some(partial) => partial.clear().map_err(Error::Partial),
            None => Ok(()),
        }
    }

    /// How many bytes of a blob are there, whoever is fetching it.
    pub fn partial_bytes(&self, blob: &BlobName) -> u64 {
        self.bytes_so_far(&blob.0)
    }

    /// How many bytes are in one directory of `partial/`.
    pub(super) fn bytes_so_far(&self, name: &str) -> u64 {
        // What is gone meanwhile, or cannot be read, is no news of progress.
        let Ok(dir) = self.partial.dir(name) else {
            return 0;
        };
        let sizes = dir.names().unwrap_or_default().into_iter().map(|name| {
            let stat = ucr_sys::at::stat(dir.as_fd(), name.as_bytes());
            stat.ok()
                .flatten()
                .map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
        });
        sizes.sum()
    }
}

impl Partial {
    /// The directory of the parts, made where it is missing.
    pub fn dir(&self) -> Result<Dir, ucr_sys::Error> {
        self.parent.dir_or_create(&self.name)
    }

    /// Says which process it is that fetches, for those who wait for nothing but the blob.
    pub fn sign(&self) {
        // Only to tell who it is; that somebody is, the lock itself says.
        let _ = self.lock.as_ref().map(Lock::sign);
    }

    /// Throws away what is there.
    pub fn clear(&self) -> Result<(), ucr_sys::Error> {
        if self.parent.contains(&self.name)? {
            self.parent.remove_tree(&self.name)?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    /// Gives the lock back; what is there stays for whoever goes on.
    fn drop(&mut self) {
        // A directory without parts, and a lock file that stays, are the next sweep's.
        if self
            .parent
            .dir(&self.name)
            .and_then(|dir| dir.names())
            .is_ok_and(|names| names.is_empty())
        {
            let _ = self.parent.remove_tree(&self.name);
        }
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove_file(self.locks.as_fd(), format!("blob-{}", self.name).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_blob_goes_unless_somebody_is_at_it() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let blob = BlobName::new("registry.example", &Digest::sha256(b"x"));
        let fetching = store.try_lock_blob(&blob).unwrap().unwrap();
        let dir = fetching.dir().unwrap();
        dir.replace_soon("0", b"front", 0o600).unwrap();
        store.clear_blob(&blob).unwrap();
        assert_eq!(store.partial_bytes(&blob), 5);
        drop(fetching);
        store.clear_blob(&blob).unwrap();
        assert!(store.partial.names().unwrap().is_empty());
        assert!(store.locks.names().unwrap().is_empty());
        store.clear_blob(&blob).unwrap();
    }
}
