//! What is known about each container on this machine, and who is still alive.
//!
//! ```text
//! <state root>/            0700
//!   lock                   flock: shared while one makes a directory, exclusive while one sweeps
//!   containers/<id>/       0700
//!     record               what is known, a line of JSON for each change: the last whole one holds;
//!                          flock, exclusive: held by supervisor and pid 1 as long as either lives
//!     process              how its task is run, JSON; written before it runs
//!     config.json          the spec, where hooks are to find it
//!   ended/<hour>           how containers ended, for a day
//! ```
//!
//! The lock is the only truth about life: there are no pid files and no
//! timeouts. A directory whose lock can be taken belongs to nobody any more, and
//! `record` says which cgroups are left: it is written before they are made, and once they are.
//! Only then is known that they are its own; before, one is removed if nobody is in it.
//!
//! A sweep removes those and the directory, nothing else. The work directory and
//! the files of a container that was killed are its caller's, who has locks for them.

mod ended;
mod find;
mod orphan;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use ucr_sys::{Lock, LockMode, at, lock_file, process, program, try_lock_file};

use crate::cgroup::group;
use crate::cgroup::made::{self, Made};
use crate::id::ContainerId;
use crate::network;
use crate::oci::plan::IdMappings;
use crate::plan::{About, Process};
use crate::process_file;
use crate::volumes::Volumes;

pub use ended::{Ended, list as list_ended, remember};
pub use find::{FindError, Found, find};

/// The file of a container's directory.
const RECORD: &str = "record";
/// The file of a bundle, runtime-spec bundle.md.
const CONFIG: &str = "config.json";

