//! A device file of a description, completed by what the host has.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use ucr_runtime::launch::{Device, DeviceFile};
use ucr_runtime::oci::plan::DeviceKind;
use ucr_sys::at;

use super::edits::Error;
use super::file::DeviceNode;

/// The mode of a device file of which nobody says it, as runc's.
const MODE: u32 = 0o666;

/// A device file for the container, and the rule that lets it be used.
pub(super) struct Node {
    pub(super) device: Device,
    pub(super) rule: Option<LinuxDeviceCgroup>,
}

/// What the host has at a path.
struct OfHost {
    kind: DeviceKind,
    number: (u32, u32),
    mode: u32,
}

/// Completes `node`: the host is asked for what the description leaves out.
///
/// It is the host's file itself where that is this device and the description says nothing of owner
/// and mode; else one that is made.
pub(super) fn complete(node: &DeviceNode) -> Result<Node, Error> {
    check_inside(&node.path)?;
    let host = node.host_path.as_ref().unwrap_or(&node.path);
    let access = node.permissions.as_deref().filter(|text| !text.is_empty());
    let access = access.unwrap_or("rwm");
    if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
        return Err(Error::Permissions(access.to_owned()));
    }
    let asked = node.kind.as_deref().filter(|text| !text.is_empty());
    let asked = asked.map(kind).transpose()?;
    let Identified {
        kind,
        number,
        found,
    } = identify(node, asked, host)?;
    let same = found
        .as_ref()
        .is_some_and(|found| (found.kind, found.number) == (kind, number));
    let is_plain = (node.file_mode, node.uid, node.gid) == (None, None, None);
    let file = if kind != DeviceKind::Fifo && same && is_plain {
        DeviceFile::Host {
            path: host.clone(),
            number,
        }
    } else {
        let mode = node
            .file_mode
            .or(found.filter(|_| same).map(|found| found.mode));
        DeviceFile::Made {
            kind,
            number,
            mode: checked_mode(mode.unwrap_or(MODE))?,
            owner: (node.uid.unwrap_or(0), node.gid.unwrap_or(0)),
        }
    };
    let device = Device {
        inside: node.path.clone(),
        file,
    };
    let rule = rule(kind, number, access);
    Ok(Node { device, rule })
}

/// What a device is, and what the host has in its place, if it was asked.
struct Identified {
    kind: DeviceKind,
    number: (u32, u32),
    found: Option<OfHost>,
}

/// Finds out what the device is, and what the host has there if it was asked.
fn identify(
    node: &DeviceNode,
    asked: Option<DeviceKind>,
    host: &Path,
) -> Result<Identified, Error> {
    let part = |number: i64| u32::try_from(number).map_err(|_outside| Error::Number(number));
    // A major number of 0 is none, as for the reference.
    let given = match node.major.filter(|major| *major != 0) {
        Some(major) => Some((part(major)?, part(node.minor.unwrap_or(0))?)),
        None => None,
    };
    let identified = |kind, number, found| Identified {
        kind,
        number,
        found,
    };
    match (asked, given) {
        (Some(DeviceKind::Fifo), _) => Ok(identified(DeviceKind::Fifo, (0, 0), None)),
        // One that is not there can be made.
        (Some(kind), Some(number)) => Ok(identified(kind, number, of_host(host).ok())),
        _ => {
            let found = of_host(host)?;
            if asked.is_some_and(|kind| kind != found.kind) {
                return Err(Error::OtherKind(host.to_owned()));
            }
            let number = given.unwrap_or(found.number);
            Ok(identified(found.kind, number, Some(found)))
        }
    }
}

/// The letters of mknod(1).
fn kind(letter: &str) -> Result<DeviceKind, Error> {
    match letter {
        "c" | "u" => Ok(DeviceKind::Character),
        "b" => Ok(DeviceKind::Block),
        "p" => Ok(DeviceKind::Fifo),
        _ => Err(Error::Type(letter.to_owned())),
    }
}

fn of_host(path: &Path) -> Result<OfHost, Error> {
    let failed = |error| Error::Host(path.to_owned(), error);
    let metadata: Metadata = path.metadata().map_err(failed)?;
    let is = metadata.file_type();
    let kind = if is.is_char_device() {
        DeviceKind::Character
    } else if is.is_block_device() {
        DeviceKind::Block
    } else if is.is_fifo() {
        DeviceKind::Fifo
    } else {
        return Err(Error::NoDevice(path.to_owned()));
    };
    let number = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => at::device_parts(metadata.rdev()),
    };
    Ok(OfHost {
        kind,
        number,
        mode: metadata.mode() & 0o7777,
    })
}

