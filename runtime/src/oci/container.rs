//! What is done with a container once it is created.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use ucr_sys::signal::Number;
use ucr_sys::{Errno, OFlags, process, ready};

use super::hooks::{self, Moment};
use super::plan::{About, TaskPresence};
use super::record::{self, Announced, Cgroup, Directory, Life, OUTCOME, Origin, Record, START};
use super::verdict::{self, Verdict};
use crate::cgroup::{freezer, group, made, processes};
use crate::failure::Failure;
use crate::id::ContainerId;

/// Something that cannot be done with a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its record.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// A start of one that does not wait for it.
    #[error("cannot start container {0}: it is {1}, not created")]
    NotCreated(ContainerId, Status),
    /// A start of one that has nothing to run.
    #[error("cannot start container {0}: its configuration has no process")]
    NoProcess(ContainerId),
    /// A signal for one that has ended.
    #[error("cannot kill container {0}: container not running")]
    NotRunning(ContainerId),
    /// A deletion of one that has not ended.
    #[error("cannot delete container {0}: it is {1}, not stopped (--force kills it first)")]
    NotStopped(ContainerId, Status),
    /// A pause of one that is not running, or the like.
    #[error("cannot {verb} container {id}: it is {status}")]
    Unsuitable {
        /// What was to be done.
        verb: &'static str,
        /// The container.
        id: ContainerId,
        /// How it is.
        status: Status,
    },
    /// The program does not run.
    #[error(transparent)]
    Start(Failure),
    /// Its first process ended between the start and its program.
    #[error("container {0} was killed before its program ran")]
    Killed(ContainerId),
    /// The FIFO between `start` and the first process.
    #[error("cannot talk to the first process of container {0}")]
    Talk(ContainerId, #[source] std::io::Error),
    /// A system call.
    #[error("cannot look after container {0}")]
    System(ContainerId, #[source] ucr_sys::Error),
    /// Its cgroups.
    #[error("cannot change the cgroups of container {0}")]
    Cgroup(ContainerId, #[source] Box<group::Error>),
    /// The freezer of its cgroups.
    #[error("cannot let container {0} stand still or go on")]
    Freeze(ContainerId, #[source] freezer::Error),
    /// A hook; the container has been killed.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
}

/// How far a container is, in the words of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits for its start.
    Created,
    /// Its program runs.
    Running,
    /// Its program is frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container, runtime-spec runtime.md "State", and what runc says besides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification.
    pub oci_version: String,
    /// The container.
    pub id: ContainerId,
    /// How far it is.
    pub status: Status,
    /// Its first process, as the host counts; 0 when that has ended.
    pub pid: i32,
    /// The directory of its configuration.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What its configuration says of it to others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user whose command made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

impl State {
    /// The state of the container that `about` tells of, for its hooks.
    pub fn new(id: &ContainerId, about: &About, status: Status, pid: i32) -> Self {
        Self {
            oci_version: about.oci_version.clone(),
            id: id.clone(),
            status,
            pid,
            bundle: about.bundle.clone(),
            rootfs: about.rootfs.clone(),
            created: None,
            annotations: about.annotations.clone(),
            owner: None,
        }
    }

    /// The state as JSON.
    pub fn json(&self) -> String {
        // Strings and numbers: there is nothing that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn of(record: &Record, status: Status) -> Self {
        let pid = match status {
            Status::Stopped => 0,
            _ => record.init.pid,
        };
        Self {
            created: Some(record.created.clone()),
            owner: Some(record.owner),
            ..Self::new(&record.id, &record.about, status, pid)
        }
    }
}

/// The state of container `id`; none while it is being created.
///
/// # Errors
///
/// [`Error::Record`].
pub fn state(root: &Path, id: &ContainerId) -> Result<Option<State>, Error> {
    let record = record::find(root, id)?;
    Ok(record.map(|record| State::of(&record, status(root, &record))))
}

/// The states of all containers, the oldest first, and why those of others cannot be read.
///
/// # Errors
///
/// [`Error::Record`].
pub fn list(root: &Path) -> Result<(Vec<State>, Vec<record::Error>), Error> {
    let listed = record::list(root)?;
    let state = |record: &Record| State::of(record, status(root, record));
    let states = listed.records.iter().map(state).collect();
    Ok((states, listed.unreadable))
}

fn status(root: &Path, record: &Record) -> Status {
    match record.init.life() {
        Life::Ended => Status::Stopped,
        Life::Alive if record::is_waiting(root, &record.id) => Status::Created,
        Life::Alive if freezer::is_frozen(&record.cgroup_paths()) => Status::Paused,
        Life::Alive => Status::Running,
    }
}

/// Lets the program of container `id` run, and returns once it does.
///
/// # Errors
///
/// [`Error::NotCreated`], [`Error::NoProcess`], [`Error::Start`] with why it does not run;
/// [`Error::Hook`], and then the container has been killed.
pub fn start(root: &Path, id: &ContainerId) -> Result<(), Error> {
    let directory = Directory::open(root, id)?;
    let record = directory.read()?;
    let status = status(root, &record);
    if status != Status::Created {
        return Err(Error::NotCreated(id.clone(), status));
    }
    if record.task == TaskPresence::Absent {
        kill_first(&record)?;
        return Err(Error::NoProcess(id.clone()));
    }
    give_go(directory, id)?;
    let state = State::new(id, &record.about, Status::Running, record.init.pid);
    let ran = hooks::run(Moment::Poststart, &record.poststart, &state.json());
    if ran.is_err() {
        kill_first(&record)?;
    }
    Ok(ran?)
}

/// Writes the byte that the first process waits for, and hears what became of it.
fn give_go(directory: Directory, id: &ContainerId) -> Result<(), Error> {
    let talk = |error| Error::Talk(id.clone(), error);
    let system = |error| Error::System(id.clone(), error);
    let mut outcome = ready::open(&directory.file(OUTCOME)).map_err(system)?;
    let start = directory.file(START);
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(nonblock)
        .open(&start);
    // Nobody reads: it has ended since we looked.
    let mut go = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::NXIO.raw_os_error() => {
            Error::NotCreated(id.clone(), Status::Stopped)
        }
        _ => talk(error),
    })?;
    go.write_all(b"g").map_err(talk)?;
    std::fs::remove_file(&start).map_err(talk)?;
    // It is started: nobody else does that, and its hooks may ask us something, or hang.
    drop(directory);
    let mut said = Vec::new();
    loop {
        ready::wait_readable([outcome.as_fd()]).map_err(system)?;
        match outcome.read_to_end(&mut said) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => {
                other.map_err(talk)?;
                break;
            }
        }
    }
    match verdict::read(&said) {
        Verdict::Runs => Ok(()),
        Verdict::Failed(failure) => Err(Error::Start(*failure)),
        Verdict::Silence => Err(Error::Killed(id.clone())),
    }
}

