//! A directory of our own: trusted names below an open fd, and atomic replacement.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, RenameFlags};

use crate::error::Context;
use crate::{Errno, Error, Result, at, tree};

/// An open directory that belongs to `ucr`, with the path it was opened by for messages.
///
/// Names given to its methods are single components that `ucr` made up itself;
/// nothing from an image or a registry gets here unchecked.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What there is of a file system, and what is left of it for writers without privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the whole, used or free; 0 where they are not counted.
    pub bytes: u64,
    /// Bytes that are free, where there is a number of them.
    pub free_bytes: Option<u64>,
    /// Inodes that are free, where there is a number of them.
    pub free_inodes: Option<u64>,
}

impl Dir {
    /// Opens an existing directory.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(&path, flags, Mode::empty())
            .context("open", || format!("{}, O_DIRECTORY", path.display()))?;
        Ok(Self { fd, path })
    }

    /// Opens a directory, making it with mode 0700 where it is missing, and its parents with 0755.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| Error::from_io("mkdir", parent.display().to_string(), &error))?;
        }
        match fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(errno) => Err(Error::new("mkdir", path.display().to_string(), errno)),
        }
    }

    /// Opens the directory `name` in this one.
    pub fn dir(&self, name: &str) -> Result<Self> {
        let fd = at::open_dir(self.fd.as_fd(), name.as_bytes())
            .map_err(|error| self.named(error, name))?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// Opens the directory `name`, making it with mode 0700 where it is missing.
    pub fn dir_or_create(&self, name: &str) -> Result<Self> {
        match fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => self.dir(name),
            Err(errno) => Err(Error::new("mkdirat", self.shown(name), errno)),
        }
    }

    /// Makes the directory `name` with mode 0700, which must not be there yet.
    pub fn create_dir(&self, name: &str) -> Result<Self> {
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700))
            .context("mkdirat", || self.shown(name))?;
        self.dir(name)
    }

    /// The whole content of the file `name`, or `None` where there is none.
    ///
    /// # Errors
    /// `EFBIG` when it holds more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::new("openat", self.shown(name), errno)),
        };
        let mut content = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| Error::from_io("read", self.shown(name), &error))?;
        if content.len() as u64 > limit {
            return Err(Error::new("read", self.shown(name), Errno::FBIG));
        }
        Ok(Some(content))
    }

    /// Replaces the file `name` as a whole: readers see the old content or the new, never a part.
    ///
    /// The content is on the disk before the name is, and the name before this returns.
    pub fn replace(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let temporary = self.write_aside(name, content, mode)?;
        fs::renameat(&self.fd, &temporary, &self.fd, name)
            .context("renameat", || self.shown(name))?;
        self.sync()
    }

    /// As [`Dir::replace`], without waiting for the disk: after a power cut the old may be back.
    ///
    /// Still no reader sees a part of it, and what a crash of the process leaves is whole.
    pub fn replace_soon(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let temporary = self.temporary_name(name);
        let file = self.create_private(&temporary, mode)?;
        self.write_all(&file, name, content)?;
        fs::renameat(&self.fd, &temporary, &self.fd, name).context("renameat", || self.shown(name))
    }

    fn write_aside(&self, name: &str, content: &[u8], mode: u32) -> Result<String> {
        let temporary = self.temporary_name(name);
        let file = self.create_private(&temporary, mode)?;
        self.write_all(&file, name, content)?;
        file.sync_all()
            .map_err(|error| Error::from_io("fsync", self.shown(name), &error))?;
        Ok(temporary)
    }

    fn temporary_name(&self, name: &str) -> String {
        format!(".{name}.{}", random_suffix())
    }

    fn create_private(&self, name: &str, mode: u32) -> Result<File> {
        let fd = at::create_file(self.fd.as_fd(), name.as_bytes())
            .map_err(|error| self.named(error, name))?;
        at::set_mode_fd(fd.as_fd(), mode)?;
        Ok(File::from(fd))
    }

    fn write_all(&self, mut file: &File, name: &str, content: &[u8]) -> Result<()> {
        file.write_all(content)
            .map_err(|error| Error::from_io("write", self.shown(name), &error))
    }

    /// Moves `name` to `new_name` in another directory, refusing to replace anything there.
    pub fn move_to(&self, name: &str, target: &Self, new_name: &str) -> Result<()> {
        fs::renameat_with(&self.fd, name, &target.fd, new_name, RenameFlags::NOREPLACE)
            .context("renameat2", || {
                format!("{}, {}", self.shown(name), target.shown(new_name))
            })
    }

    /// Removes the file `name`; one that is not there is no error.
    pub fn remove(&self, name: &str) -> Result<()> {
        at::remove(self.fd.as_fd(), name.as_bytes())
    }

    /// Removes `name` and everything below it, following no link.
    pub fn remove_tree(&self, name: &str) -> Result<()> {
        tree::remove_tree(self.fd.as_fd(), name.as_bytes())
    }

    /// The names in this directory, in no order.
    ///
    /// Names that are not UTF-8 are not ours and left out.
    pub fn names(&self) -> Result<Vec<String>> {
        let reader = fs::Dir::read_from(&self.fd).context("getdents64", || self.shown(""))?;
        let mut names = Vec::new();
        for entry in reader {
            let entry = entry.context("getdents64", || self.shown(""))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Whether anything is called `name` here.
    pub fn contains(&self, name: &str) -> Result<bool> {
        Ok(at::stat(self.fd.as_fd(), name.as_bytes())?.is_some())
    }

    /// Waits until the names in this directory are on the disk (fsync(2)).
    pub fn sync(&self) -> Result<()> {
        fs::fsync(&self.fd).context("fsync", || self.shown(""))
    }

    /// Waits until everything of this file system is on the disk (syncfs(2)).
    ///
    /// # Errors
    /// Also for a write-back error since this directory was opened.
    pub fn sync_file_system(&self) -> Result<()> {
        fs::syncfs(&self.fd).context("syncfs", || self.shown(""))
    }

    /// Whether this file system can hold nothing new because it is mounted read-only.
    pub fn is_read_only(&self) -> Result<bool> {
        let facts = fs::fstatvfs(&self.fd).context("fstatvfs", || self.shown(""))?;
        Ok(facts.f_flag.contains(fs::StatVfsMountFlags::RDONLY))
    }

    /// The number by which the kernel knows the kind of this file system (statfs(2)).
    pub fn file_system_magic(&self) -> Result<u64> {
        let facts = fs::fstatfs(&self.fd).context("fstatfs", || self.shown(""))?;
        // A number of 32 bits in a signed field.
        Ok(facts.f_type.cast_unsigned() & 0xFFFF_FFFF)
    }

    /// Has the directories made in this one placed far from each other, `FS_TOPDIR_FL` of
    /// ioctl_iflags(2) and chattr(1).
    ///
    /// ext4 gives out no inode that was freed in the last five seconds, and looks at each of those
    /// for every new one: whoever deletes much in one directory slows down who makes something in
    /// another that is near. A file system that places nothing by directory is left as it is.
    pub fn place_apart(&self) {
        let flags = fs::ioctl_getflags(&self.fd);
        // What cannot be had is of no use there: nothing is lost.
        let _ = flags.and_then(|flags| fs::ioctl_setflags(&self.fd, flags | fs::IFlags::TOPDIR));
    }

    /// Whether reading this directory tells the type of what is in it (`d_type`, readdir(3)).
    ///
    /// True as well where there is nothing but `.` and `..` to tell of.
    pub fn tells_types(&self) -> Result<bool> {
        let reader = fs::Dir::read_from(&self.fd).context("getdents64", || self.shown(""))?;
        for entry in reader {
            let entry = entry.context("getdents64", || self.shown(""))?;
            if entry.file_type() == fs::FileType::Unknown {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When the file `name` was last modified, or `None` where there is none.
    pub fn modified(&self, name: &str) -> Result<Option<std::time::SystemTime>> {
        let stat = at::stat(self.fd.as_fd(), name.as_bytes())?;
        Ok(stat.map(|stat| {
            // A time before 1970 is nobody's but a broken clock's.
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
        }))
    }

    /// Says that the file `name` is modified now; returns whether there is one.
    pub fn touch(&self, name: &str) -> Result<bool> {
        let now = fs::Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_NOW,
        };
        let times = fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        match fs::utimensat(&self.fd, name, &times, fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::new("utimensat", self.shown(name), errno)),
        }
    }

    /// What there is of this file system, and what is left of it (statvfs(3)).
    pub fn room(&self) -> Result<Room> {
        let facts = fs::fstatvfs(&self.fd).context("fstatvfs", || self.shown(""))?;
        Ok(Room {
            bytes: facts.f_blocks.saturating_mul(facts.f_frsize),
            // A tmpfs without a limit says 0 of 0 (tmpfs(5), "size" and "nr_inodes"); btrfs makes
            // inodes as they are needed, and has none to count.
            free_bytes: (facts.f_blocks > 0)
                .then_some(facts.f_bavail.saturating_mul(facts.f_frsize)),
            free_inodes: (facts.f_files > 0).then_some(facts.f_favail),
        })
    }

    /// The path this directory was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shown(&self, name: &str) -> String {
        if name.is_empty() {
            self.path.display().to_string()
        } else {
            self.path.join(name).display().to_string()
        }
    }

    fn named(&self, error: Error, name: &str) -> Error {
        Error::new(error.call(), self.shown(name), error.errno())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sixteen hex digits that no other process comes up with.
pub fn random_suffix() -> String {
    let bytes: [u8; 8] = random_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that nobody can guess.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    while filled < bytes.len() {
        // Fewer than 256 bytes are never refused once the kernel's pool is ready (getrandom(2)).
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(_) => continue,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    #[test]
    fn directories_are_placed_apart_where_the_file_system_does_so() {
        let temp = tempfile::tempdir().expect("directory");
        let dir = Dir::open(temp.path()).expect("open");
        dir.place_apart();
        match fs::ioctl_getflags(&dir.fd) {
            // The number of ext2 to ext4, statfs(2).
            Ok(flags) if dir.file_system_magic().expect("statfs") == 0xEF53 => {
                assert!(flags.contains(fs::IFlags::TOPDIR), "{flags:?}");
            }
            _ => eprintln!("skipped: the directory for temporary files is not on ext4"),
        }
        dir.create_dir("usable").expect("create");
    }

    #[test]
    fn replace_leaves_the_new_content_and_no_temporary_file() {
        let (_temp, dir) = temp();
        dir.replace("x", b"old", 0o600).unwrap();
        dir.replace("x", b"new", 0o640).unwrap();
        assert_eq!(dir.read("x", 10).unwrap().unwrap(), b"new");
        assert_eq!(dir.names().unwrap(), ["x"]);
    }

    #[test]
    fn c19_what_a_file_system_does_not_count_is_not_taken_for_none() {
        let uncounted = Room {
            bytes: 0,
            free_bytes: None,
            free_inodes: None,
        };
        assert_eq!(Dir::open("/proc").unwrap().room().unwrap(), uncounted);
        let (_temp, dir) = temp();
        assert!(dir.room().unwrap().free_bytes.is_some());
    }

    #[test]
    fn a_file_larger_than_the_limit_is_refused() {
        let (_temp, dir) = temp();
        dir.replace("x", b"0123456789", 0o600).unwrap();
        assert_eq!(dir.read("x", 9).unwrap_err().errno(), Errno::FBIG);
        assert_eq!(dir.read("y", 9).unwrap(), None);
    }

    #[test]
    fn move_to_never_replaces() {
        let (_temp, dir) = temp();
        dir.create_dir("a").unwrap();
        dir.create_dir("b").unwrap();
        assert_eq!(
            dir.move_to("a", &dir, "b").unwrap_err().errno(),
            Errno::EXIST
        );
    }

    #[test]
    fn s34_directories_of_ours_are_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let (temp, dir) = temp();
        dir.dir_or_create("d").unwrap();
        let mode = std::fs::metadata(temp.path().join("d"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
