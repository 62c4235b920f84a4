//! The first process of a container that is handed over: it sets the container up, waits, and
//! becomes the task.
//!
//! It begins as a copy of the creator, single-threaded and just executed, so ordinary code is
//! allowed up to the end.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ucr_sys::inroot::{InRoot, host_place};
use ucr_sys::process::{self, Namespaces, SingleThreaded};
use ucr_sys::pty::Pty;
use ucr_sys::task::{Assumed, Task, leave_session_keyring};
use ucr_sys::{descriptors, execution, message, mount, namespace, ready, terminal};

use super::between::Opened;
use super::init::{self, Setup, SetupStep};
use super::protocol::{Channel, Message};
use super::{diagnosis, task};
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::container::{State, Status};
use crate::oci::hooks::{self, Moment};
use crate::oci::plan::{HandedOver, Keyring, TaskPresence};
use crate::oci::verdict;
use crate::plan::{Plan, Rootfs};
use crate::rootfs::nodes::{self, Manner};
use crate::rootfs::{devices, directory, overlay};
use crate::user::Resolved;

/// What goes with a terminal to whoever shows it: the name that runc gives it.
pub(super) const TERMINAL: &[u8] = b"/dev/ptmx";

/// By what it talks to others.
pub(super) struct Links<'a> {
    /// To the creator.
    pub(super) channel: Channel,
    /// To whoever shows its terminal.
    pub(super) console: Option<BorrowedFd<'a>>,
    /// The FIFO that a byte comes through for it to start.
    pub(super) start: OwnedFd,
    /// The FIFO that `start` hears the outcome of; closed by `execve`.
    pub(super) outcome: OwnedFd,
}

/// Runs the first process; returns only when it has failed.
pub(super) fn run(
    (plan, handed_over): (&Plan, &HandedOver),
    links: Links<'_>,
    opened: Opened,
    proof: &SingleThreaded,
) -> i32 {
    let first = First { plan, handed_over };
    let prepared = first
        .set_up(&links.channel, opened, proof)
        .and_then(|ready| {
            ready
                .map(|ready| first.task(ready, links.console))
                .transpose()
        });
    let task = match prepared {
        Ok(Some(task)) => task,
        Ok(None) => return wait_in_vain(&links),
        Err(failure) => return tell(&links.channel, failure),
    };
    match first.assume(&task, proof) {
        Ok(assumed) => first.wait_and_become(&task, assumed, links),
        Err(failure) => tell(&links.channel, failure),
    }
}

/// Waits without a program to become: until it is killed.
fn wait_in_vain(links: &Links<'_>) -> i32 {
    drop(links.channel.send(&Message::Ready));
    drop(wait_for_start(&links.start));
    1
}

fn tell(channel: &Channel, failure: Failure) -> i32 {
    // A creator that is gone hears nothing.
    drop(channel.send(&Message::Failed(failure)));
    1
}

/// Waits for the byte of `start`; the FIFO is open at this end both ways, and so never at its end.
fn wait_for_start(fifo: &OwnedFd) -> ucr_sys::Result<()> {
    ready::wait_readable([fifo.as_fd()]).map(drop)
}

/// Everything that the task is made of.
struct Ready {
    user: Resolved,
    terminal: Option<Pty>,
}

struct First<'a> {
    plan: &'a Plan,
    handed_over: &'a HandedOver,
}

/// Before the hooks of the runtime: what they are to find.
const OUTSIDE: [SetupStep; 5] = [
    init::attach_mounts,
    init::populate_devices,
    init::open_terminal,
    init::set_names,
    init::raise_loopback,
];

/// After the hooks, in order; [`init`] says why each is where it is.
const INSIDE: [SetupStep; 5] = [
    init::find_user,
    init::make_directory,
    init::mask_paths,
    init::make_paths_readonly,
    init::make_root_readonly,
];

