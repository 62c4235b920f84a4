//! A short-lived process between the one that waits for a container and its first process.
//!
//! Some of what a container is made of has to be done by a process that has left its namespaces
//! already and does not belong to the container: entering other namespaces, or mounting with the
//! privileges of the machine's root what is to be seen by somebody with fewer. The first process is
//! cloned from there as a sibling, and so is a child of the one that waits all the same.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::process::{self, Child, Cloned, Namespaces, Pid, SingleThreaded};
use ucr_sys::{message, namespace};

use super::outcome::Error;
use crate::cgroup::group::Entrances;
use crate::failure::{During, Failure, Step};
use crate::rootfs::sources::Sources;

/// What is opened outside for the first process.
pub(super) struct Opened {
    /// What only somebody outside may mount.
    pub(super) sources: Sources,
    /// The ways into its cgroups of version 1.
    pub(super) entrances: Entrances,
}

/// Which of the two a process is after the cloning.
pub(super) enum Side<T> {
    /// The one that waits, and the first process.
    Waiting(Child),
    /// The first process, with what was made between.
    First(T),
}

/// The namespaces of the two that are cloned, as far as they are new.
#[derive(Clone, Copy)]
pub(super) struct New {
    /// Of the one between.
    pub(super) between: Namespaces,
    /// Of the first process.
    pub(super) first: Namespaces,
}

/// Clones a process that does `make`, and from it the first process, into `cgroup` of version 2.
pub(super) fn clone_first<T>(
    proof: &SingleThreaded,
    new: New,
    cgroup: Option<BorrowedFd<'_>>,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<Side<T>, Error> {
    let (answer, asked) = message::pair().map_err(Error::System)?;
    match process::clone(proof, new.between, None).map_err(Error::System)? {
        Cloned::Parent(between) => {
            drop(asked);
            process::wait(between.pidfd.as_fd()).map_err(Error::System)?;
            received(&answer).map(Side::Waiting)
        }
        Cloned::Child => {
            drop(answer);
            let told: Result<i32, Failure> = match make_and_clone(proof, new, cgroup, make) {
                Ok((Cloned::Child, made)) => return Ok(Side::First(made)),
                Ok((Cloned::Parent(child), _)) => Ok(child.pid.as_raw_nonzero().get()),
                Err(failure) => Err(failure),
            };
            let bytes = postcard::to_allocvec(&told).unwrap_or_default();
            // One that is gone hears nothing, and neither does the first process.
            drop(message::send(asked.as_fd(), &bytes));
            process::leave(0)
        }
    }
}

fn make_and_clone<T>(
    proof: &SingleThreaded,
    new: New,
    cgroup: Option<BorrowedFd<'_>>,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Cloned, T), Failure> {
    let made = make()?;
    let cloned = namespace::clone_as_sibling(proof, new.first, cgroup);
    Ok((cloned.during(Step::Namespaces, "")?, made))
}

/// The first process, as the one that cloned it tells.
fn received(answer: &OwnedFd) -> Result<Child, Error> {
    let bytes = message::receive(answer.as_fd()).map_err(Error::System)?;
    let told: Option<Result<i32, Failure>> =
        bytes.and_then(|(bytes, _)| postcard::from_bytes(&bytes).ok());
    let pid = match told {
        Some(Ok(pid)) => pid,
        Some(Err(failure)) => return Err(Error::Start(failure)),
        None => return Err(Error::Lost("it was never made".into())),
    };
    // Our child, not waited for: the number is still its own.
    let pidfd = process::open(pid).map_err(Error::System)?;
    match (Pid::from_raw(pid), pidfd) {
        (Some(pid), Some(pidfd)) => Ok(Child { pid, pidfd }),
        _ => Err(Error::Lost("it is gone".into())),
    }
}
