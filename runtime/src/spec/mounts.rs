//! Mounts of the spec, with their options understood one by one.

use std::path::{Component, Path};

use oci_spec::runtime;
use ucr_sys::mount::Attributes;

use crate::plan::{Bytes, Mount, Source};

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

/// File systems that a container may have new instances of.
const KINDS: [&str; 5] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue"];

/// Converts one mount.
///
/// Every mount is `nodev`, whatever its options say: device files come from
/// `rootfs::devices` alone.
pub(super) fn convert(mount: &runtime::Mount) -> Result<Mount, Error> {
    let destination = destination(mount.destination())?;
    let name = || destination.to_string_lossy().into_owned();
    let options = Options::parse(mount.options().as_deref().unwrap_or_default());
    let attributes = (options.attributes | Attributes::MOUNT_ATTR_NODEV).bits();
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = if options.bind || kind == "bind" {
        if destination.starts_with("/proc") {
            return Err(Error::OverProc(name()));
        }
        if let Some((key, value)) = options.data.into_iter().next() {
            let option = value.map_or(key.clone(), |value| format!("{key}={value}"));
            return Err(Error::Option {
                option,
                destination: name(),
            });
        }
        let path = mount.source().as_deref().filter(|path| path.is_absolute());
        let path = Bytes::from(path.ok_or_else(|| Error::Source(name()))?);
        Source::Bind {
            path,
            recursive: options.recursive,
        }
    } else if kind == "cgroup" || kind == "cgroup2" {
        Source::Cgroups
    } else if KINDS.contains(&kind) {
        Source::FileSystem {
            kind: kind.to_owned(),
            options: options.data,
        }
    } else {
        return Err(Error::Kind {
            kind: kind.to_owned(),
            destination: name(),
        });
    };
    if let Some(option) = options.refused {
        return Err(Error::Option {
            option,
            destination: name(),
        });
    }
    Ok(Mount {
        destination: destination.into(),
        source,
        attributes,
    })
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

/// What the options of one mount come to.
struct Options {
    attributes: Attributes,
    bind: bool,
    recursive: bool,
    data: Vec<(String, Option<String>)>,
    refused: Option<String>,
}

impl Options {
    fn parse(options: &[String]) -> Self {
        let attributes = Attributes::empty();
        let mut parsed = Self {
            attributes,
            bind: false,
            recursive: false,
            data: vec![],
            refused: None,
        };
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "ro" | "rro" => self.attributes |= Attributes::MOUNT_ATTR_RDONLY,
            "rw" | "rrw" => self.attributes -= Attributes::MOUNT_ATTR_RDONLY,
            "nosuid" => self.attributes |= Attributes::MOUNT_ATTR_NOSUID,
            "noexec" => self.attributes |= Attributes::MOUNT_ATTR_NOEXEC,
            "nosymfollow" => self.attributes |= Attributes::MOUNT_ATTR_NOSYMFOLLOW,
            "noatime" => self.attributes |= Attributes::MOUNT_ATTR_NOATIME,
            "strictatime" => self.attributes |= Attributes::MOUNT_ATTR_STRICTATIME,
            "nodiratime" => self.attributes |= Attributes::MOUNT_ATTR_NODIRATIME,
            // What we do anyway: private propagation, a new devpts for each
            // mount since Linux 4.7, no devices, and the kernel's defaults.
            "private" | "rprivate" | "newinstance" | "nodev" | "relatime" | "suid" | "exec"
            | "defaults" => {}
            "dev" | "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable"
            | "remount" | "sync" | "mand" | "idmap" | "ridmap" | "tmpcopyup" => {
                self.refused = Some(option.to_owned());
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(json: &str) -> Result<Mount, Error> {
        convert(&serde_json::from_str(json).expect("mount"))
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
