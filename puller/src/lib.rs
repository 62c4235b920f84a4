//! Pulls container images over HTTPS into a store on disk.
//!
//! Data flows as the modules stand here: a [`Reference`] names an image, a
//! [`CredentialSource`] knows who asks, [`http`] carries the questions, `registry`
//! knows which to ask, `image` reads the documents, `archive` unpacks the
//! layers, [`store`] keeps them, and [`pull()`] brings it all together.
//!
//! Nothing in here prints, exits, or reads the environment. Every byte of a
//! registry and every path in an image is taken for hostile.

pub mod archive;
mod budget;
pub mod credentials;
mod digest;
mod error;
mod host;
pub mod http;
pub mod image;
mod platform;
mod progress;
mod pull;
mod reference;
pub mod registry;
mod spool;
pub mod store;

pub use budget::{Budget, Exceeded, Limit};
pub use credentials::{Credential, CredentialSource, CredentialSources, Login, Secret};
pub use digest::{Algorithm, Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use host::{RegistryHost, RegistryHostError};
pub use image::ImageConfig;
pub use platform::{Platform, PlatformError};
pub use progress::{Event, Progress};
pub use pull::{LayerError, PullError, Request, check_access, may_have, pull};
pub use reference::{Reference, ReferenceError};
pub use registry::Registries;
pub use store::{Store, StoredImage};
