//! pid 1 of the container.
//!
//! It begins as a copy of the supervisor, single-threaded and just executed, so
//! ordinary code is allowed here; the task's process, forked at the end, makes
//! raw calls only (`ucr_sys::task`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::mount::Tree;
use ucr_sys::process::{self, Child, Namespaces, SingleThreaded};
use ucr_sys::pty::Pty;
use ucr_sys::signal::SignalFd;
use ucr_sys::task::{Assumed, Start, Task, leave_session_keyring};
use ucr_sys::{at, mount, namespace, netif, ready, terminal};

use super::between::Opened;
use super::connection::Connection;
use super::protocol::{Channel, Message};
use super::{diagnosis, hooked, task};
use crate::cgroup::group::Entrances;
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::{IdMappings, RootPropagation};
use crate::plan::{Bytes, PidOne, Plan, Process, Rootfs};
use crate::rootfs::scratch::Scratch;
use crate::rootfs::{
    additions, console, devices, directory, masks, mounts, overlay, shared, sysctls,
};
use crate::user::Resolved;

/// Runs pid 1 to its end, which is that of the container.
///
/// With ids of its own it has what was `opened` outside for it; `held` are the descriptors that the
/// plan names.
pub(super) fn run(
    (plan, held, connection): (&Plan, &[OwnedFd], &Connection),
    channel: &Channel,
    opened: Option<Opened>,
    proof: &SingleThreaded,
) -> i32 {
    let setup = match opened {
        None => begin((plan, held, connection), channel, proof),
        Some(opened) => begin_with_ids(plan, channel, opened, proof),
    };
    connection.close();
    let ready = setup
        .and_then(|setup| go_through(setup, channel))
        .and_then(|setup| wait_for_rules(plan, channel).map(|()| setup));
    let ended = match plan.pid_one {
        PidOne::Ours => ready
            .and_then(|setup| setup.fork_task(channel, proof))
            .and_then(|child| {
                channel.send(&Message::Started).during(Step::Watch, "")?;
                watch(&child).during(Step::Watch, "")
            }),
        PidOne::Task => ready.and_then(|setup| Err(setup.become_task(channel, proof))),
    };
    let message = ended.unwrap_or_else(Message::Failed);
    // A supervisor that is gone hears nothing, and the kernel has killed us.
    drop(channel.send(&message));
    0
}

/// Everything from the mounted root to the task.
fn go_through<'a>(mut setup: Setup<'a>, channel: &Channel) -> Result<Setup<'a>, Failure> {
    for step in MOUNTED {
        step(&mut setup)?;
    }
    // With everything mounted, and before anything of it is looked at or made read-only.
    hooked::before_entering(setup.plan, channel)?;
    for step in ENTERED {
        step(&mut setup)?;
    }
    Ok(setup)
}

/// Last, since they come into force beside everything else.
fn wait_for_rules(plan: &Plan, channel: &Channel) -> Result<(), Failure> {
    let rules = plan.network.as_ref().and_then(|network| network.rules);
    if rules.is_none() {
        return Ok(());
    }
    channel.send(&Message::Rules).during(Step::Connection, "")?;
    match channel.wait_for_go().during(Step::Connection, "")? {
        true => Ok(()),
        false => Err(Failure::new(Step::Connection, "", Cause::Orphaned)),
    }
}

/// Everything from the clone to the mounted root.
fn begin<'a>(
    (plan, held, connection): (&'a Plan, &[OwnedFd], &Connection),
    channel: &Channel,
    proof: &SingleThreaded,
) -> Result<Setup<'a>, Failure> {
    bind_to_supervisor()?;
    connection.join()?;
    mount::make_all_private().during(Step::Propagation, "")?;
    set_oom_score(&plan.process)?;
    let null = devices::null()?;
    let (root, mut prepared) = match &plan.rootfs {
        Rootfs::Overlay(overlay) => {
            let (root, scratch) = overlay::mount(overlay, &plan.mounts, None)?;
            (root, scratch.files(&plan.mounts)?)
        }
        Rootfs::Directory(path) => {
            let root = directory::mount(path, None, RootPropagation::PRIVATE)?;
            (root, Vec::new())
        }
        Rootfs::Host(place) => {
            let scratch = Scratch::mount(place, &plan.mounts, (0, 0))?;
            let prepared = scratch.files(&plan.mounts)?;
            (directory::host()?, prepared)
        }
    };
    shared::prepare(&plan.mounts, &mut prepared, held)?;
    enter_cgroups(plan, channel, proof)?;
    let mut setup = Setup::new(plan, (null, root));
    setup.prepared = prepared;
    Ok(setup)
}