fn checked_mode(mode: u32) -> Result<u32, Error> {
    if mode <= 0o7777 {
        Ok(mode)
    } else {
        Err(Error::Mode(mode))
    }
}

/// Lets the device be used; a FIFO needs no leave.
fn rule(kind: DeviceKind, (major, minor): (u32, u32), access: &str) -> Option<LinuxDeviceCgroup> {
    let kind = match kind {
        DeviceKind::Character => LinuxDeviceType::C,
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Fifo => return None,
    };
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true)
        .set_typ(Some(kind))
        .set_major(Some(major.into()))
        .set_minor(Some(minor.into()))
        .set_access(Some(access.to_owned()));
    Some(rule)
}

/// Whether a path can be one of the container's to mount on.
pub(super) fn check_inside(path: &Path) -> Result<(), Error> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.parent().is_some() && path.components().all(plain) {
        Ok(())
    } else {
        Err(Error::Inside(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Result<Node, Error> {
        complete(&serde_json::from_str(json).unwrap())
    }

    fn host(path: &str, number: (u32, u32)) -> DeviceFile {
        DeviceFile::Host {
            path: path.into(),
            number,
        }
    }

    #[test]
    fn what_is_left_out_is_the_hosts() {
        let zero = node(r#"{"path": "/dev/zero"}"#).unwrap();
        assert_eq!(zero.device.file, host("/dev/zero", (1, 5)));
        let rule = zero.rule.unwrap();
        assert_eq!((rule.major(), rule.minor()), (Some(1), Some(5)));
        assert_eq!(rule.access().as_deref(), Some("rwm"));
        let other =
            r#"{"path": "/dev/x", "hostPath": "/dev/zero", "type": "c", "permissions": "r"}"#;
        let other = node(other).unwrap();
        assert_eq!(other.device.file, host("/dev/zero", (1, 5)));
        assert_eq!(other.device.inside, Path::new("/dev/x"));
        assert_eq!(other.rule.unwrap().access().as_deref(), Some("r"));
        let known = r#"{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}"#;
        assert_eq!(node(known).unwrap().device.file, host("/dev/zero", (1, 5)));
    }

    #[test]
    fn what_the_host_does_not_have_so_is_made() {
        let made = |json: &str| match node(json).unwrap().device.file {
            DeviceFile::Made {
                kind,
                number,
                mode,
                owner,
            } => (kind, number, mode, owner),
            other => panic!("{other:?}"),
        };
        let none = r#"{"path": "/dev/none", "type": "b", "major": 7, "minor": 200}"#;
        assert_eq!(made(none), (DeviceKind::Block, (7, 200), 0o666, (0, 0)));
        let other = r#"{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}"#;
        assert_eq!(made(other), (DeviceKind::Character, (1, 3), 0o666, (0, 0)));
        let owned = r#"{"path": "/dev/zero", "uid": 5, "fileMode": 416}"#;
        assert_eq!(made(owned), (DeviceKind::Character, (1, 5), 0o640, (5, 0)));
        let fifo = r#"{"path": "/run/fifo", "type": "p", "fileMode": 384}"#;
        assert_eq!(made(fifo), (DeviceKind::Fifo, (0, 0), 0o600, (0, 0)));
        assert!(node(fifo).unwrap().rule.is_none());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in [
            r#"{"path": "dev/zero"}"#,
            r#"{"path": "/"}"#,
            r#"{"path": "/dev/../zero", "hostPath": "/dev/zero"}"#,
            r#"{"path": "/dev/zero", "type": "x"}"#,
            r#"{"path": "/dev/zero", "type": "b"}"#,
            r#"{"path": "/dev/zero", "permissions": "rx"}"#,
            r#"{"path": "/dev/zero", "major": -1}"#,
            r#"{"path": "/dev/zero", "fileMode": 33206}"#,
            r#"{"path": "/dev/none-of-these"}"#,
            r#"{"path": "/etc"}"#,
        ] {
            assert!(node(wrong).is_err(), "{wrong}");
        }
    }
}
