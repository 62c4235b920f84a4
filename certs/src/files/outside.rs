//! Files and directories that belong to others: a file that is replaced there
//! keeps its mode, owner and extended attributes.
//!
//! Writers of a whole directory or of a CAfile in use exclude each other by a
//! `flock` on the directory itself, because a lock file would be litter. Names
//! that begin with `.ucr-new-` are being written, and whoever holds that lock
//! clears away those of killed writers. A single output file takes no lock; a
//! writer of one that is killed leaves `.NAME.<random>` beside it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ucr_sys::{Errno, Error, Result, at, random_suffix};

use super::{DIRECTORY_MODE, FILE_MODE, failure, names, read_open};

/// What begins the name of a file or link that is not yet complete.
const TEMPORARY: &str = ".ucr-new-";
/// What ends it: dockerd reads every file that ends in `.crt`, others go by `.pem`.
const UNFINISHED: &str = ".part";
/// Nobody else opens a file before it has the mode and owner it shall have.
const PRIVATE_MODE: u32 = 0o600;
/// As many links as Linux follows in one path (path_resolution(7)).
const LONGEST_CHAIN: usize = 40;
/// Signatures over the contents of a file, which are not those of another content
/// (<https://ima-doc.readthedocs.io/>).
const SIGNATURES: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A regular file.
    File,
    /// A directory, a device, a pipe or a socket, or a link that was not followed.
    Other,
}

impl Found {
    /// Looks at what a path leads to, after following links.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        Self::of(path, std::fs::metadata(path))
    }

    /// Looks at what has that name itself, be it a link.
    pub(crate) fn named(path: &Path) -> Result<Self> {
        Self::of(path, std::fs::symlink_metadata(path))
    }

    fn of(path: &Path, metadata: std::io::Result<Metadata>) -> Result<Self> {
        match metadata {
            Ok(metadata) if metadata.is_file() => Ok(Self::File),
            Ok(_) => Ok(Self::Other),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::Nothing),
            Err(error) => Err(failure("stat", path, &error)),
        }
    }
}

/// Where a file is, or shall be, after following links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    directory: PathBuf,
    name: OsString,
}

impl Place {
    /// Follows a path, whose last component need not exist.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut place = path.to_owned();
        for _ in 0..LONGEST_CHAIN {
            match std::fs::read_link(&place) {
                Ok(target) => place = directory_of(&place).join(target),
                // What is no link is what was looked for; so is what is not there yet.
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) =>
                {
                    return Self::plain(&place);
                }
                Err(error) => return Err(failure("readlink", &place, &error)),
            }
        }
        Err(Error::new("readlink", shown(path), Errno::LOOP))
    }

    fn plain(path: &Path) -> Result<Self> {
        let name = path.file_name();
        let name = name.ok_or_else(|| Error::new("open", shown(path), Errno::NOENT))?;
        Ok(Self {
            directory: directory_of(path),
            name: name.to_owned(),
        })
    }

    /// The directory that the file is in.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its name there.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Directory and name.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Replaces the file, or makes it with mode 0644, without the lock of the directory.
    ///
    /// For a file whose old content does not matter: of two writers at once the
    /// last one wins.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<()> {
        let target = self.path();
        let present = match File::open(&target) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            file => Some(file.map_err(|error| failure("open", &target, &error))?),
        };
        let mut temporary = OsString::from(".");
        temporary.push(&self.name);
        temporary.push(format!(".{}", random_suffix()));
        let temporary = self.directory.join(temporary);
        put(&temporary, &target, || {
            write_like(&temporary, bytes, present.as_ref())
        })?;
        sync(&self.directory)
    }
}

/// Opens a file, and reads it when it has at most `limit` bytes.
pub(crate) fn open_and_read(path: &Path, limit: u64) -> Result<(File, Option<Vec<u8>>)> {
    let file = File::open(path).map_err(|error| failure("open", path, &error))?;
    let bytes = read_open(&file, path, limit)?;
    Ok((file, bytes))
}

/// Makes a directory, and those above it, where they are missing.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|error| failure("mkdir", path, &error))
}

/// A directory of others in which no other `ucr` changes anything until this is dropped.
#[derive(Debug)]
pub(crate) struct SharedDir {
    path: PathBuf,
    _lock: File,
}

