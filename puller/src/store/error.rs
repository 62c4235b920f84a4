//! How the store can fail.

use std::path::PathBuf;

use crate::Digest;

/// An operation on the store that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened, or not be made.
    #[error("cannot open the store {}", .path.display())]
    Open {
        /// Its root.
        path: PathBuf,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// It was made by a version of `ucr` that keeps things differently.
    #[error("the store {} has format {found}; this ucr knows format {known}", .path.display())]
    Version {
        /// Its root.
        path: PathBuf,
        /// What its version file says.
        found: String,
        /// What this program writes.
        known: &'static str,
    },
    /// A staging directory cannot be made or used.
    #[error("cannot stage a layer")]
    Stage(#[source] ucr_sys::Error),
    /// What is there of a blob cannot be used.
    #[error("cannot use what is there of a blob")]
    Partial(#[source] ucr_sys::Error),
    /// A lock cannot be had.
    #[error("cannot lock layer {diff_id}")]
    Lock {
        /// The layer.
        diff_id: Digest,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// A finished layer cannot be put in its place.
    #[error("cannot commit layer {diff_id}")]
    Commit {
        /// The layer.
        diff_id: Digest,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// What is recorded of a layer cannot be read or written.
    #[error("cannot use the record of layer {diff_id}")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// A manifest, configuration or name cannot be read or written.
    #[error("cannot use the record of an image")]
    Image(#[source] ucr_sys::Error),
    /// The fix-up layer of an image cannot be made.
    #[error("cannot make the fix-up layer")]
    Fixup(#[source] ucr_sys::Error),
    /// Layers contradict each other in a way that overlayfs cannot show.
    #[error("the layers cannot be stacked at \"{}\": {why}", .path.escape_ascii())]
    Unmergeable {
        /// Where.
        path: Vec<u8>,
        /// How.
        why: &'static str,
    },
    /// The disk did not confirm what was written.
    #[error("cannot write the store through to the disk")]
    Sync(#[source] ucr_sys::Error),
    /// A container's writable layer cannot be made.
    #[error("cannot make the writable layer of container {id}")]
    Container {
        /// The container.
        id: String,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// Left-overs of dead processes cannot be removed.
    #[error("cannot clean up after a process that died")]
    Sweep(#[source] ucr_sys::Error),
}

impl Error {
    /// Whether the disk, the quota or the inodes are used up.
    pub fn is_out_of_space(&self) -> bool {
        let source = std::error::Error::source(self);
        let system = source.and_then(|source| source.downcast_ref::<ucr_sys::Error>());
        system.is_some_and(ucr_sys::Error::is_out_of_space)
    }
}