/// State that cannot be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A container of that id is there.
    #[error("there is a container {0} already")]
    Exists(ContainerId),
    /// A directory that cannot be made.
    #[error("cannot make the state directory {0}")]
    Make(PathBuf, #[source] io::Error),
    /// A file that cannot be opened.
    #[error("cannot open {0}")]
    Open(PathBuf, #[source] io::Error),
    /// A lock that cannot be taken.
    #[error("cannot lock {0}")]
    Lock(PathBuf, #[source] ucr_sys::Error),
    /// A record that cannot be written.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// A record that is not one.
    #[error("{0} is damaged")]
    Damaged(PathBuf, #[source] serde_json::Error),
    /// A directory that cannot be listed.
    #[error("cannot list {0}")]
    List(PathBuf, #[source] io::Error),
    /// A tree that cannot be deleted.
    #[error("cannot delete {0}")]
    Delete(PathBuf, #[source] ucr_sys::Error),
    /// A cgroup that cannot be emptied or removed.
    #[error("cannot clean up the cgroups")]
    Cgroup(#[source] group::Error),
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being set up.
    Creating,
    /// Its task runs.
    Running,
}

/// What is known of a container: a line of `record`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub id: ContainerId,
    /// The name that a person gave it.
    pub name: Option<String>,
    /// What people know it by.
    #[serde(default)]
    pub about: About,
    /// How far it is.
    pub status: Status,
    /// The supervisor.
    #[serde(default)]
    pub supervisor: i32,
    /// pid 1 of the container, as the host counts.
    pub pid: Option<i32>,
    /// The task, as the host counts.
    #[serde(default)]
    pub task: Option<i32>,
    /// When it was made, in nanoseconds since 1970.
    pub created: u64,
    /// When its task began, in nanoseconds since 1970.
    #[serde(default)]
    pub started: Option<u64>,
    /// The ids of its user namespace, if it has one.
    #[serde(default)]
    pub ids: Option<IdMappings>,
    /// Its volumes, and what keeps those that it shares.
    #[serde(default)]
    pub volumes: Volumes,
    /// How it is connected.
    #[serde(default)]
    pub network: network::About,
    /// The directories of its cgroups, from before they are made.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    /// Those of them that are its own.
    #[serde(default)]
    pub made: Vec<Made>,
}

impl Record {
    /// The task, as the host counts; also between its first instruction and its being recorded.
    pub fn task_now(&self) -> Option<i32> {
        let first = || {
            let pid = process::Pid::from_raw(self.pid?)?;
            let child = process::first_child(pid).ok().flatten();
            // One that is pid 1 itself is another program by then.
            let became = |pid| program::is_same(self.supervisor, pid).is_ok_and(|same| !same);
            child.or_else(|| self.pid.filter(|&pid| became(pid)))
        };
        self.task.or_else(first)
    }
}

/// The time, in nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Record {
    /// The record of a container that this process begins to make now.
    pub fn new(id: ContainerId, name: Option<String>, about: About) -> Self {
        Self {
            id,
            name,
            about,
            status: Status::Creating,
            supervisor: i32::try_from(std::process::id()).unwrap_or_default(),
            pid: None,
            task: None,
            created: now(),
            started: None,
            ids: None,
            volumes: Volumes::default(),
            network: network::About::default(),
            cgroups: Vec::new(),
            made: Vec::new(),
        }
    }
}

/// The state directory of a live container, its lock held.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    file: File,
}

impl Entry {
    /// Makes the directory of `record`'s container and takes its lock; what is left of one of the
    /// same id that nobody looks after any more is removed first.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], or the step that failed.
    pub fn create(state_root: &Path, record: &Record) -> Result<Self, Error> {
        let path = directory_of(state_root, &record.id);
        match Self::make(state_root, record) {
            Err(Error::Exists(_)) => {}
            made => return made,
        }
        if let Some(lock) = claim_dead(state_root, &path)? {
            let mut failures = remove_remains(state_root, &path);
            drop(lock);
            if !failures.is_empty() {
                return Err(failures.swap_remove(0));
            }
        }
        Self::make(state_root, record)
    }

    fn make(state_root: &Path, record: &Record) -> Result<Self, Error> {
        let containers = state_root.join("containers");
        make_private(&containers)?;
        // Shared with others who make; keeps a sweep from seeing the directory
        // between its making and the taking of its lock.
        let _quiet = lock_root(state_root, LockMode::Shared)?;
        let path = containers.join(record.id.as_str());
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists(record.id.clone()),
                _ => Error::Make(path.clone(), error),
            })?;
        let file = open_lock(&path.join(RECORD))?;
        lock_file(file.as_fd(), LockMode::Exclusive)
            .map_err(|error| Error::Lock(path.clone(), error))?;
        let entry = Self { path, file };
        entry.write(record)?;
        Ok(entry)
    }

    /// Writes the record as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let append = || -> io::Result<()> {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            (&self.file).write_all(&line)
        };
        // A line more, and no file replaced: that would be made and flushed to the disk anew each
        // time. Not synced: it is about processes, and they do not outlive the machine.
        append().map_err(|error| Error::Write(self.path.join(RECORD), error))
    }

    /// Writes down how its task is run, for others that are to be as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write_process(&self, process: &Process) -> Result<(), Error> {
        let file = || self.path.join(process_file::NAME);
        process_file::write(&self.path, process).map_err(|error| Error::Write(file(), error))
    }

    /// Writes the spec down, for hooks that look for it in the directory that their state names.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write_config(&self, config: &[u8]) -> Result<(), Error> {
        let path = self.path.join(CONFIG);
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(config)
        };
        write().map_err(|error| Error::Write(path.clone(), error))
    }

    /// The lock that says that the container lives.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Deletes the directory; the last thing that a supervisor does.
    ///
    /// # Errors
    ///
    /// [`Error::Delete`].
    pub fn delete(self) -> Result<(), Error> {
        delete_tree(&self.path)
    }
}

/// Where what is known of a container is, as long as it lives.
pub fn directory_of(state_root: &Path, id: &ContainerId) -> PathBuf {
    state_root.join("containers").join(id.as_str())
}

/// How the task of a container is run, once it runs; none before, and after its end.
///
/// # Errors
///
/// [`Error::Open`].
pub fn process_of(state_root: &Path, id: &ContainerId) -> Result<Option<Process>, Error> {
    let directory = directory_of(state_root, id);
    process_file::read(&directory)
        .map_err(|error| Error::Open(directory.join(process_file::NAME), error))
}

