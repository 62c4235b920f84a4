//! Another task in a container that runs.
//!
//! Who waits stays outside, with the caller's signals and terminal. A process of it goes in: it
//! enters the cgroups, then all namespaces of pid 1 at once, and starts the task from there. It
//! never has a number in the container, so nothing inside can look at it or trace it; the task
//! itself has one from its first moment on, and is by then what it is to be.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use ucr_sys::inroot::{InRoot, Links, host_place};
use ucr_sys::process::{self, Child, Cloned, Ended, Namespaces, Pid, SingleThreaded};
use ucr_sys::task::{Profile, Start, leave_session_keyring};
use ucr_sys::{descriptors, message, namespace, ready};

use super::caller::Caller;
use super::first::TERMINAL;
use super::guard::Guard;
use super::outcome::{Error, Outcome, exit_code};
use super::protocol::{Channel, Message};
use super::{diagnosis, init, pid_file, schedule, task};
use crate::cgroup::group::Entrances;
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::IdMappings;
use crate::plan::Process;
use crate::rootfs::console;

/// A task for a container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// A descriptor of the container's pid 1, pidfd_open(2).
    pub pidfd: i32,
    /// Its number, which is its own for as long as that says so.
    pub pid: i32,
    /// The cgroups of the container.
    pub cgroups: Vec<PathBuf>,
    /// The ids of its user namespace.
    pub ids: Option<IdMappings>,
    /// What is run.
    pub process: Process,
    /// Who looks after it.
    pub keeper: Keeper,
    /// Where what it writes goes.
    pub output: Output,
    /// The descriptor of a socket that gets the caller's side of its terminal; else it is shown
    /// here.
    pub console: Option<i32>,
    /// The file that gets its number.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors after standard error the task gets.
    pub preserved: u32,
}

/// Where a task writes that has no terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// To the caller's standard output and error.
    Callers,
    /// Into the void.
    Nowhere,
}

/// Who looks after a task that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeper {
    /// This process: it waits for the task, and takes it along when it is killed.
    Here,
    /// Whoever adopts it, as conmon and containerd-shim do: this process ends once the task runs.
    Adopter,
}

/// Runs the task, to its end if that is waited for.
pub(super) fn join(joining: &Joining, proof: &SingleThreaded) -> Outcome {
    match run(joining, proof) {
        Ok(ended) => Outcome {
            code: ended.map_or(0, exit_code),
            ended,
            ..Outcome::default()
        },
        Err(error) => Outcome {
            code: error.exit_code(),
            error: Some(error),
            ..Outcome::default()
        },
    }
}

fn run(joining: &Joining, proof: &SingleThreaded) -> Result<Option<Ended>, Error> {
    let preserved = (3..).take(usize::try_from(joining.preserved).unwrap_or(usize::MAX));
    let given: Vec<i32> = [joining.pidfd]
        .into_iter()
        .chain(joining.console)
        .chain(preserved)
        .collect();
    let given = descriptors::adopt_only(proof, &given).map_err(Error::System)?;
    let mut caller = Caller::new().map_err(Error::System)?;
    let (ours, theirs) = message::pair().map_err(Error::System)?;
    let (announcing, announced) = message::pair().map_err(Error::System)?;
    // Before the task: whatever that does, it does not outlive this process.
    let guard = match joining.keeper {
        Keeper::Here => Some(Guard::of_task(proof, &announced)?),
        Keeper::Adopter => None,
    };
    drop(announced);
    let cloned = process::clone(proof, Namespaces::default(), None).map_err(Error::System)?;
    let joiner = match cloned {
        Cloned::Parent(child) => child,
        Cloned::Child => {
            drop(ours);
            let find = |number: i32| given.iter().find(|fd| fd.as_raw_fd() == number);
            let joiner = Joiner {
                joining,
                proof,
                console: joining.console.and_then(find).map(AsFd::as_fd),
                announcing: guard.is_some().then_some(announcing.as_fd()),
            };
            // It is among those that were adopted.
            let status =
                find(joining.pidfd).map_or(1, |pidfd| joiner.run(pidfd.as_fd(), &Channel(theirs)));
            process::leave(status)
        }
    };
    drop((theirs, given, announcing));
    let task = started(&Channel(ours), &joiner, &mut caller)?;
    if let Some(path) = &joining.pid_file {
        pid_file::write(path, task.pid.as_raw_nonzero().get())?;
    }
    if joining.keeper == Keeper::Adopter {
        return Ok(None);
    }
    caller.wait_for_end(&task).map_err(Error::System)?;
    let ended = process::wait(task.pidfd.as_fd()).map_err(Error::System)?;
    guard.map_or(Ok(()), Guard::dismiss)?;
    caller.leave_terminal().map_err(Error::System)?;
    Ok(Some(ended))
}

