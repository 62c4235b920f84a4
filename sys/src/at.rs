//! The `*at` calls: one name below one directory fd, never followed.
//!
//! Names are bytes, as the kernel has them. Every function here acts on the
//! named object itself: a symbolic link at `name` is created, read, replaced or
//! removed as a link. Whoever needs a path of several components opened inside
//! a tree uses [`open_in_root`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Uid};

use crate::error::Context;
use crate::{Errno, Error, Result};

/// A name for messages: quoted, with everything unprintable escaped.
pub fn quoted(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}

fn operands(dir: BorrowedFd<'_>, name: &[u8]) -> String {
    format!("{}, {}", described(dir), quoted(name))
}

/// A directory fd for messages: its number, and the path the kernel has for it now.
pub fn described(fd: BorrowedFd<'_>) -> String {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match fs::readlink(&link, Vec::new()) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => format!("fd {}", fd.as_raw_fd()),
    }
}

/// Opens `path` as a process would whose root directory is `root`.
///
/// Symbolic links, absolute ones too, and `..` are resolved inside `root`;
/// magic links (`/proc/*/fd`) are refused. Returns `ELOOP`, `ENOENT`, … as
/// openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS` does.
pub fn open_in_root(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: a rename elsewhere made ".." unsafe to resolve; openat2(2) says to try again.
        match fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens the directory at `path` below `root`, through directories only.
///
/// Returns `ELOOP` where a component is a symbolic link, and `EXDEV` where
/// `path` would leave `root`, as openat2(2) with `RESOLVE_BENEATH |
/// RESOLVE_NO_SYMLINKS` does.
pub fn open_dir_below(root: BorrowedFd<'_>, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens the directory `name` itself, refusing a symbolic link in its place.
pub fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty()).context("openat", || operands(dir, name))
}

/// Creates the regular file `name` for writing, with no permission for others yet.
///
/// # Errors
/// `EEXIST` when anything of that name is there, a dangling link too.
pub fn create_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).context("openat", || {
        format!("{}, O_CREAT|O_EXCL", operands(dir, name))
    })
}

/// Creates or opens the file `name` of our own for reading and writing, mode 0600 where it is new.
pub fn open_or_create_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))
        .context("openat", || format!("{}, O_CREAT", operands(dir, name)))
}

/// Opens the regular file `name` for reading, without waiting should it be a FIFO.
pub fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty()).context("openat", || operands(dir, name))
}

/// Opens `name` itself as a place (`O_PATH`), whatever it is: a device file is not asked anything.
pub fn place(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty())
        .context("openat", || format!("{}, O_PATH", operands(dir, name)))
}

/// Lets the kernel forget what it has cached of an open file and need not write any more, so
/// that the next read asks the disk (posix_fadvise(2), `POSIX_FADV_DONTNEED`).
pub fn forget_cached(fd: BorrowedFd<'_>) -> Result<()> {
    fs::fadvise(fd, 0, None, fs::Advice::DontNeed).context("fadvise64", || described(fd))
}

/// Creates the directory `name`, mode 0700 until [`set_mode`] says otherwise.
pub fn make_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)).context("mkdirat", || operands(dir, name))
}

/// Creates the symbolic link `name` that says `target`.
pub fn make_symlink(dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<()> {
    fs::symlinkat(target, dir, name).context("symlinkat", || {
        format!("{}, {}", quoted(target), operands(dir, name))
    })
}

/// Gives the object `old` (itself, if it is a symbolic link) the second name `new`.
pub fn make_hard_link(
    old_dir: BorrowedFd<'_>,
    old: &[u8],
    new_dir: BorrowedFd<'_>,
    new: &[u8],
) -> Result<()> {
    fs::linkat(old_dir, old, new_dir, new, AtFlags::empty()).context("linkat", || {
        format!("{}, {}", operands(old_dir, old), operands(new_dir, new))
    })
}

/// Creates a device node or a FIFO.
pub fn make_node(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    device: (u32, u32),
) -> Result<()> {
    let device_number = fs::makedev(device.0, device.1);
    fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device_number)
        .context("mknodat", || {
            format!("{}, {}:{}", operands(dir, name), device.0, device.1)
        })
}

/// The number by which a file's facts name a device.
pub fn device_number(major: u32, minor: u32) -> u64 {
    fs::makedev(major, minor)
}

/// The major and minor number behind the number of a device.
pub fn device_parts(number: u64) -> (u32, u32) {
    (fs::major(number), fs::minor(number))
}

/// Gives what is called `old` in `dir` the name `new`, in place of what has that.
pub fn rename(dir: BorrowedFd<'_>, old: &[u8], new: &[u8]) -> Result<()> {
    fs::renameat(dir, old, dir, new).context("renameat", || {
        format!("{}, {}", operands(dir, old), quoted(new))
    })
}

/// Reads what the symbolic link `name` says.
pub fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    fs::readlinkat(dir, name, Vec::new())
        .map(std::ffi::CString::into_bytes)
        .context("readlinkat", || operands(dir, name))
}

/// Facts of the object `name` itself, or `None` where there is none.
pub fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::new("newfstatat", operands(dir, name), errno)),
    }
}

/// Facts of an open file.
pub fn stat_fd(fd: BorrowedFd<'_>) -> Result<Stat> {
    fs::fstat(fd).context("fstat", || described(fd))
}

