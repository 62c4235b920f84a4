//! What a container has in the store while it lives: a lease, and a directory to write in.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ucr_sys::{Lock, LockMode};

use super::error::Error;
use super::layout::Store;

/// A container's lease and its own directory.
#[derive(Debug)]
pub struct Container {
    /// The held lease: as long as any process has it open, the container is alive.
    pub lease: OwnedFd,
    /// An empty directory, 0700, for the container's writable layer.
    pub dir: PathBuf,
    /// The lease's file, to be removed after the directory.
    pub lease_file: PathBuf,
}

impl Store {
    /// Takes the lease of a new container and makes its directory.
    ///
    /// # Errors
    /// Also when there is a container of that ID already.
    pub fn container(&self, id: &str) -> Result<Container, Error> {
        self.make_container(id).map_err(|source| Error::Container {
            id: id.to_owned(),
            source,
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

    fn make_container(&self, id: &str) -> Result<Container, ucr_sys::Error> {
        let lease = Lock::acquire(self.leases.as_fd(), id.as_bytes(), LockMode::Shared)?;
        let dir = self.containers.create_dir(id)?;
        Ok(Container {
            lease: lease.into_fd(),
            dir: dir.path().to_owned(),
            lease_file: self.leases.path().join(id),
        })
    }
}
