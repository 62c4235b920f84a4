//! Paths that an image or a task may have written, resolved inside a directory.
//!
//! Every path is resolved by the kernel with the directory as its `/`
//! (openat2(2), `RESOLVE_IN_ROOT`), never through a link of `/proc`
//! (`RESOLVE_NO_MAGICLINKS`), and used as a descriptor from then on.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Links followed in one path at most, as path_resolution(7) has it.
const LINKS_MAX: u32 = 40;

/// What a path is expected to be, and what is made where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory, mode 0755.
    Directory,
    /// An empty regular file, mode 0644.
    File,
}

/// Whether symbolic links inside the root are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are, inside the root.
    Follow,
    /// Any of them is an error, `ELOOP`.
    Refuse,
}

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct InRoot(OwnedFd);

impl InRoot {
    /// Makes the directory that `fd` is open on the root of all paths.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens `path` as a place (`O_PATH`): to mount on, to look at, to go to.
    ///
    /// # Errors
    ///
    /// Any failure of `openat2`; `ELOOP` for a link of `/proc` or a refused link.
    pub fn place(&self, path: &Path, links: Links) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH, links)
    }

    /// Opens `path` as a place, making what is missing of it inside the root.
    ///
    /// A dangling link is followed, and its target made, inside the root
    /// (CVE-2026-55686, CVE-2024-5154: elsewhere it was made on the host).
    ///
    /// # Errors
    ///
    /// Any failure of `openat2`, `mkdirat` or `openat`.
    pub fn ensure(&self, path: &Path, kind: Kind, links: Links) -> Result<OwnedFd> {
        self.ensure_within(path, kind, links, LINKS_MAX)
    }

    fn ensure_within(&self, path: &Path, kind: Kind, links: Links, left: u32) -> Result<OwnedFd> {
        match self.place(path, links) {
            Err(error) if error.is_not_found() => {}
            other => return other,
        }
        let left = left
            .checked_sub(1)
            .ok_or_else(|| Error::new("openat2", format!("{path:?}"), Errno::LOOP))?;
        let (parent_path, name) =
            split(path).ok_or_else(|| Error::new("openat2", format!("{path:?}"), Errno::NOENT))?;
        let parent = self.ensure_within(parent_path, Kind::Directory, links, left)?;
        // Nothing can be made there, and its links are not what they read like.
        if is_on_procfs(parent.as_fd())? {
            return Err(Error::new("openat2", format!("{path:?}"), Errno::NOENT));
        }
        match readlinkat(&parent, name, Vec::new()) {
            Ok(target) if links == Links::Follow => {
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                // An absolute target replaces the parent: `join` does just that,
                // and the kernel takes it from the root again.
                self.ensure_within(&parent_path.join(target), kind, links, left)
            }
            Ok(_) => Err(Error::new("openat2", format!("{path:?}"), Errno::LOOP)),
            Err(Errno::NOENT) => {
                create(parent.as_fd(), name, kind)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                openat2(&parent, name, flags, Mode::empty(), resolve)
                    .context("openat2", || format!("{path:?}"))
            }
            // It came into being in between: look again.
            Err(Errno::INVAL) => self.ensure_within(path, kind, links, left),
            Err(errno) => Err(errno).context("readlinkat", || format!("{path:?}")),
        }
    }

    /// Opens the directory `path`, to be listed or for names in it.
    ///
    /// # Errors
    ///
    /// Any failure of `openat2`; `ENOTDIR` for what is no directory.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Links::Follow)
    }

    /// Opens the regular file `path` for reading, without blocking on a FIFO.
    ///
    /// # Errors
    ///
    /// Any failure of `openat2` or `fstat`; `EINVAL` for what is no regular file.
    pub fn regular_file(&self, path: &Path) -> Result<File> {
        self.open_regular(path, OFlags::RDONLY)
    }

    /// Opens the regular file `path` for reading anywhere, and for writing at its end.
    ///
    /// Opening a device for writing may act on it already: whoever does not know
    /// what is there looks at its [`InRoot::place`] first.
    ///
    /// # Errors
    ///
    /// As [`InRoot::regular_file`].
    pub fn appendable_file(&self, path: &Path) -> Result<File> {
        self.open_regular(path, OFlags::RDWR | OFlags::APPEND)
    }

    /// Opens the character device `path` with these numbers for reading and writing, through no link.
    ///
    /// What is there is looked at before: opening a device may act on it.
    ///
    /// # Errors
    ///
    /// Any failure of `openat2` or `fstat`; `ENXIO` for anything else.
    pub fn character_device(&self, path: &Path, (major, minor): (u32, u32)) -> Result<OwnedFd> {
        let open = |flags| {
            let fd = self.open(path, flags, Links::Refuse)?;
            if is_character_device(fd.as_fd(), major, minor)? {
                Ok(fd)
            } else {
                let wanted = format!("{path:?}, character device {major}:{minor}");
                Err(Error::new("openat2", wanted, Errno::NXIO))
            }
        };
        open(OFlags::PATH)?;
        // Asked again: another may have been put there.
        open(OFlags::RDWR | OFlags::NOCTTY)
    }

    fn open_regular(&self, path: &Path, access: OFlags) -> Result<File> {
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open(path, flags, Links::Follow)?;
        let stat = rustix::fs::fstat(&file).context("fstat", || format!("{path:?}"))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Error::new(
                "open regular file",
                format!("{path:?}"),
                Errno::INVAL,
            ));
        }
        Ok(file.into())
    }

    /// Reads the regular file `path`, refusing one of more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`InRoot::regular_file`], and of `read`; `EFBIG` over the limit.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        read_within(&self.regular_file(path)?, path, limit)
    }

    /// Makes the symbolic link `path` to `target`, where nothing of that name is yet.
    ///
    /// # Errors
    ///
    /// Any failure of `openat2` or `symlinkat`.
    pub fn symlink(&self, target: &str, path: &Path) -> Result<()> {
        let (parent, name) = split(path)
            .ok_or_else(|| Error::new("symlinkat", format!("{path:?}"), Errno::INVAL))?;
        let parent = self.place(parent, Links::Refuse)?;
        rustix::fs::symlinkat(target, &parent, name)
            .context("symlinkat", || format!("{target:?}, {path:?}"))
    }

    fn open(&self, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd> {
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if links == Links::Refuse {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        loop {
            match openat2(
                &self.0,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // A rename or mount somewhere raced with "..": the man page says try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other.context("openat2", || format!("{path:?}, RESOLVE_IN_ROOT")),
            }
        }
    }
}

impl AsFd for InRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a directory or file of the host as a place (`O_PATH`), following links.
///
/// # Errors
///
/// Any failure of `openat`.
pub fn host_place(path: &Path) -> Result<OwnedFd> {
    openat(
        rustix::fs::CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context("openat", || format!("{path:?}, O_PATH"))
}

/// Opens `name` in a directory of ours as a place, refusing a link.
///
/// # Errors
///
/// Any failure of `openat`.
pub fn own_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).context("openat", || format!("{name:?}"))
}

