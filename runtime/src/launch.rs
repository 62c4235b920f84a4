//! From a spec to a running container: the caller's process becomes its supervisor.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::io::stdin;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use oci_spec::runtime::Spec;
use ucr_sys::process::Namespaces;
use ucr_sys::{descriptors, memfd, process, program, signal, terminal};

use crate::cgroup::limits::Limits;
use crate::cgroup::{CgroupPlan, Place, detect, limits};
use crate::code::Code;
use crate::id::ContainerId;
use crate::network::Joining;
use crate::oci;
use crate::oci::hooks::Hooks;
use crate::oci::plan::{DeviceKind, IdMappings};
use crate::plan::{self, About, Additions, Mount, Order, Overlay, PidOne, Plan, Source, User};
use crate::rootfs::{Attributes, overlay};
use crate::spec::{self, SeccompRequest};
use crate::state;
use crate::user::{self, Principal, UserName};
use crate::volumes::{Lease, Shared, Volume, Volumes};

/// Everything that a start needs.
#[derive(Debug)]
pub struct Launch {
    /// The container's id, unique below `state_root`.
    pub id: ContainerId,
    /// The name that a person gave it.
    pub name: Option<String>,
    /// What else people know it by.
    pub about: About,
    /// When it is ended, whatever it does, in seconds from its start.
    pub timeout: Option<u64>,
    /// An absolute path, where its number for the host is written once its task runs.
    pub pid_file: Option<PathBuf>,
    /// What to run, and how isolated; [`spec::defaults`] is a start.
    pub spec: Spec,
    /// What filters its system calls.
    pub seccomp: SeccompRequest,
    /// Who to run it as.
    pub user: UserRequest,
    /// Directories in the container that become its user's, without what is in them.
    pub given: Vec<PathBuf>,
    /// Groups that the task is in besides its user's, by name or number.
    pub groups: Vec<String>,
    /// Who has the number 1 in it.
    pub pid_one: PidOne,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Directories of it that are mounts of their own, writable also where it is not.
    pub own_mounts: Vec<PathBuf>,
    /// Device files that it gets.
    pub devices: Vec<Device>,
    /// What it is connected to, where that was made before it; its spec has a network namespace of
    /// its own then, but for the host's network.
    pub network: Option<Joining>,
    /// Programs that run at points of its life; none of `startContainer`.
    pub hooks: Hooks,
    /// Its volumes, as others are told of them.
    pub volumes: Vec<Volume>,
    /// Directories of other containers that it gets.
    pub shared: Vec<SharedVolume>,
    /// Images that are mounted in it.
    pub images: Vec<ImageVolume>,
    /// Secrets that it finds in files, by path: in memory, and above what the spec binds.
    pub secrets: Vec<(PathBuf, Vec<u8>)>,
    /// What keeps the directories that it shares, its own and others.
    pub leases: Vec<VolumeLease>,
    /// Files that it gets besides, by path: in memory, and below what the spec binds.
    pub texts: Vec<(PathBuf, Vec<u8>)>,
    /// What its files get before anything is mounted in it; the layers stay as they are.
    pub additions: Option<Additions>,
    /// Where the state of all containers is, `/run/ucr` say.
    pub state_root: PathBuf,
    /// Locks that supervisor and pid 1 keep for as long as either lives.
    pub held: Vec<OwnedFd>,
    /// Trees that are deleted when the container has ended, besides the work directory.
    pub remove_at_exit: Vec<PathBuf>,
    /// Who is told how it goes, if anybody wants to know.
    pub report: Option<Report>,
    /// The executable `ucr-init`, of the same build.
    pub init: PathBuf,
}

/// A directory that another container has, and this one sees at the same path.
#[derive(Debug)]
pub struct SharedVolume {
    /// Where.
    pub path: PathBuf,
    /// Whether it can be read alone.
    pub read_only: bool,
    /// A pidfd of the other's first process.
    pub container: Rc<OwnedFd>,
}

/// A file that keeps trees as long as anybody has its lock; the last to end removes all of it.
#[derive(Debug)]
pub struct VolumeLease {
    /// The lock, shared.
    pub lock: OwnedFd,
    /// The file.
    pub file: PathBuf,
    /// What is removed before it.
    pub trees: Vec<PathBuf>,
}