/// The same in a user namespace; the root was mounted outside, and is the working directory.
fn begin_with_ids<'a>(
    plan: &'a Plan,
    channel: &Channel,
    opened: Opened,
    proof: &SingleThreaded,
) -> Result<Setup<'a>, Failure> {
    // The ids are mapped by then, and what the supervisor writes down is there.
    if !channel.wait_for_go().during(Step::Cgroup, "")? {
        return Err(Failure::new(Step::Cgroup, "", Cause::Orphaned));
    }
    opened.entrances.enter(proof)?;
    namespace::become_root().during(Step::Identity, "")?;
    // After the ids: the kernel forgets it when they change, prctl(2).
    bind_to_supervisor()?;
    // To a supervisor that died before, nothing can be said.
    channel.send(&Message::Mounted).during(Step::Bind, "")?;
    mount::make_all_private().during(Step::Propagation, "")?;
    let null = devices::null()?;
    let mut setup = Setup::new(plan, (null, overlay::inherited()?));
    setup.prepared = opened.sources.mounts;
    Ok(setup)
}

/// First, so that nothing of the container outlives a supervisor that is killed.
///
/// One that is dead already is noticed when the go does not come. A session of
/// its own, so that a terminal's Ctrl-C arrives once, through the supervisor; a
/// session keyring too, as the caller's would be readable inside.
fn bind_to_supervisor() -> Result<(), Failure> {
    process::die_with_parent().during(Step::Bind, "")?;
    process::new_session().during(Step::Bind, "")?;
    leave_session_keyring().during(Step::Bind, "")?;
    process::set_umask(0o022);
    Ok(())
}

/// Early, while `/proc` is still the host's and no image can have shadowed it
/// (CVE-2025-52881); the task inherits it.
pub(super) fn set_oom_score(process: &Process) -> Result<(), Failure> {
    let Some(value) = process.oom_score_adj else {
        return Ok(());
    };
    let file = "/proc/self/oom_score_adj";
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).open(file)?;
        std::io::Write::write_all(&mut file, value.to_string().as_bytes())
    };
    write()
        .map_err(|error| ucr_sys::Error::from_io("write", format!("{file:?}, {value}"), &error))
        .during(Step::OomScore, value.to_string())
}

/// Waits for the supervisor's go, and enters the cgroups of version 1 that it has made meanwhile.
///
/// Before the cgroups are mounted, and before anything that their limits are to hold for; what the
/// supervisor writes down is there before anything of the image runs.
fn enter_cgroups(plan: &Plan, channel: &Channel, proof: &SingleThreaded) -> Result<(), Failure> {
    if !channel.wait_for_go().during(Step::Cgroup, "")? {
        return Err(Failure::new(Step::Cgroup, "", Cause::Orphaned));
    }
    Entrances::open(&plan.cgroups)?.enter(proof)
}

pub(super) type SetupStep = fn(&mut Setup<'_>) -> Result<(), Failure>;

/// The steps once the root is mounted, in order; each says why it is where it is.
const MOUNTED: [SetupStep; 5] = [
    add_to_files,
    attach_mounts,
    populate_devices,
    open_terminal,
    set_sysctls,
];

/// Those after the hooks, in order.
const ENTERED: [SetupStep; 12] = [
    find_user,
    give_directories,
    make_directory,
    mask_paths,
    make_paths_readonly,
    make_root_readonly,
    set_names,
    raise_loopback,
    leave_host,
    enter_directory,
    leave_cgroups_of_host,
    forbid_tracing_again,
];

/// What the steps hand on to each other.
pub(super) struct Setup<'a> {
    pub(super) plan: &'a Plan,
    null: OwnedFd,
    pub(super) root: InRoot,
    directory: Option<OwnedFd>,
    pub(super) user: Option<Resolved>,
    pub(super) terminal: Option<Pty>,
    /// Mounts that were prepared outside, in the order of the plan's.
    pub(super) prepared: Vec<Option<Tree>>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(plan: &'a Plan, (null, root): (OwnedFd, InRoot)) -> Self {
        Self {
            plan,
            null,
            root,
            directory: None,
            user: None,
            terminal: None,
            prepared: Vec::new(),
        }
    }
}

/// Before the mounts: a path that leads into a volume later must not lead to a file of the host.
fn add_to_files(setup: &mut Setup<'_>) -> Result<(), Failure> {
    match &setup.plan.additions {
        Some(additions) => additions::make(&setup.root, additions),
        None => Ok(()),
    }
}

/// Before the devices: they go into the `/dev` that is mounted here.
pub(super) fn attach_mounts(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let mut prepared = std::mem::take(&mut setup.prepared).into_iter();
    for mount in &setup.plan.mounts {
        let prepared = prepared.next().flatten();
        mounts::attach(&setup.root, mount, prepared, setup.plan)?;
    }
    Ok(())
}