/// The task, once its program runs.
fn started(channel: &Channel, joiner: &Child, caller: &mut Caller) -> Result<Child, Error> {
    // From then on the program may run, and what signals do is for it to say.
    let mut is_ready = false;
    let pid = loop {
        let message = is_ready || {
            let message = caller.wait_unless_asked_to_end(channel.0.as_fd());
            message.map_err(Error::System)?
        };
        if !message {
            process::send_signal(joiner.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
            return Err(Error::Interrupted);
        }
        match channel.receive().map_err(Error::System)? {
            Some((Message::Terminal, master)) => {
                caller.show_terminal(master).map_err(Error::System)?;
            }
            Some((Message::Ready, _)) => is_ready = true,
            Some((Message::Running(pid), _)) => break pid,
            Some((Message::Failed(failure), _)) => {
                // One that was to become the task is ours to be waited for too.
                process::wait_for_all().map_err(Error::System)?;
                return Err(Error::Start(failure));
            }
            Some(_) => {}
            None => return Err(Error::Lost("it was ended".into())),
        }
    };
    process::wait(joiner.pidfd.as_fd()).map_err(Error::System)?;
    // Our child, not waited for: the number is still its own.
    let pidfd = process::open(pid).map_err(Error::System)?;
    match (Pid::from_raw(pid), pidfd) {
        (Some(pid), Some(pidfd)) => Ok(Child { pid, pidfd }),
        _ => Err(Error::Lost("it is gone".into())),
    }
}

struct Joiner<'a> {
    joining: &'a Joining,
    proof: &'a SingleThreaded,
    console: Option<BorrowedFd<'a>>,
    /// Where the task's guard hears of it.
    announcing: Option<BorrowedFd<'a>>,
}

impl Joiner<'_> {
    fn run(&self, pidfd: BorrowedFd<'_>, channel: &Channel) -> i32 {
        let message = match self.enter_and_start(pidfd, channel) {
            Ok(task) => Message::Running(task.pid.as_raw_nonzero().get()),
            Err(failure) => Message::Failed(failure),
        };
        // Who is gone hears nothing, and the kernel has killed us.
        drop(channel.send(&message));
        0
    }

    /// In this process, whose failures go another way: the caller still says what they are.
    fn leave_output(&self) -> Result<(), Failure> {
        match self.joining.output {
            Output::Callers => Ok(()),
            Output::Nowhere => ucr_sys::output_to_null().during(Step::Watch, ""),
        }
    }

    fn enter_and_start(&self, pidfd: BorrowedFd<'_>, channel: &Channel) -> Result<Child, Failure> {
        self.leave_output()?;
        self.bind(channel)?;
        // Inside a user namespace there are no privileges over this process's pid namespace.
        let profile = task::profile(&self.joining.process)?;
        let root = self.enter(pidfd)?;
        self.start(&root, profile, channel)
    }

    /// First, as pid 1 does: nothing of this outlives who waits for it.
    fn bind(&self, channel: &Channel) -> Result<(), Failure> {
        process::die_with_parent().during(Step::Bind, "")?;
        // To one that died before, nothing can be said.
        channel.send(&Message::Mounted).during(Step::Bind, "")?;
        leave_session_keyring().during(Step::Bind, "")?;
        schedule::set(&self.joining.process, 0)?;
        init::set_oom_score(&self.joining.process)
    }

    /// Enters cgroups and namespaces, and returns the root directory.
    fn enter(&self, pidfd: BorrowedFd<'_>) -> Result<InRoot, Failure> {
        let Joining { pid, cgroups, .. } = self.joining;
        let others = namespace::others(*pid).during(Step::Namespaces, "");
        let entrances = Entrances::of_paths(cgroups);
        // What was found by number and path was the container's if it has not ended.
        let ended = ready::is_readable_within(pidfd, Some(Duration::ZERO));
        if ended.during(Step::Namespaces, "")? {
            let cause = Cause::Ended("the container has ended".into());
            return Err(Failure::new(Step::Namespaces, "", cause));
        }
        let others = others?;
        entrances?.enter(self.proof)?;
        namespace::join(pidfd, others).during(Step::Namespaces, "")?;
        if others.contains(Namespaces::USER) {
            namespace::become_root().during(Step::Identity, "")?;
            // Forgotten with the ids that were changed.
            process::die_with_parent().during(Step::Bind, "")?;
        }
        process::forbid_tracing().during(Step::Bind, "")?;
        let root = host_place(Path::new("/")).during(Step::Rootfs, "/")?;
        Ok(InRoot::new(root))
    }

    fn start(
        &self,
        root: &InRoot,
        profile: Option<Profile>,
        channel: &Channel,
    ) -> Result<Child, Failure> {
        let Joining { process, ids, .. } = self.joining;
        let user = task::resolve_user(root, process)?;
        if let Some(ids) = ids {
            init::check_mapped(&user, ids)?;
        }
        let terminal = process.terminal.map(|asked| console::open(root, asked));
        let path = &process.directory;
        let directory = root.place(path.as_path(), Links::Follow);
        let directory: OwnedFd = directory.during(Step::EnterDirectory, path)?;
        init::change_directory(directory.as_fd(), path)?;
        let mut task = task::prepare(process, &user, profile)?;
        task.dies_with_parent = self.joining.keeper == Keeper::Here;
        task.preserved = self.joining.preserved;
        let master = task::take_streams(user.credentials.uid, terminal.transpose()?)?;
        if let Some(master) = master {
            let sent = match self.console {
                Some(console) => message::send_with(console, TERMINAL, master.as_fd()),
                None => channel.send_terminal(master.as_fd()),
            };
            sent.during(Step::Terminal, "")?;
        }
        channel.send(&Message::Ready).during(Step::Watch, "")?;
        let introduce = |task: &Child| match self.announcing {
            Some(guard) => message::send_with(guard, b"task", task.pidfd.as_fd()),
            None => Ok(()),
        };
        let started = task.start_as_sibling(self.proof, introduce);
        match started.during(Step::Execute, "")? {
            Start::Running(child) => Ok(child),
            Start::Failed(failure) => {
                let directory = path.as_path();
                Err(diagnosis::explain(root, directory, &task, failure))
            }
        }
    }
}