/// To whom a signal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The first process.
    First,
    /// Every process in the container's cgroups.
    All,
}

/// Sends a signal to container `id`.
///
/// # Errors
///
/// [`Error::NotRunning`] when its first process has ended, and that is whom it is for.
pub fn kill(root: &Path, id: &ContainerId, signal: Number, reach: Reach) -> Result<(), Error> {
    // Without the lock, which is held while a hook runs: whoever hangs there can be ended.
    let found = record::find(root, id)?;
    let record = found.ok_or_else(|| record::Error::Missing(id.clone()))?;
    if reach == Reach::All {
        let paths = record.cgroups.iter().map(|cgroup| cgroup.path.as_path());
        let sent = match signal {
            // Certainly all: none gets away by making another.
            process::KILL => processes::kill_all(paths),
            _ => processes::signal_all(paths, signal),
        };
        return sent.map_err(|error| Error::Cgroup(id.clone(), Box::new(error)));
    }
    send(&record, signal)
}

/// Sends a signal to the first process, and to no other that may have its number by now.
fn send(record: &Record, signal: Number) -> Result<(), Error> {
    let system = |error| Error::System(record.id.clone(), error);
    let pidfd = process::open(record.init.pid).map_err(system)?;
    match (pidfd, record.init.life()) {
        (Some(pidfd), Life::Alive) => process::send_signal(pidfd.as_fd(), signal).map_err(system),
        _ => Err(Error::NotRunning(record.id.clone())),
    }
}

/// Kills the first process, frozen or not, and waits until it has ended.
fn kill_first(record: &Record) -> Result<(), Error> {
    let system = |error| Error::System(record.id.clone(), error);
    let Some(pidfd) = process::open(record.init.pid).map_err(system)? else {
        return Ok(());
    };
    if record.init.life() == Life::Ended {
        return Ok(());
    }
    process::send_signal(pidfd.as_fd(), process::KILL).map_err(system)?;
    freezer::thaw(&record.cgroup_paths())
        .map_err(|error| Error::Freeze(record.id.clone(), error))?;
    ready::wait_readable([pidfd.as_fd()])
        .map(drop)
        .map_err(system)
}

