//! Mounts of the spec, with their options understood one by one.

use std::path::{Component, Path};

use oci_spec::runtime;
use ucr_sys::mount::Attributes;

use super::Owner;
use crate::oci::plan::{IdMappings, Propagation};
use crate::plan::{Bytes, Mount, MountIds, Source};
use crate::proc_files;

/// A mount that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A destination that is relative or climbs.
    #[error("the mount destination {0:?} is not an absolute path without \"..\"")]
    Destination(String),
    /// A volume over `/proc` (CVE-2015-3630).
    #[error("nothing may be mounted over or in /proc, as {0:?} would be")]
    OverProc(String),
    /// A type that is not supported.
    #[error("the mount type {kind:?} of {destination:?} is not supported")]
    Kind {
        /// The type.
        kind: String,
        /// Where it was to be.
        destination: String,
    },
    /// An option that is not supported.
    #[error("the option {option:?} of the mount {destination:?} is not supported")]
    Option {
        /// The option.
        option: String,
        /// Where the mount was to be.
        destination: String,
    },
    /// A bind mount of nothing, or of a relative path.
    #[error("the mount {0:?} needs an absolute source path")]
    Source(String),
}

/// File systems that a supervised container may have new instances of.
const KINDS: [&str; 5] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue"];

/// Converts one mount for a container of `owner`.
///
/// With a supervisor every mount but that of terminals is `nodev` unless it is said to have
/// devices: device files come from `rootfs::devices` and `Launch::devices` alone. One that is handed over gets what its options say.
pub(super) fn convert(mount: &runtime::Mount, owner: Owner<'_>) -> Result<Mount, Error> {
    let given = match owner {
        // As the specification has it since 1.1.
        Owner::Nobody(_) => Path::new("/").join(mount.destination()),
        Owner::Supervisor => mount.destination().clone(),
    };
    let destination = destination(&given)?;
    let name = || destination.to_string_lossy().into_owned();
    let mut options = Options::parse(mount.options().as_deref().unwrap_or_default());
    let refuse = |option: String| Error::Option {
        option,
        destination: name(),
    };
    if let Some(option) = options.refused.take() {
        return Err(refuse(option));
    }
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = if options.bind || kind == "bind" {
        // Written by generators beside "bind" as beside "tmpfs"; mount(2) has no use for them there.
        let of_tmpfs = ["mode", "size"];
        options
            .data
            .retain(|(key, _)| !of_tmpfs.contains(&key.as_str()));
        if let Some((key, value)) = options.data.first() {
            let value = value.as_ref();
            return Err(refuse(
                value.map_or(key.clone(), |value| format!("{key}={value}")),
            ));
        }
        let path = mount.source().as_deref();
        let path = path.and_then(|path| owner.resolve(path));
        Source::Bind {
            path: path.ok_or_else(|| Error::Source(name()))?.into(),
            recursive: options.recursive,
        }
    } else if kind == "cgroup" || kind == "cgroup2" {
        Source::Cgroups
    } else if KINDS.contains(&kind) || (owner != Owner::Supervisor && !kind.is_empty()) {
        let source = mount.source().as_deref().and_then(Path::to_str);
        Source::FileSystem {
            kind: kind.to_owned(),
            source: source.unwrap_or(kind).to_owned(),
            options: std::mem::take(&mut options.data),
        }
    } else {
        return Err(Error::Kind {
            kind: kind.to_owned(),
            destination: name(),
        });
    };
    check_over_proc(destination, &source, owner)?;
    finish(mount, options, Bytes::from(destination), source, owner)
}

fn finish(
    mount: &runtime::Mount,
    options: Options,
    destination: Bytes,
    source: Source,
    owner: Owner<'_>,
) -> Result<Mount, Error> {
    let name = || destination.as_path().to_string_lossy().into_owned();
    let bound = matches!(source, Source::Bind { .. });
    let tmpfs = matches!(&source, Source::FileSystem { kind, .. } if kind == "tmpfs");
    let ids = ids(mount, options.ids);
    for (asked, fits, option) in [
        (
            options.copy_up,
            tmpfs && owner != Owner::Supervisor,
            "tmpcopyup",
        ),
        (ids.is_some(), bound, "idmap"),
    ] {
        if asked && !fits {
            let option = option.to_owned();
            let destination = name();
            return Err(Error::Option {
                option,
                destination,
            });
        }
    }
    let mut converted = Mount::new(destination, source, options.own.on.bits());
    converted.cleared = options.own.off.bits();
    converted.recursive = (options.below.on.bits(), options.below.off.bits());
    converted.propagation = options.propagation;
    converted.copy_up = options.copy_up;
    converted.ids = ids;
    if owner == Owner::Supervisor {
        restrict(&mut converted)?;
    }
    Ok(converted)
}