impl SharedDir {
    /// Waits for the directory's lock, and clears away what killed writers left.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        let directory = File::open(path).map_err(|error| failure("open", path, &error))?;
        directory
            .lock()
            .map_err(|error| failure("flock", path, &error))?;
        let locked = Self {
            path: path.to_owned(),
            _lock: directory,
        };
        for name in names(path)? {
            if name.starts_with(TEMPORARY) {
                locked.remove(OsStr::new(&name))?;
            }
        }
        Ok(locked)
    }

    /// Puts a file in place whole, with mode, owner and attributes of `model` or with mode 0644.
    pub(crate) fn replace(&self, name: &OsStr, bytes: &[u8], model: Option<&File>) -> Result<()> {
        let temporary = self.temporary(name);
        put(&temporary, &self.path.join(name), || {
            write_like(&temporary, bytes, model)
        })?;
        sync(&self.path)
    }

    /// Puts a symbolic link in place, over an older one of that name.
    pub(crate) fn replace_link(&self, name: &OsStr, target: &OsStr) -> Result<()> {
        let temporary = self.temporary(name);
        put(&temporary, &self.path.join(name), || {
            std::os::unix::fs::symlink(target, &temporary)
                .map_err(|error| failure("symlink", &temporary, &error))
        })
    }

    /// Removes a file or link; one that is gone already is no error.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<()> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(|error| failure("unlink", &path, &error)),
        }
    }

    /// Waits until the names in it are on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        sync(&self.path)
    }

    fn temporary(&self, name: &OsStr) -> PathBuf {
        let mut temporary = OsString::from(TEMPORARY);
        temporary.push(name);
        temporary.push(UNFINISHED);
        self.path.join(temporary)
    }
}

/// Makes something under a name of its own and renames it to its place.
fn put(temporary: &Path, target: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = make().and_then(|()| {
        std::fs::rename(temporary, target).map_err(|error| failure("rename", target, &error))
    });
    if done.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(temporary);
    }
    done
}

fn write_like(path: &Path, bytes: &[u8], model: Option<&File>) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_MODE)
        .open(path)
        .map_err(|error| failure("open", path, &error))?;
    file.write_all(bytes)
        .map_err(|error| failure("write", path, &error))?;
    match model {
        Some(model) => copy_attributes(model, &file)?,
        None => at::set_mode_fd(file.as_fd(), FILE_MODE)?,
    }
    file.sync_all()
        .map_err(|error| failure("fsync", path, &error))
}

/// Gives a file what the other one has: owner, mode, and what an ACL or SELinux adds to them.
fn copy_attributes(from: &File, to: &File) -> Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let (wanted, present) = (at::stat_fd(from)?, at::stat_fd(to)?);
    if (wanted.st_uid, wanted.st_gid) != (present.st_uid, present.st_gid) {
        at::set_owner_fd(to, wanted.st_uid, wanted.st_gid)?;
    }
    // After the owner: chown(2) takes set-user-ID and set-group-ID bits away.
    at::set_mode_fd(to, wanted.st_mode)?;
    for key in at::xattr_names_fd(from)? {
        let value = at::xattr_fd(from, &key)?;
        let differs = value != at::xattr_fd(to, &key)?;
        if let Some(value) = value.filter(|_| differs && !SIGNATURES.contains(&key.as_slice())) {
            at::set_xattr_fd(to, &key, &value)?;
        }
    }
    Ok(())
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

fn sync(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failure("fsync", directory, &error))
}

fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::testing::Workshop;

    #[test]
    fn a_path_is_followed_to_a_file_that_need_not_exist() {
        let workshop = Workshop::new();
        std::fs::create_dir(workshop.path("real")).unwrap();
        symlink("real/second", workshop.path("first")).unwrap();
        symlink("file", workshop.path("real/second")).unwrap();
        let place = Place::of(&workshop.path("first")).unwrap();
        assert_eq!(place.path(), workshop.path("real/file"));
        assert_eq!(Place::of(Path::new("x")).unwrap().path(), Path::new("./x"));

        symlink("round", workshop.path("round")).unwrap();
        let error = Place::of(&workshop.path("round")).unwrap_err();
        assert_eq!(error.errno(), Errno::LOOP);
        assert!(Place::of(Path::new("/")).is_err());
    }

    #[test]
    fn a_replaced_file_keeps_mode_owner_and_attributes() {
        test_support::need_root!();
        let workshop = Workshop::new();
        let path = workshop.write("file", "old");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
        let file = File::open(&path).unwrap();
        // A file system without attributes has none to keep.
        let has_attributes = at::set_xattr_fd(file.as_fd(), b"user.note", b"mine").is_ok();

        Place::of(&path).unwrap().replace(b"new").unwrap();
        let metadata = path.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321));
        let replaced = File::open(&path).unwrap();
        let note = at::xattr_fd(replaced.as_fd(), b"user.note").unwrap();
        assert_eq!(note, has_attributes.then(|| b"mine".to_vec()));
        assert_eq!(workshop.read("file"), b"new");
        assert_eq!(names(&workshop.path("")).unwrap(), ["file"]);
    }

    #[test]
    fn what_killed_writers_left_is_cleared_away_and_nothing_else() {
        let workshop = Workshop::new();
        workshop.write(".ucr-new-file", "half");
        workshop.write(".ucr-mine", "whole");
        let locked = SharedDir::lock(&workshop.path("")).unwrap();
        assert_eq!(names(&locked.path).unwrap(), [".ucr-mine"]);
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing() {
        let workshop = Workshop::new();
        std::fs::create_dir(workshop.path("taken")).unwrap();
        let locked = SharedDir::lock(&workshop.path("")).unwrap();
        let error = locked.replace(OsStr::new("taken"), b"x", None).unwrap_err();
        assert_eq!((error.call(), error.errno()), ("rename", Errno::ISDIR));
        assert_eq!(names(&locked.path).unwrap(), ["taken"]);
    }
}
