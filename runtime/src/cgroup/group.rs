//! The cgroups of one container, from making to removing.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ucr_sys::Errno;
use ucr_sys::bpf::DeviceFilter;
use ucr_sys::process::SingleThreaded;

use crate::cgroup::made::{self, Made};
use crate::cgroup::{
    CgroupPlan, Group, IfMissing, Place, Version, Write, cpuset, freezer, processes,
};
use crate::failure::{During, Failure, Step};

/// A cgroup that cannot be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of that name is there already; joining it would share its limits.
    #[error(
        "the cgroup {0} is there already, without processes: it is left over, or another container \
         is about to use it"
    )]
    Exists(PathBuf),
    /// A directory of that name is there already, with processes that are not the container's.
    #[error(
        "the cgroup {path} is there already, and {pid} is one of {count} processes in it: \
         it is another container's, or left over"
    )]
    Inhabited {
        /// The directory.
        path: PathBuf,
        /// How many processes there are.
        count: usize,
        /// One of them.
        pid: i32,
    },
    /// A directory whose processes stand still, and so would ours.
    #[error("the cgroup {0} is frozen, or one above it is: nothing would run in it")]
    Frozen(PathBuf),
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
    /// Processors or memory nodes that version 2 does not give.
    #[error("cannot set {file} to {asked:?}: of these there are only {given:?}")]
    Cpuset {
        /// The file.
        file: PathBuf,
        /// What was asked for.
        asked: String,
        /// What the kernel would give.
        given: String,
    },
    /// Device rules that the kernel refused.
    #[error("cannot apply the device rules to the cgroup {0}")]
    Devices(PathBuf, #[source] ucr_sys::Error),
    /// A version 2 cgroup whose children can get no controllers, cgroups(7) "no internal processes".
    #[error(
        "no limit can be set below the cgroup {path}, because it holds processes itself: {}",
        advice(*.count, *.holds_us)
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// How many processes are in it, and not below it.
        count: usize,
        /// Whether this process is one of them.
        holds_us: bool,
        /// The kernel's reason.
        #[source]
        source: ucr_sys::Error,
    },
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
/// Adds those that are the container's own to `made`, also before a failure: they are for the
/// caller to remove.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::Inhabited`], [`Error::Frozen`], [`Error::Make`], [`Error::Limit`],
/// [`Error::Cpuset`], [`Error::Devices`] or [`Error::Occupied`].
pub fn create(plan: &CgroupPlan, versions: &[Version], made: &mut Vec<Made>) -> Result<(), Error> {
    let asked = |group: &&Group| versions.contains(&group.version);
    for group in plan.groups.iter().filter(asked) {
        match group.place {
            Place::Own => make(group, made).inspect_err(|_| remove_shared(group))?,
            Place::Asked => make_where_asked(group, made)?,
        }
        if is_frozen(group) {
            return Err(Error::Frozen(group.path.clone()));
        }
        for write in &group.writes {
            write_value(&group.path.join(&write.file), write)
                .map_err(|error| cpuset::explained(group, write, error))?;
        }
        cpuset::confirm(group)?;
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

/// Whether what enters the group would stand still, as it does below one that is frozen, too.
fn is_frozen(group: &Group) -> bool {
    let can = match group.version {
        Version::One => group.controllers.iter().any(|name| name == "freezer"),
        Version::Two => true,
    };
    can && freezer::is_frozen(std::slice::from_ref(&group.path))
}

/// Says of a directory that is there already who is in it.
fn taken(path: &Path) -> Error {
    let path = path.to_owned();
    match processes::listed(&path).as_slice() {
        [] => Error::Exists(path),
        [pid, others @ ..] => Error::Inhabited {
            count: 1 + others.len(),
            pid: *pid,
            path,
        },
    }
}

/// Takes back what was made above a group that could not be made.
fn remove_shared(group: &Group) {
    for shared in &group.shared {
        made::remove_if_empty(shared);
    }
}

fn make(group: &Group, made: &mut Vec<Made>) -> Result<(), Error> {
    for _ in 1..PARENT_TRIES {
        match try_to_make(group, made) {
            // The last other container left and took the parent along.
            Err(error) if is_gone(&error) => {}
            other => return other,
        }
    }
    try_to_make(group, made)
}

fn try_to_make(group: &Group, made: &mut Vec<Made>) -> Result<(), Error> {
    make_parent(group, &group.parent)?;
    enable(group)?;
    make_directory(&group.path).map_err(|error| match error.errno() {
        Errno::EXIST => taken(&group.path),
        _ => Error::Make(group.path.clone(), error),
    })?;
    made.extend(Made::of(&group.path, &group.shared));
    if cpuset::is_in(group) {
        cpuset::inherit(&group.path)?;
    }
    Ok(())
}

/// Whether a directory or a file is not there, or was removed after it was opened.
fn is_gone(error: &Error) -> bool {
    let (Error::Make(_, source) | Error::Limit { source, .. } | Error::Open(_, source)) = error
    else {
        return false;
    };
    matches!(source.errno(), Errno::NOENT | Errno::NODEV)
}

/// Makes a directory above the group's with what is missing above it, unless it is there.
fn make_parent(group: &Group, path: &Path) -> Result<(), Error> {
    let mut made = make_directory(path);
    if let (Err(error), Some(above)) = (&made, path.parent())
        && error.is_not_found()
    {
        make_parent(group, above)?;
        made = make_directory(path);
    }
    match made {
        Err(error) if error.errno() == Errno::EXIST => {}
        other => other.map_err(|error| Error::Make(path.into(), error))?,
    }
    if cpuset::is_in(group) {
        cpuset::inherit(path)?;
    }
    Ok(())
}

/// Makes the directory with all above it, or takes one that is there and holds no process.
fn make_where_asked(group: &Group, made: &mut Vec<Made>) -> Result<(), Error> {
    let make = |path: &Path| match make_directory(path) {
        Err(error) if error.errno() != Errno::EXIST => Err(Error::Make(path.into(), error)),
        _ => Ok(()),
    };
    let missing: Vec<&Path> = group
        .path
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    if missing.is_empty() && !processes::listed(&group.path).is_empty() {
        return Err(taken(&group.path));
    }
    for path in missing.iter().rev() {
        make(path)?;
        made.extend(Made::of(path, &[]).filter(|_| *path == group.path));
        if cpuset::is_in(group) {
            cpuset::inherit(path)?;
        }
    }
    enable(group)
}

fn make_directory(path: &Path) -> ucr_sys::Result<()> {
    std::fs::create_dir(path)
        .map_err(|error| ucr_sys::Error::from_io("mkdir", format!("{path:?}"), &error))
}

/// Hands the controllers down to the parent's children, in version 2.
fn enable(group: &Group) -> Result<(), Error> {
    for write in &group.enable {
        write_value(&write.file, write).map_err(|error| match (error, write.file.parent()) {
            // As in a container of another engine, where the visible root is an ordinary cgroup.
            (Error::Limit { source, .. }, Some(holder)) if source.errno() == Errno::BUSY => {
                occupied(holder, source)
            }
            (error, _) => error,
        })?;
    }
    Ok(())
}

fn occupied(path: &Path, source: ucr_sys::Error) -> Error {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own = std::process::id().to_string();
    Error::Occupied {
        path: path.into(),
        count: text.lines().count(),
        holds_us: text.lines().any(|line| line == own),
        source,
    }
}

/// What to do about processes that are in the way.
fn advice(count: usize, holds_us: bool) -> String {
    if holds_us {
        format!(
            "this one is in it, with {} more; start whoever calls ucr in a child of it \
             (systemd does so with DelegateSubgroup=), or have the container made elsewhere",
            count.saturating_sub(1)
        )
    } else {
        format!("{count}; move them to a child of it first, or have the container made elsewhere")
    }
}

/// Writes the value of `write` into `file`, or what is to be written where that is missing.
pub(super) fn write_value(file: &Path, write: &Write) -> Result<(), Error> {
    let failed = |file: &Path, value: &str, source| Error::Limit {
        file: file.into(),
        controller: write.controller.clone(),
        value: value.into(),
        source,
    };
    let written = write_file(file, write.value.as_bytes());
    match (&write.if_missing, written) {
        (IfMissing::Skip, Err(error)) if error.is_not_found() => Ok(()),
        (IfMissing::Other { file: other, value }, Err(error)) if error.is_not_found() => {
            let other = file.with_file_name(other);
            write_file(&other, value.as_bytes()).map_err(|error| failed(&other, value, error))
        }
        (_, written) => written.map_err(|error| failed(file, &write.value, error)),
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

    /// Opens those of the cgroups `paths` of either version, which a container has already.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn of_paths(paths: &[PathBuf]) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            let tasks = path.join("tasks");
            // Version 2 has no such file.
            let file = if tasks.exists() {
                tasks
            } else {
                path.join("cgroup.procs")
            };
            let file = open_file(&file).during(Step::Cgroup, path.as_os_str().as_bytes())?;
            Ok((path.clone(), file.into()))
        };
        paths.iter().map(open).collect::<Result<_, _>>().map(Self)
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
            shared: vec![base.join("ucr")],
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
        let mut made = Vec::new();
        create(&plan, &[Version::One], &mut made).expect("first");
        assert_eq!(made[0].path, plan.groups[0].path);
        let mut made = Vec::new();
        let again = create(&plan, &[Version::One], &mut made);
        assert!(matches!(again, Err(Error::Exists(_))));
        // It is not for the second to remove.
        assert_eq!(made, []);
    }

    fn write(path: &Path, text: &str) {
        let mut file = File::create(path).expect("create");
        file.write_all(text.as_bytes()).expect("write");
    }

    #[test]
    fn i32_processes_of_a_leftover_are_named_and_not_joined() {
        let temp = tempfile::tempdir().expect("tempdir");
        for place in [Place::Own, Place::Asked] {
            let mut plan = plan(&temp.path().join(format!("{place:?}")));
            plan.groups[0].place = place;
            let path = plan.groups[0].path.clone();
            std::fs::create_dir_all(path.join("below")).expect("mkdir");
            write(&path.join("below/cgroup.procs"), "7\n8\n");
            let error = create(&plan, &[Version::One], &mut vec![]).expect_err("not ours");
            assert!(matches!(
                error,
                Error::Inhabited { count: 2, pid: 7, path: ref named } if *named == path
            ));
        }
    }

    #[test]
    fn i32_a_frozen_cgroup_is_refused() {
        let temp = tempfile::tempdir().expect("tempdir");
        let mut plan = plan(temp.path());
        let group = &mut plan.groups[0];
        (group.place, group.controllers) = (Place::Asked, vec!["freezer".into()]);
        std::fs::create_dir_all(&group.path).expect("mkdir");
        let state = group.path.join("freezer.state");
        for (word, refused) in [("FROZEN\n", true), ("THAWED\n", false)] {
            write(&state, word);
            let created = create(&plan, &[Version::One], &mut vec![]);
            assert_eq!(matches!(created, Err(Error::Frozen(_))), refused, "{word}");
            assert_eq!(created.is_err(), refused, "{word}");
        }
    }

    /// A group below a directory that others share, in a hierarchy that this machine has mounted.
    fn shared_group(base: &str, version: Version, member: usize) -> Option<CgroupPlan> {
        let base = Path::new("/sys/fs/cgroup").join(base);
        base.join("cgroup.procs").exists().then_some(())?;
        let mut plan = plan(&base.join(format!("ucr-test-{}", std::process::id())));
        let group = &mut plan.groups[0];
        group.version = version;
        group.controllers = vec!["cpuset".into()];
        group.path = group.parent.join(member.to_string());
        group.shared = group
            .parent
            .ancestors()
            .take(2)
            .map(PathBuf::from)
            .collect();
        if version == Version::Two {
            // Nothing is handed down, but the kernel looks whether the directory is alive.
            group.enable = vec![Write {
                controller: String::new(),
                file: group.parent.join("cgroup.subtree_control"),
                value: "\n".into(),
                if_missing: IfMissing::Fail,
            }];
        }
        Some(plan)
    }

    #[test]
    fn a_shared_parent_that_another_removes_meanwhile_is_made_again() {
        for (base, version) in [
            ("cpuset", Version::One),
            ("unified", Version::Two),
            ("", Version::Two),
        ] {
            if shared_group(base, version, 0).is_none() || !ucr_sys::is_root() {
                eprintln!("skipped: no {base:?} cgroups that may be made");
                continue;
            }
            std::thread::scope(|scope| {
                for member in 0..4 {
                    scope.spawn(move || {
                        let plan = shared_group(base, version, member).expect("mounted");
                        for _ in 0..500 {
                            let mut made = Vec::new();
                            create(&plan, &[version], &mut made).expect("create");
                            assert!(made::remove(&made).is_empty());
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_limit_that_cannot_be_written_names_file_and_controller() {
        let temp = tempfile::tempdir().expect("tempdir");
        let mut plan = plan(temp.path());
        plan.groups[0].writes.push(Write {
            controller: "memory".into(),
            file: "memory.limit_in_bytes".into(),
            value: "1".into(),
            if_missing: IfMissing::Fail,
        });
        let text = create(&plan, &[Version::One], &mut vec![])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("memory.limit_in_bytes") && text.contains("\"memory\""),
            "{text}"
        );
    }

    #[test]
    fn oom_kills_are_read_from_either_version() {
        let temp = tempfile::tempdir().expect("tempdir");
        let plan = plan(temp.path());
        create(&plan, &[Version::One], &mut vec![]).expect("create");
        let file = plan.groups[0].path.join("memory.oom_control");
        let mut file = std::fs::File::create(file).expect("create");
        file.write_all(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
            .expect("write");
        assert_eq!(oom_kills(&plan), Some(3));
    }
}
