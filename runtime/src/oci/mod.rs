//! Containers that are handed over: the verbs of the OCI runtime command line.
//!
//! `create` leaves a first process that waits, and nothing else: no supervisor, no lock that is
//! held. Whoever called looks after it (conmon, containerd-shim). What the other verbs need to know
//! is in a directory for each container, in [`record`]; it stays until `delete`.
//!
//! [`plan`] is what `ucr-init` is told besides [`crate::plan`]; [`create`] writes it,
//! [`crate::process`] carries it out, [`container`] is what comes after, and hears of the
//! first process by [`verdict`]. [`hooks`] and [`log`] are used on both sides.

#[cfg(feature = "launch")]
pub mod bundle;
pub mod container;
#[cfg(feature = "launch")]
pub mod create;
#[cfg(feature = "launch")]
pub mod exec;
pub mod hooks;
pub mod log;
pub mod plan;
pub mod record;
#[cfg(feature = "launch")]
pub mod update;
pub(crate) mod verdict;
