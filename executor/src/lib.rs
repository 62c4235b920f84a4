//! What executors hand over to be run, and how they are told of it.
//!
//! A Marathon app, a pod or a Mesos task is read into a [`task::Task`], with every rule of its
//! format checked and nothing passed over in silence. The command line makes containers of it;
//! what it takes a helper for is asked in the words of [`prepare`] and [`health`]. Nothing here
//! knows namespaces, registries or libcurl.

pub mod health;
pub mod prepare;
pub mod task;