/// What holds for each mount of a supervised container.
fn restrict(mount: &mut Mount) -> Result<(), Error> {
    let nodev = Attributes::MOUNT_ATTR_NODEV.bits();
    let wider = |(kind, _): &&(Propagation, bool)| *kind != Propagation::Private;
    let refused = match mount.propagation.iter().find(wider) {
        Some((kind, true)) => Some(format!("r{kind:?}").to_lowercase()),
        Some((kind, false)) => Some(format!("{kind:?}").to_lowercase()),
        None => None,
    };
    if let Some(option) = refused {
        let destination = mount.destination.as_path().to_string_lossy().into_owned();
        return Err(Error::Option {
            option,
            destination,
        });
    }
    // Only who means devices says so: `ucr run --privileged`.
    let asked = (mount.cleared | mount.recursive.1) & nodev != 0;
    if !is_terminals(mount) && !asked {
        mount.attributes |= nodev;
    }
    if matches!(&mount.source, Source::Bind { recursive, .. } if *recursive) {
        mount.recursive.0 |= mount.attributes;
        mount.recursive.1 |= mount.cleared;
    }
    Ok(())
}

/// Whether it is of terminals: they are device files, and no other can be made there, by anybody.
fn is_terminals(mount: &Mount) -> bool {
    matches!(&mount.source, Source::FileSystem { kind, .. } if kind == "devpts")
}

/// The ids of a mount: its own mappings, or with an option alone those of the container.
fn ids(mount: &runtime::Mount, option: Option<bool>) -> Option<MountIds> {
    let list = |list: &Option<Vec<_>>| super::handed_over::id_mappings(list.as_deref());
    let mappings = IdMappings {
        uids: list(mount.uid_mappings()),
        gids: list(mount.gid_mappings()),
    };
    let given = !mappings.uids.is_empty() || !mappings.gids.is_empty();
    (given || option.is_some()).then(|| MountIds {
        mappings: given.then_some(mappings),
        recursive: option.unwrap_or(false),
    })
}

/// Nothing goes over `/proc` (CVE-2015-3630) but a procfs; for one that is handed over also that of
/// another pid namespace, which is looked at when it is bound, and a few files.
fn check_over_proc(destination: &Path, source: &Source, owner: Owner<'_>) -> Result<(), Error> {
    let is_proc = destination == Path::new("/proc");
    let fits = match source {
        Source::FileSystem { kind, .. } => is_proc && kind == "proc",
        Source::Bind { .. } => {
            owner != Owner::Supervisor && (is_proc || proc_files::may_be_covered(destination))
        }
        _ => false,
    };
    if destination.starts_with("/proc") && !fits {
        return Err(Error::OverProc(destination.to_string_lossy().into_owned()));
    }
    Ok(())
}

fn destination(path: &Path) -> Result<&Path, Error> {
    let plain = path.components().all(|part| part != Component::ParentDir);
    let root = path.components().eq([Component::RootDir]);
    if path.is_absolute() && plain && !root {
        Ok(path)
    } else {
        Err(Error::Destination(path.to_string_lossy().into_owned()))
    }
}

/// The options that are understood, but for those of a file system of its own.
pub const OPTIONS: [&str; 52] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "loud",
    "newinstance",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nofail",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "strictatime",
    "suid",
    "tmpcopyup",
];

/// What the options of one mount come to.
#[derive(Default)]
struct Options {
    /// Of the mount.
    own: Switched,
    /// Of it and everything below it.
    below: Switched,
    propagation: Vec<(Propagation, bool)>,
    bind: bool,
    recursive: bool,
    copy_up: bool,
    /// `idmap`, or `ridmap` with true.
    ids: Option<bool>,
    data: Vec<(String, Option<String>)>,
    refused: Option<String>,
}

