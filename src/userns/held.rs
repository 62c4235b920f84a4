//! Ids that a container has, held among the running ones by a lock.
//!
//! `userns/<container>` below the state directory says which ids of the machine they are, a line for
//! each range, and is locked for as long as the container lives. Who looks for free ids holds
//! `userns/lock` meanwhile.

use std::path::Path;

use super::Ids;
use crate::command_error::CommandError;
use crate::held_file::{HeldFile, HeldFiles};

/// The lock of whoever looks for free ids; no ID of a container, which is hexadecimal.
const LOOKING: &str = "lock";

/// The folder of the state directory with a file for each container.
const FOLDER: &str = "userns";

/// Removes what containers that were killed left of their ids.
pub(crate) fn sweep(state: &Path) -> Result<(), CommandError> {
    HeldFiles::sweep(state, FOLDER, LOOKING)
}

/// Ids that are a container's while the lock of the file is held.
#[derive(Debug)]
pub(crate) struct HeldIds {
    file: HeldFile,
    ids: Ids,
}

impl HeldIds {
    /// Holds what `find` finds for the container `id`, given the ids that others hold.
    pub(super) fn take(
        id: &str,
        state: &Path,
        find: impl FnOnce(&[(u32, u32)]) -> Result<Ids, CommandError>,
    ) -> Result<Self, CommandError> {
        let files = HeldFiles::open(state, FOLDER)?;
        let _looking = files.lock(LOOKING)?;
        let ids = find(&others(&files)?)?;
        let file = files.take(id)?.ok_or_else(|| {
            CommandError::sentence(format!("another container has the ID {id} already"))
        })?;
        file.write(&ids.to_string())?;
        Ok(Self { file, ids })
    }

    /// The ids.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What says whose they are.
    pub(crate) fn file(&self) -> &HeldFile {
        &self.file
    }
}

/// The ids that containers hold: starts and counts.
fn others(files: &HeldFiles) -> Result<Vec<(u32, u32)>, CommandError> {
    let mut held = Vec::new();
    for (file, text) in files.of_others(LOOKING)? {
        let ranges: Option<Vec<_>> = text.lines().map(range).collect();
        held.extend(ranges.ok_or_else(|| {
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
        let ids = first.ids().clone();
        drop(first);
        // One that was killed leaves its file and no lock.
        std::fs::copy(second.file().path(), temp.path().join("userns/killed")).unwrap();
        let third = take("c");
        assert_eq!(third.ids(), &ids);
        assert!(!temp.path().join("userns/killed").exists() && second.file().path().exists());
    }
}
