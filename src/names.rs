//! Names of containers: taken among the running ones for as long as a lock is held.

use std::path::Path;

use ucr_runtime::id::ContainerId;

use crate::command_error::CommandError;
use crate::held_file::{HeldFile, HeldFiles};

/// The folder of the state directory with a file for each name.
const FOLDER: &str = "names";

/// Removes what containers that were killed left of their names.
pub(crate) fn sweep(state: &Path) -> Result<(), CommandError> {
    HeldFiles::sweep(state, FOLDER, "")
}

/// Takes `name` among the containers whose state is below `state`.
///
/// # Errors
/// When it cannot be a name, or a running container has it.
pub(crate) fn take(name: &str, state: &Path) -> Result<HeldFile, CommandError> {
    // Names follow the same rule as IDs, which makes them safe as file names.
    name.parse::<ContainerId>().map_err(CommandError::new)?;
    let names = HeldFiles::open(state, FOLDER)?;
    names.take(name)?.ok_or_else(|| {
        let text = format!("a running container has the name \"{name}\" already");
        CommandError::sentence(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_free_again_after() {
        let temp = tempfile::tempdir().unwrap();
        let taken = take("web", temp.path()).unwrap();
        assert!(take("web", temp.path()).is_err());
        assert!(take("other", temp.path()).is_ok());
        drop(taken);
        assert!(take("web", temp.path()).is_ok());
    }

    #[test]
    fn i48_a_name_is_no_path() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["", "../x", "a/b", "-a", ".", "a b", "a\nb"] {
            assert!(take(name, temp.path()).is_err(), "{name:?}");
        }
    }
}
