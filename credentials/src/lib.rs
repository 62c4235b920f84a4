//! Where credentials are kept.
//!
//! Reads the files that docker and podman read (containers-auth.json(5)) and asks their
//! credential helpers. Which files count is decided by whoever makes [`CredentialSources`];
//! what a credential may be sent to is decided in `registry`.

mod access;
mod config;
mod error;
mod file;
mod helper;
mod sources;

pub use access::{AccessError, was_let_in};
pub use config::AuthConfig;
pub use error::Error;
pub use file::{AuthFile, Generation, Presence};
pub use sources::{CredentialSource, CredentialSources, Found};
