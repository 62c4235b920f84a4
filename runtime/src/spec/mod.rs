//! The OCI runtime spec: defaults to start from, and its way into a plan.
//!
//! runtime-spec config.md and config-linux.md say what each field means. A field
//! that this crate does not honour is refused by its JSON path; none is dropped.

mod capability;
mod convert;
mod defaults;
mod mounts;
mod seccomp;
mod seccomp_profile;
mod supported;

pub(crate) use convert::convert;
pub use convert::{Error, limits};
pub use defaults::defaults;
pub use seccomp::SeccompRequest;
pub use seccomp_profile::{Error as SeccompProfileError, SeccompProfile};
