//! Cgroups that were made, and their removal.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ucr_sys::{Errno, process};

use super::group::Error;
use super::processes;

/// A cgroup that was made for a container, and is known by more than its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its directory.
    pub path: PathBuf,
    /// The number of the directory, which the kernel does not soon use again.
    inode: u64,
    /// Directories above it that ours share, to be removed when they are empty; innermost first.
    shared: Vec<PathBuf>,
}

impl Made {
    /// The cgroup that was just made at `path`, below the directories `shared`.
    pub fn of(path: &Path, shared: &[PathBuf]) -> Option<Self> {
        Some(Self {
            path: path.to_owned(),
            inode: inode(path)?,
            shared: shared.to_vec(),
        })
    }

    /// Whether it is there still: that one, and no other of its name.
    pub fn is_there(&self) -> bool {
        inode(&self.path) == Some(self.inode)
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|found| found.ino())
}

/// Removes what is there still of `made`, with the cgroups that processes in there made, and what
/// was shared and is empty; goes on after a failure.
pub fn remove(made: &[Made]) -> Vec<Error> {
    let mut failures = Vec::new();
    for one in made {
        if one.is_there() {
            failures.extend(remove_with_children(&one.path).err());
        }
        for shared in &one.shared {
            // It stays while another container is in it.
            remove_if_empty(shared);
        }
    }
    failures
}

/// Kills whoever is in what is there still of `made`, and removes it as [`remove`] does.
pub fn kill_and_remove(made: &[Made]) -> Vec<Error> {
    let there = made.iter().filter(|one| one.is_there());
    match processes::kill_all(there.map(|one| one.path.as_path())) {
        Ok(()) => remove(made),
        // With somebody left in it, a removal would only be tried in vain.
        Err(error) => vec![error],
    }
}

/// Removes the cgroup `path` with those that processes in it made below it; one that is gone is fine.
///
/// # Errors
///
/// [`Error::Remove`].
pub fn remove_with_children(path: &Path) -> Result<(), Error> {
    remove_one(path).map_err(|error| Error::Remove(path.into(), error))
}

/// How often a removal is tried again while the last process is on its way out.
const REMOVE_TRIES: u32 = 200;

fn remove_one(path: &Path) -> ucr_sys::Result<()> {
    for _ in 0..REMOVE_TRIES {
        match remove_directory(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.errno() == Errno::BUSY => {
                for child in processes::children(path) {
                    remove_one(&child)?;
                }
                // The kernel reports a process dead a moment before it leaves its
                // cgroup, and version 1 has no event for that moment.
                process::pause_briefly();
            }
            other => return other,
        }
    }
    remove_directory(path)
}

fn remove_directory(path: &Path) -> ucr_sys::Result<()> {
    std::fs::remove_dir(path)
        .map_err(|error| ucr_sys::Error::from_io("rmdir", format!("{path:?}"), &error))
}

/// Removes the cgroup `path` if it is there and nothing is in it.
pub fn remove_if_empty(path: &Path) {
    drop(std::fs::remove_dir(path));
}

/// Removes the directory that ours share, above `path`, unless another container is in it.
pub fn remove_empty_parent(path: &Path) {
    if let Some(parent) = path.parent() {
        remove_if_empty(parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(base: &Path) -> Made {
        let path = base.join("ucr/one");
        std::fs::create_dir_all(&path).expect("mkdir");
        Made::of(&path, &[base.join("ucr")]).expect("made")
    }

    #[test]
    fn removing_takes_the_empty_parent_along_and_twice_is_fine() {
        let temp = tempfile::tempdir().expect("tempdir");
        let made = [make(temp.path())];
        assert!(remove(&made).is_empty());
        assert!(!temp.path().join("ucr").exists());
        assert!(remove(&made).is_empty());
    }

    #[test]
    fn i32_another_cgroup_of_the_same_name_is_left_alone() {
        let temp = tempfile::tempdir().expect("tempdir");
        let made = make(temp.path());
        // Made while the first is there, so that it has another number.
        let other = temp.path().join("other");
        std::fs::create_dir(&other).expect("mkdir");
        std::fs::remove_dir(&made.path).expect("rmdir");
        std::fs::rename(&other, &made.path).expect("rename");
        assert!(!made.is_there());
        assert!(kill_and_remove(std::slice::from_ref(&made)).is_empty());
        assert!(made.path.exists());
    }

    #[test]
    fn a_reason_has_words_and_no_number() {
        let temp = tempfile::tempdir().expect("tempdir");
        let made = make(temp.path());
        std::fs::create_dir(made.path.join("below")).expect("mkdir");
        let failures = remove(&[made]);
        let source = std::error::Error::source(&failures[0]).expect("source");
        let text = source.to_string();
        assert!(text.ends_with("Directory not empty"), "{text}");
    }
}
