//! What of a spec is honoured for a container that is handed over alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    self, Linux, LinuxDevice, LinuxDeviceType, LinuxIdMapping, LinuxNamespaceType,
    LinuxPersonality, LinuxPersonalityDomain, Spec,
};
use ucr_sys::process::Namespaces;

use super::convert::{self, Converted};
use super::{Owner, SeccompRequest, resources};
use crate::oci::hooks::{Hook, Hooks};
use crate::oci::plan::{
    Device, DeviceKind, IdMapping, IdMappings, Propagation, RootPropagation, TaskPresence,
};
use crate::plan::Bytes;

/// A part of a spec that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A version of the specification that is none of 1.x.
    #[error(
        "the configuration is of version {0:?} of the specification; 1.0 and later of 1 are known"
    )]
    Version(String),
    /// Two namespaces of one kind.
    #[error("the namespace {0} is in the configuration twice")]
    Twice(String),
    /// A namespace by a relative path.
    #[error("the path {0} of a namespace is not absolute")]
    NamespacePath(PathBuf),
    /// A name for a machine that is not the container's.
    #[error("a {0} needs a uts namespace of the container's own")]
    NeedsUts(&'static str),
    /// Ids without a namespace for them.
    #[error("mappings of ids need a new user namespace")]
    NeedsUser,
    /// A user namespace without ids.
    #[error("a new user namespace needs mappings of ids")]
    NeedsIds,
    /// Offsets of clocks without a namespace for them.
    #[error("offsets of clocks need a new time namespace")]
    NeedsTime,
    /// A clock that has no offset.
    #[error("the clock {0:?} is neither monotonic nor boottime")]
    Clock(String),
    /// A propagation that there is not.
    #[error(
        "the root propagation {0:?} is not one of shared, slave, private, unbindable, with or without an r"
    )]
    Propagation(String),
    /// A device file that cannot be made.
    #[error("the device {0:?} is not supported")]
    Device(String),
    /// A hook whose program is relative.
    #[error("the path {0} of a hook is not absolute")]
    HookPath(PathBuf),
    /// A hook that may take no time.
    #[error("the timeout {0} of a hook is not positive")]
    HookTimeout(i64),
    /// A flag of the execution domain.
    #[error("the personality flag {0:?} is not supported")]
    Personality(String),
    /// A label for mounts.
    #[error("linux.mountLabel is not supported where SELinux is on")]
    MountLabel,
    /// A limit twice.
    #[error("the limit {0} is in the configuration twice")]
    Limit(String),
}

/// What a container that is handed over has besides the parts of every plan.
pub(crate) struct Extras {
    pub(crate) joined: Vec<(u64, Bytes)>,
    pub(crate) propagation: RootPropagation,
    pub(crate) devices: Vec<Device>,
    pub(crate) personality: Option<u64>,
    pub(crate) clock_offsets: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) task: TaskPresence,
}

/// Whether `path` is just the namespace that the caller is in, or the machine's first process: what
/// is set there is not the container's alone.
fn is_callers(kind: Namespaces, path: &Path) -> bool {
    let name = match kind {
        Namespaces::NETWORK => "net",
        Namespaces::IPC => "ipc",
        Namespaces::UTS => "uts",
        _ => return false,
    };
    let identity = |path: &Path| path.metadata().map(|data| (data.dev(), data.ino())).ok();
    let callers = ["self", "1"].map(|process| format!("/proc/{process}/ns/{name}"));
    let asked = identity(path);
    asked.is_some()
        && callers
            .iter()
            .any(|callers| identity(Path::new(callers)) == asked)
}

/// Converts `spec`, whose relative paths are below `bundle`, refusing what would be dropped.
pub(crate) fn convert_handed_over(
    spec: &Spec,
    bundle: &Path,
) -> Result<(Converted, Extras), convert::Error> {
    let owner = Owner::Nobody(bundle);
    let linux = convert::checked(spec, owner)?;
    let version = spec.version();
    if !version.starts_with("1.") {
        return Err(Error::Version(version.clone()).into());
    }
    let (new, joined) = namespaces(linux)?;
    let has = |kind: Namespaces| {
        let mut joined = joined.iter().filter(|(bits, _)| *bits == kind.bits());
        new & kind.bits() != 0 || joined.any(|(_, path)| !is_callers(kind, path.as_path()))
    };
    check_limits(spec)?;
    check_label(linux)?;
    let names = [
        ("hostname", spec.hostname()),
        ("domainname", spec.domainname()),
    ];
    let named = names
        .iter()
        .find(|(_, name)| name.as_deref().is_some_and(|name| !name.is_empty()));
    if let Some((name, _)) = named.filter(|_| !has(Namespaces::UTS)) {
        return Err(Error::NeedsUts(name).into());
    }
    let mut parts = convert::parts(spec, linux, (new, &has), owner)?;
    let extras = Extras {
        propagation: propagation(linux)?,
        devices: linux
            .devices()
            .iter()
            .flatten()
            .map(device)
            .collect::<Result<_, _>>()?,
        personality: linux.personality().as_ref().map(personality).transpose()?,
        clock_offsets: clock_offsets(linux, new)?,
        hooks: hooks(spec)?,
        task: match spec.process() {
            Some(_) => TaskPresence::Present,
            None => TaskPresence::Absent,
        },
        joined,
    };
    convert::filter(&mut parts.process, linux, SeccompRequest::Spec)?;
    if !parts.limits.devices.is_empty() {
        parts.limits.devices.extend(resources::default_devices());
    }
    Ok((parts, extras))
}

