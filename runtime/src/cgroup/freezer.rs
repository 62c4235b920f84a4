//! Stopping all processes of a container at once, and letting them go on.

use std::path::{Path, PathBuf};

use super::group::{Error, write_file};
use crate::oci::record::Cgroup;

/// What processes are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Frozen, where they are.
    Frozen,
    /// Running.
    Thawed,
}

/// The files of the two versions, and what is written into each.
///
/// cgroups(7) `freezer`; Documentation/admin-guide/cgroup-v2.rst `cgroup.freeze`.
const FILES: [(&str, &str, &str); 2] = [
    ("cgroup.freeze", "1", "0"),
    ("freezer.state", "FROZEN", "THAWED"),
];

/// Whether the processes in `cgroups` are frozen, or about to be.
pub fn is_frozen(cgroups: &[Cgroup]) -> bool {
    cgroups.iter().any(|cgroup| {
        let content = |file| std::fs::read_to_string(cgroup.path.join(file)).unwrap_or_default();
        content("cgroup.freeze").trim() == "1"
            || matches!(content("freezer.state").trim(), "FROZEN" | "FREEZING")
    })
}

/// Freezes the processes in `cgroups`, or lets them go on.
///
/// # Errors
///
/// [`Error::NoFreezer`] where none of them can, or of the write.
pub fn set(cgroups: &[Cgroup], wanted: Wanted) -> Result<(), Error> {
    let (file, value) = files(cgroups, wanted).next().ok_or(Error::NoFreezer)?;
    write(&file, value)
}

/// Lets the processes in `cgroups` go on, wherever they may be frozen.
///
/// # Errors
///
/// Of the write.
pub fn thaw(cgroups: &[Cgroup]) -> Result<(), Error> {
    for (file, value) in files(cgroups, Wanted::Thawed) {
        write(&file, value)?;
    }
    Ok(())
}

fn files(cgroups: &[Cgroup], wanted: Wanted) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let each = cgroups.iter().flat_map(move |cgroup| {
        FILES.map(|(name, frozen, thawed)| {
            let value = match wanted {
                Wanted::Frozen => frozen,
                Wanted::Thawed => thawed,
            };
            (cgroup.path.join(name), value)
        })
    });
    each.filter(|(file, _)| file.exists())
}

fn write(file: &Path, value: &str) -> Result<(), Error> {
    write_file(file, value.as_bytes()).map_err(|source| Error::Limit {
        file: file.into(),
        controller: "freezer".into(),
        value: value.into(),
        source,
    })
}