/// Whether two descriptors are open on one and the same file.
pub fn same_file(one: impl AsFd, other: impl AsFd) -> Result<bool> {
    let (one, other) = (stat_fd(one.as_fd())?, stat_fd(other.as_fd())?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Sets owner and group of the object `name` itself.
///
/// The IDs must not be `u32::MAX`, which chown(2) takes for "leave as it is".
pub fn set_owner(dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Error::new("fchownat", operands(dir, name), Errno::INVAL));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .context("fchownat", || {
            format!("{}, {uid}:{gid}", operands(dir, name))
        })
}

/// Sets owner and group of an open file; the IDs as in [`set_owner`].
pub fn set_owner_fd(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Error::new("fchown", described(fd), Errno::INVAL));
    }
    fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .context("fchown", || format!("{}, {uid}:{gid}", described(fd)))
}

/// Sets the permission bits, set-user-ID and sticky bits included, of an open file.
pub fn set_mode_fd(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    fs::fchmod(fd, Mode::from_raw_mode(mode & 0o7777))
        .context("fchmod", || format!("{}, {mode:04o}", described(fd)))
}

/// Sets the permission bits of a node that cannot be opened (a device, a FIFO).
///
/// `name` must be known not to be a symbolic link: fchmodat(2) follows one.
pub fn set_mode(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
    fs::chmodat(
        dir,
        name,
        Mode::from_raw_mode(mode & 0o7777),
        AtFlags::empty(),
    )
    .context("fchmodat", || {
        format!("{}, {mode:04o}", operands(dir, name))
    })
}

/// A point in time of a file, in seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTime {
    /// Seconds since 1970-01-01 UTC; may be negative.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl FileTime {
    /// When the file of `stat` was modified last.
    pub fn modified(stat: &Stat) -> Self {
        Self {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        }
    }

    fn timestamps(self) -> fs::Timestamps {
        let time = Timespec {
            tv_sec: self.seconds,
            tv_nsec: self.nanoseconds.into(),
        };
        fs::Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// Sets access and modification time of the object `name` itself.
pub fn set_times(dir: BorrowedFd<'_>, name: &[u8], time: FileTime) -> Result<()> {
    fs::utimensat(dir, name, &time.timestamps(), AtFlags::SYMLINK_NOFOLLOW)
        .context("utimensat", || operands(dir, name))
}

/// Sets access and modification time of an open file.
pub fn set_times_fd(fd: BorrowedFd<'_>, time: FileTime) -> Result<()> {
    fs::futimens(fd, &time.timestamps()).context("futimens", || described(fd))
}

/// Sets one extended attribute of an open file or directory.
pub fn set_xattr_fd(fd: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> Result<()> {
    fs::fsetxattr(fd, key, value, fs::XattrFlags::empty()).context("fsetxattr", || {
        format!("{}, {}", described(fd), quoted(key))
    })
}

/// Sets one extended attribute of the object `name` itself, a link or device too.
pub fn set_xattr(dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
    // lsetxattr(2) has no *at form before Linux 6.13: the directory is named through
    // /proc/self/fd, and the last component is not followed.
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    fs::lsetxattr(&path, key, value, fs::XattrFlags::empty()).context("lsetxattr", || {
        format!("{}, {}", operands(dir, name), quoted(key))
    })
}

/// Removes an extended attribute; one that is not there is no error.
pub fn remove_xattr_fd(fd: BorrowedFd<'_>, key: &[u8]) -> Result<()> {
    match fs::fremovexattr(fd, key) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::new("fremovexattr", described(fd), errno)),
    }
}

/// Reads one extended attribute of an open file; `None` where it has none.
pub fn xattr_fd(fd: BorrowedFd<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(256);
    loop {
        match fs::fgetxattr(fd, key, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => return Ok(Some(value)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(Errno::RANGE) if value.capacity() <= 1 << 16 => {
                value.reserve(value.capacity() * 2);
            }
            Err(errno) => return Err(Error::new("fgetxattr", described(fd), errno)),
        }
    }
}

/// The names of all extended attributes of an open file.
pub fn xattr_names_fd(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let mut list = Vec::with_capacity(1 << 16);
    match fs::flistxattr(fd, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::new("flistxattr", described(fd), errno)),
    }
    Ok(list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

/// The extended attributes of the object `name` itself, a link or device too.
pub fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // Named through /proc/self/fd, as in `set_xattr`.
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut list = Vec::with_capacity(1 << 16);
    match fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::new("llistxattr", operands(dir, name), errno)),
    }
    let mut found = Vec::new();
    for key in list.split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
        let mut value = Vec::with_capacity(1 << 16);
        match fs::lgetxattr(&path, key, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => found.push((key.to_vec(), value)),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(Error::new("lgetxattr", operands(dir, name), errno)),
        }
    }
    Ok(found)
}

/// The extended attributes of an open file.
pub fn xattrs_fd(fd: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    for key in xattr_names_fd(fd)? {
        if let Some(value) = xattr_fd(fd, &key)? {
            found.push((key, value));
        }
    }
    Ok(found)
}

/// The names in an open directory, without `.` and `..`, in no order.
pub fn names(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let reader = fs::Dir::read_from(dir).context("getdents64", || described(dir))?;
    let mut names = Vec::new();
    for entry in reader {
        let entry = entry.context("getdents64", || described(dir))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Whether an open directory has a name that is `wanted`; reads no further than to the first.
pub fn has_name(dir: BorrowedFd<'_>, wanted: impl Fn(&[u8]) -> bool) -> Result<bool> {
    let reader = fs::Dir::read_from(dir).context("getdents64", || described(dir))?;
    for entry in reader {
        let entry = entry.context("getdents64", || described(dir))?;
        if wanted(entry.file_name().to_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the file, link or node `name`; one that is not there is no error.
pub fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::new("unlinkat", operands(dir, name), errno)),
    }
}

/// Removes the empty directory `name`; one that is not there is no error.
pub fn remove_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::new("unlinkat", operands(dir, name), errno)),
    }
}