/// A device file, and where the container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where the container sees it.
    pub inside: PathBuf,
    /// Where it comes from.
    pub file: DeviceFile,
}

/// Where a device file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFile {
    /// It is the host's, with the host's owner and mode.
    Host {
        /// Where it is.
        path: PathBuf,
        /// Its major and minor number.
        number: (u32, u32),
    },
    /// It is made for the container.
    Made {
        /// What it is.
        kind: DeviceKind,
        /// Major and minor number.
        number: (u32, u32),
        /// Permission bits.
        mode: u32,
        /// Owner and group, as the container counts.
        owner: (u32, u32),
    },
}

/// Who is told of the container's start and end, by JSON lines (docs/report.md).
#[derive(Debug)]
pub struct Report {
    /// Where the lines are written; the task does not get them.
    pub sinks: Vec<OwnedFd>,
    /// The image, as people name it.
    pub image: String,
    /// When the command began, in seconds since 1970.
    pub began: f64,
}

/// Who the task runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRequest {
    /// The ids in the spec.
    Ids,
    /// Docker's `USER` string, looked up in the image.
    Named(String),
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rootfs {
    /// Layers below a private writable one.
    Overlay {
        /// The directories of the layers, top first.
        lower: Vec<PathBuf>,
        /// An existing directory of this container's own, mode 0700; deleted at the end.
        work_dir: PathBuf,
    },
    /// All files of this machine.
    Host {
        /// An existing directory of this container's own, mode 0700; deleted at the end.
        work_dir: PathBuf,
    },
}

impl Rootfs {
    /// Its layers, which the host's has none of, and the container's own directory.
    fn parts(&self) -> Result<(&[PathBuf], &PathBuf), Error> {
        match self {
            Self::Overlay { lower, .. } if lower.is_empty() || lower.len() > LAYERS_MAX => {
                Err(Error::Layers(lower.len()))
            }
            Self::Overlay { lower, work_dir } => Ok((lower, work_dir)),
            Self::Host { work_dir } => Ok((&[], work_dir)),
        }
    }
}

/// An image that is mounted somewhere in a container, and can be read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageVolume {
    /// Where.
    pub path: PathBuf,
    /// The directories of its layers, top first.
    pub lower: Vec<PathBuf>,
}

fn all_bytes(paths: &[PathBuf]) -> Vec<plan::Bytes> {
    paths.iter().cloned().map(plan::Bytes::from).collect()
}

