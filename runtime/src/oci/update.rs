//! Other limits for a container that was handed over, while it runs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bundle;
use super::record::{self, Directory, Life};
use crate::cgroup::update;
use crate::id::ContainerId;
use crate::spec;

/// Limits that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// It is over.
    #[error("cannot update container {0}: it is stopped")]
    Stopped(ContainerId),
    /// Devices, which are settled when a container is made.
    #[error("the devices of container {0} cannot be changed")]
    Devices(ContainerId),
    /// Limits that cannot be read.
    #[error(transparent)]
    File(#[from] bundle::Error),
    /// Limits that mean nothing here.
    #[error("cannot use the resources of {0}")]
    Spec(PathBuf, #[source] spec::Error),
    /// A limit.
    #[error("cannot update container {0}")]
    Limit(ContainerId, #[source] Box<update::Error>),
}

/// Changes the limits of container `id` to `resources`, a `linux.resources` of the runtime
/// specification that came by way of `file`; what is not said there stays as it is.
///
/// # Errors
///
/// An [`Error`]; what was changed before it stays.
pub fn update(
    root: &Path,
    id: &ContainerId,
    (file, resources): (&Path, &Value),
) -> Result<(), Error> {
    let spec = bundle::resources(file, resources)?;
    let limits = spec::limits_alone(&spec).map_err(|error| Error::Spec(file.into(), error))?;
    let directory = Directory::open(root, id)?;
    let record = directory.read()?;
    if record.init.life() != Life::Alive {
        return Err(Error::Stopped(id.clone()));
    }
    if !limits.devices.is_empty() {
        return Err(Error::Devices(id.clone()));
    }
    let cgroups = record.cgroups.into_iter();
    let cgroups: Vec<_> = cgroups
        .map(|cgroup| (cgroup.path, cgroup.controllers))
        .collect();
    update::update(&cgroups, &limits).map_err(|error| Error::Limit(id.clone(), Box::new(error)))
}
