//! Layers by diff ID: looked up, locked, committed, distrusted.

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use ucr_sys::{BootId, Dir, Errno, Lock, LockMode};

use super::error::Error;
use super::layout::Store;
use super::staging::Staging;
use super::tree::Tree;
use crate::Digest;
use crate::archive::Applied;

/// The most that a layer's meta may hold: implied directories are few, but an image decides.
const META_LIMIT: u64 = 64 * 1024 * 1024;

/// How far a layer has got on its way to the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Written {
    /// It survives a power cut.
    Durable,
    /// It is whole as long as this boot of the machine lasts.
    Boot(String),
    /// The disk did not take it: it is only kept for the containers that use it.
    Lost,
}

/// What is recorded beside a layer's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerMeta {
    pub(super) written: Written,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) root_opaque: bool,
    pub(super) root_explicit: bool,
    /// The length of the index; older layers have none.
    #[serde(default)]
    pub(super) index_bytes: Option<u64>,
    /// Paths in hex: they are bytes, and JSON has only text.
    pub(super) implied: Vec<String>,
}

impl LayerMeta {
    pub(crate) fn new(applied: &Applied, boot: &BootId) -> Self {
        Self {
            written: Written::Boot(boot.to_string()),
            entries: applied.entries,
            bytes: applied.bytes,
            root_opaque: applied.root_opaque,
            root_explicit: applied.root_explicit,
            index_bytes: None,
            implied: applied.implied.iter().map(hex::encode).collect(),
        }
    }

    /// Directories that exist only for what is in them.
    pub(super) fn implied(&self) -> impl Iterator<Item = Vec<u8>> {
        self.implied
            .iter()
            .filter_map(|path| hex::decode(path).ok())
    }

    /// Whether the layer is whole, as far as this boot of the machine can tell.
    pub(super) fn is_trusted(&self, boot: &BootId) -> bool {
        match &self.written {
            Written::Durable => true,
            Written::Boot(written) => written == boot.as_str(),
            Written::Lost => false,
        }
    }
}

/// The right to make, or throw away, the layer of one diff ID.
#[derive(Debug)]
pub struct LayerLock {
    diff_id: Digest,
    lock: Lock,
}

impl LayerLock {
    /// The layer that this is the lock of.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }
}

fn lock_name(diff_id: &Digest) -> String {
    format!("layer-{}-{}", diff_id.algorithm().as_str(), diff_id.hex())
}

impl Store {
    /// What is recorded of a layer, if it is there and can be trusted.
    pub(super) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerMeta>, Error> {
        let found = self.trusted_tree(&Tree::Layer(diff_id.clone()))?;
        Ok(found.map(|open| open.meta))
    }

    /// Whether a layer is there and can be trusted.
    pub fn has_layer(&self, diff_id: &Digest) -> Result<bool, Error> {
        Ok(self.layer(diff_id)?.is_some())
    }

    /// Bytes in the files of a layer, if it is there and can be trusted.
    pub fn unpacked_bytes(&self, diff_id: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.layer(diff_id)?.map(|meta| meta.bytes))
    }

    /// Takes the lock of a layer if nobody is making it.
    pub fn try_lock_layer(&self, diff_id: &Digest) -> Result<Option<LayerLock>, Error> {
        let name = lock_name(diff_id);
        let lock = Lock::try_acquire(self.locks.as_fd(), name.as_bytes(), LockMode::Exclusive)
            .map_err(|source| Error::Lock {
                diff_id: diff_id.clone(),
                source,
            })?;
        if let Some(lock) = &lock {
            // Only to tell who it is; that somebody is, the lock itself says.
            let _ = lock.sign();
        }
        Ok(lock.map(|lock| LayerLock {
            diff_id: diff_id.clone(),
            lock,
        }))
    }

    /// The process that is making a layer, as far as it has said so.
    pub fn maker(&self, diff_id: &Digest) -> Option<u32> {
        self.signed(&lock_name(diff_id))
    }

    /// The process that has signed a lock's file.
    pub(super) fn signed(&self, lock: &str) -> Option<u32> {
        let signed = self.locks.read(lock, 32).ok()??;
        std::str::from_utf8(&signed).ok()?.parse().ok()
    }

    /// Gives a layer's lock back, and its file away.
    pub fn unlock_layer(&self, lock: LayerLock) -> Result<(), Error> {
        let LayerLock { diff_id, lock } = lock;
        lock.remove_file(self.locks.as_fd(), lock_name(&diff_id).as_bytes())
            .map_err(|source| Error::Lock { diff_id, source })
    }

    /// Puts the verified layer that stands in `staging` as `name`/fs where it is looked up.
    ///
    /// A layer of that diff ID which is there already, but not trusted, goes.
    pub fn commit_layer(
        &self,
        lock: &LayerLock,
        staging: &Staging,
        name: &str,
        applied: &Applied,
    ) -> Result<(), Error> {
        let diff_id = lock.diff_id();
        let failed = |source| Error::Commit {
            diff_id: diff_id.clone(),
            source,
        };
        let meta = LayerMeta::new(applied, &self.boot);
        self.put((staging.dir(), name), &Tree::Layer(diff_id.clone()), meta)
            .map_err(failed)?;
        tracing::debug!(%diff_id, entries = applied.entries, bytes = applied.bytes, "committed");
        Ok(())
    }
}