/// Makes a directory in a directory of ours.
///
/// # Errors
///
/// Any failure of `mkdirat`.
pub fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    mkdirat(parent, name, Mode::from_raw_mode(mode))
        .context("mkdirat", || format!("{name:?}, {mode:o}"))
}

/// Gives a directory of ours the owner and mode of another.
///
/// # Errors
///
/// Any failure of `fstat`, `fchownat` or `fchmodat`.
pub fn copy_owner_and_mode(from: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let stat = stat(from)?;
    let owner = rustix::fs::Uid::from_raw(stat.st_uid);
    let group = rustix::fs::Gid::from_raw(stat.st_gid);
    rustix::fs::chownat(
        parent,
        name,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .context("fchownat", || format!("{name:?}"))?;
    rustix::fs::chmodat(
        parent,
        name,
        Mode::from_raw_mode(stat.st_mode),
        AtFlags::empty(),
    )
    .context("fchmodat", || format!("{name:?}, {:o}", stat.st_mode))
}

/// The attributes of what `fd` is open on.
///
/// # Errors
///
/// Any failure of `fstat`.
pub fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    rustix::fs::fstat(fd).context("fstat", String::new)
}

/// What `fd` is open on, as far as a mount target is concerned.
///
/// # Errors
///
/// Any failure of `fstat`.
pub fn kind_of(fd: BorrowedFd<'_>) -> Result<Kind> {
    let file_type = rustix::fs::FileType::from_raw_mode(stat(fd)?.st_mode);
    Ok(if file_type.is_dir() {
        Kind::Directory
    } else {
        Kind::File
    })
}

