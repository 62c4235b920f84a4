//! How the store can fail.

use std::path::PathBuf;

use super::tree::Tree;
use crate::{Digest, ErrorKind, another_ucr};

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
    /// It stands where no store can work.
    #[error("cannot keep a store at {}: {why}", .path.display())]
    Unsuitable {
        /// Its root.
        path: PathBuf,
        /// What is in the way, and what to do.
        why: &'static str,
    },
    /// It is somebody else's, who could change what containers run.
    #[error("the store {} belongs to user {uid}; chown it, or name another directory", .path.display())]
    Owner {
        /// Its root.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Nothing can be added to it or removed from it.
    #[error("the store {} is mounted read-only: what is in it can be run, and nothing changed", .path.display())]
    ReadOnly {
        /// Its root.
        path: PathBuf,
    },
    /// What a process needs cannot be kept from being removed.
    #[error("cannot lease what a container or a pull needs")]
    Lease(#[source] ucr_sys::Error),
    /// A container was to be made that had not been reserved.
    #[error("no container was reserved in the store")]
    NotReserved,
    /// A staging directory cannot be made or used.
    #[error("cannot stage a layer")]
    Stage(#[source] ucr_sys::Error),
    /// What is there of a blob cannot be used.
    #[error("cannot use what is there of a blob")]
    Partial(#[source] ucr_sys::Error),
    /// What is noted of blobs cannot be read or written.
    #[error("cannot use the note of what a blob holds")]
    Content(#[source] ucr_sys::Error),
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
    /// Another process has not had its layers written to the disk before the deadline.
    #[error("the image is here, but {} had not written all of it to the disk before the deadline", another_ucr(*.holder))]
    WaitedTooLong {
        /// The process, where it can be told.
        holder: Option<u32>,
    },
    /// What a dead process wrote is not what the disk gives back.
    #[error(
        "{tree}, which a process wrote that died, did not reach the disk; it was taken out of the store: pull the image again"
    )]
    ReadBack {
        /// What it is.
        tree: Tree,
    },
    /// Something cannot be removed.
    #[error("cannot remove what nobody needs from the store")]
    Remove(#[source] ucr_sys::Error),
    /// A pin cannot be read or written.
    #[error("cannot use pin {name:?}")]
    Pin {
        /// Its name.
        name: String,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// An image is to be pinned or used that is not there.
    #[error("{wanted:?} is not in the store {}", .path.display())]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// The store's root.
        path: PathBuf,
    },
    /// A piece of an image ID is the beginning of several.
    #[error("{wanted:?} is the beginning of {count} image IDs in the store; give more of it")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// How many there are.
        count: usize,
    },
    /// An image is to be removed that somebody wants kept.
    #[error("{reference:?} stays: {why}")]
    Kept {
        /// The name of the image.
        reference: String,
        /// Who wants it.
        why: String,
        /// The pin that does, if it is one.
        pin: Option<String>,
    },
    /// A layer cannot be compared with its index.
    #[error("cannot verify {tree}")]
    Verify {
        /// What it is.
        tree: Tree,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// What is remembered of who may read what cannot be read or written.
    #[error("cannot use the record of who may read what")]
    Access(#[source] ucr_sys::Error),
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
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unmergeable { .. } => ErrorKind::Refused,
            Self::WaitedTooLong { .. } => ErrorKind::Deadline,
            error if error.is_out_of_space() => ErrorKind::DiskFull,
            _ => ErrorKind::System,
        }
    }

    /// Whether the disk, the quota or the inodes are used up.
    pub fn is_out_of_space(&self) -> bool {
        let source = std::error::Error::source(self);
        let system = source.and_then(|source| source.downcast_ref::<ucr_sys::Error>());
        system.is_some_and(ucr_sys::Error::is_out_of_space)
    }
}
