//! What is on disk of each container that is handed over.
//!
//! ```text
//! <root>/            0700
//!   <id>/            0700; a name that is taken is a container, whatever is in it
//!     lock           flock, exclusive: held by a command while it changes the container
//!     state.json     replaced by rename; there once `create` has succeeded
//!     process        how its task is run, JSON
//!     cgroups.json   replaced by rename; what is left of a `create` that was killed
//!     exec.fifo      the first process waits for a byte of it; gone once `start` has given it
//!     exec.end       `start` hears of it why the program does not run
//! ```
//!
//! Nothing here says that a process lives: that is asked of the kernel, by number and time of start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ucr_sys::{LockMode, at, lock_file, unlock_file};

use super::hooks::Hook;
use super::plan::{About, TaskPresence};
use crate::cgroup::made::Made;
use crate::id::ContainerId;
use crate::plan::Process;
use crate::process_file;

/// State that cannot be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A container of that id is there.
    #[error("a container {0} is there already")]
    Exists(ContainerId),
    /// There is none of that id.
    #[error("container {0} does not exist")]
    Missing(ContainerId),
    /// A `create` that has not come to its end, or did not.
    #[error(
        "container {0} is still being created, or its creation was killed (delete --force removes it)"
    )]
    Unfinished(ContainerId),
    /// A directory that cannot be made.
    #[error("cannot make the state directory {0}")]
    Make(PathBuf, #[source] io::Error),
    /// A FIFO that cannot be made.
    #[error("cannot make the FIFO {0}")]
    Fifo(PathBuf, #[source] ucr_sys::Error),
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
}

/// The content of `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub id: ContainerId,
    /// What its configuration says.
    pub about: About,
    /// Its first process.
    pub init: Init,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The user whose command made it.
    pub owner: u32,
    /// The directories of its cgroups.
    pub cgroups: Vec<Cgroup>,
    /// Whether there is a program to run.
    pub task: TaskPresence,
    /// Where its files are mounted, if that is in a mount namespace of others'.
    pub mounted_at: Option<PathBuf>,
    /// What runs just after its program does.
    pub poststart: Vec<Hook>,
    /// What runs after it is deleted.
    pub poststop: Vec<Hook>,
}

/// A process, named so that another of the same number is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Its number, as the host counts.
    pub pid: i32,
    /// When it was started, in ticks since boot, proc_pid_stat(5).
    pub start_time: u64,
}

impl Record {
    /// The directories of its cgroups.
    pub fn cgroup_paths(&self) -> Vec<PathBuf> {
        self.cgroups
            .iter()
            .map(|cgroup| cgroup.path.clone())
            .collect()
    }
}

/// A cgroup of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its directory.
    pub path: PathBuf,
    /// Whose it is.
    pub origin: Origin,
    /// The controllers of its hierarchy.
    pub controllers: Vec<String>,
}

/// Whose a cgroup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The container's, below the directory that all of ours share.
    Own,
    /// The container's, made where the configuration asked for it.
    Made,
    /// Somebody's, who had made it before.
    Found,
}

/// The cgroups of a container that is being created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// All of them.
    pub cgroups: Vec<Cgroup>,
    /// Those that the creator has made.
    pub made: Vec<Made>,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, or waits.
    Alive,
    /// It has ended, and may not have been waited for.
    Ended,
}

impl Init {
    /// Process `pid` as it is now; none when there is no such process.
    pub fn of(pid: i32) -> Option<Self> {
        let (_, start_time) = stat(pid)?;
        Some(Self { pid, start_time })
    }

    /// Whether it still lives.
    pub fn life(self) -> Life {
        match stat(self.pid) {
            Some((state, start_time)) if start_time == self.start_time => match state {
                b'Z' | b'X' | b'x' => Life::Ended,
                _ => Life::Alive,
            },
            _ => Life::Ended,
        }
    }
}

/// State and time of start of a process, proc_pid_stat(5).
fn stat(pid: i32) -> Option<(u8, u64)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The third field of the file is the first here, and the time its 22nd.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

