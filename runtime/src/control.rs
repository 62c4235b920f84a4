//! Acting on a container that runs: signals, waiting for its end, and standing still.
//!
//! By any process that may. What it acts on is named by descriptors that were opened while the
//! container was seen to be alive, of processes that were then still its own, so a number that is
//! used again harms nobody.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ucr_sys::signal::Number;
use ucr_sys::{Errno, process, ready};

use crate::cgroup::freezer;
use crate::state::{self, Record};

/// An operation on a container that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The process cannot be opened or signalled.
    #[error("cannot reach the container's processes")]
    Process(#[source] ucr_sys::Error),
    /// Its task has not begun, so there is nothing to signal.
    #[error("the container's task does not run yet")]
    NotStarted,
    /// Its task has ended, and what is left of the container is being cleared away.
    #[error("the container's task has ended")]
    Ending,
    /// Its supervisor was killed, and something of it lives on.
    #[error("the container's supervisor was killed, and its processes have not ended yet")]
    Orphaned,
    /// It cannot be made to stand still, or to go on.
    #[error("cannot freeze or thaw the container")]
    Freeze(#[source] freezer::Error),
}

/// How long what a container that was killed has written is shown to whom nobody reads for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A container that was alive when this was made.
#[derive(Debug)]
pub struct Container {
    supervisor: OwnedFd,
    init: Member,
    task: Member,
    cgroups: Vec<PathBuf>,
}

/// A process of the container's, as far as it could be held on to.
#[derive(Debug)]
enum Member {
    /// There is none yet.
    Awaited,
    /// It has ended, and its number may be another's.
    Gone,
    /// It is named by this.
    Held(OwnedFd),
}

impl Member {
    /// Takes hold of process `pid`, if it still is the child of `parent`.
    fn of(pid: Option<i32>, parent: i32) -> Result<Self, Error> {
        let Some(pid) = pid else {
            return Ok(Self::Awaited);
        };
        let held = process::open(pid).map_err(Error::Process)?;
        // Looked at after the number was held on to.
        let is_ours = process::parent_of(pid) == Some(parent);
        Ok(held.filter(|_| is_ours).map_or(Self::Gone, Self::Held))
    }

    fn held(&self) -> Result<BorrowedFd<'_>, Error> {
        match self {
            Self::Awaited => Err(Error::NotStarted),
            Self::Gone => Err(Error::Ending),
            Self::Held(pidfd) => Ok(pidfd.as_fd()),
        }
    }
}

impl Container {
    /// Takes hold of the container of `record`; `None` when it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::State`] or [`Error::Process`].
    pub fn open(state_root: &Path, record: &Record) -> Result<Option<Self>, Error> {
        let supervisor = process::open(record.supervisor).map_err(Error::Process)?;
        let init = Member::of(record.pid, record.supervisor)?;
        let task = record.task_now();
        let parent = match record.pid {
            Some(pid) if task != Some(pid) => pid,
            _ => record.supervisor,
        };
        let task = Member::of(task, parent)?;
        // After they were opened: until here the number of the supervisor was not used again, and
        // so neither those of the children that it had. It outlives them, while it clears away.
        if !state::is_alive(state_root, &record.id)? {
            return Ok(None);
        }
        let supervisor = supervisor.ok_or(Error::Orphaned)?;
        Ok(Some(Self {
            supervisor,
            init,
            task,
            cgroups: record.cgroups.clone(),
        }))
    }

    /// What names its pid 1, once there is one.
    pub fn init(&self) -> Option<BorrowedFd<'_>> {
        self.init.held().ok()
    }

    /// Sends a signal to the task. `SIGKILL` is for the whole container, also one that is frozen.
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`], [`Error::Ending`], [`Error::Process`] or [`Error::Freeze`].
    pub fn signal(&self, number: Number) -> Result<(), Error> {
        let to = match number {
            process::KILL => &self.init,
            _ => &self.task,
        };
        process::send_signal(to.held()?, number).map_err(Error::Process)?;
        match number {
            // What is frozen does not die, in version 1.
            process::KILL => self.thaw(),
            _ => Ok(()),
        }
    }

    /// Sends a signal to the task and all processes of its group: a shell passes none on to what it
    /// waits for. Before Linux 6.9 it is for the task alone.
    ///
    /// # Errors
    ///
    /// As [`Self::signal`].
    pub fn signal_group(&self, number: Number) -> Result<(), Error> {
        match process::send_signal_to_group(self.task.held()?, number) {
            Err(error) if error.errno() == Errno::INVAL => self.signal(number),
            sent => sent.map_err(Error::Process),
        }
    }

    /// Waits until the container is over and cleared away; false when that takes longer than
    /// `time`.
    ///
    /// # Errors
    ///
    /// [`Error::Process`].
    pub fn wait(&self, time: Option<Duration>) -> Result<bool, Error> {
        ready::is_readable_within(self.supervisor.as_fd(), time).map_err(Error::Process)
    }

    /// Ends the container: `signal` to its task, and `SIGKILL` to all of it after `time`.
    ///
    /// # Errors
    ///
    /// As [`Self::signal`] and [`Self::wait`].
    pub fn stop(&self, signal: Number, time: Duration) -> Result<(), Error> {
        match self.signal(signal) {
            // Then there is nobody who could end by itself.
            Err(Error::NotStarted) => {}
            Err(Error::Ending) => return self.hurry(time),
            sent => {
                sent?;
                self.thaw()?;
                if self.wait(Some(time))? {
                    return Ok(());
                }
            }
        }
        match self.signal(process::KILL) {
            Err(Error::NotStarted) => process::send_signal(self.supervisor.as_fd(), process::KILL)
                .map_err(Error::Process)?,
            Err(Error::Ending) => {}
            sent => sent?,
        }
        self.hurry(LAST_WORDS)
    }

    /// Waits until what has ended is cleared away; after `time` its last words are given up.
    fn hurry(&self, time: Duration) -> Result<(), Error> {
        if self.wait(Some(time))? {
            return Ok(());
        }
        process::send_signal(self.supervisor.as_fd(), process::TERM).map_err(Error::Process)?;
        self.wait(None).map(drop)
    }

    /// Lets none of its processes run until [`Self::thaw`].
    ///
    /// # Errors
    ///
    /// [`Error::Freeze`].
    pub fn freeze(&self) -> Result<(), Error> {
        freezer::freeze(&self.cgroups).map_err(Error::Freeze)
    }

    /// Lets its processes go on; those that run already do.
    ///
    /// # Errors
    ///
    /// [`Error::Freeze`].
    pub fn thaw(&self) -> Result<(), Error> {
        freezer::thaw(&self.cgroups).map_err(Error::Freeze)
    }

    /// Whether its processes stand still.
    pub fn is_frozen(&self) -> bool {
        freezer::is_frozen(&self.cgroups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s25_a_number_that_is_anothers_by_now_is_not_held_on_to() {
        let own = i32::try_from(std::process::id()).expect("a number");
        let sleep = std::process::Command::new("sleep").arg("1000").spawn();
        let mut child = sleep.expect("sleep");
        let pid = i32::try_from(child.id()).expect("a number");
        let held = |pid, parent| Member::of(pid, parent).expect("of");
        assert!(matches!(held(Some(pid), own), Member::Held(_)));
        assert!(matches!(held(None, own), Member::Awaited));
        // It lives, but as somebody else's.
        assert!(matches!(held(Some(pid), pid), Member::Gone));
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(matches!(held(Some(pid), own), Member::Gone));
    }
}
