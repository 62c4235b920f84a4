//! The registry's side of a pull: manifests, blobs, and proving who asks.
//!
//! Speaks the OCI distribution specification (and Docker's registry API v2,
//! which it grew from). Decides what a credential may be sent to; knows
//! neither the store nor what is in a layer.

mod challenge;
mod error;
mod error_body;
mod exchange;
mod greeted;
mod route;
mod session;
mod token;

pub use error::Error;
pub(crate) use exchange::{Exchange, Step};
pub use greeted::{is_registry, token_server};
pub(crate) use route::Route;
pub(crate) use session::Session;