impl Options {
    fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        if let Some((attributes, on)) = attribute(option) {
            self.own.switch(attributes, on);
            return;
        }
        let inner = option.strip_prefix('r').and_then(attribute);
        if let Some((attributes, on)) = inner {
            self.below.switch(attributes, on);
            return;
        }
        if let Some(propagation) = propagation(option) {
            self.propagation.push(propagation);
            return;
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.ids = Some(false),
            "ridmap" => self.ids = Some(true),
            // What holds anyway: a new devpts for each mount since Linux 4.7, and the
            // kernel's defaults.
            "newinstance" | "defaults" | "async" | "nolazytime" | "nomand" | "loud" | "nofail" => {}
            // Words for others than who mounts, mount(8).
            others if others.starts_with("x-") => {}
            "remount" => self.refused = Some(option.to_owned()),
            other => {
                let (key, value) = match other.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (other, None),
                };
                self.data.push((key.to_owned(), value));
            }
        }
    }
}

/// Attributes that are switched on and off.
struct Switched {
    on: Attributes,
    off: Attributes,
}

impl Default for Switched {
    fn default() -> Self {
        Self {
            on: Attributes::empty(),
            off: Attributes::empty(),
        }
    }
}

impl Switched {
    fn switch(&mut self, attributes: Attributes, on: bool) {
        // The modes of access times are one setting of several values, mount_setattr(2).
        if ACCESS_TIMES.contains(attributes) {
            self.on -= ACCESS_TIMES;
            self.off |= ACCESS_TIMES;
            self.on |= attributes;
        } else if on {
            self.off -= attributes;
            self.on |= attributes;
        } else {
            self.off |= attributes;
            self.on -= attributes;
        }
    }
}

/// `MOUNT_ATTR__ATIME`: relatime (0), noatime and strictatime.
const ACCESS_TIMES: Attributes = Attributes::from_bits_retain(0x70);

