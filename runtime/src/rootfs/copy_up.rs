//! The option `tmpcopyup`: a new file system begins with a copy of what it covers.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::mount::Tree;
use ucr_sys::{Errno, FileType, OFlags, Result, Stat, at};

/// Deepest directory that is copied.
const DEPTH_MAX: usize = 256;

/// What else is said of the directory that is filled, and holds then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its mode.
    pub mode: bool,
    /// Its owner.
    pub uid: bool,
    /// Its group.
    pub gid: bool,
}

/// Fills the detached `tree` with what is in the directory `covered`, with owners, modes, times and
/// extended attributes.
///
/// Links are copied as links and never followed; sockets are left out.
///
/// # Errors
///
/// Of the call that failed; `ENAMETOOLONG` for directories in more than 256 others.
pub fn fill(tree: &Tree, covered: BorrowedFd<'_>, said: Said) -> Result<()> {
    let from = reopened(covered)?;
    let to = reopened(tree.as_fd())?;
    let (own, copied) = (at::stat_fd(to.as_fd())?, at::stat_fd(from.as_fd())?);
    copy_attributes(&from, &to)?;
    let uid = if said.uid { own.st_uid } else { copied.st_uid };
    let gid = if said.gid { own.st_gid } else { copied.st_gid };
    at::set_owner_fd(to.as_fd(), uid, gid)?;
    let mode = if said.mode {
        own.st_mode
    } else {
        copied.st_mode
    };
    // After the owner, at whose change the kernel takes bits away.
    at::set_mode_fd(to.as_fd(), mode)?;
    copy_entries(&from, &to, DEPTH_MAX)
}

/// A directory known as a place, opened to be listed.
fn reopened(place: BorrowedFd<'_>) -> Result<OwnedFd> {
    at::open_dir(place, b".")
}

fn copy_entries(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
    let left = depth.checked_sub(1).ok_or_else(|| {
        let place = at::described(from.as_fd());
        ucr_sys::Error::new("copy", place, Errno::NAMETOOLONG)
    })?;
    for name in at::names(from.as_fd())? {
        let Some(stat) = at::stat(from.as_fd(), &name)? else {
            continue;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            at::make_dir(to.as_fd(), &name)?;
            let inner = (
                at::open_dir(from.as_fd(), &name)?,
                at::open_dir(to.as_fd(), &name)?,
            );
            copy_entries(&inner.0, &inner.1, left)?;
            copy_attributes(&inner.0, &inner.1)?;
        } else {
            copy_other(from, to, &name, &stat)?;
        }
    }
    Ok(())
}

/// Copies what is no directory.
fn copy_other(from: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat) -> Result<()> {
    let (source, target) = (from.as_fd(), to.as_fd());
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind.is_file() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let opened = at::open_in_root(source, name, flags)
            .map_err(|errno| ucr_sys::Error::new("openat2", at::quoted(name), errno))?;
        let new = at::create_file(target, name)?;
        std::io::copy(
            &mut File::from(opened.try_clone().map_err(|error| io(name, &error))?),
            &mut File::from(new.try_clone().map_err(|error| io(name, &error))?),
        )
        .map_err(|error| io(name, &error))?;
        return copy_attributes(&opened, &new);
    }
    if kind.is_symlink() {
        at::make_symlink(target, name, &at::read_link(source, name)?)?;
        return at::set_owner(target, name, stat.st_uid, stat.st_gid);
    }
    if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() {
        at::make_node(target, name, kind, at::device_parts(stat.st_rdev))?;
        at::set_owner(target, name, stat.st_uid, stat.st_gid)?;
        return at::set_mode(target, name, stat.st_mode);
    }
    Ok(())
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let stat = at::stat_fd(from.as_fd())?;
    at::set_owner_fd(to.as_fd(), stat.st_uid, stat.st_gid)?;
    at::set_mode_fd(to.as_fd(), stat.st_mode)?;
    for (key, value) in at::xattrs_fd(from.as_fd())? {
        match at::set_xattr_fd(to.as_fd(), &key, &value) {
            // A tmpfs without them, as before Linux 6.6 for "user.".
            Err(error) if error.errno() == Errno::OPNOTSUPP => {}
            other => other?,
        }
    }
    Ok(())
}

fn io(name: &[u8], error: &std::io::Error) -> ucr_sys::Error {
    ucr_sys::Error::from_io("copy", at::quoted(name), error)
}