/// Reads the records of all containers; each with whether it is alive.
///
/// # Errors
///
/// [`Error::List`], or of a record that cannot be read.
pub fn list(state_root: &Path) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for path in directories(state_root)? {
        // One that ended in between is not there any more.
        if let Some(record) = read(&path)? {
            records.push(record);
        }
    }
    records.sort_by_key(|record| record.created);
    Ok(records)
}

/// Whether somebody still holds the lock of a container: its supervisor or its pid 1.
///
/// # Errors
///
/// [`Error::Open`] or [`Error::Lock`].
pub fn is_alive(state_root: &Path, id: &ContainerId) -> Result<bool, Error> {
    let path = state_root.join("containers").join(id.as_str()).join(RECORD);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::Open(path, error)),
    };
    let is_free =
        Lock::is_free(&file, LockMode::Shared).map_err(|error| Error::Lock(path, error))?;
    Ok(!is_free)
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// The containers whose remains are gone.
    pub removed: Vec<String>,
    /// What could not be removed.
    pub failures: Vec<Error>,
}

/// Removes what is left of containers whose supervisor and pid 1 are both gone.
///
/// Processes in their cgroups are killed, then cgroups and state go; their work
/// directories and files are for the caller, who knows whose they are by now.
/// Live containers are never touched. Never fails as a whole: the next sweep
/// finds what this one could not remove.
pub fn sweep(state_root: &Path) -> Swept {
    let mut swept = Swept::default();
    let directories = match directories(state_root) {
        Ok(directories) => directories,
        Err(error) => {
            swept.failures.push(error);
            return swept;
        }
    };
    for path in directories {
        match claim_dead(state_root, &path) {
            Ok(None) => {}
            Ok(Some(lock)) => {
                let failures = remove_remains(state_root, &path);
                if failures.is_empty() {
                    let name = path.file_name().unwrap_or_default();
                    swept.removed.push(name.to_string_lossy().into_owned());
                }
                swept.failures.extend(failures);
                drop(lock);
            }
            Err(error) => swept.failures.push(error),
        }
    }
    swept
}

/// As [`claim`], also of one that only could not die.
fn claim_dead(state_root: &Path, path: &Path) -> Result<Option<File>, Error> {
    let claimed = claim(state_root, path)?;
    // A record that cannot be read is of one that lives, or said by whoever takes its lock.
    let record = read(path).ok().flatten().filter(|_| claimed.is_none());
    match record {
        Some(record) if orphan::let_die(&record) => claim(state_root, path),
        _ => Ok(claimed),
    }
}

/// Takes the lock of a container that nobody holds.
fn claim(state_root: &Path, path: &Path) -> Result<Option<File>, Error> {
    let _quiet = lock_root(state_root, LockMode::Exclusive)?;
    let file = path.join(RECORD);
    if !path.is_dir() {
        return Ok(None);
    }
    // Made here when its maker died before: then it is ours to remove.
    let lock = open_lock(&file)?;
    if !try_lock_file(lock.as_fd(), LockMode::Exclusive)
        .map_err(|error| Error::Lock(file.clone(), error))?
    {
        return Ok(None);
    }
    // Another sweep may have removed it, and a container of the same id been made.
    let current = File::open(&file).map_err(|error| Error::Open(file.clone(), error))?;
    let same = at::same_file(&lock, &current).map_err(|error| Error::Lock(file, error))?;
    Ok(same.then_some(lock))
}

fn remove_remains(state_root: &Path, path: &Path) -> Vec<Error> {
    let record = match read(path) {
        Ok(Some(record)) => record,
        // Its maker died before anything else was made.
        Ok(None) => return delete_tree(path).err().into_iter().collect(),
        Err(error) => return vec![error],
    };
    let mut failures: Vec<Error> = made::kill_and_remove(&record.made)
        .into_iter()
        .map(Error::Cgroup)
        .collect();
    // Before the record goes, which says what it was.
    failures.extend(ended::remember_killed(state_root, &record).err());
    let known = |path: &PathBuf| record.made.iter().any(|made| made.path == *path);
    for path in record.cgroups.iter().filter(|path| !known(path)) {
        made::remove_if_empty(path);
    }
    if failures.is_empty() {
        failures.extend(delete_tree(path).err());
    }
    failures
}

