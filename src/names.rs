//! Names of containers: taken among the running ones for as long as a lock is held.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ucr_runtime::id::ContainerId;
use ucr_sys::{Dir, Lock, LockMode};

use crate::command_error::CommandError;

/// A name that is ours while the lock is held.
#[derive(Debug)]
pub(crate) struct TakenName {
    lock: Lock,
    names: Dir,
    name: String,
}

impl TakenName {
    /// Takes `name` among the containers whose state is below `state`.
    ///
    /// # Errors
    /// When it cannot be a name, or a running container has it.
    pub(crate) fn take(name: &str, state: &Path) -> Result<Self, CommandError> {
        // Names follow the same rule as IDs, which makes them safe as file names.
        name.parse::<ContainerId>().map_err(CommandError::new)?;
        let names = Dir::open_or_create(state)
            .and_then(|state| state.dir_or_create("names"))
            .map_err(CommandError::new)?;
        forget_the_dead(&names);
        let lock = Lock::try_acquire(names.as_fd(), name.as_bytes(), LockMode::Exclusive)
            .map_err(CommandError::new)?
            .ok_or_else(|| {
                let text = format!("a running container has the name \"{name}\" already");
                CommandError::sentence(text)
            })?;
        Ok(Self {
            lock,
            names,
            name: name.to_owned(),
        })
    }

    /// The lock, to be kept by whoever keeps the container alive.
    pub(crate) fn lock(&self) -> std::io::Result<OwnedFd> {
        self.lock.as_fd().try_clone_to_owned()
    }

    /// The name itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// The file of the name, which the last holder of the lock removes.
    pub(crate) fn file(&self) -> PathBuf {
        self.names.path().join(&self.name)
    }

    /// Gives the name back, when it did not come to a container.
    pub(crate) fn give_back(self) -> Result<(), CommandError> {
        self.lock
            .remove_file(self.names.as_fd(), self.name.as_bytes())
            .map_err(CommandError::new)
    }
}

/// Removes the files of names that nobody holds; one that cannot be removed does no harm.
fn forget_the_dead(names: &Dir) {
    for name in names.names().unwrap_or_default() {
        let name = name.as_bytes();
        if let Ok(Some(lock)) = Lock::try_acquire(names.as_fd(), name, LockMode::Exclusive) {
            let _ = lock.remove_file(names.as_fd(), name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_free_again_after() {
        let temp = tempfile::tempdir().unwrap();
        let taken = TakenName::take("web", temp.path()).unwrap();
        assert!(TakenName::take("web", temp.path()).is_err());
        assert!(TakenName::take("other", temp.path()).is_ok());
        taken.give_back().unwrap();
        drop(TakenName::take("web", temp.path()).unwrap());
    }

    #[test]
    fn c13_a_name_stays_unique_after_its_holder_was_killed() {
        let temp = tempfile::tempdir().unwrap();
        // A holder that died leaves its file and no lock.
        drop(TakenName::take("web", temp.path()).unwrap());
        let second = TakenName::take("web", temp.path()).unwrap();
        assert!(TakenName::take("web", temp.path()).is_err());
        assert!(second.file().exists());
    }

    #[test]
    fn i48_a_name_is_no_path() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["", "../x", "a/b", "-a", ".", "a b", "a\nb"] {
            assert!(TakenName::take(name, temp.path()).is_err(), "{name:?}");
        }
    }
}
