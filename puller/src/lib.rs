//! Pulls container images over HTTPS into a store on disk.
//!
//! Data flows as the modules stand here: an [`ImageName`] says which image and
//! where it is. For one of a registry, a [`CredentialSource`] knows who asks,
//! [`http`] carries the questions, and `registry` knows which to ask; one on this
//! machine `local` finds. `image` reads the documents, `archive` unpacks the
//! layers, [`store`] keeps them, and [`pull()`] and [`pull_local()`] bring it all
//! together.
//!
//! Nothing in here prints, exits, or reads the environment. Every byte of a
//! registry and every path in an image is taken for hostile.

pub mod archive;
mod budget;
pub mod credentials;
mod deadline;
mod digest;
mod error;
mod host;
pub mod http;
pub mod image;
pub mod local;
mod name;
mod platform;
mod progress;
mod pull;
mod reference;
pub mod registry;
mod spool;
pub mod store;
mod turns;

pub use budget::{Budget, Exceeded, Limit};
pub use credentials::{Credential, CredentialSource, CredentialSources, Login, Secret};
pub use deadline::Deadline;
pub use digest::{Algorithm, Digest, DigestError};
pub use error::{Error, ErrorKind, Phase};
pub use host::{RegistryHost, RegistryHostError};
pub use image::{ForeignLayers, ImageConfig};
pub use name::{ImageName, ImageNameError, LocalName};
pub use platform::{Platform, PlatformError};
pub use progress::{Event, Progress, another_ucr};
pub use pull::{
    Kept, LayerError, LocalRequest, ManifestKind, PullError, Request, Survey, SurveyedLayer,
    check_access, may_have, pull, pull_local, survey, survey_local,
};
pub use reference::{Reference, ReferenceError};
pub use registry::Registries;
pub use store::{Store, StoredImage};
