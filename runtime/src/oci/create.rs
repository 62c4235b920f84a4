//! From a bundle to the execution of `ucr-init`, which makes the container.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;

use super::bundle::{self, Bundle};
use super::log::Log;
use super::plan::{About, HandedOver, Keyring};
use crate::cgroup::{Place, detect, limits};
use crate::id::ContainerId;
use crate::launch;
use crate::plan::{Bytes, Plan, Rootfs};
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
    /// A terminal.
    #[error("process.terminal is true: terminals are not supported yet")]
    Terminal,
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
    let init = create.init.clone();
    let plan = plan(create)?;
    for number in (3..).take(usize::try_from(preserved).unwrap_or(usize::MAX)) {
        ucr_sys::descriptors::keep_number_across_exec(number)
            .map_err(|error| Error::Preserve(number, error))?;
    }
    Ok(launch::become_init(&plan, &init)?)
}

fn plan(create: Create) -> Result<Plan, Error> {
    let bundle = Bundle::read(&create.bundle)?;
    check_terminal(&bundle)?;
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
    Ok(Plan {
        name: None,
        about: Default::default(),
        timeout: None,
        pid_file: create.pid_file.clone(),
        held: Vec::new(),
        remove_at_exit: Vec::new(),
        report: None,
        cgroups: cgroups.map_err(Error::Limit)?,
        namespaces: parts.namespaces,
        ids: parts.ids,
        rootfs: Rootfs::Directory(bundle.rootfs.clone().into()),
        additions: None,
        mounts: parts.mounts,
        devices: parts.devices,
        masked: parts.masked,
        readonly: parts.readonly,
        readonly_root: parts.readonly_root,
        hostname: text(bundle.spec.hostname()),
        domainname: text(bundle.spec.domainname()),
        process: parts.process,
        handed_over: Some(handed_over(&create, &bundle, extras)),
        id: create.id,
        state_root: create.root,
    })
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
        log: create.log.clone(),
        hooks: extras.hooks,
        task: extras.task,
        keyring: create.keyring,
        joined: extras.joined,
        propagation: extras.propagation,
        devices: extras.devices,
        sysctls: extras.sysctls,
        personality: extras.personality,
        clock_offsets: extras.clock_offsets,
    }
}

/// Refuses a terminal, of which there is none to be had.
fn check_terminal(bundle: &Bundle) -> Result<(), Error> {
    let process = bundle.spec.process().as_ref();
    match process.and_then(oci_spec::runtime::Process::terminal) {
        Some(true) => Err(Error::Terminal),
        _ => Ok(()),
    }
}
