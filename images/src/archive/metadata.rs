//! Owners, attributes, modes and times of unpacked entries, in the order that keeps them.
//!
//! The owner comes first, since chown(2) takes file capabilities and
//! set-user-ID bits away; then attributes, then the mode, then the time.

use std::os::fd::BorrowedFd;

use ucr_sys::{Errno, at};

use super::index::Hash;
use super::tar::Entry;

/// Attributes that mean something to overlayfs or to the host, not to the image (L68, L69), and
/// the one that a directory would pass on to whatever is unpacked into it (acl(5)).
fn is_dropped(key: &[u8]) -> bool {
    key.starts_with(b"trusted.overlay.")
        || key.starts_with(b"user.overlay.")
        || matches!(
            key,
            b"security.selinux"
                | b"security.ima"
                | b"security.evm"
                | b"system.nfs4_acl"
                | b"system.posix_acl_default"
        )
}

/// Whether an attribute found on the disk belongs to the image: what the kernel or a security
/// module of the host adds to every file does not.
fn is_indexed(key: &[u8]) -> bool {
    !is_dropped(key) && (!key.starts_with(b"security.") || key == b"security.capability")
}

/// The digest of an open file's attributes, `None` where it has none that count.
pub(super) fn attributes_fd(fd: BorrowedFd<'_>) -> Result<Option<Hash>, ucr_sys::Error> {
    Ok(digest(at::xattrs_fd(fd)?))
}

/// The digest of the attributes of a link, a device or a FIFO; `None` where it has none that count.
pub(super) fn attributes(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Hash>, ucr_sys::Error> {
    Ok(digest(at::xattrs(dir, name)?))
}

fn digest(mut pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Hash> {
    pairs.retain(|(key, _)| is_indexed(key));
    if pairs.is_empty() {
        return None;
    }
    pairs.sort();
    let mut hasher = blake3::Hasher::new();
    for part in pairs.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Some(*hasher.finalize().as_bytes())
}

fn kept(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = entry
        .xattrs
        .iter()
        .map(|(key, value)| (key.as_slice(), value.as_slice()));
    pairs.filter(|(key, _)| !is_dropped(key))
}

/// Gives an open file or directory what its entry says, except a directory's time.
pub(super) fn apply_fd(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), ucr_sys::Error> {
    at::set_owner_fd(fd, entry.uid, entry.gid)?;
    apply_mode(fd, entry)
}

/// Gives a file that was just made, and belongs to `owner`, what its entry says, except its time.
pub(super) fn apply_new(
    fd: BorrowedFd<'_>,
    entry: &Entry,
    owner: Option<(u32, u32)>,
) -> Result<(), ucr_sys::Error> {
    if owner != Some((entry.uid, entry.gid)) {
        at::set_owner_fd(fd, entry.uid, entry.gid)?;
    }
    apply_mode(fd, entry)
}

fn apply_mode(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), ucr_sys::Error> {
    for (key, value) in kept(entry) {
        at::set_xattr_fd(fd, key, value)?;
    }
    at::set_mode_fd(fd, entry.mode)
}

/// Gives a device or FIFO what its entry says.
pub(super) fn apply_node(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), ucr_sys::Error> {
    at::set_owner(dir, name, entry.uid, entry.gid)?;
    set_xattrs(dir, name, entry)?;
    at::set_mode(dir, name, entry.mode)?;
    at::set_times(dir, name, entry.time)
}

/// Gives a symbolic link what its entry says; a link has no mode of its own.
pub(super) fn apply_link(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), ucr_sys::Error> {
    at::set_owner(dir, name, entry.uid, entry.gid)?;
    set_xattrs(dir, name, entry)?;
    at::set_times(dir, name, entry.time)
}

fn set_xattrs(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), ucr_sys::Error> {
    for (key, value) in kept(entry) {
        match at::set_xattr(dir, name, key, value) {
            // user.* is for files and directories only (xattr(7)); archives have it elsewhere too.
            Err(error) if error.errno() == Errno::PERM && key.starts_with(b"user.") => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l68_l69_attributes_of_overlayfs_and_of_the_host_are_dropped() {
        for key in [
            "trusted.overlay.opaque",
            "user.overlay.redirect",
            "security.selinux",
        ] {
            assert!(is_dropped(key.as_bytes()), "{key}");
        }
        for key in [
            "security.capability",
            "user.overlayed",
            "trusted.other",
            "user.x",
        ] {
            assert!(!is_dropped(key.as_bytes()), "{key}");
        }
    }
}