/// Whether a container that has not ended may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It may not.
    No,
    /// It is killed first; one that is not there is fine.
    Yes,
}

/// Removes container `id` with its cgroups, and runs its `poststop` hooks.
///
/// What it returns are hooks that failed: they change nothing.
///
/// # Errors
///
/// [`Error::NotStopped`], or what could not be removed; then it is there still.
pub fn delete(root: &Path, id: &ContainerId, force: Force) -> Result<Vec<hooks::Error>, Error> {
    let directory = match (Directory::open(root, id), force) {
        (Err(record::Error::Missing(_)), Force::Yes) => return Ok(Vec::new()),
        (opened, _) => opened?,
    };
    let record = match (directory.read(), force) {
        (Err(record::Error::Unfinished(_)), Force::Yes) => {
            remove_unfinished(&directory, id)?;
            directory.delete()?;
            return Ok(Vec::new());
        }
        (read, _) => read?,
    };
    match (status(root, &record), force) {
        (Status::Stopped, _) => {}
        (_, Force::Yes) => kill_first(&record)?,
        (status, Force::No) => return Err(Error::NotStopped(id.clone(), status)),
    }
    remove_remains(&record)?;
    directory.delete()?;
    let state = State::new(id, &record.about, Status::Stopped, 0).json();
    // Each runs, whatever became of those before it.
    let one = |hook| hooks::run(Moment::Poststop, std::slice::from_ref(hook), &state).err();
    Ok(record.poststop.iter().filter_map(one).collect())
}

/// Removes the cgroups of a container whose creator was killed: we have the lock that it held.
fn remove_unfinished(directory: &Directory, id: &ContainerId) -> Result<(), Error> {
    let Announced { cgroups, made } = directory.announced();
    if let Some(error) = made::kill_and_remove(&made).into_iter().next() {
        return Err(Error::Cgroup(id.clone(), Box::new(error)));
    }
    for Cgroup { path, origin, .. } in &cgroups {
        if *origin != Origin::Found {
            // Perhaps it was not made by us: then somebody may be in it.
            made::remove_if_empty(path);
        }
    }
    Ok(())
}

/// Ends what is left in the container's own cgroups, and removes them and its mounts.
fn remove_remains(record: &Record) -> Result<(), Error> {
    let failed = |error| Error::Cgroup(record.id.clone(), Box::new(error));
    let own = || {
        record
            .cgroups
            .iter()
            .filter(|one| one.origin != Origin::Found)
    };
    let paths = || own().map(|cgroup| cgroup.path.as_path());
    // Without a pid namespace of its own nobody else has ended them.
    processes::kill_all(paths()).map_err(failed)?;
    for Cgroup { path, origin, .. } in own() {
        made::remove_with_children(path).map_err(failed)?;
        if *origin == Origin::Own {
            made::remove_empty_parent(path);
        }
    }
    if let Some(path) = &record.mounted_at {
        let system = |error| Error::System(record.id.clone(), error);
        ucr_sys::mount::detach(path).map_err(system)?;
    }
    Ok(())
}

/// Freezes the processes of container `id`, and returns once they stand still.
///
/// # Errors
///
/// [`Error::Unsuitable`], [`Error::Freeze`]; one without a freezer says so.
pub fn pause(root: &Path, id: &ContainerId) -> Result<(), Error> {
    let directory = Directory::open(root, id)?;
    let record = suitable(root, &directory, "pause", Status::Running)?;
    freezer::freeze(&record.cgroup_paths()).map_err(|error| Error::Freeze(id.clone(), error))
}

/// Lets the frozen processes of container `id` go on.
///
/// # Errors
///
/// [`Error::Unsuitable`], [`Error::Freeze`].
pub fn resume(root: &Path, id: &ContainerId) -> Result<(), Error> {
    let directory = Directory::open(root, id)?;
    let record = suitable(root, &directory, "resume", Status::Paused)?;
    freezer::thaw(&record.cgroup_paths()).map_err(|error| Error::Freeze(id.clone(), error))
}

/// The record of a container that is as it must be for `verb`.
fn suitable(
    root: &Path,
    directory: &Directory,
    verb: &'static str,
    wanted: Status,
) -> Result<Record, Error> {
    let record = directory.read()?;
    let status = status(root, &record);
    if status == wanted {
        return Ok(record);
    }
    let id = record.id;
    Err(Error::Unsuitable { verb, id, status })
}