/// Reads the meta of a tree; none, a torn one and one of the future are all "not there".
pub(super) fn read_meta(dir: &Dir) -> Result<Option<LayerMeta>, ucr_sys::Error> {
    let content = match dir.read("meta", META_LIMIT) {
        Err(error) if error.errno() == Errno::FBIG => return Ok(None),
        other => other?,
    };
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// Whether a tree has no meta, or one of zeros, which is what a power cut makes of a fresh one.
pub(super) fn is_blank(dir: &Dir) -> Result<bool, ucr_sys::Error> {
    match dir.read("meta", META_LIMIT) {
        Err(error) if error.errno() == Errno::FBIG => Ok(false),
        content => Ok(content?.is_none_or(|content| content.iter().all(|byte| *byte == 0))),
    }
}

pub(super) fn write_meta(dir: &Dir, meta: &LayerMeta) -> Result<(), ucr_sys::Error> {
    // Serialising a struct of plain fields into memory has nothing to fail on.
    let content = serde_json::to_vec(meta).unwrap_or_default();
    dir.replace_soon("meta", &content, 0o600)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        (temp, store)
    }

    pub(in crate::store) fn commit(store: &Store, diff_id: &Digest) {
        let lock = store.try_lock_layer(diff_id).unwrap().unwrap();
        let staging = store.stage().unwrap();
        let (_root, index) = staging.begin("x").unwrap();
        index.finish().unwrap();
        store
            .commit_layer(&lock, &staging, "x", &Applied::default())
            .unwrap();
        store.unlock_layer(lock).unwrap();
    }

    #[test]
    fn a_committed_layer_is_there_and_leaves_no_lock_and_no_staging() {
        let (_temp, store) = store();
        let diff_id = Digest::sha256(b"x");
        assert!(!store.has_layer(&diff_id).unwrap());
        commit(&store, &diff_id);
        assert!(store.has_layer(&diff_id).unwrap());
        assert!(store.locks.names().unwrap().is_empty());
        assert!(store.tmp.names().unwrap().is_empty());
    }

    #[test]
    fn c14_a_layer_of_another_boot_is_distrusted_unless_it_is_durable() {
        let (_temp, mut store) = store();
        let (fresh, durable) = (Digest::sha256(b"fresh"), Digest::sha256(b"durable"));
        commit(&store, &durable);
        store.settle().unwrap();
        commit(&store, &fresh);
        store.boot = BootId::parse("01234567-89ab-cdef-0123-456789abcdef").unwrap();
        assert!(!store.has_layer(&fresh).unwrap());
        assert!(store.has_layer(&durable).unwrap());
        commit(&store, &fresh);
        assert!(store.has_layer(&fresh).unwrap());
        assert!(store.trash.names().unwrap().is_empty());
    }

    #[test]
    fn c21_a_torn_or_foreign_record_counts_as_no_layer() {
        let (_temp, store) = store();
        let diff_id = Digest::sha256(b"x");
        commit(&store, &diff_id);
        let dir = store
            .layers
            .dir("sha256")
            .unwrap()
            .dir(diff_id.hex())
            .unwrap();
        for torn in [&b""[..], b"{", b"\0\0\0\0", b"{\"format\":9}"] {
            dir.replace("meta", torn, 0o600).unwrap();
            assert!(!store.has_layer(&diff_id).unwrap());
        }
    }
}
