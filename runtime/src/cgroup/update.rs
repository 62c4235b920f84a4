//! Other limits for cgroups that are in use.

use std::path::{Path, PathBuf};

use ucr_sys::Errno;

use super::group::{self, write_file, write_value};
use super::limits::{self, Limits};
use super::{Group, IfMissing, Place, Version, Write, cpuset, v1, v2};

/// Limits that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no controller for one of them.
    #[error(transparent)]
    Plan(#[from] limits::Error),
    /// The kernel refuses one.
    #[error(transparent)]
    Write(#[from] group::Error),
}

/// Changes the limits of the cgroups at `paths`, each with the controllers of its hierarchy, to
/// those of `limits`; what is not said there stays as it is.
///
/// # Errors
///
/// An [`Error`]; what was written before it holds.
pub fn update(paths: &[(PathBuf, Vec<String>)], limits: &Limits) -> Result<(), Error> {
    limits.check_swap()?;
    let mut groups = Vec::new();
    for (path, controllers) in paths {
        groups.push(group_at(path, controllers, limits)?);
    }
    check(&groups, limits)?;
    for limit in &limits.more {
        limit.add_to(&mut groups)?;
    }
    for group in &groups {
        write(group)?;
        cpuset::confirm(group)?;
    }
    Ok(())
}

/// The cgroup at `path`, with what is to be written there.
fn group_at(path: &Path, controllers: &[String], limits: &Limits) -> Result<Group, Error> {
    let parent = path.parent().unwrap_or(path);
    let mut group = Group {
        version: Version::One,
        name: String::new(),
        controllers: controllers.to_vec(),
        parent: parent.into(),
        path: path.into(),
        shared: Vec::new(),
        place: Place::Asked,
        enable: Vec::new(),
        writes: Vec::new(),
        device_filter: Vec::new(),
    };
    // The file of version 2 alone, cgroups(7).
    if !path.join(CONTROLLERS).exists() {
        group.writes = v1::writes(controllers, path, limits)?;
        return Ok(group);
    }
    group.version = Version::Two;
    // What it has no files of may be had from above; where it is not, that is said of the limit.
    for controller in v2::used(limits) {
        let value = format!("+{controller}");
        drop(write_file(
            &parent.join("cgroup.subtree_control"),
            value.as_bytes(),
        ));
    }
    let there = std::fs::read_to_string(path.join(CONTROLLERS)).unwrap_or_default();
    group.controllers = there.split_whitespace().map(str::to_owned).collect();
    group.writes = v2::writes(&group.controllers, limits);
    Ok(group)
}

/// The controllers that a cgroup of version 2 has, cgroups(7).
const CONTROLLERS: &str = "cgroup.controllers";

/// Makes sure that no limit of every container is passed over.
fn check(groups: &[Group], limits: &Limits) -> Result<(), Error> {
    for (what, controller) in limits.needed() {
        let has = |group: &Group| group.controllers.iter().any(|name| name == controller);
        if !groups.iter().any(has) {
            return Err(Error::Plan(limits::Error::NoController {
                what: what.to_owned(),
                controller: controller.to_owned(),
            }));
        }
    }
    Ok(())
}

/// Writes what is to be written, in another order where the kernel wants that: of memory, and of
/// memory and swap together, the first must never be more, and of a quota and its period, neither
/// may be out of proportion. Which to change first depends on what was there.
fn write(group: &Group) -> Result<(), Error> {
    let mut refused: Vec<&Write> = Vec::new();
    for one in &group.writes {
        match put(group, one) {
            Err(error) if is_invalid(&error) && one.if_missing == IfMissing::Fail => {
                refused.push(one);
            }
            other => other?,
        }
    }
    for one in refused {
        put(group, one)?;
    }
    Ok(())
}

fn put(group: &Group, write: &Write) -> Result<(), group::Error> {
    write_value(&group.path.join(&write.file), write)
        .map_err(|error| cpuset::explained(group, write, error))
}

fn is_invalid(error: &group::Error) -> bool {
    matches!(error, group::Error::Limit { source, .. } if source.errno() == Errno::INVAL)
}
