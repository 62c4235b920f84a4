//! Launches an OCI runtime spec in namespaces and cgroups.
//!
//! The flow, left to right: `spec` → [`plan`] → [`cgroup`], [`rootfs`],
//! [`process`] → [`state`]; [`oci`] is for containers that nobody supervises. The first two run in `ucr` (`launch`), the others in
//! `ucr-init`, which `launch` executes with the plan in a sealed memory file.
//! This crate knows no image, no store and no registry. It prints nothing,
//! never exits and reads no environment.

pub mod cgroup;
pub mod code;
pub mod control;
#[cfg(feature = "launch")]
pub mod exec;
pub mod failure;
pub mod id;
#[cfg(feature = "launch")]
pub mod launch;
pub mod network;
pub mod oci;
pub mod plan;
mod proc_files;
pub mod process;
mod process_file;
pub mod rootfs;
#[cfg(feature = "launch")]
pub mod spec;
pub mod state;
pub mod user;
pub mod volumes;

#[cfg(feature = "launch")]
pub use launch::{Launch, launch};
