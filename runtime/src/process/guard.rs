//! A process that ends a task when who looks after it is killed.
//!
//! The kernel's own signal for that (`PR_SET_PDEATHSIG`) is forgotten when a program changes its
//! user, as `su` and `gosu` do, and taken back by any that wishes, prctl(2). pid 1 of ours does
//! neither; a program of the image's that is its own pid 1, or was added to a container, may. The
//! guard has the container's locks besides, which such a program must not have: as long as it
//! lives, they say so.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use ucr_sys::process::{self, Child, SingleThreaded};
use ucr_sys::ready;

use super::outcome::Error;
use crate::cgroup::freezer;

/// What is ended with who waits for it.
pub(super) struct Guarded<'a> {
    /// The process; if it is a pid 1, the others of its namespace go with it.
    pub(super) process: &'a Child,
    /// Where it may stand still, which keeps it from dying in version 1.
    pub(super) cgroups: Vec<PathBuf>,
    /// What the guard holds on to, besides.
    pub(super) held: Vec<BorrowedFd<'a>>,
}

/// The guard of a task, as who waits for the task has it.
pub(super) struct Guard(Child);

impl Guard {
    /// Starts a guard; from then on the task does not outlive this process.
    pub(super) fn start(proof: &SingleThreaded, guarded: &Guarded<'_>) -> Result<Self, Error> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let own = process::open(own).map_err(Error::System)?;
        let Some(own) = own else {
            return Err(Error::Lost("who waits for it is gone".into()));
        };
        let process = guarded.process.pidfd.as_fd();
        let kept = [&guarded.held[..], &[own.as_fd(), process]].concat();
        let child = process::spawn_aside(proof, &kept, || {
            guard(own.as_fd(), process, &guarded.cgroups)
        });
        child.map(Self).map_err(Error::System)
    }

    /// Lets the guard go, once there is nothing to guard; it holds nothing any more then.
    pub(super) fn dismiss(self) -> Result<(), Error> {
        process::send_signal(self.0.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
        // One that was killed may have been reaped among other children.
        process::wait_if_there(self.0.pidfd.as_fd()).map_err(Error::System)
    }
}

/// Waits for the end of `keeper`, and sees to that of `task`.
fn guard(keeper: BorrowedFd<'_>, task: BorrowedFd<'_>, cgroups: &[PathBuf]) {
    let ended = ready::wait_readable([keeper, task]);
    if ended.is_ok_and(|[_, is_over]| is_over) {
        return;
    }
    // Nobody is left who could be told of a failure.
    drop(process::send_signal(task, process::KILL));
    drop(freezer::thaw(cgroups));
    // The locks are kept until nobody uses what they protect.
    drop(ready::wait_readable([task]));
}
