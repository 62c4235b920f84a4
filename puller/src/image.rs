//! What a registry says about an image: index, manifest, configuration, all distrusted.
//!
//! Everything here takes bytes whose digest has been checked by the caller, and
//! refuses what is ambiguous, oversized or not understood.

mod config;
mod error;
mod index;
mod manifest;
pub(crate) mod media_type;

pub use config::ImageConfig;
pub use error::Error;
pub(crate) use index::choose_platform;
pub(crate) use manifest::{Document, Layer, MAX_LAYERS, Manifest};
