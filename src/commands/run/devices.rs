//! `--device`: device files of the host in a container, and devices that a vendor describes.

use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};
use ucr_runtime::launch::{Device, DeviceFile};
use ucr_sys::{FileType, at, inroot};

use super::volume::target_of;
use crate::cdi::{DeviceName, Edits};
use crate::command_error::CommandError;

/// One `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A device file of the host, or a directory of them.
    Host(Asked),
    /// What a vendor describes by this name.
    Described(DeviceName),
}

impl Wanted {
    /// Reads `HOST[:CONTAINER][:ACCESS]`, or `VENDOR/CLASS=NAME`: only the first begins with a slash.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') && text.contains('=') {
            DeviceName::parse(text).map(Self::Described)
        } else {
            Asked::parse(text).map(Self::Host)
        }
    }
}

/// A device file of the host: where it is, where the container sees it, and what it may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    host: PathBuf,
    inside: PathBuf,
    access: String,
}

impl Asked {
    /// Reads `HOST[:CONTAINER][:ACCESS]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_access =
            |part: &str| !part.is_empty() && part.bytes().all(|it| b"rwm".contains(&it));
        let (host, inside, access) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, access] if is_access(access) => (host, host, access),
            [host, inside] => (host, inside, "rwm"),
            [host, inside, access] if is_access(access) => (host, inside, access),
            [_, _, access] => return Err(format!("\"{access}\" is not made of r, w and m")),
            _ => return Err("it is not of the form HOST[:CONTAINER][:ACCESS]".to_owned()),
        };
        if !host.starts_with('/') {
            return Err(format!(
                "\"{host}\" is neither an absolute path of the host nor of the form \
                 VENDOR/CLASS=NAME"
            ));
        }
        Ok(Self {
            host: host.into(),
            inside: target_of(inside)?,
            access: access.to_owned(),
        })
    }
}

/// The devices of a container, and what it may do with them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    nodes: Vec<Device>,
    /// Whether it may use every device of the machine.
    all: bool,
    rules: Vec<LinuxDeviceCgroup>,
}

impl Devices {
    /// Looks the devices up that are asked for; those below a directory too, as Docker does.
    ///
    /// # Errors
    /// What is not there, or is neither.
    pub(super) fn find<'a>(
        asked: impl IntoIterator<Item = &'a Asked>,
    ) -> Result<Self, CommandError> {
        let mut found = Self::default();
        for one in asked {
            found.add(one)?;
        }
        Ok(found)
    }

    /// Every device of this machine, wherever below `/dev` it is.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub(super) fn all() -> Result<Self, CommandError> {
        let mut found = Self {
            all: true,
            ..Self::default()
        };
        let dev = Asked {
            host: "/dev".into(),
            inside: "/dev".into(),
            access: "rwm".to_owned(),
        };
        found.add_below(&dev)?;
        Ok(found)
    }

    /// Adds those of `edits`, which take the place of others at the same paths.
    pub(super) fn with(mut self, edits: &Edits) -> Self {
        let places: Vec<&Path> = edits
            .devices()
            .iter()
            .map(|it| it.inside.as_path())
            .collect();
        self.nodes
            .retain(|node| !places.contains(&node.inside.as_path()));
        self.nodes.extend_from_slice(edits.devices());
        self.rules.extend_from_slice(edits.rules());
        self
    }

    fn add(&mut self, asked: &Asked) -> Result<(), CommandError> {
        let refused = |why: &dyn std::fmt::Display| {
            let host = asked.host.display();
            CommandError::sentence(format!("cannot use the device {host} of this host: {why}"))
        };
        // Links are followed: /dev/disk/by-id is made of them.
        let place = inroot::host_place(&asked.host);
        let place = place.map_err(|error| refused(&error))?;
        let stat = at::stat_fd(place.as_fd()).map_err(CommandError::new)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => LinuxDeviceType::C,
            FileType::BlockDevice => LinuxDeviceType::B,
            FileType::Directory => return self.add_below(asked),
            _ => {
                return Err(refused(
                    &"it is neither a device nor a directory of devices",
                ));
            }
        };
        let number = at::device_parts(stat.st_rdev);
        self.nodes.push(Device {
            inside: asked.inside.clone(),
            file: DeviceFile::Host {
                path: asked.host.clone(),
                number,
            },
        });
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(kind))
            .set_major(Some(number.0.into()))
            .set_minor(Some(number.1.into()))
            .set_access(Some(asked.access.clone()));
        self.rules.push(rule);
        Ok(())
    }

    fn add_below(&mut self, asked: &Asked) -> Result<(), CommandError> {
        /// Of `/dev`: what every container has its own of, or anyway.
        const LEFT: [&str; 14] = [
            "pts",
            "shm",
            "mqueue",
            "hugepages",
            "console",
            "ptmx",
            "fd",
            "core",
            "null",
            "zero",
            "full",
            "random",
            "urandom",
            "tty",
        ];
        let listed = std::fs::read_dir(&asked.host)?;
        let mut names: Vec<_> = listed
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for name in names {
            let top = asked.host == Path::new("/dev");
            if top && LEFT.iter().any(|left| name == *left) {
                continue;
            }
            let below = Asked {
                host: asked.host.join(&name),
                inside: asked.inside.join(&name),
                access: asked.access.clone(),
            };
            let kind = below.host.symlink_metadata()?.file_type();
            if kind.is_dir() {
                self.add_below(&below)?;
            } else if kind.is_char_device() || kind.is_block_device() {
                self.add(&below)?;
            }
        }
        Ok(())
    }

    /// The files.
    pub(crate) fn nodes(&self) -> &[Device] {
        &self.nodes
    }

    /// Adds what is allowed to what was.
    pub(crate) fn allow(&self, resources: &mut LinuxResources) {
        let mut rules = resources.devices().clone().unwrap_or_default();
        if self.all {
            let mut rule = LinuxDeviceCgroup::default();
            rule.set_allow(true)
                .set_typ(Some(LinuxDeviceType::A))
                .set_access(Some("rwm".to_owned()));
            rules = vec![rule];
        } else {
            rules.extend(self.rules.iter().cloned());
        }
        resources.set_devices(Some(rules));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_path_or_a_name() {
        let described = Wanted::parse("vendor.com/class=name").unwrap();
        assert!(matches!(described, Wanted::Described(_)));
        for path in ["/dev/fuse", "/dev/a=b", "/dev/a:/dev/b:rw"] {
            assert!(matches!(Wanted::parse(path), Ok(Wanted::Host(_))), "{path}");
        }
        for wrong in ["fuse", "vendor.com/class", "vendor.com=name", "a/b=c:rw:x/"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
}
