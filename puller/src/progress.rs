//! What a pull tells while it goes on.

use std::time::Duration;

use ucr_images::Digest;

use crate::http::Retrying;
use crate::registry::{self, Endpoint};

/// Something that happened in a pull.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The manifest is known.
    Resolved {
        /// Its digest.
        manifest: &'a Digest,
        /// Bytes of all layers as the registry has them.
        bytes: u64,
        /// How many layers the image has.
        layers: usize,
    },
    /// The name still stands for the image in the store.
    Unchanged {
        /// The digest of its manifest.
        manifest: &'a Digest,
    },
    /// A layer that is there is fetched again, to show that it is ours to have.
    LayerProving {
        /// The layer, as the registry has it.
        digest: &'a Digest,
    },
    /// A mirror did not give what was asked of it; the next one is asked.
    MirrorPassedOver {
        /// The mirror.
        endpoint: &'a Endpoint,
        /// What it said, or did.
        error: &'a registry::Error,
    },
    /// A layer is there already.
    LayerPresent {
        /// The layer, as the registry has it.
        digest: &'a Digest,
    },
    /// A layer is being made by another process, and is waited for.
    LayerWaiting {
        /// The layer, as the registry has it.
        digest: &'a Digest,
        /// The process that is making it, where it has said so.
        holder: Option<u32>,
        /// Bytes that it has so far.
        done: u64,
        /// Bytes that the registry has.
        size: u64,
    },
    /// The process that is waited for has got nothing for a while.
    LayerStalled {
        /// The layer, as the registry has it.
        digest: &'a Digest,
        /// The process that is making it, where it has said so.
        holder: Option<u32>,
        /// How long nothing has come.
        since: Duration,
    },
    /// A request will be repeated.
    Retrying(&'a Retrying),
    /// A layer is being fetched and unpacked.
    LayerStarted {
        /// The layer, as the registry has it.
        digest: &'a Digest,
        /// Its bytes as the registry has it.
        size: u64,
    },
    /// What was there of a layer already is gone on with.
    LayerResumed {
        /// The layer, as the registry has it.
        digest: &'a Digest,
        /// Bytes that were there.
        from: u64,
    },
    /// So much of a layer is unpacked.
    LayerBytes {
        /// The layer, as the registry has it.
        digest: &'a Digest,
        /// Bytes as the registry has it.
        done: u64,
    },
    /// A layer is verified and in its place.
    LayerDone {
        /// The layer, as the registry has it.
        digest: &'a Digest,
    },
    /// All is there, and is being written through to the disk.
    Settling,
    /// The process that made a part of it has not written that through for a while.
    SettlingStalled {
        /// That process, where it can be told.
        holder: Option<u32>,
        /// How long it has been waited for.
        since: Duration,
    },
}

/// Who wants to know.
pub trait Progress: Sync {
    /// Takes note of `event`; called from several threads.
    fn event(&self, event: Event<'_>);
}

/// Nobody.
impl Progress for () {
    fn event(&self, _event: Event<'_>) {}
}
