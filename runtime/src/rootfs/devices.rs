//! The standard devices in the container's `/dev`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::mount::{Attributes, Depth, Tree};

use crate::failure::{Cause, During, Failure, Step};

/// Name, major and minor number, Documentation/admin-guide/devices.txt.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links that programs expect, runtime-spec config-linux.md "Default Devices" and "Dev symbolic links".
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
];

/// Opens the host's `/dev/null`, having made sure that it is just that (CVE-2025-31133).
///
/// # Errors
///
/// A [`Failure`] of [`Step::Devices`].
pub fn null() -> Result<OwnedFd, Failure> {
    device("/dev/null", 1, 3)
}

/// Puts the standard devices and links into the fresh `/dev` of `root`, but for those at places that
/// were asked for otherwise.
///
/// They are the host's, bound: a file system of the container's own stays
/// `nodev`, so `mknod` gives the task nothing even where no device cgroup is.
/// Bound read-only: writing *to* a device is still possible, but changing the
/// mode or owner of the host's `/dev/null` is not.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Devices`] that names the device.
pub fn populate(root: &InRoot, is_asked_for: impl Fn(&Path) -> bool) -> Result<(), Failure> {
    let attributes = Attributes::MOUNT_ATTR_RDONLY
        | Attributes::MOUNT_ATTR_NOSUID
        | Attributes::MOUNT_ATTR_NOEXEC;
    for (name, major, minor) in DEVICES {
        let path = format!("/dev/{name}");
        if is_asked_for(Path::new(&path)) {
            continue;
        }
        let source = device(&path, major, minor)?;
        let bind = || -> Result<(), ucr_sys::Error> {
            let target = root.ensure(Path::new(&path), Kind::File, Links::Refuse)?;
            let tree = Tree::copy_of_fd(source.as_fd(), Depth::One)?;
            tree.set(attributes, Depth::One)?;
            tree.attach(target.as_fd())
        };
        bind().during(Step::Devices, &path)?;
    }
    for (path, target) in LINKS {
        root.symlink(target, Path::new(path))
            .during(Step::Devices, path)?;
    }
    Ok(())
}

fn device(path: &str, major: u32, minor: u32) -> Result<OwnedFd, Failure> {
    let fd = inroot::host_place(Path::new(path)).during(Step::Devices, path)?;
    if inroot::is_character_device(fd.as_fd(), major, minor).during(Step::Devices, path)? {
        Ok(fd)
    } else {
        Err(Failure::new(
            Step::Devices,
            path,
            Cause::NotTheDevice(major, minor),
        ))
    }
}