/// Before the pivot: the host's devices are bound, and found by path.
pub(super) fn populate_devices(setup: &mut Setup<'_>) -> Result<(), Failure> {
    if !setup.plan.devices {
        return Ok(());
    }
    let made = setup.plan.handed_over.iter().flat_map(|all| &all.devices);
    let mounted = setup.plan.mounts.iter().map(|mount| &mount.destination);
    let asked: Vec<&Bytes> = made.map(|device| &device.path).chain(mounted).collect();
    devices::populate(&setup.root, |path| {
        asked.iter().any(|other| other.as_path() == path)
    })
}

/// After the devices: it comes from the container's own, and is shown among them.
pub(super) fn open_terminal(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let Some(asked) = setup.plan.process.terminal else {
        return Ok(());
    };
    let pty = console::open(&setup.root, asked)?;
    console::show(&setup.root, &pty)?;
    setup.terminal = Some(pty);
    Ok(())
}

/// Before the masks: another procfs can be mounted where none hides anything, fsmount(2).
pub(super) fn set_sysctls(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let plan = setup.plan;
    let has_network = Namespaces::from_bits(plan.namespaces).contains(Namespaces::NETWORK);
    if plan.handed_over.is_none() && has_network {
        return sysctls::set_with_usual(&plan.sysctls, plan.ids.is_some());
    }
    sysctls::set(&plan.sysctls)
}

/// After the mounts: a volume may bring its own `/etc/passwd`.
pub(super) fn find_user(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let user = task::resolve_user(&setup.root, &setup.plan.process)?;
    if let Some(ids) = &setup.plan.ids {
        check_mapped(&user, ids)?;
    }
    setup.user = Some(user);
    Ok(())
}

/// After the user is known; the directories of an executor's are another owner's until then.
fn give_directories(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let Some(user) = &setup.user else {
        return Ok(());
    };
    let (uid, gid) = (user.credentials.uid, user.credentials.gid);
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    for path in &setup.plan.given {
        let directory = setup.root.directory(path.as_path());
        let given = directory.and_then(|fd| at::set_owner_fd(fd.as_fd(), uid, gid));
        given.during(Step::Directory, path)?;
    }
    Ok(())
}

/// What setgroups(2) and setresuid(2) would say in less words.
pub(super) fn check_mapped(user: &Resolved, ids: &IdMappings) -> Result<(), Failure> {
    let Resolved { credentials, .. } = user;
    let not_mapped = |what: String| Failure::new(Step::User, "", Cause::NotMapped(what));
    if !ids.has_user(credentials.uid) {
        return Err(not_mapped(format!("user {}", credentials.uid)));
    }
    let mut groups = credentials.groups.iter().chain([&credentials.gid]);
    match groups.find(|group| !ids.has_group(**group)) {
        Some(group) => Err(not_mapped(format!("group {group}"))),
        None => Ok(()),
    }
}

/// After the mounts, as it may be in a volume; before the root becomes read-only.
pub(super) fn make_directory(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let path = &setup.plan.process.directory;
    let directory = setup
        .root
        .ensure(path.as_path(), Kind::Directory, Links::Follow);
    let directory = directory.during(Step::Directory, path)?;
    let kind = inroot::kind_of(directory.as_fd()).during(Step::Directory, path)?;
    if kind != Kind::Directory {
        return Err(Failure::new(Step::Directory, path, Cause::NotDirectory));
    }
    setup.directory = Some(directory);
    Ok(())
}

/// After all mounts, which could uncover what is masked.
pub(super) fn mask_paths(setup: &mut Setup<'_>) -> Result<(), Failure> {
    masks::mask(&setup.root, setup.null.as_fd(), &setup.plan.masked)
}

/// After the masks, which need no write access but may lie below.
pub(super) fn make_paths_readonly(setup: &mut Setup<'_>) -> Result<(), Failure> {
    masks::make_readonly(&setup.root, &setup.plan.readonly)
}

/// After everything that makes mount points in the root.
pub(super) fn make_root_readonly(setup: &mut Setup<'_>) -> Result<(), Failure> {
    if setup.plan.readonly_root {
        masks::make_root_readonly(&setup.root)
    } else {
        Ok(())
    }
}

/// Any time; here while the supervisor is still busy with the cgroups.
pub(super) fn set_names(setup: &mut Setup<'_>) -> Result<(), Failure> {
    if let Some(name) = &setup.plan.hostname {
        process::set_hostname(&name.0).during(Step::Hostname, name)?;
    }
    if let Some(name) = &setup.plan.domainname {
        process::set_domainname(&name.0).during(Step::Hostname, name)?;
    }
    Ok(())
}

/// Any time; only in a network namespace of the container's own.
pub(super) fn raise_loopback(setup: &mut Setup<'_>) -> Result<(), Failure> {
    if Namespaces::from_bits(setup.plan.namespaces).contains(Namespaces::NETWORK) {
        netif::loopback_up().during(Step::Network, "lo")?;
    }
    Ok(())
}

