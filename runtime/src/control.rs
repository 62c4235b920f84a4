//! Acting on a container that runs: signals, waiting for its end, and standing still.
//!
//! By any process that may. What it acts on is named by descriptors that were opened while the
//! container was seen to be alive, so a number that is used again harms nobody.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ucr_sys::signal::Number;
use ucr_sys::{process, ready};

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
    /// It cannot be made to stand still, or to go on.
    #[error("cannot freeze or thaw the container")]
    Freeze(#[source] freezer::Error),
}

/// A container that was alive when this was made.
#[derive(Debug)]
pub struct Container {
    supervisor: OwnedFd,
    init: Option<OwnedFd>,
    task: Option<OwnedFd>,
    cgroups: Vec<PathBuf>,
}

impl Container {
    /// Takes hold of the container of `record`; `None` when it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::State`] or [`Error::Process`].
    pub fn open(state_root: &Path, record: &Record) -> Result<Option<Self>, Error> {
        let open = |pid: Option<i32>| pid.map_or(Ok(None), process::open).map_err(Error::Process);
        let supervisor = open(Some(record.supervisor))?;
        let (init, task) = (open(record.pid)?, open(record.task_now())?);
        // After they were opened: until here none of their numbers was used again.
        if !state::is_alive(state_root, &record.id)? {
            return Ok(None);
        }
        Ok(supervisor.map(|supervisor| Self {
            supervisor,
            init,
            task,
            cgroups: record.cgroups.clone(),
        }))
    }

    /// What names its pid 1, once there is one.
    pub fn init(&self) -> Option<BorrowedFd<'_>> {
        self.init.as_ref().map(AsFd::as_fd)
    }

    /// Sends a signal to the task. `SIGKILL` is for the whole container, also one that is frozen.
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`], [`Error::Process`] or [`Error::Freeze`].
    pub fn signal(&self, number: Number) -> Result<(), Error> {
        let to = match number {
            process::KILL => &self.init,
            _ => &self.task,
        };
        let to = to.as_ref().ok_or(Error::NotStarted)?;
        process::send_signal(to.as_fd(), number).map_err(Error::Process)?;
        match number {
            // What is frozen does not die, in version 1.
            process::KILL => self.thaw(),
            _ => Ok(()),
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
            sent => sent?,
        }
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