/// Whether `fd` is open on the character device `major:minor`.
///
/// # Errors
///
/// Any failure of `fstat`.
pub fn is_character_device(fd: BorrowedFd<'_>, major: u32, minor: u32) -> Result<bool> {
    let stat = stat(fd)?;
    Ok(
        rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device()
            && rustix::fs::major(stat.st_rdev) == major
            && rustix::fs::minor(stat.st_rdev) == minor,
    )
}

/// The number of the kind of file system that `fd` is open on, statfs(2) `f_type`.
///
/// # Errors
///
/// Any failure of `fstatfs`.
pub fn file_system(fd: BorrowedFd<'_>) -> Result<i64> {
    let statfs = rustix::fs::fstatfs(fd).context("fstatfs", String::new)?;
    Ok(statfs.f_type)
}

/// Whether `fd` is open on something in a procfs, statfs(2).
///
/// # Errors
///
/// Any failure of `fstatfs`.
pub fn is_on_procfs(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(file_system(fd)? == rustix::fs::PROC_SUPER_MAGIC)
}

/// Whether `fd` is open on a file that the kernel makes up as it is read: of
/// procfs, sysfs or the cgroup file systems, statfs(2).
///
/// # Errors
///
/// Any failure of `fstatfs`.
pub fn is_made_up(fd: BorrowedFd<'_>) -> Result<bool> {
    let kinds = [
        libc::PROC_SUPER_MAGIC,
        libc::SYSFS_MAGIC,
        libc::CGROUP_SUPER_MAGIC,
        libc::CGROUP2_SUPER_MAGIC,
    ];
    Ok(kinds.contains(&file_system(fd)?))
}

/// Where the kernel shows what `fd` is open on, proc_pid_fd(5), from this process's root.
///
/// # Errors
///
/// Any failure of `readlink`.
pub fn shown_path(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = rustix::fs::readlink(&link, Vec::new()).context("readlink", || link.clone())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// Reads an open `file` to its end, refusing more than `limit` bytes; `path` is for the error.
///
/// # Errors
///
/// Any failure of `read`; `EFBIG` over the limit.
pub fn read_within(file: &File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let length = file
        .take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| Error::from_io("read", format!("{path:?}"), &error))?;
    if u64::try_from(length).is_ok_and(|length| length > limit) {
        return Err(Error::new("read", format!("{path:?}"), Errno::FBIG));
    }
    Ok(content)
}

fn create(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> Result<()> {
    let result = match kind {
        Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(
                parent,
                name,
                flags | OFlags::WRONLY,
                Mode::from_raw_mode(0o644),
            )
            .map(drop)
        }
    };
    match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context("create", || format!("{name:?}")),
    }
}

