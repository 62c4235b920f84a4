//! Another task in a container that runs: the caller's process becomes who waits for it.

use std::convert::Infallible;
use std::io::stdin;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Capability;
use ucr_sys::{descriptors, terminal};

use crate::control::{self, Container};
use crate::launch;
use crate::plan::{Bytes, Order, Process, Terminal, User};
use crate::process::{Joining, Keeper, Output};
use crate::spec;
use crate::state::{self, Record};
use crate::user::{self, Principal, UserName};

/// What is run, and in what it is different from the container's own task.
#[derive(Debug, Default)]
pub struct Changes {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Variables besides the container's, as `NAME=value`; of one name the last holds.
    pub environment: Vec<String>,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// Docker's `USER` string, looked up in the container.
    pub user: Option<String>,
    /// A terminal of its own.
    pub terminal: Option<Terminal>,
    /// Capabilities besides those it has.
    pub capabilities: Vec<Capability>,
    /// Whether `execve` may grant it no privileges, whatever holds for the container's own.
    pub no_new_privileges: bool,
    /// Groups besides its user's, by number.
    pub groups: Vec<u32>,
}

/// A task that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state of the container, or its processes.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// There is none any more.
    #[error("the container has ended")]
    Ended,
    /// Its own task does not run yet.
    #[error("the container's task does not run yet")]
    NotStarted,
    /// It stands still, and so would everything that enters it.
    #[error("the container is paused")]
    Paused,
    /// The user string.
    #[error("cannot use this user")]
    User(#[source] user::Error),
    /// A working directory that is relative.
    #[error("the working directory {0} is not absolute")]
    Relative(PathBuf),
    /// A NUL byte where the kernel ends a string.
    #[error("a NUL byte in {0}")]
    Nul(&'static str),
    /// `ucr-init` cannot be executed.
    #[error(transparent)]
    Launch(#[from] launch::Error),
}

/// Who is there for the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The caller: it waits for the end, and the task dies with it.
    Caller,
    /// Nobody: the task goes on by itself, and what it writes is lost.
    Nobody,
}

/// Turns this process into who waits for a task in the container of `record`; returns only on
/// failure.
///
/// The task is in all the container's namespaces and cgroups, and has the capabilities, the filter
/// of system calls, the limits, variables, user and directory of the container's own but for
/// `changes`. Standard input, output and error become the task's, unless nobody is `attached`; every
/// other descriptor is closed.
///
/// # Errors
///
/// What could not be found or started.
pub fn exec(
    state_root: &Path,
    record: &Record,
    changes: Changes,
    attached: Attached,
    init: &Path,
) -> Result<Infallible, Error> {
    let process = state::process_of(state_root, &record.id).map_err(control::Error::State)?;
    let container = Container::open(state_root, record)?.ok_or(Error::Ended)?;
    let process = process.ok_or(Error::NotStarted)?;
    // Before that the namespaces are not what they are to be.
    if record.task_now().is_none() {
        return Err(Error::NotStarted);
    }
    if container.is_frozen() {
        return Err(Error::Paused);
    }
    let pid = record.pid.ok_or(Error::NotStarted)?;
    let pidfd = container.init().ok_or(Error::Ended)?;
    let (keeper, output) = match attached {
        Attached::Caller => (Keeper::Here, Output::Callers),
        Attached::Nobody => (Keeper::Adopter, Output::Nowhere),
    };
    descriptors::keep_across_exec(pidfd).map_err(launch::Error::System)?;
    if changes.terminal.is_some() && matches!(keeper, Keeper::Here) {
        terminal::wait_for_turn(stdin().as_fd());
    }
    let joining = Joining {
        pidfd: pidfd.as_fd().as_raw_fd(),
        pid,
        cgroups: record.cgroups.clone(),
        ids: record.ids.clone(),
        process: changed(process, changes)?,
        keeper,
        output,
        console: None,
        pid_file: None,
        preserved: 0,
    };
    let order = Order::Join(Box::new(joining));
    Ok(launch::become_init(&order, init, state_root)?)
}

/// The container's own process with what is different.
pub(crate) fn changed(mut process: Process, changes: Changes) -> Result<Process, Error> {
    let has_nul = |texts: &[String]| texts.iter().any(|text| text.contains('\0'));
    for (texts, what) in [
        (&changes.arguments, "the arguments"),
        (&changes.environment, "the environment"),
    ] {
        if has_nul(texts) {
            return Err(Error::Nul(what));
        }
    }
    process.arguments = changes
        .arguments
        .iter()
        .map(|argument| Bytes::from(argument.as_str()))
        .collect();
    if changes.terminal.is_some() && !process.environment.iter().any(is_term) {
        process.environment.push("TERM=xterm".into());
    }
    for variable in &changes.environment {
        set(&mut process.environment, Bytes::from(variable.as_str()));
    }
    if let Some(directory) = changes.directory {
        if !directory.is_absolute() {
            return Err(Error::Relative(directory));
        }
        process.directory = directory.into();
    }
    if let Some(user) = &changes.user {
        process.user = User::Named(UserName::parse(user).map_err(Error::User)?);
    }
    process.terminal = changes.terminal;
    let more = spec::capability_mask(&changes.capabilities);
    let sets = &mut process.capabilities;
    for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
        *set |= more;
    }
    process.no_new_privileges |= changes.no_new_privileges;
    let groups = changes.groups.into_iter().map(Principal::Id);
    process.groups.extend(groups);
    Ok(process)
}

/// What kind of terminal it is, to programs; Docker's, where nobody says.
fn is_term(variable: &Bytes) -> bool {
    variable.as_ref().starts_with(b"TERM=")
}

/// Replaces the variable of the same name, or adds one.
fn set(environment: &mut Vec<Bytes>, variable: Bytes) {
    let name = |variable: &Bytes| {
        let bytes = variable.as_ref();
        let end = bytes.iter().position(|byte| *byte == b'=');
        bytes[..end.unwrap_or(bytes.len())].to_vec()
    };
    let wanted = name(&variable);
    match environment.iter_mut().find(|one| name(one) == wanted) {
        Some(earlier) => *earlier = variable,
        None => environment.push(variable),
    }
}
