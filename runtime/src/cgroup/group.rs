//! The cgroups of one container, from making to removing.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ucr_sys::Errno;
use ucr_sys::bpf::DeviceFilter;
use ucr_sys::process::{self, SingleThreaded};
use ucr_sys::signal::Number;

use crate::cgroup::{CgroupPlan, Group, Place, Version, Write};
use crate::failure::{During, Failure, Step};

/// A cgroup that cannot be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of that name is there already; joining it would share its limits.
    #[error("the cgroup {0} is there already: another container uses it, or it is left over")]
    Exists(PathBuf),
    /// A directory that cannot be made.
    #[error("cannot make the cgroup {0}")]
    Make(PathBuf, #[source] ucr_sys::Error),
    /// A limit that the kernel refused.
    #[error("cannot set {file} of the cgroup controller {controller:?} to {value:?}")]
    Limit {
        /// The file.
        file: PathBuf,
        /// Its controller.
        controller: String,
        /// The value.
        value: String,
        /// The kernel's reason.
        #[source]
        source: ucr_sys::Error,
    },
    /// Device rules that the kernel refused.
    #[error("cannot apply the device rules to the cgroup {0}")]
    Devices(PathBuf, #[source] ucr_sys::Error),
    /// A version 2 cgroup whose children can get no controllers, cgroups(7).
    #[error(
        "no limit can be set below the cgroup {0}, because it holds processes itself; \
         move them to a child of it first"
    )]
    Occupied(PathBuf, #[source] ucr_sys::Error),
    /// A directory that cannot be opened.
    #[error("cannot open the cgroup {0}")]
    Open(PathBuf, #[source] ucr_sys::Error),
    /// Processes that cannot be ended.
    #[error("cannot end the processes in the cgroup {0}")]
    Kill(PathBuf, #[source] ucr_sys::Error),
    /// A directory that cannot be removed.
    #[error("cannot remove the cgroup {0}")]
    Remove(PathBuf, #[source] ucr_sys::Error),
}

/// How often a shared parent that another container just removed is made again.
const PARENT_TRIES: usize = 100;

/// Makes the directories of `plan` in hierarchies of `versions`, and writes their limits.
///
/// What was made before a failure is for the caller to remove.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::Make`], [`Error::Limit`], [`Error::Devices`] or [`Error::Occupied`].
pub fn create(plan: &CgroupPlan, versions: &[Version]) -> Result<(), Error> {
    let asked = |group: &&Group| versions.contains(&group.version);
    for group in plan.groups.iter().filter(asked) {
        match group.place {
            Place::Own => make(group)?,
            Place::Asked => make_where_asked(group)?,
        }
        for write in &group.writes {
            write_value(&group.path.join(&write.file), write)?;
        }
        filter_devices(group)?;
    }
    Ok(())
}

/// Has the kernel ask the group's program about devices, if it has one.
fn filter_devices(group: &Group) -> Result<(), Error> {
    if group.device_filter.is_empty() {
        return Ok(());
    }
    let attach = || {
        let cgroup = ucr_sys::inroot::host_place(&group.path)?;
        DeviceFilter::load(&group.device_filter)?.attach(cgroup.as_fd())
    };
    attach().map_err(|error| Error::Devices(group.path.clone(), error))
}

fn make(group: &Group) -> Result<(), Error> {
    for _ in 0..PARENT_TRIES {
        match make_directory(&group.parent) {
            Err(error) if error.errno() != Errno::EXIST => {
                return Err(Error::Make(group.parent.clone(), error));
            }
            _ => {}
        }
        match enable(group) {
            // The last other container left and took the parent along.
            Err(Error::Limit { source, .. }) if source.is_not_found() => {
                continue;
            }
            other => other?,
        }
        match make_directory(&group.path) {
            Ok(()) if is_cpuset(group) => {
                inherit_cpuset(&group.parent)?;
                return inherit_cpuset(&group.path);
            }
            Ok(()) => return Ok(()),
            Err(error) if error.errno() == Errno::EXIST => {
                return Err(Error::Exists(group.path.clone()));
            }
            // As above, a moment later.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Error::Make(group.path.clone(), error)),
        }
    }
    let error = ucr_sys::Error::new("mkdir", format!("{:?}", group.path), Errno::NOENT);
    Err(Error::Make(group.path.clone(), error))
}

/// Makes the directory with all above it, or takes one that is there and holds no process.
fn make_where_asked(group: &Group) -> Result<(), Error> {
    let make = |path: &Path| match make_directory(path) {
        Err(error) if error.errno() != Errno::EXIST => Err(Error::Make(path.into(), error)),
        _ => Ok(()),
    };
    let missing: Vec<&Path> = group
        .path
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    if missing.is_empty() && !processes(&group.path).is_empty() {
        return Err(Error::Exists(group.path.clone()));
    }
    for path in missing.iter().rev() {
        make(path)?;
        if is_cpuset(group) {
            inherit_cpuset(path)?;
        }
    }
    enable(group)
}

fn is_cpuset(group: &Group) -> bool {
    group.version == Version::One && group.controllers.iter().any(|name| name == "cpuset")
}

/// Gives a new cpuset of version 1 what the one above it has: an empty one takes no process, cpuset(7).
fn inherit_cpuset(path: &Path) -> Result<(), Error> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let above = path.parent().unwrap_or(path).join(name);
        let value = std::fs::read_to_string(&above)
            .map_err(|error| ucr_sys::Error::from_io("read", format!("{above:?}"), &error))
            .map_err(|error| Error::Open(above.clone(), error))?;
        let write = Write {
            controller: "cpuset".into(),
            file: path.join(name),
            value: value.trim().into(),
            optional: false,
        };
        write_value(&write.file, &write)?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> ucr_sys::Result<()> {
    std::fs::create_dir(path)
        .map_err(|error| ucr_sys::Error::from_io("mkdir", format!("{path:?}"), &error))
}

fn remove_directory(path: &Path) -> ucr_sys::Result<()> {
    std::fs::remove_dir(path)
        .map_err(|error| ucr_sys::Error::from_io("rmdir", format!("{path:?}"), &error))
}

/// Hands the controllers down to the parent's children, in version 2.
fn enable(group: &Group) -> Result<(), Error> {
    for write in &group.enable {
        write_value(&write.file, write).map_err(|error| match (error, write.file.parent()) {
            // As in a container of another engine, where the visible root is an ordinary cgroup.
            (Error::Limit { source, .. }, Some(holder)) if source.errno() == Errno::BUSY => {
                Error::Occupied(holder.into(), source)
            }
            (error, _) => error,
        })?;
    }
    Ok(())
}

fn write_value(file: &Path, write: &Write) -> Result<(), Error> {
    match write_file(file, write.value.as_bytes()) {
        Err(error) if write.optional && error.is_not_found() => Ok(()),
        other => other.map_err(|source| Error::Limit {
            file: file.into(),
            controller: write.controller.clone(),
            value: write.value.clone(),
            source,
        }),
    }
}

/// Writes a value into a file of the kernel's, at once.
pub(crate) fn write_file(path: &Path, value: &[u8]) -> ucr_sys::Result<()> {
    // One write(2) for one value: the kernel takes each as a command of its own.
    open_file(path)?
        .write_all(value)
        .map_err(|error| ucr_sys::Error::from_io("write", format!("{path:?}"), &error))
}

fn open_file(path: &Path) -> ucr_sys::Result<File> {
    let opened = std::fs::OpenOptions::new().write(true).open(path);
    opened.map_err(|error| ucr_sys::Error::from_io("open", format!("{path:?}"), &error))
}

/// Opens the version 2 directory of `plan`, for a process to be cloned into.
///
/// # Errors
///
/// [`Error::Open`].
pub fn open_v2(plan: &CgroupPlan) -> Result<Option<OwnedFd>, Error> {
    let group = plan
        .groups
        .iter()
        .find(|group| group.version == Version::Two);
    group
        .map(|group| {
            ucr_sys::inroot::host_place(&group.path)
                .map_err(|error| Error::Open(group.path.clone(), error))
        })
        .transpose()
}

/// The ways into the version 1 directories of a plan, open for the process that goes in.
#[derive(Debug)]
pub struct Entrances(Vec<(PathBuf, OwnedFd)>);

impl Entrances {
    /// Opens those of `plan`, whose directories are made.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Cgroup`] that names the directory.
    pub fn open(plan: &CgroupPlan) -> Result<Self, Failure> {
        let v1 = plan
            .groups
            .iter()
            .filter(|group| group.version == Version::One);
        let open = |group: &Group| {
            let file = open_file(&group.path.join("tasks"));
            let file = file.during(Step::Cgroup, group.path.as_os_str().as_bytes())?;
            Ok((group.path.clone(), file.into()))
        };
        v1.map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Places this process, of one thread, in all of them.
    ///
    /// A thread that moves itself, and it alone, needs no lock on the threads of every process,
    /// which is what a write to `cgroup.procs` waits for: 5 to 13 ms, until all processors have
    /// been through the scheduler (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`, since 5.7).
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Cgroup`] that names the directory.
    pub fn enter(self, _proof: &SingleThreaded) -> Result<(), Failure> {
        for (path, file) in self.0 {
            // "0" is the writer itself.
            let written = File::from(file).write_all(b"0");
            let failed = |error| ucr_sys::Error::from_io("write", format!("{path:?}"), &error);
            written
                .map_err(failed)
                .during(Step::Cgroup, path.as_os_str().as_bytes())?;
        }
        Ok(())
    }
}

/// How many processes the kernel killed here for want of memory; none if it does not say.
pub fn oom_kills(plan: &CgroupPlan) -> Option<u64> {
    let holds_memory = |group: &&Group| group.controllers.iter().any(|name| name == "memory");
    let group = plan.groups.iter().find(holds_memory)?;
    let file = match group.version {
        Version::One => "memory.oom_control",
        Version::Two => "memory.events",
    };
    let text = std::fs::read_to_string(group.path.join(file)).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Removes the directories `paths`, and the shared parent when it is empty; goes on after a failure.
pub fn remove<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<Error> {
    let mut failures = Vec::new();
    for path in paths {
        match remove_one(path) {
            Ok(()) => {}
            Err(error) => failures.push(Error::Remove(path.into(), error)),
        }
        if let Some(parent) = path.parent() {
            // It stays while another container is in it.
            drop(std::fs::remove_dir(parent));
        }
    }
    failures
}

/// How often a removal is tried again while the last process is on its way out.
const REMOVE_TRIES: u32 = 200;

fn remove_one(path: &Path) -> ucr_sys::Result<()> {
    for _ in 0..REMOVE_TRIES {
        match remove_directory(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            // The kernel reports a process dead a moment before it leaves its
            // cgroup, and version 1 has no event for that moment.
            Err(error) if error.errno() == Errno::BUSY => process::pause_briefly(),
            other => return other,
        }
    }
    remove_directory(path)
}

/// How often the processes of a cgroup are killed again before it is given up.
const KILL_TRIES: u32 = 100;

/// Kills every process in the cgroups `paths` and waits, for a moment, until they are gone.
///
/// # Errors
///
/// [`Error::Kill`]; with `ETIMEDOUT` when one does not end, stuck in a system call, say.
pub fn kill_all<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
    for path in paths {
        empty(path).map_err(|error| Error::Kill(path.into(), error))?;
    }
    Ok(())
}

/// Sends a signal to every process in the cgroups `paths`, once.
///
/// # Errors
///
/// [`Error::Kill`].
pub fn signal_all<'a>(
    paths: impl IntoIterator<Item = &'a Path>,
    signal: Number,
) -> Result<(), Error> {
    // One process is in a cgroup of each hierarchy.
    let mut told = HashSet::new();
    for path in paths {
        for pid in processes(path) {
            if told.insert(pid) {
                signal_one(pid, signal).map_err(|error| Error::Kill(path.into(), error))?;
            }
        }
    }
    Ok(())
}

fn signal_one(pid: i32, signal: Number) -> ucr_sys::Result<()> {
    match process::open(pid)? {
        Some(pidfd) => process::send_signal(pidfd.as_fd(), signal),
        None => Ok(()),
    }
}

/// The processes in a cgroup and in those below it; none where it is not there.
fn processes(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let below = children(path);
    own.chain(below.iter().flat_map(|child| processes(child)))
        .collect()
}

/// The cgroups just below one.
fn children(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Removes the cgroup `path` with those that processes in it made below it.
///
/// # Errors
///
/// [`Error::Remove`].
pub fn remove_with_children(path: &Path) -> Result<(), Error> {
    for child in children(path) {
        remove_with_children(&child)?;
    }
    remove_one(path).map_err(|error| Error::Remove(path.into(), error))
}

/// Removes the directory that ours share, above `path`, unless another container is in it.
pub fn remove_empty_parent(path: &Path) {
    if let Some(parent) = path.parent() {
        drop(std::fs::remove_dir(parent));
    }
}

fn empty(path: &Path) -> ucr_sys::Result<()> {
    for _ in 0..KILL_TRIES {
        let left = processes(path);
        if left.is_empty() {
            return Ok(());
        }
        for pid in left {
            signal_one(pid, process::KILL)?;
        }
        // Version 1 has no event for the last process leaving, and a killed one
        // that the kernel holds up must not hold us up.
        process::pause_briefly();
    }
    let operands = "its processes, SIGKILL";
    Err(ucr_sys::Error::new("kill", operands, Errno::TIMEDOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base: &Path) -> CgroupPlan {
        let parent = base.join("ucr");
        let path = parent.join("one");
        let group = Group {
            version: Version::One,
            name: "memory".into(),
            controllers: vec!["memory".into()],
            parent,
            path,
            place: Place::Own,
            enable: vec![],
            writes: vec![],
            device_filter: vec![],
        };
        CgroupPlan {
            groups: vec![group],
            memory_limit: None,
        }
    }

    #[test]
    fn i32_a_leftover_of_the_same_name_is_never_joined() {
        let temp = tempfile::tempdir().expect("tempdir");
        let plan = plan(temp.path());
        create(&plan, &[Version::One]).expect("first");
        assert!(matches!(
            create(&plan, &[Version::One]),
            Err(Error::Exists(_))
        ));
    }

    #[test]
    fn removing_takes_the_empty_parent_along_and_twice_is_fine() {
        let temp = tempfile::tempdir().expect("tempdir");
        let plan = plan(temp.path());
        create(&plan, &[Version::One]).expect("create");
        let paths = || plan.groups.iter().map(|group| group.path.as_path());
        assert!(remove(paths()).is_empty());
        assert!(!temp.path().join("ucr").exists());
        assert!(remove(paths()).is_empty());
    }

    #[test]
    fn a_reason_has_words_and_no_number() {
        let temp = tempfile::tempdir().expect("tempdir");
        let path = temp.path().join("one");
        std::fs::create_dir_all(path.join("below")).expect("mkdir");
        let failures = remove([path.as_path()]);
        let source = std::error::Error::source(&failures[0]).expect("source");
        let text = source.to_string();
        assert!(text.ends_with("Directory not empty"), "{text}");
    }

    #[test]
    fn a_limit_that_cannot_be_written_names_file_and_controller() {
        let temp = tempfile::tempdir().expect("tempdir");
        let mut plan = plan(temp.path());
        plan.groups[0].writes.push(Write {
            controller: "memory".into(),
            file: "memory.limit_in_bytes".into(),
            value: "1".into(),
            optional: false,
        });
        let text = create(&plan, &[Version::One]).unwrap_err().to_string();
        assert!(
            text.contains("memory.limit_in_bytes") && text.contains("\"memory\""),
            "{text}"
        );
    }

    #[test]
    fn a_process_that_does_not_leave_is_given_up() {
        let temp = tempfile::tempdir().expect("tempdir");
        // One that cannot be: it is in another pid namespace.
        let file = temp.path().join("cgroup.procs");
        let mut file = std::fs::File::create(file).expect("create");
        file.write_all(b"0\n").expect("write");
        let error = kill_all([temp.path()]).expect_err("still there");
        assert!(matches!(
            error,
            Error::Kill(_, source) if source.errno() == Errno::TIMEDOUT
        ));
    }

    #[test]
    fn oom_kills_are_read_from_either_version() {
        let temp = tempfile::tempdir().expect("tempdir");
        let plan = plan(temp.path());
        create(&plan, &[Version::One]).expect("create");
        let file = plan.groups[0].path.join("memory.oom_control");
        let mut file = std::fs::File::create(file).expect("create");
        file.write_all(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
            .expect("write");
        assert_eq!(oom_kills(&plan), Some(3));
    }
}
