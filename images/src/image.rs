//! What a registry says about an image: index, manifest, configuration, all distrusted.
//!
//! Everything here takes bytes whose digest has been checked by the caller, and
//! refuses what is ambiguous, oversized or not understood.

mod config;
mod descriptor;
mod error;
mod foreign;
mod healthcheck;
mod index;
mod manifest;
pub mod media_type;
mod outline;
mod resolve;
mod schema1;

pub use config::ImageConfig;
pub use error::Error;
pub use foreign::ForeignLayers;
pub use healthcheck::{Healthcheck, Test};
pub use manifest::check_document;
pub use manifest::{Document, Layer, MAX_LAYERS, Manifest, Origin};
pub use resolve::{Content, Found, Resolved, resolve};
pub use schema1::{Schema1, without_signatures};