/// The directory of one container, its lock held.
#[derive(Debug)]
pub struct Directory {
    id: ContainerId,
    path: PathBuf,
    lock: File,
}

/// The FIFO that `start` writes a byte into.
pub const START: &str = "exec.fifo";
/// The FIFO that says how the start came out.
pub const OUTCOME: &str = "exec.end";
const STATE: &str = "state.json";
/// What a creator that is killed leaves to know its cgroups by.
const CGROUPS: &str = "cgroups.json";

impl Directory {
    /// Makes the directory of a new container, with its FIFOs, and takes its lock.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], or the step that failed.
    pub fn create(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder
            .create(root)
            .map_err(|error| Error::Make(root.into(), error))?;
        let path = root.join(id.as_str());
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(id.clone()),
            _ => Error::Make(path.clone(), error),
        })?;
        let directory = Self {
            id: id.clone(),
            lock: lock(&path)?,
            path,
        };
        let opened = File::open(&directory.path)
            .map_err(|error| Error::Open(directory.path.clone(), error))?;
        for name in [START, OUTCOME] {
            let kind = ucr_sys::FileType::Fifo;
            at::make_node(opened.as_fd(), name.as_bytes(), kind, (0, 0))
                .map_err(|error| Error::Fifo(directory.path.join(name), error))?;
        }
        Ok(directory)
    }

    /// Opens the directory of container `id`, waiting for others that change it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or the step that failed.
    pub fn open(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let path = root.join(id.as_str());
        let missing = || Error::Missing(id.clone());
        if !path.is_dir() {
            return Err(missing());
        }
        let lock = lock(&path).map_err(|error| match error {
            Error::Open(_, cause) if cause.kind() == io::ErrorKind::NotFound => missing(),
            other => other,
        })?;
        // Deleted while we waited for its lock, and perhaps another made in its place.
        let current = File::open(path.join("lock")).map_err(|_gone| missing())?;
        match at::same_file(&lock, &current) {
            Ok(true) => {}
            _ => return Err(missing()),
        }
        Ok(Self {
            id: id.clone(),
            path,
            lock,
        })
    }

    /// The path of `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces `state.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        self.replace(STATE, record)
    }

    fn replace(&self, name: &str, content: &impl Serialize) -> Result<(), Error> {
        let (file, new) = (self.file(name), self.file("new"));
        let replace = || -> io::Result<()> {
            let bytes = serde_json::to_vec(content)?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&new)?.write_all(&bytes)?;
            std::fs::rename(&new, &file)
        };
        // Not synced: it is about processes, and they do not outlive the machine.
        replace().map_err(|error| Error::Write(file.clone(), error))
    }

    /// Writes down how its task is run, for others that are to be as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write_process(&self, process: &Process) -> Result<(), Error> {
        process_file::write(&self.path, process)
            .map_err(|error| Error::Write(self.file(process_file::NAME), error))
    }

    /// How its task is run.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn read_process(&self) -> Result<Option<Process>, Error> {
        process_file::read(&self.path)
            .map_err(|error| Error::Open(self.file(process_file::NAME), error))
    }

    /// Writes down the cgroups that are about to be made, and again once they are.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn announce(&self, cgroups: &Announced) -> Result<(), Error> {
        self.replace(CGROUPS, cgroups)
    }

    /// What a creator had announced; nothing if it did not come to that.
    pub fn announced(&self) -> Announced {
        let bytes = std::fs::read(self.file(CGROUPS)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Unfinished`] where there is none, [`Error::Open`] or [`Error::Damaged`].
    pub fn read(&self) -> Result<Record, Error> {
        read(&self.path)?.ok_or_else(|| Error::Unfinished(self.id.clone()))
    }

    /// Gives the lock back, which a process that was forked meanwhile has a copy of.
    ///
    /// # Errors
    ///
    /// [`Error::Lock`].
    pub fn release(self) -> Result<(), Error> {
        unlock_file(self.lock.as_fd()).map_err(|error| Error::Lock(self.path, error))
    }

    /// Deletes the directory.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] or [`Error::Delete`].
    pub fn delete(self) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let parent = File::open(parent).map_err(|error| Error::Open(parent.into(), error))?;
        ucr_sys::tree::remove_tree(parent.as_fd(), name.as_encoded_bytes())
            .map_err(|error| Error::Delete(self.path.clone(), error))
    }
}

/// Reads the record of container `id`, without waiting for anybody; none while it is being created.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::Open`] or [`Error::Damaged`].
pub fn find(root: &Path, id: &ContainerId) -> Result<Option<Record>, Error> {
    let path = root.join(id.as_str());
    if path.is_dir() {
        read(&path)
    } else {
        Err(Error::Missing(id.clone()))
    }
}

/// All that can be read below a root.
#[derive(Debug, Default)]
pub struct Listed {
    /// The records, the oldest first.
    pub records: Vec<Record>,
    /// Why others cannot be read.
    pub unreadable: Vec<Error>,
}

/// Reads the records of all containers below `root`, without waiting for anybody.
///
/// # Errors
///
/// [`Error::List`].
pub fn list(root: &Path) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    let failed = |error| Error::List(root.into(), error);
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listed),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What else somebody put there is no container.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match read(&entry.path()) {
                Ok(record) => listed.records.extend(record),
                Err(error) => listed.unreadable.push(error),
            }
        }
    }
    listed
        .records
        .sort_by(|one, other| one.created.cmp(&other.created));
    Ok(listed)
}

