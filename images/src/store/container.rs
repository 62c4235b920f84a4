//! What a container has in the store while it lives: a lease, and a directory to write in.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::error::Error;
use super::layout::Store;

/// A container's lease and its own directory.
#[derive(Debug)]
pub struct Container {
    /// The held lease: as long as any process has it open, the container is alive.
    pub lease: OwnedFd,
    /// What else keeps the layers in their place, to be kept open like the lease.
    pub held: Vec<OwnedFd>,
    /// An empty directory, 0700, for the container's writable layer.
    pub dir: PathBuf,
    /// The lease's file, to be removed after the directory.
    pub lease_file: PathBuf,
}

impl Store {
    /// Makes the directory of the container that was reserved, and gives its lease away: from
    /// here on it lives with the descriptors.
    ///
    /// # Errors
    /// Also when there is a container of that ID already, or none was reserved.
    pub fn container(&self) -> Result<Container, Error> {
        let mut slot = self.lease_slot();
        let lease = slot.as_ref().ok_or(Error::NotReserved)?;
        let dir = self
            .containers
            .create_dir(&lease.id)
            .map_err(|source| Error::Container {
                id: lease.id.clone(),
                source,
            })?;
        let lease = slot.take().ok_or(Error::NotReserved)?;
        Ok(Container {
            lease: lease.file.into(),
            held: lease.held,
            dir: dir.path().to_owned(),
            lease_file: self.leases.path().join(lease.id),
        })
    }

    /// Removes a container's directory and lease, when it did not come to life.
    pub fn remove_container(&self, container: &Container) -> Result<(), Error> {
        let id = container
            .lease_file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let remove = || {
            self.containers.remove_tree(id)?;
            self.leases.remove(id)
        };
        remove().map_err(|source| Error::Container {
            id: id.to_owned(),
            source,
        })
    }
}
