//! From a bundle to the execution of `ucr-init`, which makes the container.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::bundle::{self, Bundle};
use super::log::Log;
use super::plan::{About, HandedOver, Keyring};
use crate::cgroup::{Place, detect, limits};
use crate::id::ContainerId;
use crate::launch;
use crate::plan::{Bytes, Order, PidOne, Plan, Rootfs};
use crate::spec;

/// Everything that `create` needs.
#[derive(Debug)]
pub struct Create {
    /// The container's id, unique below `root`.
    pub id: ContainerId,
    /// Where the state of all containers is.
    pub root: PathBuf,
    /// The directory with its configuration.
    pub bundle: PathBuf,
    /// The file that gets the number of its first process.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors after the standard three its task keeps.
    pub preserved: u32,
    /// The socket that gets the caller's side of its terminal, if it is to have one.
    pub console: Option<OwnedFd>,
    /// Which session keyring it has.
    pub keyring: Keyring,
    /// Where errors are written besides standard error.
    pub log: Option<Log>,
    /// The executable `ucr-init`, of the same build.
    pub init: PathBuf,
}

/// A container that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// Its configuration.
    #[error("cannot make a container of {0}/config.json")]
    Spec(PathBuf, #[source] spec::Error),
    /// A terminal that nobody would show.
    #[error(
        "process.terminal is true, and nobody is there to show it: --console-socket is missing"
    )]
    NoConsole,
    /// Somebody to show a terminal, and none.
    #[error("--console-socket is of no use: process.terminal is not true")]
    NoTerminal,
    /// The hierarchies cannot be found out.
    #[error("cannot find the cgroup hierarchies")]
    Detect(#[source] detect::Error),
    /// A limit that no hierarchy applies.
    #[error("cannot apply a limit")]
    Limit(#[source] limits::Error),
    /// The start of `ucr-init`.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// A descriptor that is to be preserved.
    #[error("cannot preserve descriptor {0}")]
    Preserve(i32, #[source] ucr_sys::Error),
}

/// Turns this process into the creator of a new container; returns only on failure.
///
/// Standard input, output and error become the task's. Every descriptor but the preserved ones is closed.
///
/// # Errors
///
/// What could not be understood, planned or started. Nothing was made by then.
pub fn create(create: Create) -> Result<Infallible, Error> {
    let preserved = create.preserved;
    let (init, root) = (create.init.clone(), create.root.clone());
    let (plan, console) = plan(create)?;
    for number in (3..).take(usize::try_from(preserved).unwrap_or(usize::MAX)) {
        ucr_sys::descriptors::keep_number_across_exec(number)
            .map_err(|error| Error::Preserve(number, error))?;
    }
    if let Some(console) = &console {
        ucr_sys::descriptors::keep_across_exec(console.as_fd())
            .map_err(|error| Error::Preserve(console.as_raw_fd(), error))?;
    }
    let order = Order::Container(Box::new(plan));
    Ok(launch::become_init(&order, &init, &root)?)
}

fn plan(mut create: Create) -> Result<(Plan, Option<OwnedFd>), Error> {
    let bundle = Bundle::read(&create.bundle)?;
    check_terminal(&bundle, create.console.is_some())?;
    let console = create.console.take();
    let failed = |error| Error::Spec(bundle.path.clone(), error);
    let (parts, extras) = spec::convert_handed_over(&bundle.spec, &bundle.path).map_err(failed)?;
    let hierarchies = detect::Hierarchies::detect_all().map_err(Error::Detect)?;
    let linux = bundle.spec.linux().as_ref();
    let asked = linux.and_then(|linux| linux.cgroups_path().clone());
    let asked = asked.as_deref().map(|path| (path, Place::Asked));
    let cgroups = limits::plan_at(&hierarchies, &create.id, asked, &parts.limits);
    let text = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(Bytes::from)
    };
    let mut handed_over = handed_over(&create, &bundle, extras);
    handed_over.console = console.as_ref().map(AsRawFd::as_raw_fd);
    let plan = Plan {
        name: None,
        about: Default::default(),
        timeout: None,
        pid_file: create.pid_file.clone(),
        held: Vec::new(),
        remove_at_exit: Vec::new(),
        report: None,
        cgroups: cgroups.map_err(Error::Limit)?,
        namespaces: parts.namespaces,
        network: None,
        ids: parts.ids,
        rootfs: Rootfs::Directory(bundle.rootfs.clone().into()),
        given: Vec::new(),
        additions: None,
        mounts: parts.mounts,
        devices: parts.devices,
        masked: parts.masked,
        readonly: parts.readonly,
        readonly_root: parts.readonly_root,
        sysctls: parts.sysctls,
        hostname: text(bundle.spec.hostname()),
        domainname: text(bundle.spec.domainname()),
        pid_one: PidOne::Task,
        process: parts.process,
        volumes: crate::volumes::Volumes::default(),
        hooks: None,
        handed_over: Some(handed_over),
        id: create.id,
        state_root: create.root,
    };
    Ok((plan, console))
}

fn handed_over(create: &Create, bundle: &Bundle, extras: spec::Extras) -> HandedOver {
    let annotations: BTreeMap<String, String> = bundle
        .spec
        .annotations()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    HandedOver {
        about: About {
            oci_version: bundle.spec.version().clone(),
            bundle: bundle.path.clone(),
            rootfs: bundle.rootfs.clone(),
            annotations,
        },
        preserved: create.preserved,
        console: None,
        log: create.log.clone(),
        hooks: extras.hooks,
        task: extras.task,
        keyring: create.keyring,
        joined: extras.joined,
        propagation: extras.propagation,
        devices: extras.devices,
        personality: extras.personality,
        clock_offsets: extras.clock_offsets,
    }
}

/// Refuses a terminal without somebody who shows it, and the other way round, as runc does.
fn check_terminal(bundle: &Bundle, console: bool) -> Result<(), Error> {
    let process = bundle.spec.process().as_ref();
    let terminal = process.and_then(oci_spec::runtime::Process::terminal);
    match (terminal.unwrap_or(false), console) {
        (true, false) => Err(Error::NoConsole),
        (false, true) => Err(Error::NoTerminal),
        _ => Ok(()),
    }
}
