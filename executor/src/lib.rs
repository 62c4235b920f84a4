//! What executors hand over to be run, and how they are told of it.
//!
//! A Marathon app, a pod or a Mesos task is read into a [`task::Task`], with every rule of its
//! format checked and nothing passed over in silence. The command line makes containers of it;
//! what it takes a helper for is asked in the words of [`prepare`] and [`health`]. Nothing here
//! knows namespaces, registries or libcurl.

pub mod agent;
pub mod command;
mod document;
pub mod environment;
mod error;
pub mod health;
mod marathon;
mod mesos;
mod names;
mod paths;
pub mod ports;
pub mod prepare;
mod read;
pub mod task;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use read::read;
