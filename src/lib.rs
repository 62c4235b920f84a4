//! The command line of `ucr`, as far as it gets without asking a registry.
//!
//! Arguments become settings, settings become a library call, its outcome becomes output and an
//! exit code. What asks registries or reads certificates is an executable of its own,
//! `ucr-registry`, since libcurl and OpenSSL take longer to link than a container to start; it is
//! made of this as well.

pub mod auth_files;
pub mod beside;
mod cdi;
pub mod cli;
pub mod command_error;
pub mod commands;
pub mod config_file;
mod container_spec;
pub mod credential;
mod env_args;
pub mod env_vars;
pub mod gc_config;
mod held_file;
mod host_files;
pub mod image_arg;
mod logging;
mod names;
pub mod network_config;
pub mod output_format;
pub mod progress_args;
pub mod quantity;
pub mod remains;
pub mod report;
mod security;
pub mod settings;
pub mod shown;
mod signals;
pub mod source;
pub mod store;
mod streams;
pub mod ui;
mod userns;
