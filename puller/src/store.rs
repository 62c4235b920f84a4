//! The store: layers, images and names on disk, shared by processes that never talk.
//!
//! ```text
//! <root>/                     0700
//!   version                   format of this tree
//!   layers/<algorithm>/<hex>/ one layer by diff ID: fs/ and meta
//!   fixups/<algorithm>/<hex>/ directories' attributes for one stack of layers, as a layer
//!   images/<algorithm>/<hex>  manifests and configurations, by digest
//!   refs/<hex>                what a name stood for when it was last pulled
//!   partial/<hash>/           compressed bytes so far of a blob of a registry
//!   tmp/<boot ID>-<random>/   staging, locked by its maker
//!   trash/                    on its way out
//!   locks/  leases/           flock only: who holds one is alive
//!   containers/<id>/          writable layers of running containers
//!   empty/                    libcurl's CApath
//! ```
//!
//! Processes meet only in `flock` and `rename`. What has a name under
//! `layers/` is whole and verified; whether it would survive a power cut is
//! what its meta says ([`layer::Written`]).

mod container;
mod error;
mod fixup;
mod image;
mod layer;
mod layout;
mod partial;
mod settle;
mod staging;
mod sweep;

pub use container::Container;
pub use error::Error;
pub(crate) use image::ImageRecord;
pub use image::StoredImage;
pub(crate) use layer::LayerLock;
pub use layout::Store;
pub(crate) use partial::{BlobName, Partial};
pub(crate) use staging::Staging;