/// After the last use of a path of the host.
pub(super) fn leave_host(setup: &mut Setup<'_>) -> Result<(), Failure> {
    mount::pivot_to(setup.root.as_fd()).during(Step::Pivot, "")
}

/// After the pivot: before, a place of the host's would be inside.
pub(super) fn enter_directory(setup: &mut Setup<'_>) -> Result<(), Failure> {
    let path = &setup.plan.process.directory;
    let Some(directory) = setup.directory.take() else {
        return Ok(());
    };
    change_directory(directory.as_fd(), path)
}

/// Goes to a directory if the kernel says that it is inside (CVE-2024-21626).
pub(super) fn change_directory(directory: BorrowedFd<'_>, path: &Bytes) -> Result<(), Failure> {
    let place = process::change_directory(directory).during(Step::EnterDirectory, path)?;
    if place.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::new(Step::EnterDirectory, path, Cause::Outside))
    }
}

/// After the cgroups are entered: the namespace is rooted where its first process is.
pub(super) fn leave_cgroups_of_host(setup: &mut Setup<'_>) -> Result<(), Failure> {
    if Namespaces::from_bits(setup.plan.namespaces).contains(Namespaces::CGROUP) {
        process::unshare_cgroup().during(Step::Cgroup, "")?;
    }
    Ok(())
}

/// Again, as some of the calls above make a process traceable (CVE-2016-9962).
pub(super) fn forbid_tracing_again(_: &mut Setup<'_>) -> Result<(), Failure> {
    process::forbid_tracing().during(Step::Bind, "")
}

impl Setup<'_> {
    /// The task and, with a terminal of its own, the streams that belong to it.
    fn task(&mut self, channel: &Channel) -> Result<Task, Failure> {
        let Some(user) = self.user.take() else {
            return Err(Failure::new(Step::User, "", Cause::Outside));
        };
        let process = &self.plan.process;
        let task = task::prepare(process, &user, task::profile(process)?)?;
        // Here, where CAP_CHOWN is.
        if let Some(master) = task::take_streams(user.credentials.uid, self.terminal.take())? {
            channel
                .send_terminal(master.as_fd())
                .during(Step::Terminal, "")?;
        }
        Ok(task)
    }

    fn explain(&self, task: &Task, failure: ucr_sys::task::Failure) -> Failure {
        let directory = self.plan.process.directory.as_path();
        diagnosis::explain(&self.root, directory, task, failure)
    }

    fn fork_task(mut self, channel: &Channel, proof: &SingleThreaded) -> Result<Child, Failure> {
        let task = self.task(channel)?;
        match task.start(proof).during(Step::Execute, "")? {
            Start::Running(child) => Ok(child),
            Start::Failed(failure) => Err(self.explain(&task, failure)),
        }
    }

    /// Becomes the task; returns only why not. The supervisor sees the channel close.
    fn become_task(mut self, channel: &Channel, proof: &SingleThreaded) -> Failure {
        let mut task = match self.task(channel) {
            Ok(task) => task,
            Err(failure) => return failure,
        };
        task.dies_with_parent = true;
        let ready = self.assume(&task, channel, proof);
        match ready {
            Ok(assumed) => self.explain(&task, assumed.replace(0, channel.0.as_fd())),
            Err(failure) => failure,
        }
    }

    fn assume<'t>(
        &self,
        task: &'t Task,
        channel: &Channel,
        proof: &SingleThreaded,
    ) -> Result<Assumed<'t>, Failure> {
        if task.terminal {
            terminal::control_by_input().during(Step::Terminal, "")?;
        }
        let assumed = task.assume(proof);
        let assumed = assumed.map_err(|failure| self.explain(task, failure))?;
        // Another user than before: the kernel has forgotten it.
        process::forbid_tracing().during(Step::Bind, "")?;
        channel.send(&Message::Ready).during(Step::Watch, "")?;
        Ok(assumed)
    }
}

/// Reaps everything and forwards signals until the task has ended.
///
/// The task is a child until it is reaped here, so that there is none is an error.
fn watch(task: &Child) -> ucr_sys::Result<Message> {
    let signals = SignalFd::for_all()?;
    loop {
        while let Some((pid, ended)) = process::reap_any()? {
            if pid == task.pid {
                return Ok(ended.into());
            }
        }
        // The task's own end too, in case that its signal does not come.
        ready::wait_readable([signals.as_fd(), task.pidfd.as_fd()])?;
        while let Some(number) = signals.next()? {
            if super::caller::is_forwarded(number) {
                process::send_signal(task.pidfd.as_fd(), number)?;
            }
        }
    }
}
