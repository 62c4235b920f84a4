//! The registry's side of a pull: manifests, blobs, and proving who asks.
//!
//! Speaks the OCI distribution specification (and Docker's registry API v2,
//! which it grew from). Decides what a credential may be sent to; knows
//! neither the store nor what is in a layer.

mod authenticator;
mod challenge;
mod endpoint;
mod error;
mod error_body;
mod exchange;
mod greeted;
mod places;
mod realm;
mod route;
mod session;
mod token;
mod visit;

pub use endpoint::{Endpoint, Role};
pub use error::Error;
pub(crate) use exchange::{Exchange, Step};
pub use greeted::{is_registry, token_server};
pub(crate) use places::check_target;
pub use places::endpoints;
pub use route::PassedOver;
pub(crate) use route::{Route, RouteContext, Trail};
pub(crate) use session::Session;
pub use visit::{Verdict, Visitor};
