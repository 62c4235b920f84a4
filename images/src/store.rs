//! The store: layers, images and names on disk, shared by processes that never talk.
//!
//! ```text
//! <root>/                     0700
//!   version                   format of this tree
//!   layers/<algorithm>/<hex>/ one layer by diff ID: fs/, index and meta
//!   fixups/<algorithm>/<hex>/ directories' attributes for one stack of layers, as a layer
//!   images/<algorithm>/<hex>  manifests and configurations, by digest
//!   refs/<hex>                what a name stood for when it was last pulled
//!   contents/<algorithm>/<hex> what a blob was found to hold, where no image says it
//!   partial/<hash>/           compressed bytes so far of a blob of a registry
//!   pins/<hex>                images that are kept whatever becomes of their names
//!   access/                   who may read what, for a while (`access`)
//!   tmp/<boot ID>-<random>/   staging, locked by its maker
//!   trash/                    on its way out
//!   locks/  leases/           flock: who holds one is alive
//!   containers/<id>/          writable layers of running containers
//!   empty/                    libcurl's CApath
//!   fetched/                  files of tasks, kept for others (`ucr_puller::fetch::Cache`)
//! ```
//!
//! Processes meet only in `flock` and `rename`. What has a name under
//! `layers/` is whole and verified; whether it would survive a power cut is
//! what its meta says ([`layer::Written`]).

mod access;
mod backend;
mod catalog;
mod collect;
mod container;
mod content;
mod early;
mod error;
mod fixup;
mod image;
mod layer;
mod layout;
mod lease;
mod partial;
mod pin;
mod remove;
mod settle;
mod staging;
mod sweep;
mod tree;
mod verify;

pub use access::{Claim, Holder};
pub use catalog::{Catalog, ImageEntry, Untagged};
pub use collect::{Collected, Limits, Mode, Room};
pub use container::Container;
pub use content::BlobContent;
pub use error::Error;
pub use image::StoredImage;
pub use image::{ImageRecord, now};
pub use layer::LayerLock;
pub use layout::Store;
pub use partial::{BlobName, Partial};
pub use pin::Pin;
pub use remove::{Removed, TakenOut};
pub use settle::{Stalled, Unsettled};
pub use staging::Staging;
pub use tree::Tree;
pub use verify::{Depth, Object, Problem, Trouble, Verified};
