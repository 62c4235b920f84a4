//! The file system that the task sees, made by pid 1 in its own mount namespace.
//!
//! Order: [`overlay`] in a [`scratch`] or [`directory`] first, then [`additions`] to its files, the spec's [`mounts`] inside it, [`devices`]
//! in its `/dev`, and what [`masks`] hides or makes read-only, last. Every target
//! is a descriptor resolved inside the root; sources are the host's.

pub mod additions;
pub mod console;
pub mod copy_up;
pub mod devices;
pub mod directory;
pub mod masks;
pub mod mount_points;
pub mod mounts;
pub mod nodes;
pub mod overlay;
pub mod scratch;
pub mod shared;
pub mod sources;
pub mod sysctls;

pub use ucr_sys::mount::Attributes;
