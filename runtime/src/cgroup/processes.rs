//! The processes in a cgroup: who they are, signals to all of them, and their end.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ucr_sys::signal::Number;
use ucr_sys::{Errno, process, ready};

use super::freezer;
use super::group::{Error, write_file};

/// How long an end is waited for before it is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Kills every process in the cgroups `paths`, those of one container, and waits, for a moment,
/// until they are gone.
///
/// None gets away by making another: version 2 ends all at once (`cgroup.kill`, Linux 5.14), and
/// in version 1 all stand still while they are killed. Who stood still before dies too.
///
/// # Errors
///
/// [`Error::Kill`]; with `ETIMEDOUT` when one does not end, stuck in a system call, say.
pub fn kill_all<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
    let failed = |path: &Path, error| Error::Kill(path.into(), error);
    let (mut told, mut others) = (Vec::new(), Vec::new());
    for path in paths {
        let list = match kill_at_once(path).map_err(|error| failed(path, error))? {
            true => &mut told,
            false => &mut others,
        };
        list.push(path);
    }
    // Nobody who is in the first of them then is in any of the rest.
    others.sort_by_key(|path| !freezer::can_hold(path));
    for path in others {
        kill_by_turns(path).map_err(|error| failed(path, error))?;
    }
    // Not before: who was frozen by version 1 dies once it is thawed there.
    for path in told {
        wait_until_empty(path).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

/// Has the kernel kill all processes in a cgroup and below it; false where it cannot: in version 1,
/// before Linux 5.14, in a cgroup for threads.
fn kill_at_once(path: &Path) -> ucr_sys::Result<bool> {
    match write_file(&path.join("cgroup.kill"), b"1") {
        Ok(()) => Ok(true),
        Err(error) => match error.errno() {
            Errno::NOENT | Errno::OPNOTSUPP => Ok(false),
            // It is being removed, and so empty.
            Errno::NODEV => Ok(true),
            _ => Err(error),
        },
    }
}

/// Kills the processes of a cgroup and of those below it, again and again until there are none.
fn kill_by_turns(path: &Path) -> ucr_sys::Result<()> {
    let end = Instant::now() + PATIENCE;
    let holds = freezer::can_hold(path);
    while !listed(path).is_empty() {
        if Instant::now() >= end {
            return Err(timed_out());
        }
        if holds {
            freezer::hold(path);
        }
        let killed = signal_listed(path, process::KILL, &mut HashSet::new());
        if holds {
            // What is frozen does not die.
            freezer::release(path);
        }
        killed?;
        // Version 1 has no event for the last process leaving, and a killed one
        // that the kernel holds up must not hold us up.
        process::pause_briefly();
    }
    Ok(())
}

/// Waits until no process is in a cgroup of version 2 or below it any more.
fn wait_until_empty(path: &Path) -> ucr_sys::Result<()> {
    let end = Instant::now() + PATIENCE;
    let events = path.join("cgroup.events");
    let failed = |error: &_| ucr_sys::Error::from_io("read", format!("{events:?}"), error);
    let mut file = match File::open(&events) {
        Ok(file) => file,
        Err(error) => return unless_gone(failed(&error)),
    };
    loop {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        match read {
            Err(error) => return unless_gone(failed(&error)),
            Ok(_) if text.lines().any(|line| line == "populated 0") => return Ok(()),
            Ok(_) => {}
        }
        if !ready::wait_changed_until(file.as_fd(), end)? {
            return Err(timed_out());
        }
    }
}

/// A cgroup that is removed has no processes.
fn unless_gone(error: ucr_sys::Error) -> ucr_sys::Result<()> {
    match error.errno() {
        Errno::NOENT | Errno::NODEV => Ok(()),
        _ => Err(error),
    }
}

fn timed_out() -> ucr_sys::Error {
    ucr_sys::Error::new("kill", "its processes, SIGKILL", Errno::TIMEDOUT)
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
        signal_listed(path, signal, &mut told).map_err(|error| Error::Kill(path.into(), error))?;
    }
    Ok(())
}

/// Sends a signal to the processes in a cgroup and below it but those in `told`, and adds them.
fn signal_listed(path: &Path, signal: Number, told: &mut HashSet<i32>) -> ucr_sys::Result<()> {
    let mut opened: Vec<(i32, OwnedFd)> = Vec::new();
    for pid in listed(path) {
        if !told.contains(&pid)
            && let Some(pidfd) = process::open(pid)?
        {
            opened.push((pid, pidfd));
        }
    }
    // Listed before and after it was opened, a number was of the same process all the time, or of
    // another in here: not of a stranger that got the number of one that ended in between.
    let still: HashSet<i32> = listed(path).into_iter().collect();
    opened.retain(|(pid, _)| still.contains(pid));
    for (pid, pidfd) in opened {
        process::send_signal(pidfd.as_fd(), signal)?;
        told.insert(pid);
    }
    Ok(())
}

/// The processes in a cgroup and in those below it; none where it is not there, and 0 for one that
/// this pid namespace does not have.
pub(crate) fn listed(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let below = children(path);
    own.chain(below.iter().flat_map(|child| listed(child)))
        .collect()
}

/// The cgroups just below one.
pub(super) fn children(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_process_that_does_not_leave_is_given_up() {
        let temp = tempfile::tempdir().expect("tempdir");
        // One that cannot be: it is in another pid namespace.
        let file = temp.path().join("cgroup.procs");
        let mut file = File::create(file).expect("create");
        file.write_all(b"0\n").expect("write");
        let error = kill_all([temp.path()]).expect_err("still there");
        assert!(matches!(
            error,
            Error::Kill(_, source) if source.errno() == Errno::TIMEDOUT
        ));
    }

    #[test]
    fn a_cgroup_that_is_gone_is_empty() {
        let temp = tempfile::tempdir().expect("tempdir");
        let gone = temp.path().join("gone");
        kill_all([gone.as_path()]).expect("nobody there");
        wait_until_empty(&gone).expect("nobody there");
    }
}