/// The container that has made the cgroup `path`, unless that is `id`.
///
/// # Errors
///
/// As [`list`].
pub fn owner_of(root: &Path, path: &Path, id: &ContainerId) -> Result<Option<ContainerId>, Error> {
    let has = |cgroup: &Cgroup| cgroup.origin != Origin::Found && cgroup.path == path;
    let mut others = list(root)?.records.into_iter();
    let owner = others.find(|record| record.id != *id && record.cgroups.iter().any(has));
    Ok(owner.map(|record| record.id))
}

/// Whether the first process of the container still waits for its start.
pub fn is_waiting(root: &Path, id: &ContainerId) -> bool {
    root.join(id.as_str()).join(START).exists()
}

fn read(path: &Path) -> Result<Option<Record>, Error> {
    let file = path.join(STATE);
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Damaged(file, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Open(file, error)),
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = path.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options
        .open(&file)
        .map_err(|error| Error::Open(file.clone(), error))?;
    lock_file(lock.as_fd(), LockMode::Exclusive).map_err(|error| Error::Lock(file, error))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_taken_for_another_of_its_number() {
        let pid = i32::try_from(std::process::id()).expect("pid");
        let own = Init::of(pid).expect("we live");
        assert_eq!(own.life(), Life::Alive);
        let other = Init {
            start_time: own.start_time + 1,
            ..own
        };
        assert_eq!(other.life(), Life::Ended);
    }

    #[test]
    fn an_id_is_taken_once_and_free_after_deletion() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = temp.path().join("root");
        let id: ContainerId = "a".parse().expect("id");
        let directory = Directory::create(&root, &id).expect("create");
        assert!(matches!(
            Directory::create(&root, &id),
            Err(Error::Exists(_))
        ));
        assert!(matches!(directory.read(), Err(Error::Unfinished(_))));
        assert!(is_waiting(&root, &id));
        directory.delete().expect("delete");
        assert!(matches!(
            Directory::open(&root, &id),
            Err(Error::Missing(_))
        ));
        assert_eq!(list(&root).expect("list").records, Vec::new());
    }

    #[test]
    fn i49_the_directories_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let temp = tempfile::tempdir().expect("tempdir");
        let root = temp.path().join("root");
        let directory = Directory::create(&root, &"a".parse().expect("id")).expect("create");
        for path in [root.clone(), root.join("a"), directory.file(START)] {
            let mode = path.metadata().expect("stat").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}
