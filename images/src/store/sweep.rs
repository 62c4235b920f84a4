//! Sweeping up after processes that died: staging, trash, writable layers.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use ucr_sys::{Lock, LockMode, at, still_named};

use super::error::Error;
use super::layout::Store;
use super::tree::absent;

impl Store {
    /// Removes what dead processes left; what a live one uses is locked and stays.
    pub fn sweep(&self) -> Result<(), Error> {
        self.sweep_staging().map_err(Error::Sweep)?;
        self.sweep_containers()?;
        self.sweep_locks().map_err(Error::Sweep)?;
        self.sweep_claims().map_err(Error::Sweep)?;
        for name in self.trash.names().map_err(Error::Sweep)? {
            self.remove_trash(&name).map_err(Error::Sweep)?;
        }
        Ok(())
    }

    fn sweep_staging(&self) -> Result<(), ucr_sys::Error> {
        for name in self.tmp.names()? {
            let Some(dir) = absent(self.tmp.dir(&name))? else {
                continue;
            };
            let fd = at::open_dir(dir.as_fd(), b".")?;
            let lock = Lock::try_on(fd, LockMode::Exclusive)?;
            if lock.is_some() || !name.starts_with(self.boot.as_str()) {
                let opened = at::open_dir(dir.as_fd(), b".")?;
                if still_named(self.tmp.as_fd(), name.as_bytes(), &opened)? {
                    tracing::debug!(staging = name, "removing what a dead pull left");
                    // Another sweeper may be faster.
                    absent(self.discard(&self.tmp, &name))?;
                }
            }
        }
        Ok(())
    }

    /// Removes the writable layers of dead containers; a few system calls for each live one.
    pub fn sweep_containers(&self) -> Result<(), Error> {
        self.remove_dead_containers().map_err(Error::Sweep)
    }

    fn remove_dead_containers(&self) -> Result<(), ucr_sys::Error> {
        // A lease without a directory is from who died between making the two.
        let mut ids: BTreeSet<String> = self.containers.names()?.into_iter().collect();
        ids.extend(self.leases.names()?);
        for id in ids {
            let lease = Lock::try_acquire(self.leases.as_fd(), id.as_bytes(), LockMode::Exclusive)?;
            if let Some(lease) = lease {
                tracing::debug!(container = id, "removing what a dead one left");
                self.containers.remove_tree(&id)?;
                lease.remove_file(self.leases.as_fd(), id.as_bytes())?;
            }
        }
        Ok(())
    }

    /// A lock file is removed by who unlocks it; those of the dead are left over.
    fn sweep_locks(&self) -> Result<(), ucr_sys::Error> {
        for name in self.locks.names()? {
            let name = name.as_bytes();
            if let Some(lock) = Lock::try_acquire(self.locks.as_fd(), name, LockMode::Exclusive)? {
                lock.remove_file(self.locks.as_fd(), name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        (temp, store)
    }

    #[test]
    fn c7_staging_of_the_living_stays_and_of_the_dead_goes() {
        let (_temp, store) = store();
        let alive = store.stage().unwrap();
        let dead = store
            .tmp
            .create_dir(&format!("{}-dead", store.boot))
            .unwrap();
        dead.create_dir("half a layer").unwrap();
        store
            .tmp
            .create_dir("00000000-0000-0000-0000-000000000000-x")
            .unwrap();
        store.sweep().unwrap();
        assert_eq!(store.tmp.names().unwrap().len(), 1);
        drop(alive);
        assert!(store.tmp.names().unwrap().is_empty());
    }

    #[test]
    fn c13_writable_layers_of_dead_containers_go() {
        let (_temp, store) = store();
        let container = |id: &str| {
            store.reserve(id, None).unwrap();
            store.container().unwrap()
        };
        let alive = container("alive");
        drop(container("dead"));
        store.sweep().unwrap();
        assert_eq!(store.containers.names().unwrap(), ["alive"]);
        assert_eq!(store.leases.names().unwrap(), ["alive"]);
        drop(alive);
    }
}
