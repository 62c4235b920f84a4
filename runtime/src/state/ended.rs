//! What is remembered of containers that have ended, for a day.
//!
//! One file for each hour, `ended/<hour since 1970>`, with a JSON line for each container: an end
//! costs one short write, whatever number of containers there were.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use ucr_sys::process;

use super::{Error, Record, Status, make_private, now};

/// Hours for which an end is remembered, besides the one that has begun.
const HOURS: u64 = 24;
/// Nanoseconds of an hour.
const HOUR: u64 = 3_600_000_000_000;
/// The most that is remembered of one hour, in bytes: `/run` is memory.
const HOUR_MAX: u64 = 8 << 20;

/// Docker's exit code of who was killed.
const KILLED: u8 = 137;

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was.
    pub record: Record,
    /// When it was over, in nanoseconds since 1970.
    pub finished: u64,
    /// Docker's exit code.
    pub exit_code: u8,
    /// The signal that ended its task, if one did.
    pub signal: Option<i32>,
    /// Whether memory ran out in it.
    pub out_of_memory: bool,
    /// Why it did not start, if so.
    pub error: Option<String>,
}

/// Remembers an end, and forgets those of more than a day ago when an hour has begun.
///
/// # Errors
///
/// [`Error::Write`] or [`Error::Make`].
pub fn remember(state_root: &Path, ended: &Ended) -> Result<(), Error> {
    let directory = state_root.join("ended");
    make_private(&directory)?;
    let hour = ended.finished / HOUR;
    let path = directory.join(hour.to_string());
    let is_new = !path.exists();
    let append = || -> io::Result<()> {
        let mut line = serde_json::to_vec(ended)?;
        line.push(b'\n');
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() < HOUR_MAX {
            // One write: those of others do not come in between.
            file.write_all(&line)?;
        }
        Ok(())
    };
    append().map_err(|error| Error::Write(path.clone(), error))?;
    if is_new {
        forget(&directory, hour.saturating_sub(HOURS))?;
    }
    Ok(())
}

/// Remembers the end of a container whose supervisor was killed before it could.
///
/// # Errors
///
/// As [`remember`] and [`list`].
pub(super) fn remember_killed(state_root: &Path, record: &Record) -> Result<(), Error> {
    // One that did not come to run has no end that anybody would ask for.
    let ran = record.status == Status::Running;
    let is_told = || -> Result<bool, Error> {
        let ended = list(state_root)?;
        Ok(ended.iter().any(|ended| ended.record.id == record.id))
    };
    if !ran || is_told()? {
        return Ok(());
    }
    remember(
        state_root,
        &Ended {
            record: record.clone(),
            finished: now(),
            exit_code: KILLED,
            signal: Some(process::KILL),
            out_of_memory: false,
            error: Some("its supervisor was killed".into()),
        },
    )
}

/// Removes the files of hours before `oldest`.
fn forget(directory: &Path, oldest: u64) -> Result<(), Error> {
    for (hour, path) in hours(directory)? {
        if hour < oldest {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Write(path, error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The ends that are remembered, the latest first.
///
/// # Errors
///
/// [`Error::List`] or [`Error::Open`]; a line that cannot be read is passed over.
pub fn list(state_root: &Path) -> Result<Vec<Ended>, Error> {
    let mut found = Vec::new();
    for (_, path) in hours(&state_root.join("ended"))? {
        match std::fs::read_to_string(&path) {
            Ok(text) => found.extend(
                text.lines()
                    .filter_map(|line| serde_json::from_str(line).ok()),
            ),
            // An hour that somebody else has just forgotten.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Open(path, error)),
        }
    }
    let oldest = now().saturating_sub(HOURS * HOUR);
    found.retain(|ended: &Ended| ended.finished >= oldest);
    found.sort_by_key(|ended| std::cmp::Reverse(ended.finished));
    Ok(found)
}

fn hours(directory: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let failed = |error| Error::List(directory.into(), error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut hours = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let hour = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        hours.extend(hour.map(|hour| (hour, entry.path())));
    }
    Ok(hours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::About;

    fn ended(id: &str, finished: u64) -> Ended {
        Ended {
            record: Record::new(id.parse().expect("id"), None, About::default()),
            finished,
            exit_code: 3,
            signal: None,
            out_of_memory: false,
            error: None,
        }
    }

    #[test]
    fn an_end_is_remembered_for_a_day() {
        let temp = tempfile::tempdir().expect("tempdir");
        let (root, now) = (temp.path(), now());
        assert_eq!(list(root).expect("list"), []);
        for (id, hours) in [("old", 30), ("yesterday", 23), ("today", 0)] {
            remember(root, &ended(id, now - hours * HOUR)).expect("remember");
        }
        let listed = list(root).expect("list");
        let ids: Vec<_> = listed.iter().map(|one| one.record.id.as_str()).collect();
        assert_eq!(ids, ["today", "yesterday"]);
        // The first of another hour takes what is older than a day away.
        assert_eq!(hours(&root.join("ended")).expect("hours").len(), 2);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let temp = tempfile::tempdir().expect("tempdir");
        let now = now();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let root = temp.path();
                scope.spawn(move || {
                    for number in 0..50 {
                        let id = format!("c{thread}-{number}");
                        remember(root, &ended(&id, now)).expect("remember");
                    }
                });
            }
        });
        assert_eq!(list(temp.path()).expect("list").len(), 400);
    }
}
