//! What is made outside for a container with ids of its own, by root of the machine.
//!
//! The layers belong to the ids that the image says, the store to root alone. So the root file
//! system is mounted here, in a mount namespace that nobody else sees, of layers whose files are
//! shown with the container's ids (mount_setattr(2), "ID-mapped mounts"); the store stays as it is.
//! Pid 1 gets a copy of that mount namespace, and the root as its working directory: copied into
//! another user namespace, its flags can not be taken away there (mount_namespaces(7)).

use std::os::fd::{AsFd, BorrowedFd};

use ucr_sys::process::{self, Namespaces, SingleThreaded};
use ucr_sys::{mount, task};

use super::between::{self, New, Opened, Side};
use super::connection::Connection;
use super::init;
use super::outcome::Error;
use crate::cgroup::group::Entrances;
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::IdMappings;
use crate::plan::{Plan, Rootfs};
use crate::rootfs::overlay;
use crate::rootfs::sources::{self, Users};

/// Clones pid 1 of `plan`, whose ids are `ids`, into `cgroup` of version 2.
pub(super) fn clone_first(
    (plan, ids): (&Plan, &IdMappings),
    connection: &Connection,
    cgroup: Option<BorrowedFd<'_>>,
    proof: &SingleThreaded,
) -> Result<Side<Opened>, Error> {
    let new = New {
        between: Namespaces::MOUNT,
        first: Namespaces::from_bits(plan.namespaces).without(Namespaces::CGROUP),
    };
    between::clone_first(proof, new, cgroup, || {
        // Here, where the privileges are that pid 1 does not have.
        connection.join()?;
        make(plan, ids, proof)
    })
}

fn make(plan: &Plan, ids: &IdMappings, proof: &SingleThreaded) -> Result<Opened, Failure> {
    process::die_with_parent().during(Step::Bind, "")?;
    let users = Users::new(ids, proof).during(Step::Identity, "")?;
    // While the mounts are connected still with the host's.
    let mut sources = sources::prepare(plan, proof)?;
    mount::make_all_private().during(Step::Propagation, "")?;
    init::set_oom_score(&plan.process)?;
    let Rootfs::Overlay(overlay) = &plan.rootfs else {
        return Err(Failure::new(Step::Rootfs, "", Cause::NoIds));
    };
    let (root, scratch) = overlay::mount(overlay, &plan.mounts, Some(&users))?;
    let made = scratch.files(&plan.mounts)?;
    for (prepared, file) in sources.mounts.iter_mut().zip(made) {
        *prepared = prepared.take().or(file);
    }
    process::change_directory(root.as_fd()).during(Step::Rootfs, "")?;
    // Pid 1 hands them on to the task's user, for which they have to be of the container first.
    task::give_standard_pipes(users.root()).during(Step::User, "")?;
    Ok(Opened {
        sources,
        entrances: Entrances::open(&plan.cgroups)?,
    })
}