/// Splits off the last component, `.` and trailing slashes not counted.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/')? + 1;
    let start = bytes[..end]
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let parent = if start == 0 {
        &b"."[..]
    } else {
        &bytes[..start]
    };
    let name = OsStr::from_bytes(&bytes[start..end]);
    Some((Path::new(OsStr::from_bytes(parent)), name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(directory: &tempfile::TempDir) -> InRoot {
        let path = directory.path().join("root");
        std::fs::create_dir(&path).expect("mkdir");
        InRoot::new(host_place(&path).expect("open"))
    }

    #[test]
    fn missing_directories_are_made_one_by_one() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = root(&temp);
        root.ensure(Path::new("/a/b/c"), Kind::Directory, Links::Follow)
            .expect("ensure");
        root.ensure(Path::new("/a/b/c/"), Kind::Directory, Links::Follow)
            .expect("again");
        root.ensure(Path::new("/a/f"), Kind::File, Links::Follow)
            .expect("file");
        assert!(temp.path().join("root/a/b/c").is_dir());
        assert!(temp.path().join("root/a/f").is_file());
    }

    #[test]
    fn s22_a_link_that_climbs_out_makes_directories_inside_only() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = root(&temp);
        symlink("../../..", temp.path().join("root/up")).expect("symlink");
        symlink("/elsewhere/deep", temp.path().join("root/abs")).expect("symlink");
        root.ensure(Path::new("/up/x/y"), Kind::Directory, Links::Follow)
            .expect("up");
        root.ensure(Path::new("/abs/z"), Kind::Directory, Links::Follow)
            .expect("abs");
        assert!(temp.path().join("root/x/y").is_dir());
        assert!(temp.path().join("root/elsewhere/deep/z").is_dir());
        assert!(!temp.path().join("x").exists());
    }

    #[test]
    fn a_loop_of_dangling_links_is_an_error() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = root(&temp);
        symlink("b", temp.path().join("root/a")).expect("symlink");
        symlink("a", temp.path().join("root/b")).expect("symlink");
        let error = root.ensure(Path::new("/a/x"), Kind::Directory, Links::Follow);
        assert_eq!(error.expect_err("loop").errno(), Errno::LOOP);
    }

    #[test]
    fn a_refused_link_is_an_error() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = root(&temp);
        symlink("/etc", temp.path().join("root/proc")).expect("symlink");
        let error = root.ensure(Path::new("/proc"), Kind::Directory, Links::Refuse);
        assert_eq!(error.expect_err("link").errno(), Errno::LOOP);
    }

    #[test]
    fn s3_a_magic_link_is_an_error() {
        let root = InRoot::new(host_place(Path::new("/")).expect("open"));
        let error = root.place(Path::new("/proc/self/fd/0/x"), Links::Follow);
        assert_eq!(error.expect_err("magic link").errno(), Errno::LOOP);
    }

    #[test]
    fn s3_a_link_of_proc_is_never_taken_for_a_path() {
        let root = InRoot::new(host_place(Path::new("/")).expect("open"));
        // The lowest free number: resolving opens it on the way.
        for number in 3..64 {
            let path = format!("/proc/self/fd/{number}");
            assert!(
                root.ensure(Path::new(&path), Kind::Directory, Links::Follow)
                    .is_err()
            );
        }
    }

    #[test]
    fn a_fifo_and_a_large_file_are_refused() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = root(&temp);
        let fifo = temp.path().join("root/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        assert_eq!(
            root.read(Path::new("/fifo"), 10).expect_err("fifo").errno(),
            Errno::INVAL
        );
        let error = root.appendable_file(Path::new("/fifo"));
        assert_eq!(error.expect_err("fifo").errno(), Errno::INVAL);
        let error = root.directory(Path::new("/fifo"));
        assert_eq!(error.expect_err("fifo").errno(), Errno::NOTDIR);
        let file = File::create(temp.path().join("root/large")).expect("create");
        file.set_len(1 << 31).expect("truncate");
        assert_eq!(
            root.read(Path::new("/large"), 10)
                .expect_err("large")
                .errno(),
            Errno::FBIG
        );
    }
}
