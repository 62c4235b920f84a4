//! System call filters: rules in, BPF for seccomp(2) out.
//!
//! [`Filter`] says which calls have which consequence, [`default_profile`] is
//! Docker's, [`Filter::compile`] makes the program that the kernel runs. This
//! crate is the only one that knows libseccomp. It loads nothing: `ucr-init`
//! gets the program in its plan, and the build of `ucr-runtime` makes the one of
//! the default profile, so that an ordinary start compiles nothing.

mod compile;
mod default_profile;
mod dispatch;
mod filter;
mod newer;

#[cfg(test)]
mod tests;

pub use compile::{Error, INSTRUCTION_SIZE};
pub use default_profile::{GRANTED_BY_DEFAULT, RELEVANT, architectures, default_profile};
pub use filter::{Condition, Filter, Rule};
pub use libseccomp::{ScmpAction, ScmpArch, ScmpCompareOp};
