//! Another process in a container that was handed over.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use ucr_sys::{descriptors, process};

use super::bundle;
use super::container::Status;
use super::record::{self, Directory, Life};
use crate::cgroup::freezer;
use crate::exec::{self, Changes};
use crate::id::ContainerId;
use crate::launch;
use crate::plan::{Order, Process, Terminal};
use crate::process::{Joining, Keeper, Output};
use crate::spec;

/// Everything that `exec` needs.
#[derive(Debug)]
pub struct Exec {
    /// The container.
    pub id: ContainerId,
    /// Where the state of all containers is.
    pub root: PathBuf,
    /// What is run.
    pub what: What,
    /// Who looks after it.
    pub keeper: Keeper,
    /// The file that gets its number.
    pub pid_file: Option<PathBuf>,
    /// The socket that gets the caller's side of its terminal.
    pub console: Option<OwnedFd>,
    /// How many descriptors after standard error it gets.
    pub preserved: u32,
    /// The executable `ucr-init`, of the same build.
    pub init: PathBuf,
}

/// What is run.
#[derive(Debug)]
pub enum What {
    /// What a file says: a `process` of the runtime specification, whole.
    File {
        /// The file.
        file: PathBuf,
        /// The terminal that it gets if the file asks for none.
        terminal: Option<Terminal>,
    },
    /// The container's own process, but for these.
    Changes(Changes),
}

/// A process that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// A container in which nothing can be run now.
    #[error("cannot exec in container {0}: it is {1}")]
    Unsuitable(ContainerId, Status),
    /// The file that says what is run.
    #[error(transparent)]
    File(#[from] bundle::Error),
    /// What it says.
    #[error("cannot run the process of {0}")]
    Spec(PathBuf, #[source] spec::Error),
    /// What is different from the container's own process.
    #[error(transparent)]
    Changes(#[from] exec::Error),
    /// A terminal that nobody would show.
    #[error("a terminal is asked for, and nobody is there to show it: --console-socket is missing")]
    NoConsole,
    /// A descriptor that is to be preserved.
    #[error("cannot preserve descriptor {0}")]
    Preserve(i32, #[source] ucr_sys::Error),
    /// The start of `ucr-init`.
    #[error(transparent)]
    Launch(#[from] launch::Error),
}

/// Turns this process into who starts another in a container; returns only on failure.
///
/// It has the container's namespaces and cgroups and its filter of system calls; capabilities,
/// limits, user, variables and directory are those that `what` says.
///
/// # Errors
///
/// What could not be found, understood or started.
pub fn exec(exec: Exec) -> Result<Infallible, Error> {
    let directory = Directory::open(&exec.root, &exec.id)?;
    let record = directory.read()?;
    let own = directory.read_process()?;
    let unsuitable = |status| Err(Error::Unsuitable(exec.id.clone(), status));
    let pidfd = process::open(record.init.pid).map_err(launch::Error::System)?;
    // After it was opened: until here the number was not used again.
    let (Some(pidfd), Life::Alive) = (pidfd, record.init.life()) else {
        return unsuitable(Status::Stopped);
    };
    if freezer::is_frozen(&record.cgroup_paths()) {
        return unsuitable(Status::Paused);
    }
    let process = wanted(exec.what, own)?;
    let detached = exec.keeper == Keeper::Adopter;
    if process.terminal.is_some() && detached && exec.console.is_none() {
        return Err(Error::NoConsole);
    }
    for number in (3..).take(usize::try_from(exec.preserved).unwrap_or(usize::MAX)) {
        descriptors::keep_number_across_exec(number)
            .map_err(|error| Error::Preserve(number, error))?;
    }
    for fd in [&pidfd].into_iter().chain(&exec.console) {
        descriptors::keep_across_exec(fd.as_fd()).map_err(launch::Error::System)?;
    }
    let joining = Joining {
        pidfd: pidfd.as_raw_fd(),
        pid: record.init.pid,
        cgroups: record.cgroup_paths(),
        ids: None,
        process,
        keeper: exec.keeper,
        output: Output::Callers,
        console: exec.console.as_ref().map(AsRawFd::as_raw_fd),
        pid_file: exec.pid_file,
        preserved: exec.preserved,
    };
    directory.release()?;
    let order = Order::Join(Box::new(joining));
    Ok(launch::become_init(&order, &exec.init, &exec.root)?)
}

/// What is run, with the filter of the container.
fn wanted(what: What, own: Option<Process>) -> Result<Process, Error> {
    let own = own.unwrap_or_else(Process::none);
    match what {
        What::Changes(changes) => Ok(exec::changed(own, changes)?),
        What::File { file, terminal } => {
            let spec = bundle::process(&file)?;
            let converted = spec::convert_process(&spec);
            let mut process = converted.map_err(|error| Error::Spec(file, error))?;
            process.terminal = process.terminal.or(terminal);
            process.filter = own.filter;
            process.apparmor = process.apparmor.or(own.apparmor);
            Ok(process)
        }
    }
}