/// The new namespaces as bits, and those to be joined.
fn namespaces(linux: &Linux) -> Result<(u64, Vec<(u64, Bytes)>), Error> {
    let (mut new, mut joined) = (Namespaces::default(), Vec::new());
    let mut seen = Namespaces::default();
    for namespace in linux.namespaces().iter().flatten() {
        let kind = convert::kind(namespace.typ());
        if seen.contains(kind) {
            return Err(Error::Twice(namespace.typ().to_string()));
        }
        seen = seen.with(kind);
        match namespace.path().as_deref() {
            None => new = new.with(kind),
            Some(path) if path.as_os_str().is_empty() => new = new.with(kind),
            Some(path) if !path.is_absolute() => {
                return Err(Error::NamespacePath(path.to_owned()));
            }
            Some(path) => joined.push((kind.bits(), Bytes::from(path))),
        }
    }
    Ok((new.bits(), joined))
}

fn check_limits(spec: &Spec) -> Result<(), Error> {
    let limits = spec
        .process()
        .as_ref()
        .and_then(|process| process.rlimits().clone());
    let mut seen = Vec::new();
    for limit in limits.unwrap_or_default() {
        let name = limit.typ().to_string();
        if seen.contains(&name) {
            return Err(Error::Limit(name));
        }
        seen.push(name);
    }
    Ok(())
}

/// A label of SELinux for mounts means nothing where there is no SELinux; elsewhere it is not honoured.
fn check_label(linux: &Linux) -> Result<(), Error> {
    let given = linux
        .mount_label()
        .as_deref()
        .is_some_and(|label| !label.is_empty());
    if given && Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::MountLabel);
    }
    Ok(())
}

/// A list of mappings of ids, in our form.
pub(super) fn id_mappings(list: Option<&[LinuxIdMapping]>) -> Vec<IdMapping> {
    let convert = |one: &LinuxIdMapping| IdMapping {
        inside: one.container_id(),
        outside: one.host_id(),
        count: one.size(),
    };
    list.unwrap_or_default().iter().map(convert).collect()
}

/// The ids of a new user namespace; there are some just where there is one.
pub(super) fn ids(linux: &Linux, new: u64) -> Result<Option<IdMappings>, Error> {
    let mappings = IdMappings {
        uids: id_mappings(linux.uid_mappings().as_deref()),
        gids: id_mappings(linux.gid_mappings().as_deref()),
    };
    let given = [&mappings.uids, &mappings.gids].map(|list| !list.is_empty());
    match (Namespaces::from_bits(new).contains(Namespaces::USER), given) {
        (false, [false, false]) => Ok(None),
        (true, [true, true]) => Ok(Some(mappings)),
        (true, _) => Err(Error::NeedsIds),
        // Those of a namespace that is joined are said again: they change nothing there.
        (false, _) if joins_user(linux) => Ok(None),
        (false, _) => Err(Error::NeedsUser),
    }
}

fn joins_user(linux: &Linux) -> bool {
    let mut namespaces = linux.namespaces().iter().flatten();
    namespaces.any(|one| one.typ() == LinuxNamespaceType::User)
}

fn propagation(linux: &Linux) -> Result<RootPropagation, Error> {
    let text = match linux.rootfs_propagation().as_deref() {
        None | Some("") => return Ok(RootPropagation::PRIVATE),
        Some(text) => text,
    };
    let (kind, recursive) = match text.strip_prefix('r') {
        Some(kind) => (kind, true),
        None => (text, false),
    };
    let kind = match kind {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => return Err(Error::Propagation(text.into())),
    };
    Ok(RootPropagation { kind, recursive })
}