/// Deletes a tree, link-safe; one that is gone is fine.
///
/// # Errors
///
/// [`Error::Delete`] or [`Error::Open`].
pub fn delete_tree(path: &Path) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let parent: OwnedFd = match File::open(parent) {
        Ok(file) => file.into(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::Open(parent.into(), error)),
    };
    ucr_sys::tree::remove_tree(parent.as_fd(), name.as_bytes())
        .map_err(|error| Error::Delete(path.into(), error))
}

fn read(path: &Path) -> Result<Option<Record>, Error> {
    let file = path.join(RECORD);
    match std::fs::read(&file) {
        Ok(bytes) => last_line(&bytes)
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|error| Error::Damaged(file, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Open(file, error)),
    }
}

/// The last line that is whole; its writer may have been killed in the middle of the one after it.
fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    bytes.get(..end)?.rsplit(|byte| *byte == b'\n').next()
}

fn directories(state_root: &Path) -> Result<Vec<PathBuf>, Error> {
    let containers = state_root.join("containers");
    let failed = |error| Error::List(containers.clone(), error);
    match std::fs::read_dir(&containers) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

fn lock_root(state_root: &Path, lock: LockMode) -> Result<File, Error> {
    let path = state_root.join("lock");
    let file = open_lock(&path)?;
    lock_file(file.as_fd(), lock).map_err(|error| Error::Lock(path, error))?;
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, Error> {
    private_file()
        .open(path)
        .map_err(|error| Error::Open(path.into(), error))
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options
}

fn make_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|error| Error::Make(path.into(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record::new(id.parse().expect("id"), None, About::default())
    }

    #[test]
    fn a_second_container_of_the_same_id_fails() {
        let temp = tempfile::tempdir().expect("tempdir");
        let entry = Entry::create(temp.path(), &record("a")).expect("first");
        assert!(matches!(
            Entry::create(temp.path(), &record("a")),
            Err(Error::Exists(_))
        ));
        entry.delete().expect("delete");
        Entry::create(temp.path(), &record("a")).expect("again");
    }

    #[test]
    fn a_sweep_removes_the_dead_and_leaves_the_living() {
        let temp = tempfile::tempdir().expect("tempdir");
        let cgroup = temp.path().join("cgroup/dead");
        std::fs::create_dir_all(&cgroup).expect("mkdir");
        let mut dead = record("dead");
        dead.cgroups.push(cgroup.clone());
        drop(Entry::create(temp.path(), &dead).expect("dead"));
        let alive = Entry::create(temp.path(), &record("alive")).expect("alive");
        let is_alive = |id: &str| super::is_alive(temp.path(), &id.parse().expect("id"));
        assert_eq!(
            ["dead", "alive", "none"].map(|id| is_alive(id).expect(id)),
            [false, true, false]
        );
        std::fs::create_dir(temp.path().join("containers/half")).expect("half made");

        let mut swept = sweep(temp.path());
        swept.removed.sort();
        assert_eq!(swept.removed, ["dead", "half"]);
        assert!(swept.failures.is_empty(), "{:?}", swept.failures);
        assert!(!cgroup.exists());
        let left: Vec<_> = list(temp.path()).expect("list");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].id.as_str(), "alive");
        drop(alive);
    }

    #[test]
    fn a_record_is_the_last_whole_line() {
        let temp = tempfile::tempdir().expect("tempdir");
        let mut record = record("a");
        let entry = Entry::create(temp.path(), &record).expect("create");
        record.pid = Some(7);
        entry.write(&record).expect("write");
        (&entry.file).write_all(b"{\"id\": \"a").expect("torn");
        assert_eq!(list(temp.path()).expect("list"), [record]);
        assert_eq!(last_line(b"torn"), None);
    }

    #[test]
    fn i49_the_directories_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let temp = tempfile::tempdir().expect("tempdir");
        let root = temp.path().join("state");
        let _entry = Entry::create(&root, &record("a")).expect("create");
        let mode = |path: &str| {
            std::fs::metadata(root.join(path))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("containers") & 0o777, 0o700);
        assert_eq!(mode("containers/a") & 0o777, 0o700);
        assert_eq!(mode("containers/a/record") & 0o777, 0o600);
    }
}
