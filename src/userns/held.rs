//! Ids that a container has, held among the running ones by a lock.
//!
//! `userns/<container>` below the state directory says which ids of the machine they are, a line for
//! each range, and is locked for as long as the container lives. Who looks for free ids holds
//! `userns/lock` meanwhile.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ucr_sys::{Dir, Lock, LockMode};

use super::Ids;
use crate::command_error::CommandError;

/// The lock of whoever looks for free ids; no ID of a container, which is hexadecimal.
const LOOKING: &[u8] = b"lock";
/// The most that is read of one container.
const LIMIT: u64 = 64 * 1024;

/// Ids that are a container's while the lock is held.
#[derive(Debug)]
pub(crate) struct HeldIds {
    lock: Lock,
    folder: Dir,
    name: String,
    ids: Ids,
}

impl HeldIds {
    /// Holds what `find` finds for the container `id`, given the ids that others hold.
    pub(super) fn take(
        id: &str,
        state: &Path,
        find: impl FnOnce(&[(u32, u32)]) -> Result<Ids, CommandError>,
    ) -> Result<Self, CommandError> {
        let folder = Dir::open_or_create(state).and_then(|state| state.dir_or_create("userns"));
        let folder = folder.map_err(CommandError::new)?;
        let acquire = |name: &[u8]| {
            Lock::acquire(folder.as_fd(), name, LockMode::Exclusive).map_err(CommandError::new)
        };
        let _looking = acquire(LOOKING)?;
        let ids = find(&others(&folder)?)?;
        let lock = acquire(id.as_bytes())?;
        let written = lock.as_fd().try_clone_to_owned();
        let written =
            written.and_then(|file| File::from(file).write_all(ids.to_string().as_bytes()));
        written.map_err(|error| {
            let file = folder.path().join(id);
            let (file, error) = (file.display(), ucr_sys::reason(&error));
            CommandError::sentence(format!("cannot write {file}: {error}"))
        })?;
        Ok(Self {
            lock,
            name: id.to_owned(),
            folder,
            ids,
        })
    }

    /// The ids.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The lock, to be kept by whoever keeps the container alive.
    pub(crate) fn lock(&self) -> std::io::Result<OwnedFd> {
        self.lock.as_fd().try_clone_to_owned()
    }

    /// The file, which the last holder of the lock removes.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Gives the ids back, when it did not come to a container.
    pub(crate) fn give_back(self) -> Result<(), CommandError> {
        self.lock
            .remove_file(self.folder.as_fd(), self.name.as_bytes())
            .map_err(CommandError::new)
    }
}

/// The ids that containers hold: starts and counts. Files of those that ended are removed.
fn others(folder: &Dir) -> Result<Vec<(u32, u32)>, CommandError> {
    let mut held = Vec::new();
    for name in folder.names().map_err(CommandError::new)? {
        if name.as_bytes() == LOOKING {
            continue;
        }
        let lock = Lock::try_acquire(folder.as_fd(), name.as_bytes(), LockMode::Exclusive);
        if let Some(lock) = lock.map_err(CommandError::new)? {
            lock.remove_file(folder.as_fd(), name.as_bytes())
                .map_err(CommandError::new)?;
            continue;
        }
        let text = folder.read(&name, LIMIT).map_err(CommandError::new)?;
        // One that ended just now holds nothing.
        let text = text.unwrap_or_default();
        let ranges = String::from_utf8_lossy(&text).lines().map(range).collect();
        let ranges: Option<Vec<_>> = ranges;
        held.extend(ranges.ok_or_else(|| {
            let file = folder.path().join(&name);
            let file = file.display();
            CommandError::sentence(format!(
                "{file}, the ids of a running container, is damaged"
            ))
        })?);
    }
    Ok(held)
}

fn range(line: &str) -> Option<(u32, u32)> {
    let (start, count) = line.split_once(' ')?;
    Some((start.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Auto;
    use super::*;

    #[test]
    fn i35_no_two_containers_hold_one_range_and_the_dead_hold_none() {
        let temp = tempfile::tempdir().unwrap();
        let auto = Auto::default();
        let take = |id: &str| HeldIds::take(id, temp.path(), |others| auto.find(others)).unwrap();
        let first = take("a");
        let second = take("b");
        assert_ne!(first.ids(), second.ids());
        // One that died leaves its file and no lock.
        let ids = first.ids().clone();
        drop(first);
        let third = take("c");
        assert_eq!(third.ids(), &ids);
        assert!(!temp.path().join("userns/a").exists());
        third.give_back().unwrap();
        assert!(!temp.path().join("userns/c").exists() && second.file().exists());
    }
}
