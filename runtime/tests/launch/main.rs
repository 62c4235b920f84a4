//! Containers launched for real: they need root, and say so when they are skipped.

#![expect(
    clippy::unwrap_used,
    reason = "a test may; clippy sees only functions marked as one"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod additions;
mod devices;
mod ending;
mod further_limits;
mod hostile;
mod isolation;
mod leftovers;
mod limits;
mod place;
mod program;
mod seccomp;
mod support;
mod users;
mod volumes;
