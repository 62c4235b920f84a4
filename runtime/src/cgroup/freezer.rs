//! Letting all processes of a container stand still, in either version of cgroups.

use std::path::{Path, PathBuf};

use ucr_sys::process::pause_briefly;

use super::group::write_file;
use super::processes::children;

/// How often it is looked whether all processes stand still, a millisecond apart: one in an
/// uninterruptible call does so only after it.
const LOOKS: usize = 10_000;

/// The same for [`hold`], whose caller goes on without.
const HOLD_LOOKS: usize = 50;

/// The file of version 1, cgroup-v1/freezer-subsystem.rst.
const STATE: &str = "freezer.state";

/// A cgroup that does not freeze or thaw.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the cgroups can.
    #[error("there is no cgroup with a freezer: neither freezer.state nor cgroup.freeze")]
    None,
    /// The kernel refused.
    #[error("cannot use {0}")]
    Use(PathBuf, #[source] ucr_sys::Error),
    /// Some process of it does not stop.
    #[error("a process in {0} does not stand still")]
    Moves(PathBuf),
}

/// The file by which a container is frozen, and the words for it.
struct Freezer {
    file: PathBuf,
    frozen: &'static str,
    thawed: &'static str,
    /// Where to look whether all stand still, and for which line.
    look: (PathBuf, &'static str),
}

impl Freezer {
    /// That of the first of `cgroups` that has one, cgroup-v2.rst and
    /// cgroup-v1/freezer-subsystem.rst.
    fn of(cgroups: &[PathBuf]) -> Option<Self> {
        let v1 = |group: &PathBuf| {
            let file = group.join(STATE);
            file.exists().then(|| Self {
                look: (file.clone(), "FROZEN"),
                file,
                frozen: "FROZEN",
                thawed: "THAWED",
            })
        };
        let v2 = |group: &PathBuf| {
            let file = group.join("cgroup.freeze");
            file.exists().then(|| Self {
                look: (group.join("cgroup.events"), "frozen 1"),
                file,
                frozen: "1",
                thawed: "0",
            })
        };
        let first = cgroups.iter().find_map(v1);
        first.or_else(|| cgroups.iter().find_map(v2))
    }

    fn write(&self, word: &str) -> Result<(), Error> {
        write_file(&self.file, word.as_bytes())
            .map_err(|error| Error::Use(self.file.clone(), error))
    }

    fn is_frozen(&self) -> Result<bool, Error> {
        let (file, line) = &self.look;
        let text = read(file)?;
        Ok(text.lines().any(|one| one == *line))
    }
}

fn read(file: &Path) -> Result<String, Error> {
    let failed = |error| ucr_sys::Error::from_io("read", format!("{file:?}"), &error);
    std::fs::read_to_string(file).map_err(|error| Error::Use(file.into(), failed(error)))
}

/// Lets every process in `cgroups`, those of one container, stand still, and waits until all do.
///
/// # Errors
///
/// An [`Error`]; the processes go on then.
pub fn freeze(cgroups: &[PathBuf]) -> Result<(), Error> {
    let freezer = Freezer::of(cgroups).ok_or(Error::None)?;
    for _ in 0..LOOKS {
        // Version 1 tries again each time it is told, and may need that.
        freezer.write(freezer.frozen)?;
        if freezer.is_frozen()? {
            return Ok(());
        }
        // Version 1 has no event for it.
        pause_briefly();
    }
    freezer.write(freezer.thawed)?;
    Err(Error::Moves(freezer.file))
}

/// Lets every process in `cgroups` go on; where none can be frozen none is.
///
/// # Errors
///
/// [`Error::Use`].
pub fn thaw(cgroups: &[PathBuf]) -> Result<(), Error> {
    match Freezer::of(cgroups) {
        Some(freezer) => match freezer.write(freezer.thawed) {
            // It ended meanwhile.
            Err(Error::Use(_, error)) if error.is_not_found() => Ok(()),
            other => other,
        },
        None => Ok(()),
    }
}

/// Whether [`hold`] can do anything for the processes of `cgroup`.
pub(super) fn can_hold(cgroup: &Path) -> bool {
    cgroup.join(STATE).exists()
}

/// Lets the processes in a cgroup of version 1 and below it stand still, if they do within a moment.
pub(super) fn hold(cgroup: &Path) {
    let state = cgroup.join(STATE);
    for _ in 0..HOLD_LOOKS {
        let written = write_file(&state, b"FROZEN");
        // None that can be frozen, or frozen as wanted: there is nothing to wait for.
        if written.is_err() || read(&state).is_ok_and(|text| text.trim() == "FROZEN") {
            return;
        }
        // Version 1 has no event for it.
        pause_briefly();
    }
}

/// Lets the processes in a cgroup of version 1 go on, and in those below it that were frozen for
/// themselves.
pub(super) fn release(cgroup: &Path) {
    // Who is frozen still is seen to be there still.
    drop(write_file(&cgroup.join(STATE), b"THAWED"));
    for child in children(cgroup) {
        release(&child);
    }
}

/// Whether the processes in `cgroups` stand still.
pub fn is_frozen(cgroups: &[PathBuf]) -> bool {
    Freezer::of(cgroups).is_some_and(|freezer| freezer.is_frozen().unwrap_or(false))
}
