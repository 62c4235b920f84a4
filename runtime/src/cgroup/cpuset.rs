//! Sets of processors and memory nodes, where the kernel needs help or does not say no.

use std::collections::BTreeSet;
use std::path::Path;

use super::group::{Error, write_value};
use super::{Group, IfMissing, Version, Write};

/// Whether `group` is in the hierarchy of version 1 that has sets of processors.
pub(super) fn is_in(group: &Group) -> bool {
    group.version == Version::One && group.controllers.iter().any(|name| name == "cpuset")
}

/// Gives a cpuset of version 1 that is new what the one above it has: an empty one takes no process,
/// cpuset(7).
pub(super) fn inherit(path: &Path) -> Result<(), Error> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        // What somebody has set above ours stays.
        if !read(path, name)?.is_empty() {
            continue;
        }
        let write = Write {
            controller: "cpuset".into(),
            file: path.join(name),
            value: read(path.parent().unwrap_or(path), name)?,
            if_missing: IfMissing::Fail,
        };
        write_value(&write.file, &write)?;
    }
    Ok(())
}

/// Refuses sets of which version 2 gives only a part, or something else: it takes any,
/// cgroup-v2.rst "cpuset.cpus.effective".
pub(super) fn confirm(group: &Group) -> Result<(), Error> {
    let is_ours = |write: &&Write| write.controller == "cpuset";
    for write in group.writes.iter().filter(is_ours) {
        let name = match write.file.to_str() {
            Some(name @ ("cpuset.cpus" | "cpuset.mems")) if group.version == Version::Two => name,
            _ => continue,
        };
        let given = read(&group.path, &format!("{name}.effective"))?;
        if numbers(&write.value) != numbers(&given) {
            return Err(Error::Cpuset {
                file: group.path.join(name),
                asked: write.value.clone(),
                given,
            });
        }
    }
    Ok(())
}

/// Says what there is, where a set that the kernel refuses has more.
pub(super) fn explained(group: &Group, write: &Write, error: Error) -> Error {
    let is_set = ["cpuset.cpus", "cpuset.mems"]
        .map(Path::new)
        .contains(&write.file.as_path());
    let Error::Limit { file, value, .. } = &error else {
        return error;
    };
    let name = write.file.display();
    let above = match group.version {
        Version::One => name.to_string(),
        Version::Two => format!("{name}.effective"),
    };
    match (is_set, read(&group.parent, &above)) {
        (true, Ok(given)) if !is_within(value, &given) => Error::Cpuset {
            file: file.clone(),
            asked: value.clone(),
            given,
        },
        _ => error,
    }
}

/// Whether all of a list is in another; one that is no list is in all, as nothing can be said of it.
fn is_within(list: &str, all: &str) -> bool {
    match (numbers(list), numbers(all)) {
        (Some(list), Some(all)) => list.is_subset(&all),
        _ => true,
    }
}

fn read(directory: &Path, name: &str) -> Result<String, Error> {
    let file = directory.join(name);
    let text = std::fs::read_to_string(&file)
        .map_err(|error| ucr_sys::Error::from_io("read", format!("{file:?}"), &error))
        .map_err(|error| Error::Open(file, error))?;
    Ok(text.trim().to_owned())
}

/// More than any machine has, `CONFIG_NR_CPUS` and `MAX_NUMNODES`.
const MOST: u32 = 1 << 16;

/// The numbers of a list such as `0-3,8`, cpuset(7) "List format"; none where it is not one.
///
/// Of what the kernel refused the ranges may be longer than all that it has, and are cut there.
fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        numbers.extend(first..=last.min(first.saturating_add(MOST)));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_from_what_is_no_list() {
        assert!(is_within("0", "0-1"));
        assert!(!is_within("0-99", "0-1"));
        assert!(!is_within("0-4294967295", "0-1"));
        assert!(is_within("x", "0-1"));
    }

    #[test]
    fn lists_are_the_same_however_they_are_written() {
        assert_eq!(numbers("0-3"), numbers("3,1-2, 0"));
        assert_eq!(numbers("5"), Some([5].into()));
        for nonsense in ["", "a", "1-", "0-3:1/2"] {
            assert_eq!(numbers(nonsense), None, "{nonsense:?}");
        }
    }
}
