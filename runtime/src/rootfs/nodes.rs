//! Device files that the configuration asks for.

use std::os::fd::AsFd;
use std::path::Path;

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::mount::{Depth, Tree};
use ucr_sys::{Errno, FileType, at};

use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::{Device, DeviceKind};

/// How a device file comes into a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is made.
    Made,
    /// The host's is bound: in a user namespace none can be made, user_namespaces(7).
    Bound,
}

/// Puts `devices` into `root`.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Devices`] that names the device.
pub fn put<'a>(
    root: &InRoot,
    devices: impl Iterator<Item = &'a Device>,
    manner: Manner,
) -> Result<(), Failure> {
    for device in devices {
        let path = device.path.as_path();
        let put = match manner {
            Manner::Made => make(root, path, device),
            Manner::Bound => bind(root, path, device),
        };
        put.during(Step::Devices, &device.path)?;
    }
    Ok(())
}

fn make(root: &InRoot, path: &Path, device: &Device) -> Result<(), Cause> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Cause::NotFile);
    };
    let name = name.as_encoded_bytes();
    let parent = root.ensure(parent, Kind::Directory, Links::Refuse)?;
    let parent = parent.as_fd();
    match at::make_node(parent, name, file_type(device.kind), device.number) {
        Err(error) if error.errno() == Errno::EXIST && is_there(root, path, device)? => {}
        other => other?,
    }
    let (uid, gid) = device.owner;
    at::set_owner(parent, name, uid, gid)?;
    Ok(at::set_mode(parent, name, device.mode)?)
}

/// Whether just this device is at `path` already.
fn is_there(root: &InRoot, path: &Path, device: &Device) -> Result<bool, Cause> {
    let stat = inroot::stat(root.place(path, Links::Refuse)?.as_fd())?;
    let same = FileType::from_raw_mode(stat.st_mode) == file_type(device.kind);
    Ok(same && at::device_parts(stat.st_rdev) == device.number)
}

fn bind(root: &InRoot, path: &Path, device: &Device) -> Result<(), Cause> {
    let source = inroot::host_place(path)?;
    let stat = inroot::stat(source.as_fd())?;
    let (major, minor) = device.number;
    let same = FileType::from_raw_mode(stat.st_mode) == file_type(device.kind);
    if !same || at::device_parts(stat.st_rdev) != device.number {
        return Err(Cause::NotTheDevice(major, minor));
    }
    let target = root.ensure(path, Kind::File, Links::Refuse)?;
    Ok(Tree::copy_of_fd(source.as_fd(), Depth::One)?.attach(target.as_fd())?)
}

/// What it is for mknod(2).
pub(super) fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}
