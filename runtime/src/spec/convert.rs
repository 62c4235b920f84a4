//! From a spec to the parts of a plan.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxDeviceCgroup, LinuxDeviceType, LinuxNamespaceType, LinuxResources, PosixRlimit,
    PosixRlimitType, Process, Spec,
};
use ucr_sys::process::Namespaces;

use super::{
    Owner, SeccompRequest, capability, handed_over, mounts, resources, schedule, seccomp,
    supported, sysctl,
};
use crate::cgroup::devices::{Access, DeviceRule, Kind};
use crate::cgroup::limits::Limits;
use crate::oci::plan::IdMappings;
use crate::plan::{self, Bytes};

/// Where the kernel says whether it has AppArmor, and that it is in use.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// A spec that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A policy, or a priority at block devices, that is not set.
    #[error(transparent)]
    Schedule(schedule::Error),
    /// A field that is not honoured.
    #[error("the spec's field {0} is not supported")]
    Unsupported(String),
    /// A spec that does not survive being written as JSON.
    #[error("cannot examine the spec")]
    Examine(#[source] serde_json::Error),
    /// A part that is needed.
    #[error("the spec has no {0}")]
    Missing(&'static str),
    /// A namespace to join or one that is not made.
    #[error("the namespace {0} of the spec is not supported")]
    Namespace(String),
    /// A propagation other than private.
    #[error("the root propagation {0:?} is not supported, only private")]
    Propagation(String),
    /// A mount.
    #[error("cannot use a mount of the spec")]
    Mount(#[source] mounts::Error),
    /// A working directory that is relative.
    #[error("the working directory {0} is not absolute")]
    Directory(PathBuf),
    /// A path to mask or to make read-only that is relative.
    #[error("the path {0:?} is not absolute")]
    Path(String),
    /// A NUL byte where the kernel ends a string.
    #[error("a NUL byte in {0}")]
    Nul(&'static str),
    /// A profile for a security module that is not there.
    #[error("process.apparmorProfile is {0:?}, and this kernel has no AppArmor")]
    NoAppArmor(String),
    /// A filter of system calls.
    #[error("cannot filter the task's system calls")]
    Seccomp(#[source] seccomp::Error),
    /// What only a container that is handed over has.
    #[error(transparent)]
    HandedOver(#[from] handed_over::Error),
    /// A setting of the kernel's.
    #[error(transparent)]
    Sysctl(#[from] sysctl::NotOwn),
    /// A device rule with a kind, a number or letters that there are not.
    #[error("a device rule with {0:?} is not supported")]
    Device(String),
}

/// The parts of a plan that come from a spec.
pub(crate) struct Converted {
    pub(crate) namespaces: u64,
    pub(crate) ids: Option<IdMappings>,
    pub(crate) mounts: Vec<plan::Mount>,
    pub(crate) devices: bool,
    pub(crate) masked: Vec<Bytes>,
    pub(crate) readonly: Vec<Bytes>,
    pub(crate) readonly_root: bool,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) process: plan::Process,
    pub(crate) limits: Limits,
}

/// Converts `spec`, refusing what would be dropped.
pub(crate) fn convert(spec: &Spec, seccomp: SeccompRequest) -> Result<Converted, Error> {
    let owner = Owner::Supervisor;
    let linux = checked(spec, owner)?;
    match linux.rootfs_propagation().as_deref() {
        None | Some("" | "private" | "rprivate") => {}
        Some(other) => return Err(Error::Propagation(other.into())),
    }
    let namespaces = namespaces(linux.namespaces().as_deref().unwrap_or_default())?;
    let has = |kind: Namespaces| namespaces & kind.bits() != 0;
    let mut parts = parts(spec, linux, (namespaces, &has), owner)?;
    if parts.ids.is_none() && parts.mounts.iter().any(|mount| mount.ids.is_some()) {
        return Err(handed_over::Error::NeedsUser.into());
    }
    filter(&mut parts.process, linux, seccomp)?;
    Ok(parts)
}

/// Converts the process of `spec` alone, for a container that nobody supervises.
pub(crate) fn convert_process(spec: &Spec) -> Result<plan::Process, Error> {
    let owner = Owner::Nobody(Path::new("/"));
    if let Some(field) = supported::first_unsupported(spec, owner).map_err(Error::Examine)? {
        return Err(Error::Unsupported(field));
    }
    process(spec)
}

/// Gives `process` the filter of its system calls that is asked for.
pub(super) fn filter(
    process: &mut plan::Process,
    linux: &Linux,
    request: SeccompRequest,
) -> Result<(), Error> {
    let bounding = process.capabilities.bounding;
    process.filter =
        seccomp::filter(linux.seccomp().as_ref(), request, bounding).map_err(Error::Seccomp)?;
    Ok(())
}

/// The part for Linux of a spec in which nothing is that would be dropped.
pub(super) fn checked<'a>(spec: &'a Spec, owner: Owner<'_>) -> Result<&'a Linux, Error> {
    if let Some(field) = supported::first_unsupported(spec, owner).map_err(Error::Examine)? {
        return Err(Error::Unsupported(field));
    }
    spec.linux().as_ref().ok_or(Error::Missing("linux"))
}

/// What every container has; `has` says whether it has namespaces of a kind, new or joined.
pub(super) fn parts(
    spec: &Spec,
    linux: &Linux,
    (namespaces, has): (u64, &dyn Fn(Namespaces) -> bool),
    owner: Owner<'_>,
) -> Result<Converted, Error> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mounts: Vec<plan::Mount> = mounts
        .iter()
        .map(|mount| mounts::convert(mount, owner))
        .collect::<Result<_, _>>()
        .map_err(Error::Mount)?;
    let mounts = match owner {
        Owner::Supervisor => without_covered(mounts),
        Owner::Nobody(_) => mounts,
    };
    let paths = |paths: &Option<Vec<String>>| absolute(paths.as_deref().unwrap_or_default());
    Ok(Converted {
        namespaces,
        ids: handed_over::ids(linux, namespaces)?,
        devices: match owner {
            Owner::Supervisor => mounts.iter().rfind(is_dev).is_some_and(is_fresh),
            Owner::Nobody(_) => !mounts.iter().any(|mount| is_dev(&mount) && is_bound(mount)),
        },
        mounts,
        masked: paths(linux.masked_paths())?,
        readonly: paths(linux.readonly_paths())?,
        readonly_root: spec
            .root()
            .as_ref()
            .and_then(|root| root.readonly())
            .unwrap_or(false),
        sysctls: sysctl::convert(linux, has)?,
        process: match (spec.process(), owner) {
            (None, Owner::Nobody(_)) => plan::Process::none(),
            _ => process(spec)?,
        },
        limits: linux
            .resources()
            .as_ref()
            .map_or(Ok(Limits::default()), limits)?,
    })
}

/// Leaves out what is in and on `/dev` before a directory of the host's is bound there: making the
/// places for it, and for the standard devices, would be making them in that directory.
fn without_covered(mounts: Vec<plan::Mount>) -> Vec<plan::Mount> {
    let last = mounts.iter().rposition(|mount| is_dev(&mount));
    let Some(bound) = last.filter(|last| mounts.get(*last).is_some_and(is_bound)) else {
        return mounts;
    };
    let stays = |(place, mount): (usize, plan::Mount)| {
        let covered = place < bound && mount.destination.as_path().starts_with("/dev");
        (!covered).then_some(mount)
    };
    mounts.into_iter().enumerate().filter_map(stays).collect()
}

fn is_dev(mount: &&plan::Mount) -> bool {
    mount.destination.as_path() == Path::new("/dev")
}

fn is_bound(mount: &plan::Mount) -> bool {
    matches!(mount.source, plan::Source::Bind { .. })
}

fn is_fresh(mount: &plan::Mount) -> bool {
    matches!(&mount.source, plan::Source::FileSystem { kind, .. } if kind == "tmpfs")
}

/// A namespace of the specification's as the kernel knows it.
pub(super) fn kind(namespace: LinuxNamespaceType) -> Namespaces {
    match namespace {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

fn namespaces(asked: &[oci_spec::runtime::LinuxNamespace]) -> Result<u64, Error> {
    let mut set = Namespaces::default();
    for namespace in asked {
        let name = namespace.typ().to_string();
        if namespace.path().is_some() {
            return Err(Error::Namespace(format!("{name} with a path")));
        }
        if namespace.typ() == LinuxNamespaceType::Time {
            return Err(Error::Namespace(name));
        }
        set = set.with(kind(namespace.typ()));
    }
    // Without these two nothing would end with the container or stay inside it.
    if set.contains(Namespaces::PID.with(Namespaces::MOUNT)) {
        Ok(set.bits())
    } else {
        Err(Error::Missing("pid and mount namespace"))
    }
}

pub(super) fn absolute(paths: &[String]) -> Result<Vec<Bytes>, Error> {
    let check = |path: &String| {
        let good = path.starts_with('/') && !path.contains('\0');
        if good {
            Ok(Bytes::from(path.as_str()))
        } else {
            Err(Error::Path(path.clone()))
        }
    };
    paths.iter().map(check).collect()
}

fn process(spec: &Spec) -> Result<plan::Process, Error> {
    let process = spec.process().as_ref().ok_or(Error::Missing("process"))?;
    let arguments = process
        .args()
        .as_deref()
        .filter(|arguments| !arguments.is_empty());
    let user = process.user();
    let directory = process.cwd();
    if !directory.is_absolute() {
        return Err(Error::Directory(directory.clone()));
    }
    Ok(plan::Process {
        arguments: strings(
            arguments.ok_or(Error::Missing("process.args"))?,
            "the arguments",
        )?,
        environment: strings(
            process.env().as_deref().unwrap_or_default(),
            "the environment",
        )?,
        directory: directory.clone().into(),
        user: plan::User::Ids {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
        },
        umask: user.umask().unwrap_or(0o022),
        capabilities: capability::masks(process.capabilities().as_ref()),
        limits: process.rlimits().iter().flatten().map(rlimit).collect(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        filter: None,
        apparmor: apparmor(process)?,
        oom_score_adj: process.oom_score_adj(),
        scheduler: schedule::policy(process).map_err(Error::Schedule)?,
        io_priority: schedule::io_priority(process).map_err(Error::Schedule)?,
        terminal: terminal(process),
        groups: Vec::new(),
    })
}

/// The profile that AppArmor is to confine a process by.
///
/// Where there is no AppArmor everything is unconfined.
fn apparmor(process: &Process) -> Result<Option<Bytes>, Error> {
    let name = process.apparmor_profile().as_deref().unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    if name.contains(['\0', '\n']) {
        return Err(Error::Nul("the name of the AppArmor profile"));
    }
    let enabled = std::fs::read(APPARMOR).is_ok_and(|text| text.starts_with(b"Y"));
    match (enabled, name) {
        (true, _) => Ok(Some(Bytes::from(name))),
        (false, "unconfined") => Ok(None),
        (false, _) => Err(Error::NoAppArmor(name.to_owned())),
    }
}

/// The terminal that a process asks for; a size beyond what the kernel can say is none.
fn terminal(process: &Process) -> Option<plan::Terminal> {
    let size = process.console_size();
    let cells = |count: u64| u16::try_from(count).unwrap_or(0);
    process.terminal().unwrap_or(false).then(|| plan::Terminal {
        rows: size.map_or(0, |size| cells(size.height())),
        columns: size.map_or(0, |size| cells(size.width())),
    })
}

fn strings(strings: &[String], what: &'static str) -> Result<Vec<Bytes>, Error> {
    if strings.iter().any(|string| string.contains('\0')) {
        return Err(Error::Nul(what));
    }
    Ok(strings
        .iter()
        .map(|string| Bytes::from(string.as_str()))
        .collect())
}

/// Number, soft and hard limit; the numbers are those of asm-generic/resource.h.
fn rlimit(limit: &PosixRlimit) -> (u32, u64, u64) {
    let number = match limit.typ() {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    };
    (number, limit.soft(), limit.hard())
}

/// The limits of the spec's `linux.resources`.
///
/// # Errors
///
/// [`Error::Device`] for a device rule that means nothing.
///
/// A zero is none, as with runc and crun: generators write all fields.
pub fn limits(resources: &LinuxResources) -> Result<Limits, Error> {
    let memory = resources.memory().as_ref();
    let cpu = resources.cpu().as_ref();
    let devices = resources.devices().iter().flatten().map(device_rule);
    Ok(Limits {
        memory: memory.and_then(|memory| set(memory.limit())),
        memory_and_swap: memory.and_then(|memory| set(memory.swap())),
        reservation: memory.and_then(|memory| set(memory.reservation())),
        cpu_shares: cpu.and_then(|cpu| set(cpu.shares())),
        cpu_quota: cpu.and_then(|cpu| set(cpu.quota())),
        cpu_period: cpu.and_then(|cpu| set(cpu.period())),
        pids: resources.pids().as_ref().map(|pids| pids.limit()),
        devices: devices.collect::<Result<_, _>>()?,
        more: resources::limits(resources),
    })
}

/// The limits of a spec of which nothing else is looked at.
///
/// # Errors
///
/// [`Error::Unsupported`], or as [`limits`].
pub(crate) fn limits_alone(spec: &Spec) -> Result<Limits, Error> {
    let linux = checked(spec, Owner::Nobody(Path::new("/")))?;
    let resources = linux.resources().as_ref();
    resources.map_or(Ok(Limits::default()), limits)
}

/// A limit, if it is one.
pub(super) fn set<T: Default + PartialEq>(limit: Option<T>) -> Option<T> {
    limit.filter(|limit| *limit != T::default())
}

/// One rule, runtime-spec config-linux.md "Allowed Device list".
fn device_rule(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Error> {
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C => Some(Kind::Character),
        other => return Err(Error::Device(other.as_str().into())),
    };
    // Negative is any, as with runc.
    let number = |number: Option<i64>| match number.filter(|number| *number >= 0) {
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_too_large| Error::Device(number.to_string())),
        None => Ok(None),
    };
    let letters = rule.access().as_deref();
    let letters = letters.filter(|letters| !letters.is_empty());
    let access = match letters {
        None => Access::ALL,
        Some(letters) => Access::parse(letters).ok_or_else(|| Error::Device(letters.to_owned()))?,
    };
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access,
    })
}
