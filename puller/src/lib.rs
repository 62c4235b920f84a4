//! Pulls container images over HTTPS into a store on disk.
//!
//! Data flows as the modules stand here: an [`ImageName`] says which image and
//! where it is. For one of a registry, a [`CredentialSource`] knows who asks,
//! [`http`] carries the questions, and `registry` knows which to ask; one on this
//! machine `local` finds. `image` reads the documents, `archive` unpacks the
//! layers, [`store`] keeps them, and [`pull()`] and [`pull_local()`] bring it all
//! together. What is no image, a task's own files, [`fetch`] brings into its sandbox.
//!
//! Nothing in here prints, exits, or reads the environment. Every byte of a
//! registry and every path in an image is taken for hostile.

mod budget;
mod error;
pub mod fetch;
pub mod http;
pub mod local;
mod progress;
mod pull;
pub mod registry;
mod spool;

pub use budget::{Budget, Exceeded, Limit};
pub use error::{Error, Phase};
pub use progress::{Event, Progress};
pub use pull::{
    Kept, LayerError, LocalRequest, ManifestKind, PullError, Request, Survey, SurveyedLayer,
    check_access, may_have, pull, pull_local, survey, survey_local,
};
