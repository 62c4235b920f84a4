//! The file operations of this crate, and the only ones: bounded reads, atomic
//! replacement, removal, and the lock that writers take.
//!
//! A file is replaced by writing another beside it, syncing that, renaming it
//! over, and syncing the directory, so a reader at any moment, and after a
//! crash, finds the old bytes or the new ones.
//!
//! What is here is for directories of our own; `outside` is for those of others.

pub(crate) mod outside;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ucr_sys::{Error, Result};

const LOCK_FILE: &str = ".lock";
/// What begins the name of a file that is not yet complete.
const TEMPORARY: &str = ".new-";
/// Certificates are public; programs of any user may have to read them.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Reads a file of at most `limit` bytes; `None` when it is larger.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = File::open(path).map_err(|error| failure("open", path, &error))?;
    read_open(&file, path, limit)
}

fn read_open(file: &File, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failure("read", path, &error))?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    Ok(fits.then_some(bytes))
}

/// Whether a file can be read and holds exactly these bytes.
pub(crate) fn holds(path: &Path, bytes: &[u8]) -> bool {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    matches!(read(path, limit), Ok(Some(present)) if present == bytes)
}

/// Whether something is there, after following links.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .map_err(|error| failure("stat", path, &error))
}

/// The names in a directory, sorted; none when there is no such directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| failure("getdents", directory, &error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failure("open", directory, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none that we gave.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// A directory that this process alone may change, until this is dropped.
#[derive(Debug)]
pub(crate) struct LockedDir {
    path: PathBuf,
    _lock: File,
}

impl LockedDir {
    /// Makes the directory if it is missing, waits for its lock, and clears
    /// away what a killed writer left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(|error| failure("mkdir", path, &error))?;
        let lock_path = path.join(LOCK_FILE);
        // The lock file is never removed, so whoever opens it locks the same inode.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(&lock_path)
            .map_err(|error| failure("open", &lock_path, &error))?;
        lock.lock()
            .map_err(|error| failure("flock", &lock_path, &error))?;
        let locked = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        locked.sweep()?;
        Ok(locked)
    }

    /// Puts a file in place whole, over an older one of that name.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = self.path.join(format!("{TEMPORARY}{name}"));
        let written = write_synced(&temporary, bytes).and_then(|()| {
            let target = self.path.join(name);
            std::fs::rename(&temporary, &target).map_err(|error| failure("rename", &target, &error))
        });
        if written.is_err() {
            // What cannot be removed now is swept by the next writer.
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        self.sync()
    }

    /// Removes a file; one that is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.map_err(|error| failure("unlink", &path, &error))?,
        }
        self.sync()
    }

    fn sweep(&self) -> Result<()> {
        for name in names(&self.path)?
            .iter()
            .filter(|name| name.starts_with(TEMPORARY))
        {
            self.remove(name)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failure("fsync", &self.path, &error))
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| failure("open", path, &error))?;
    // The caller's umask may have taken the readers' bits away.
    file.set_permissions(Permissions::from_mode(FILE_MODE))
        .map_err(|error| failure("fchmod", path, &error))?;
    file.write_all(bytes)
        .map_err(|error| failure("write", path, &error))?;
    file.sync_all()
        .map_err(|error| failure("fsync", path, &error))
}

fn failure(call: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::from_io(call, format!("{:?}", path.display().to_string()), error)
}