/// A container that could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec.
    #[error("cannot launch this spec")]
    Spec(#[source] spec::Error),
    /// The user string.
    #[error("cannot use this user")]
    User(#[source] user::Error),
    /// No layers, or more than overlayfs takes.
    #[error("the image has {0} layers; 1 to {LAYERS_MAX} can be mounted")]
    Layers(usize),
    /// A path that has to be absolute, as the working directory is left.
    #[error("the path {0} is not absolute")]
    Relative(PathBuf),
    /// A device file that would be nobody's.
    #[error("the device {0} is of a user or group that the container does not have")]
    DeviceOwner(PathBuf),
    /// A directory of another container's would be of other ids.
    #[error("{0} is another container's, and cannot be shared with a user namespace")]
    SharedWithIds(PathBuf),
    /// A connection for a container that is on the host's network, or the other way round.
    #[error("the spec {0} a network namespace of its own, and the connection says otherwise")]
    Network(&'static str),
    /// Hooks, for which the container's user namespace is in the way.
    #[error("hooks are not run for a container with a user namespace")]
    HooksWithIds,
    /// A hook inside the container, where it would have the supervisor's privileges.
    #[error("startContainer hooks are not run: {0} would be a program of the image")]
    StartContainer(PathBuf),
    /// The spec cannot be written down for the hooks.
    #[error("cannot write the spec for the hooks")]
    Config(#[source] serde_json::Error),
    /// The hierarchies cannot be found out.
    #[error("cannot find the cgroup hierarchies")]
    Detect(#[source] detect::Error),
    /// A limit that no hierarchy applies.
    #[error("cannot apply a limit")]
    Limit(#[source] limits::Error),
    /// The plan cannot be written.
    #[error("cannot write the launch plan")]
    Plan(#[source] plan::Error),
    /// `ucr-init` cannot be opened.
    #[error("cannot open {0}, which belongs beside ucr")]
    Init(PathBuf, #[source] ucr_sys::Error),
    /// A system call on the way.
    #[error("cannot start ucr-init")]
    System(#[source] ucr_sys::Error),
}

impl Error {
    /// What kind of trouble it is, for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::Spec(_)
            | Self::User(_)
            | Self::Layers(_)
            | Self::Relative(_)
            | Self::DeviceOwner(_)
            | Self::SharedWithIds(_)
            | Self::Network(_)
            | Self::HooksWithIds
            | Self::StartContainer(_)
            | Self::Limit(_) => Code::Refused,
            Self::Config(_)
            | Self::Detect(_)
            | Self::Plan(_)
            | Self::Init(..)
            | Self::System(_) => Code::Failed,
        }
    }
}

/// The kernel's limit on lower layers, `OVL_MAX_STACK` in fs/overlayfs/params.h.
const LAYERS_MAX: usize = 500;

/// Turns this process into the supervisor of a new container; returns only on failure.
///
/// It keeps its number. Standard input, output and error become the task's.
/// Signals are blocked from here on; those that come before the task runs reach
/// it when it does. Every other descriptor but `held` is closed.
///
/// # Errors
///
/// What could not be found, planned or started. Nothing was made by then, and
/// the caller still owns the work directory.
pub fn launch(launch: Launch) -> Result<Infallible, Error> {
    let plan = plan(&launch)?;
    if plan.process.terminal.is_some() {
        // Here, where signals of its shell are not blocked yet.
        terminal::wait_for_turn(stdin().as_fd());
    }
    let sinks = launch.report.iter().flat_map(|report| &report.sinks);
    let network = launch.network.iter().flat_map(Joining::descriptors);
    for held in held(&launch).into_iter().chain(sinks).chain(network) {
        descriptors::keep_across_exec(held.as_fd()).map_err(Error::System)?;
    }
    become_init(
        &Order::Container(Box::new(plan)),
        &launch.init,
        &launch.state_root,
    )
}

/// Replaces this process by `ucr-init`, the executable `path`, where nobody can write it.
///
/// `root` is where states are, and no directory of executables. Descriptors that the plan names must be kept across that already. Signals are blocked from here on.
pub(crate) fn become_init(order: &Order, path: &Path, root: &Path) -> Result<Infallible, Error> {
    let plan = order.encode().map_err(Error::Plan)?;
    let open = |error| Error::Init(path.into(), error);
    let init = program::unwritable(path, root).map_err(open)?;
    let plan = memfd::sealed("ucr-plan", &plan).map_err(Error::System)?;
    signal::block_all().map_err(Error::System)?;
    descriptors::keep_across_exec(plan.as_fd()).map_err(Error::System)?;
    let number = CString::new(plan.as_raw_fd().to_string()).unwrap_or_default();
    Err(Error::System(process::exec(
        init.as_fd(),
        &[c"ucr-init".into(), number],
    )))
}

/// Looks everything up that the launch needs; changes nothing.
///
/// # Errors
///
/// As [`launch`], before its first effect.
pub fn plan(launch: &Launch) -> Result<Plan, Error> {
    let converted = spec::convert(&launch.spec, launch.seccomp).map_err(Error::Spec)?;
    let (lower, work_dir) = launch.rootfs.parts()?;
    let own = [&launch.state_root, work_dir];
    let paths = own.into_iter().chain(lower).chain(&launch.remove_at_exit);
    let paths = paths.chain(&launch.pid_file);
    if let Some(relative) = paths.into_iter().find(|path| !path.is_absolute()) {
        return Err(Error::Relative(relative.clone()));
    }
    let process = with_identity(converted.process, launch).map_err(Error::User)?;
    let cgroups = cgroups(launch, &converted.limits)?;
    if let (Some(shared), Some(_)) = (launch.shared.first(), &converted.ids) {
        return Err(Error::SharedWithIds(shared.path.clone()));
    }
    let hooks = hooked(launch, (work_dir, converted.ids.as_ref()))?;
    let namespaces = namespaces(launch, converted.namespaces)?;
    let devices = devices(&launch.devices, converted.ids.as_ref())?;
    let text = |text: &Option<String>| text.as_deref().map(plan::Bytes::from);
    Ok(Plan {
        id: launch.id.clone(),
        name: launch.name.clone(),
        about: launch.about.clone(),
        timeout: launch.timeout,
        pid_file: launch.pid_file.clone(),
        state_root: launch.state_root.clone(),
        held: held(launch).iter().map(|fd| fd.as_raw_fd()).collect(),
        volumes: volumes(launch),
        remove_at_exit: launch.remove_at_exit.clone(),
        report: launch.report.as_ref().map(|report| plan::Report {
            sinks: report.sinks.iter().map(AsRawFd::as_raw_fd).collect(),
            image: report.image.clone(),
            began: report.began,
        }),
        cgroups,
        namespaces,
        network: launch.network.as_ref().map(Joining::plan),
        ids: converted.ids,
        rootfs: match &launch.rootfs {
            Rootfs::Overlay { .. } => plan::Rootfs::Overlay(Overlay {
                lower: all_bytes(lower),
                work_dir: work_dir.clone().into(),
            }),
            Rootfs::Host { .. } => plan::Rootfs::Host(work_dir.clone().into()),
        },
        additions: launch.additions.clone(),
        mounts: with_others(converted.mounts, devices, launch),
        devices: converted.devices,
        masked: converted.masked,
        readonly: converted.readonly,
        readonly_root: converted.readonly_root,
        sysctls: converted.sysctls,
        hostname: text(launch.spec.hostname()),
        domainname: text(launch.spec.domainname()),
        pid_one: launch.pid_one,
        given: all_bytes(&launch.given),
        process,
        hooks,
        handed_over: None,
    })
}

/// The namespaces that are made for it: that of a connection is there.
fn namespaces(launch: &Launch, asked: u64) -> Result<u64, Error> {
    let asked = Namespaces::from_bits(asked);
    let has = asked.contains(Namespaces::NETWORK);
    match &launch.network {
        Some(joining) if joining.namespace.is_some() && !has => {
            Err(Error::Network("does not have"))
        }
        Some(joining) if joining.namespace.is_none() && has => Err(Error::Network("has")),
        Some(_) => Ok(asked.without(Namespaces::NETWORK).bits()),
        None => Ok(asked.bits()),
    }
}

/// The descriptors that supervisor and pid 1 keep.
fn held(launch: &Launch) -> Vec<&OwnedFd> {
    let mut held: Vec<&OwnedFd> = launch.held.iter().collect();
    held.extend(launch.leases.iter().map(|lease| &lease.lock));
    held.extend(
        launch
            .network
            .iter()
            .filter_map(|joining| joining.lock.as_ref()),
    );
    for shared in &launch.shared {
        let number = shared.container.as_raw_fd();
        if !held.iter().any(|fd| fd.as_raw_fd() == number) {
            held.push(&shared.container);
        }
    }
    held
}

fn volumes(launch: &Launch) -> Volumes {
    let lease = |lease: &VolumeLease| Lease {
        held: lease.lock.as_raw_fd(),
        file: lease.file.clone(),
        trees: lease.trees.clone(),
    };
    Volumes {
        all: launch.volumes.clone(),
        leases: launch.leases.iter().map(lease).collect(),
    }
}

/// The process as whom it is asked to run.
fn with_identity(
    mut process: plan::Process,
    launch: &Launch,
) -> Result<plan::Process, user::Error> {
    if let UserRequest::Named(text) = &launch.user {
        process.user = User::Named(UserName::parse(text)?);
    }
    let groups = launch.groups.iter();
    process.groups = groups
        .map(|text| Principal::parse_group(text))
        .collect::<Result<_, _>>()?;
    Ok(process)
}

/// The cgroups in every hierarchy that the limits need.
fn cgroups(launch: &Launch, limits: &Limits) -> Result<CgroupPlan, Error> {
    let more = limits.further_controllers();
    let hierarchies = detect::Hierarchies::detect_with(&more).map_err(Error::Detect)?;
    let linux = launch.spec.linux().as_ref();
    let asked = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let asked = asked.map(|path| (path, Place::Own));
    limits::plan_at(&hierarchies, &launch.id, asked, limits).map_err(Error::Limit)
}

/// The hooks, with the bundle that they find: the container's state directory.
fn hooked(
    launch: &Launch,
    (work_dir, ids): (&Path, Option<&IdMappings>),
) -> Result<Option<plan::Hooked>, Error> {
    if launch.hooks == Hooks::default() {
        return Ok(None);
    }
    if let Some(hook) = launch.hooks.start_container.first() {
        return Err(Error::StartContainer(hook.path.clone()));
    }
    if ids.is_some() {
        return Err(Error::HooksWithIds);
    }
    let rootfs = work_dir.join(overlay::ROOT);
    let mut spec = launch.spec.clone();
    if let Some(root) = spec.root_mut() {
        root.set_path(rootfs.clone());
    }
    let config = serde_json::to_vec(&spec).map_err(Error::Config)?;
    Ok(Some(plan::Hooked {
        hooks: launch.hooks.clone(),
        about: oci::plan::About {
            oci_version: launch.spec.version().clone(),
            bundle: state::directory_of(&launch.state_root, &launch.id),
            rootfs,
            annotations: BTreeMap::new(),
        },
        config: config.into(),
    }))
}

/// The mounts of `devices`, in a container with the ids `ids`.
fn devices(devices: &[Device], ids: Option<&IdMappings>) -> Result<Vec<Mount>, Error> {
    // Programs may read and write the device, but not change who else may.
    let attributes = Attributes::MOUNT_ATTR_RDONLY
        | Attributes::MOUNT_ATTR_NOSUID
        | Attributes::MOUNT_ATTR_NOEXEC;
    let mount = |device: &Device| {
        let source = match &device.file {
            DeviceFile::Host { path, number } => Source::Device {
                path: path.clone().into(),
                number: *number,
            },
            DeviceFile::Made {
                kind,
                number,
                mode,
                owner,
            } => {
                let outside = ids.map_or(Some(*owner), |ids| ids.outside(*owner));
                Source::Node {
                    kind: *kind,
                    number: *number,
                    mode: *mode,
                    owner: outside.ok_or_else(|| Error::DeviceOwner(device.inside.clone()))?,
                }
            }
        };
        let inside = device.inside.clone().into();
        Ok(Mount::new(inside, source, attributes.bits()))
    };
    devices.iter().map(mount).collect()
}

/// Puts devices, own mounts and files of text behind what is always mounted, and before what a
/// caller binds over them.
fn with_others(mut mounts: Vec<Mount>, devices: Vec<Mount>, launch: &Launch) -> Vec<Mount> {
    let is_bind = |mount: &Mount| matches!(mount.source, Source::Bind { .. });
    let place = mounts.iter().position(is_bind).unwrap_or(mounts.len());
    let own = launch.own_mounts.iter();
    let own = own.map(|path| Mount::new(path.clone().into(), Source::Own, 0));
    let text = |(path, text): &(PathBuf, Vec<u8>)| {
        Mount::new(path.clone().into(), Source::Text(text.clone().into()), 0)
    };
    let image = |image: &ImageVolume| {
        let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV;
        let source = Source::Layers(all_bytes(&image.lower));
        Mount::new(image.path.clone().into(), source, attributes.bits())
    };
    let others = devices
        .into_iter()
        .chain(own)
        .chain(launch.texts.iter().map(&text));
    let others: Vec<Mount> = others.collect();
    mounts.splice(place..place, others);
    // Over what is bound, and below what is bound in them: the sandbox and its like.
    mounts.extend(launch.images.iter().map(image));
    mounts.extend(launch.secrets.iter().map(text));
    for shared in &launch.shared {
        // Before what goes below it; they are in the order of their depth.
        let is_below = |mount: &Mount| {
            let at = mount.destination.as_path();
            at.starts_with(&shared.path) && at != shared.path
        };
        let place = mounts.iter().position(is_below).unwrap_or(mounts.len());
        mounts.insert(place, shared_mount(shared));
    }
    mounts
}

fn shared_mount(shared: &SharedVolume) -> Mount {
    let path = plan::Bytes::from(shared.path.clone());
    let source = Source::Shared(Shared {
        container: shared.container.as_raw_fd(),
        path: path.clone(),
    });
    let mut attributes = Attributes::MOUNT_ATTR_NODEV;
    if shared.read_only {
        attributes |= Attributes::MOUNT_ATTR_RDONLY;
    }
    Mount::new(path, source, attributes.bits())
}