fn device(device: &LinuxDevice) -> Result<Device, Error> {
    let name = || Error::Device(device.path().to_string_lossy().into_owned());
    let plain = device.path().components().all(|part| {
        matches!(
            part,
            std::path::Component::RootDir | std::path::Component::Normal(_)
        )
    });
    if !device.path().is_absolute() || !plain {
        return Err(name());
    }
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => return Err(name()),
    };
    let number = |number: i64| u32::try_from(number).map_err(|_negative| name());
    Ok(Device {
        path: device.path().as_path().into(),
        kind,
        number: match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (number(device.major())?, number(device.minor())?),
        },
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

/// The number of an execution domain, linux/personality.h.
fn personality(personality: &LinuxPersonality) -> Result<u64, Error> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        return Err(Error::Personality(flag.clone()));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// The lines of `/proc/self/timens_offsets`, time_namespaces(7).
fn clock_offsets(linux: &Linux, new: u64) -> Result<Option<String>, Error> {
    let offsets = linux.time_offsets().iter().flatten();
    let mut lines: Vec<String> = Vec::new();
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::Clock(clock.clone()));
        }
        let (seconds, rest) = (offset.secs(), offset.nanosecs());
        lines.push(format!(
            "{clock} {} {}\n",
            seconds.unwrap_or(0),
            rest.unwrap_or(0)
        ));
    }
    lines.sort();
    match (
        lines.is_empty(),
        Namespaces::from_bits(new).contains(Namespaces::TIME),
    ) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(lines.concat())),
        (false, false) => Err(Error::NeedsTime),
    }
}

fn hooks(spec: &Spec) -> Result<Hooks, Error> {
    let Some(hooks) = spec.hooks() else {
        return Ok(Hooks::default());
    };
    let list = |list: &Option<Vec<runtime::Hook>>| -> Result<Vec<Hook>, Error> {
        list.iter().flatten().map(hook).collect()
    };
    Ok(Hooks {
        prestart: list(hooks.prestart())?,
        create_runtime: list(hooks.create_runtime())?,
        create_container: list(hooks.create_container())?,
        start_container: list(hooks.start_container())?,
        poststart: list(hooks.poststart())?,
        poststop: list(hooks.poststop())?,
    })
}

fn hook(hook: &runtime::Hook) -> Result<Hook, Error> {
    if !hook.path().is_absolute() {
        return Err(Error::HookPath(hook.path().clone()));
    }
    let timeout = match hook.timeout() {
        Some(seconds) if seconds <= 0 => return Err(Error::HookTimeout(seconds)),
        other => other.and_then(|seconds| u64::try_from(seconds).ok()),
    };
    Ok(Hook {
        path: hook.path().clone(),
        arguments: hook.args().clone().unwrap_or_default(),
        environment: hook.env().clone().unwrap_or_default(),
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(linux: &str) -> Result<Extras, convert::Error> {
        let json = format!(
            r#"{{"ociVersion": "1.0.2", "process": {{"user": {{"uid": 0, "gid": 0}}, "cwd": "/", "args": ["x"]}},
            "linux": {linux}}}"#
        );
        let spec: Spec = serde_json::from_str(&json).expect("spec");
        convert_handed_over(&spec, Path::new("/bundle")).map(|(_, extras)| extras)
    }

    fn refused(linux: &str) -> Error {
        match convert(linux) {
            Err(convert::Error::HandedOver(error)) => error,
            Err(other) => panic!("{linux}: {other}"),
            Ok(_) => panic!("{linux}: taken"),
        }
    }

    #[test]
    fn what_needs_a_namespace_is_refused_without() {
        let ids = r#""uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]"#;
        assert_eq!(refused(&format!("{{{ids}}}")), Error::NeedsUser);
        let user = r#"{"namespaces": [{"type": "user"}]}"#;
        assert_eq!(refused(user), Error::NeedsIds);
        let time = r#"{"timeOffsets": {"boottime": {"secs": 1}}}"#;
        assert_eq!(refused(time), Error::NeedsTime);
        let twice = r#"{"namespaces": [{"type": "ipc"}, {"type": "ipc", "path": "/x"}]}"#;
        assert_eq!(refused(twice), Error::Twice("ipc".into()));
        let relative = r#"{"namespaces": [{"type": "ipc", "path": "x"}]}"#;
        assert!(matches!(refused(relative), Error::NamespacePath(_)));
    }

    #[test]
    fn devices_propagation_and_clocks_are_read() {
        let extras = convert(
            r#"{"namespaces": [{"type": "time"}], "rootfsPropagation": "rslave",
            "timeOffsets": {"monotonic": {"secs": -3}, "boottime": {"secs": 4, "nanosecs": 5}},
            "devices": [{"path": "/dev/x", "type": "u", "major": 1, "minor": 2, "gid": 7}]}"#,
        )
        .expect("extras");
        let slave = RootPropagation {
            kind: Propagation::Slave,
            recursive: true,
        };
        assert_eq!(extras.propagation, slave);
        assert_eq!(
            extras.clock_offsets.as_deref(),
            Some("boottime 4 5\nmonotonic -3 0\n")
        );
        let device = Device {
            path: "/dev/x".into(),
            kind: DeviceKind::Character,
            number: (1, 2),
            mode: 0o666,
            owner: (0, 7),
        };
        assert_eq!(extras.devices, [device]);
    }
}
