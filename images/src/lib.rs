//! Container images: what they are called, what their documents say, what their layers hold, and
//! the store that keeps them on disk.
//!
//! Nothing in here speaks to a registry. An [`ImageName`] says which image and where it is,
//! [`image`] reads the documents about it, [`archive`] unpacks its layers, and [`store`] keeps them.
//!
//! Nothing in here prints, exits, or reads the environment. Every document and every path in an
//! image is taken for hostile.

pub mod archive;
mod auth_scope;
mod credential;
mod deadline;
mod digest;
mod error_kind;
mod host;
pub mod image;
mod inside;
mod name;
mod platform;
mod reference;
pub mod registries;
pub mod store;
pub mod turns;

pub use auth_scope::{AuthScope, AuthScopeError};
pub use credential::{Credential, Login, Secret};
pub use deadline::{Awaited, Deadline, Hurried, pause};
pub use digest::{Algorithm, Digest, DigestError, HashingReader, VerifyingReader};
pub use error_kind::ErrorKind;
pub use host::{RegistryHost, RegistryHostError};
pub use image::{ForeignLayers, ImageConfig};
pub use inside::names_inside;
pub use name::{Choice, ImageName, ImageNameError, LocalFormat, LocalName, Place};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use registries::Registries;
pub use store::{Store, StoredImage};

/// Another process, in a few words.
pub fn another_ucr(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another ucr".to_owned(),
        |pid| format!("another ucr (process {pid})"),
    )
}
