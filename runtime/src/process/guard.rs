//! A process that ends a task when who looks after it is killed.
//!
//! The kernel's own signal for that (`PR_SET_PDEATHSIG`) is forgotten when a program changes its
//! user, as `su` and `gosu` do, and taken back by any that wishes, prctl(2). pid 1 of ours does
//! neither; a program of the image's that is its own pid 1, or was added to a container, may. The
//! guard has the container's locks besides, which such a program must not have: as long as it
//! lives, they say so.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use ucr_sys::process::{self, Child, SingleThreaded};
use ucr_sys::{message, ready};

use super::outcome::Error;
use crate::cgroup::freezer;

/// A pid 1 that is ended with who waits for it, and with it all of its container.
pub(super) struct Guarded<'a> {
    /// The process.
    pub(super) init: &'a Child,
    /// Where it may stand still, which keeps it from dying in version 1.
    pub(super) cgroups: Vec<PathBuf>,
    /// What the guard holds on to, besides.
    pub(super) held: Vec<BorrowedFd<'a>>,
}

/// The guard of a task, as who waits for the task has it.
pub(super) struct Guard(Child);

impl Guard {
    /// Starts a guard; from then on the container does not outlive this process.
    pub(super) fn of_container(
        proof: &SingleThreaded,
        guarded: &Guarded<'_>,
    ) -> Result<Self, Error> {
        let init = guarded.init.pidfd.as_fd();
        let kept = [&guarded.held[..], &[init]].concat();
        Self::start(proof, &kept, |keeper| {
            guard(keeper, init, &guarded.cgroups);
        })
    }

    /// Starts a guard before there is a task; its pidfd comes out of `announced`, whose other side
    /// is closed if there will be none.
    pub(super) fn of_task(proof: &SingleThreaded, announced: &OwnedFd) -> Result<Self, Error> {
        let announced = announced.as_fd();
        Self::start(proof, &[announced], |keeper| {
            // Who announces it dies with the keeper, so that there is an answer either way.
            if let Ok(Some((_, Some(task)))) = message::receive(announced) {
                guard(keeper, task.as_fd(), &[]);
            }
        })
    }

    fn start(
        proof: &SingleThreaded,
        kept: &[BorrowedFd<'_>],
        work: impl FnOnce(BorrowedFd<'_>),
    ) -> Result<Self, Error> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let own = process::open(own).map_err(Error::System)?;
        let Some(own) = own else {
            return Err(Error::Lost("who waits for it is gone".into()));
        };
        let kept = [kept, &[own.as_fd()]].concat();
        let child = process::spawn_aside(proof, &kept, || work(own.as_fd()));
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