impl First<'_> {
    /// Everything up to the task's own root and directory; none where there is no task.
    fn set_up(
        &self,
        channel: &Channel,
        Opened { sources, entrances }: Opened,
        proof: &SingleThreaded,
    ) -> Result<Option<Ready>, Failure> {
        self.leave_caller()?;
        // The ids are mapped by now.
        if !channel.wait_for_go().during(Step::Cgroup, "")? {
            return Err(Failure::new(Step::Cgroup, "", Cause::Orphaned));
        }
        entrances.enter(proof)?;
        if self.has_other_ids() {
            namespace::become_root().during(Step::Identity, "")?;
        }
        if self.has_new(Namespaces::MOUNT) {
            mount::make_all_private().during(Step::Propagation, "")?;
        }
        let null = devices::null()?;
        let mut setup = Setup::new(self.plan, (null, self.mount_root(sources.root)?));
        setup.prepared = sources.mounts;
        for step in OUTSIDE {
            step(&mut setup)?;
        }
        self.put_devices(&setup.root)?;
        init::set_sysctls(&mut setup)?;
        channel.send(&Message::Mounted).during(Step::Watch, "")?;
        if !channel.wait_for_go().during(Step::Hooks, "")? {
            return Err(Failure::new(Step::Hooks, "", Cause::Orphaned));
        }
        init::leave_cgroups_of_host(&mut setup)?;
        let hooks = &self.handed_over.hooks.create_container;
        self.run_hooks(Moment::CreateContainer, hooks)?;
        if self.handed_over.task == TaskPresence::Absent {
            self.enter_root(&setup.root)?;
            return Ok(None);
        }
        for step in INSIDE {
            step(&mut setup)?;
        }
        self.enter_root(&setup.root)?;
        init::enter_directory(&mut setup)?;
        init::forbid_tracing_again(&mut setup)?;
        let Setup { user, terminal, .. } = setup;
        Ok(user.map(|user| Ready { user, terminal }))
    }

    /// Leaves session, keyring and mode mask to the caller.
    fn leave_caller(&self) -> Result<(), Failure> {
        process::new_session().during(Step::Bind, "")?;
        if self.handed_over.keyring == Keyring::New {
            leave_session_keyring().during(Step::Bind, "")?;
        }
        process::set_umask(0o022);
        Ok(())
    }

    fn has_new(&self, kind: Namespaces) -> bool {
        Namespaces::from_bits(self.plan.namespaces).contains(kind)
    }

    /// Whether the ids of the container are not those of the machine.
    fn has_other_ids(&self) -> bool {
        let joined = &self.handed_over.joined;
        self.has_new(Namespaces::USER)
            || joined
                .iter()
                .any(|(kind, _)| *kind == Namespaces::USER.bits())
    }

    fn mount_root(&self, prepared: Option<mount::Tree>) -> Result<InRoot, Failure> {
        match &self.plan.rootfs {
            Rootfs::Overlay(overlay) => Ok(overlay::mount(overlay, &self.plan.mounts, None)?.0),
            Rootfs::Directory(path) => {
                directory::mount(path, prepared, self.handed_over.propagation)
            }
            Rootfs::Host(_) => directory::host(),
        }
    }

    fn put_devices(&self, root: &InRoot) -> Result<(), Failure> {
        let manner = if self.has_other_ids() {
            Manner::Bound
        } else {
            Manner::Made
        };
        // As runc: whoever lists all devices of a host lists its terminals, too.
        let has_terminal = self.plan.process.terminal.is_some();
        let is_ours = |path: &Path| match path.to_str() {
            Some("/dev/ptmx") => self.plan.devices,
            Some("/dev/console") => has_terminal,
            _ => false,
        };
        let devices = self.handed_over.devices.iter();
        nodes::put(
            root,
            devices.filter(|device| !is_ours(device.path.as_path())),
            manner,
        )
    }

    fn run_hooks(&self, moment: Moment, list: &[hooks::Hook]) -> Result<(), Failure> {
        if list.is_empty() {
            return Ok(());
        }
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let state = State::new(&self.plan.id, &self.handed_over.about, Status::Created, pid);
        hooks::run(moment, list, &state.json()).map_err(|error| {
            let said = Cause::Ended(error.to_string());
            Failure::new(Step::Hooks, moment.name(), said)
        })
    }

    /// Enters the root: alone in its mount namespace it leaves nothing of the host's behind.
    fn enter_root(&self, root: &InRoot) -> Result<(), Failure> {
        if self.has_new(Namespaces::MOUNT) {
            mount::pivot_to(root.as_fd()).during(Step::Pivot, "")?;
            directory::propagate(root, self.handed_over.propagation)
        } else {
            mount::change_root_to(root.as_fd()).during(Step::Pivot, "")
        }
    }

    fn task(
        &self,
        Ready { user, terminal }: Ready,
        console: Option<BorrowedFd<'_>>,
    ) -> Result<Task, Failure> {
        let process = &self.plan.process;
        let task = task::prepare(process, &user, task::profile(process)?)?;
        // Here, where CAP_CHOWN is.
        let master = task::take_streams(user.credentials.uid, terminal)?;
        if let (Some(master), Some(console)) = (master, console) {
            terminal::control_by_input().during(Step::Terminal, "")?;
            message::send_with(console, TERMINAL, master.as_fd()).during(Step::Terminal, "")?;
        }
        if let Some(persona) = self.handed_over.personality {
            execution::set_personality(persona).during(Step::Personality, "")?;
        }
        Ok(task)
    }

    fn assume<'t>(&self, task: &'t Task, proof: &SingleThreaded) -> Result<Assumed<'t>, Failure> {
        let assumed = task.assume(proof);
        let assumed = assumed.map_err(|failure| self.explain(task, failure))?;
        // Another user than before: the kernel has forgotten it.
        process::forbid_tracing().during(Step::Bind, "")?;
        Ok(assumed)
    }

    fn explain(&self, task: &Task, failure: ucr_sys::task::Failure) -> Failure {
        let directory = self.plan.process.directory.as_path();
        match host_place(std::path::Path::new("/")) {
            Ok(root) => diagnosis::explain(&InRoot::new(root), directory, task, failure),
            Err(error) => Failure::new(Step::Execute, "/", error),
        }
    }

    /// Lets the task have the descriptors that are to be preserved; up to here they were not.
    fn keep_preserved(&self) -> Result<(), Failure> {
        let count = usize::try_from(self.handed_over.preserved).unwrap_or(usize::MAX);
        for number in (3..).take(count) {
            descriptors::keep_number_across_exec(number)
                .during(Step::Privileges, number.to_string())?;
        }
        Ok(())
    }

    /// Waits for its start, and becomes the task.
    fn wait_and_become(&self, task: &Task, assumed: Assumed<'_>, links: Links<'_>) -> i32 {
        let Links {
            channel,
            start,
            outcome,
            ..
        } = links;
        if channel.send(&Message::Ready).is_err() {
            return 1;
        }
        drop(channel);
        let hooks = &self.handed_over.hooks.start_container;
        // While it waits it has nothing of the host's open.
        let kept = [start.as_fd(), outcome.as_fd()];
        let alone = assumed.keep_only(self.handed_over.preserved, &kept);
        let started = alone
            .map_err(|failure| self.explain(task, failure))
            .and_then(|()| wait_for_start(&start).during(Step::Watch, ""))
            .and_then(|()| self.run_hooks(Moment::StartContainer, hooks));
        drop(start);
        let started = started.and_then(|()| self.keep_preserved());
        let failure = match started {
            Ok(()) => {
                // Here, where every call is allowed still. Whoever called `start` may be gone.
                let _ = descriptors::write(outcome.as_fd(), &[verdict::PROGRAM]);
                let failure = assumed.replace(self.handed_over.preserved, outcome.as_fd());
                self.explain(task, failure)
            }
            Err(failure) => failure,
        };
        drop(File::from(outcome).write_all(&verdict::failed(&failure)));
        1
    }
}
