//! What is remembered of containers that have ended, for a day.
//!
//! One file for each hour, `ended/<hour since 1970>`, with a JSON line for each container: an end
//! costs one short write, whatever number of containers there were. Where there are too many, the
//! file is set aside as `<hour>.old` and another one begun, and what was set aside before is forgotten.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use ucr_sys::{LockMode, at, lock_file, process};

use super::{Error, Record, Status, make_private, now};

/// Hours for which an end is remembered, besides the one that has begun.
const HOURS: u64 = 24;
/// Nanoseconds of an hour.
const HOUR: u64 = 3_600_000_000_000;
/// The most that is in one file, in bytes: `/run` is memory. Of an hour there are two at most.
const FILE_MAX: u64 = 4 << 20;

/// Docker's exit code of who was killed.
const KILLED: u8 = 137;

/// The ending of a file that was set aside.
const OLD: &str = "old";

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was.
    pub record: Record,
    /// When it was over, in nanoseconds since 1970.
    pub finished: u64,
    /// Docker's exit code.
    #[serde(default)]
    pub exit_code: u8,
    /// The signal that ended its task, if one did.
    pub signal: Option<i32>,
    /// Whether memory ran out in it.
    #[serde(default)]
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
    let failed = |error| Error::Write(path.clone(), error);
    let line = serde_json::to_value(ended).and_then(|value| serde_json::to_vec(&short(value)));
    let mut line = line.map_err(io::Error::from).map_err(failed)?;
    line.push(b'\n');
    let mut file = open(&path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() >= FILE_MAX {
        set_aside(&file, &path)?;
        file = open(&path).map_err(failed)?;
    }
    // One write: those of others do not come in between.
    file.write_all(&line).map_err(failed)?;
    if is_new {
        forget(&directory, hour.saturating_sub(HOURS))?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// Makes room for another `file` at `path`, unless somebody has done so by now.
fn set_aside(file: &File, path: &Path) -> Result<(), Error> {
    let locked = |error| Error::Lock(path.into(), error);
    lock_file(file.as_fd(), LockMode::Exclusive).map_err(locked)?;
    let current = File::open(path).map_err(|error| Error::Open(path.into(), error))?;
    if at::same_file(file, &current).map_err(locked)? {
        let renamed = std::fs::rename(path, path.with_extension(OLD));
        renamed.map_err(|error| Error::Write(path.into(), error))?;
    }
    Ok(())
}

/// What of a record is worth to be remembered: not what went with the container, nor what is empty.
fn short(mut ended: Value) -> Value {
    const GONE: [&str; 5] = ["supervisor", "pid", "task", "cgroups", "made"];
    if let Some(record) = ended.get_mut("record").and_then(Value::as_object_mut) {
        record.retain(|name, _| !GONE.contains(&name.as_str()));
    }
    prune(&mut ended);
    ended
}

/// Leaves out what is read as the same when it is missing. In lists and labels all is said.
fn prune(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    for (name, field) in fields.iter_mut() {
        if name != "labels" {
            prune(field);
        }
    }
    fields.retain(|_, field| match field {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) => true,
    });
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
        let name = entry.path().with_extension("");
        let hour = name.file_name().and_then(OsStr::to_str);
        let hour = hour.and_then(|name| name.parse().ok());
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
    fn an_end_takes_little_room_and_says_all_that_was_known() {
        let temp = tempfile::tempdir().expect("tempdir");
        let mut one = ended(&"f".repeat(64), now());
        one.record.name = Some("web".into());
        one.record.about.image = "registry.example.com/team/app:1".into();
        one.record.about.image_id = format!("sha256:{}", "a".repeat(64));
        one.record.about.command = ["sh", "", "-c"].map(str::to_owned).into();
        one.record.about.labels = [("a".to_owned(), String::new())].into();
        one.exit_code = 0;
        remember(temp.path(), &one).expect("remember");
        one.record.supervisor = 0;
        assert_eq!(list(temp.path()).expect("list"), [one.clone()]);
        one.record.cgroups = vec!["/sys/fs/cgroup/memory/ucr/x".into(); 9];
        one.record.pid = Some(7);
        remember(temp.path(), &one).expect("remember");
        let (_, file) = &hours(&temp.path().join("ended")).expect("hours")[0];
        let text = std::fs::read_to_string(file).expect("read");
        assert!(text.lines().all(|line| line.len() < 480), "{text}");
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let temp = tempfile::tempdir().expect("tempdir");
        let now = now();
        let mut one = ended("x", now);
        one.record.about.command = vec!["x".repeat(128 << 10)];
        for number in 0..100 {
            one.record.id = format!("c{number}").parse().expect("id");
            one.finished = now + number;
            remember(temp.path(), &one).expect("remember");
        }
        let listed = list(temp.path()).expect("list");
        assert_eq!(listed[0].record.id.as_str(), "c99");
        assert!((32..=66).contains(&listed.len()), "{}", listed.len());
        assert!(listed.iter().all(|one| one.record.id.as_str() != "c0"));
        assert_eq!(hours(&temp.path().join("ended")).expect("hours").len(), 2);
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
