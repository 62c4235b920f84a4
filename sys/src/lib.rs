//! The operating system as `ucr` uses it.
//!
//! Everything that touches the kernel other than by plain reads and writes is
//! here: directory file descriptors and `openat2`, atomic replacement of files,
//! `flock`, the boot ID, mounts, `clone3` and what a process sets on itself.
//! It is the only crate of the workspace that contains `unsafe`. It knows no
//! image, no store layout and no container.
//!
//! Errors read like a line of `strace`: the call, its operands, the errno.

#![allow(
    unsafe_code,
    reason = "this is the one crate that may; see CONTRIBUTING"
)]

mod access;
pub mod at;
mod boot;
pub mod bpf;
pub mod child;
pub mod descendants;
pub mod descriptors;
mod dir;
mod error;
pub mod execution;
mod host;
pub mod inroot;
pub mod line;
mod lock;
pub mod memfd;
mod memory;
pub mod message;
pub mod mount;
pub mod namespace;
pub mod netif;
pub mod pipe;
pub mod process;
pub mod program;
pub mod pty;
pub mod ready;
pub mod reserve;
pub mod schedule;
pub mod signal;
pub mod task;
pub mod terminal;
pub mod tree;

pub use access::open_as;
pub use boot::BootId;
pub use dir::{Dir, Room, random_bytes, random_suffix};
pub use error::{Error, Result, failed};
pub use host::{
    group_id, hostname, is_directory, is_root, kernel_version, memory_total, output_to,
    output_to_null, reason, stdin_from_null, user_id,
};
pub use lock::{Lock, LockMode, lock_file, still_named, try_lock_file, unlock_file};
pub use memory::give_back_large_blocks;
pub use rustix::fs::{FileType, OFlags, Stat};
pub use rustix::io::Errno;