/// The attribute that an option switches on, or off.
fn attribute(option: &str) -> Option<(Attributes, bool)> {
    use Attributes as A;

    Some(match option {
        "ro" => (A::MOUNT_ATTR_RDONLY, true),
        "rw" => (A::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (A::MOUNT_ATTR_NOSUID, true),
        "suid" => (A::MOUNT_ATTR_NOSUID, false),
        "nodev" => (A::MOUNT_ATTR_NODEV, true),
        "dev" => (A::MOUNT_ATTR_NODEV, false),
        "noexec" => (A::MOUNT_ATTR_NOEXEC, true),
        "exec" => (A::MOUNT_ATTR_NOEXEC, false),
        "nosymfollow" => (A::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (A::MOUNT_ATTR_NOSYMFOLLOW, false),
        "nodiratime" => (A::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (A::MOUNT_ATTR_NODIRATIME, false),
        "noatime" => (A::MOUNT_ATTR_NOATIME, true),
        "strictatime" => (A::MOUNT_ATTR_STRICTATIME, true),
        "atime" | "relatime" | "norelatime" | "nostrictatime" => (A::empty(), true),
        _ => return None,
    })
}

/// The propagation that an option asks for, and whether for everything below too.
fn propagation(option: &str) -> Option<(Propagation, bool)> {
    let (kind, recursive) = match option.strip_prefix('r') {
        Some(kind) => (kind, true),
        None => (option, false),
    };
    let kind = match kind {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    };
    Some((kind, recursive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(json: &str) -> Result<Mount, Error> {
        convert(
            &serde_json::from_str(json).expect("mount"),
            Owner::Supervisor,
        )
    }

    fn handed_over(options: &str) -> Result<Mount, Error> {
        let json = format!(
            r#"{{"destination": "/d", "source": "s", "type": "none", "options": [{options}]}}"#
        );
        let owner = Owner::Nobody(Path::new("/bundle"));
        convert(&serde_json::from_str(&json).expect("mount"), owner)
    }

    #[test]
    fn what_is_handed_over_gets_what_its_options_say() {
        let mount = handed_over(r#""rbind", "ro", "rnoexec", "dev", "noatime", "rslave""#);
        let mount = mount.expect("mount");
        let bind = Source::Bind {
            path: "/bundle/s".into(),
            recursive: true,
        };
        assert_eq!(mount.source, bind);
        let bits = |attributes: Attributes| attributes.bits();
        let set = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOATIME;
        assert_eq!(mount.attributes, bits(set));
        let cleared = Attributes::MOUNT_ATTR_NODEV | ACCESS_TIMES;
        assert_eq!(mount.cleared, bits(cleared));
        assert_eq!(mount.recursive, (bits(Attributes::MOUNT_ATTR_NOEXEC), 0));
        assert_eq!(mount.propagation, [(Propagation::Slave, true)]);
        assert!(handed_over(r#""bind", "roo""#).is_err());
        assert!(handed_over(r#""bind", "x-gvfs-hide""#).is_ok());
        let relative = r#"{"destination": "d/e", "type": "tmpfs"}"#;
        let relative = serde_json::from_str(relative).expect("mount");
        let relative = convert(&relative, Owner::Nobody(Path::new("/bundle")));
        assert_eq!(relative.expect("mount").destination, "/d/e".into());
    }

    #[test]
    fn what_is_listed_as_an_option_is_understood() {
        for option in OPTIONS {
            let parsed = Options::parse(&[option.to_owned()]);
            assert!(parsed.data.is_empty(), "{option}");
            assert_eq!(parsed.refused, None, "{option}");
        }
    }

    #[test]
    fn the_last_of_two_options_counts() {
        let mount = handed_over(r#""bind", "ro", "rw", "nodev", "dev", "dev", "nodev""#);
        let mount = mount.expect("mount");
        assert_eq!(mount.attributes, Attributes::MOUNT_ATTR_NODEV.bits());
        assert_eq!(mount.cleared, Attributes::MOUNT_ATTR_RDONLY.bits());
    }

    #[test]
    fn a_volume_is_bound_and_never_has_devices() {
        let volume = r#"{"destination": "/data", "source": "/srv", "options": ["rbind", "ro"]}"#;
        let volume = mount(volume).unwrap();
        assert_eq!(
            volume.source,
            Source::Bind {
                path: "/srv".into(),
                recursive: true
            }
        );
        let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV;
        assert_eq!(volume.attributes, attributes.bits());
    }

    #[test]
    fn s27_a_volume_over_proc_is_refused() {
        for destination in ["/proc", "/proc/sys", "//proc/./x"] {
            let json = format!(
                r#"{{"destination": "{destination}", "source": "/x", "options": ["bind"]}}"#
            );
            assert!(
                matches!(mount(&json), Err(Error::OverProc(_))),
                "{destination}"
            );
        }
        for (destination, kind) in [
            ("/proc", "tmpfs"),
            ("/proc/sys", "tmpfs"),
            ("/proc/sys", "proc"),
            ("/proc/acpi", "sysfs"),
            ("/proc/1", "cgroup"),
        ] {
            let json = format!(r#"{{"destination": "{destination}", "type": "{kind}"}}"#);
            assert!(
                matches!(mount(&json), Err(Error::OverProc(_))),
                "{destination} {kind}"
            );
        }
        let procfs = r#"{"destination": "/proc", "type": "proc"}"#;
        assert!(mount(procfs).is_ok());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let shared = r#"{"destination": "/a", "source": "/x", "options": ["rbind", "rshared"]}"#;
        assert!(matches!(mount(shared), Err(Error::Option { .. })));
        let typo = r#"{"destination": "/a", "source": "/x", "options": ["bind", "roo"]}"#;
        assert!(matches!(mount(typo), Err(Error::Option { .. })));
        let ext4 = r#"{"destination": "/a", "type": "ext4", "source": "/dev/sda"}"#;
        assert!(matches!(mount(ext4), Err(Error::Kind { .. })));
        let relative = r#"{"destination": "a", "type": "tmpfs"}"#;
        assert!(matches!(mount(relative), Err(Error::Destination(_))));
        let climbing = r#"{"destination": "/a/../proc", "source": "/x", "options": ["bind"]}"#;
        assert!(matches!(mount(climbing), Err(Error::Destination(_))));
        let nowhere = r#"{"destination": "/a", "source": "x", "options": ["bind"]}"#;
        assert!(matches!(mount(nowhere), Err(Error::Source(_))));
    }
}
