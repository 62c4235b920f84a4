//! The file operations of this crate, and the only ones: bounded reads, atomic
//! replacement, removal, and the lock that writers take.
//!
//! A file is replaced by writing another beside it, syncing that, renaming it
//! over, and syncing the directory, so a reader at any moment, and after a
//! crash, finds the old bytes or the new ones.
//!
//! Several files are replaced together by way of a journal: all are written
//! under temporary names, then the journal that lists them is put in place, then
//! each is renamed. The journal is the decision: with it the change has happened,
//! and whoever takes the lock next finishes what a killed writer left of it.
//! Readers look up a listed file under its temporary name as well.
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
/// Lines of a temporary name, a space, and the name that it is to get.
const JOURNAL: &str = ".commit";
/// A journal names no more files than fit in the largest input.
const LARGEST_JOURNAL: u64 = 4 << 20;
/// Certificates are public; programs of any user may have to read them.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
const LOCK_MODE: u32 = 0o600;

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

/// A file that is decided on but may not have its name yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The name it was written under.
    pub(crate) temporary: String,
    /// The name it is to get, below the same directory.
    pub(crate) name: String,
}

/// What a writer has decided on and perhaps not finished; mostly nothing.
pub(crate) fn pending(directory: &Path) -> Result<Vec<Pending>> {
    let journal = match read(&directory.join(JOURNAL), LARGEST_JOURNAL) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        journal => journal?.unwrap_or_default(),
    };
    let lines = String::from_utf8_lossy(&journal).into_owned();
    let pending = lines.lines().filter_map(|line| line.split_once(' '));
    Ok(pending
        .map(|(temporary, name)| Pending {
            temporary: temporary.to_owned(),
            name: name.to_owned(),
        })
        .collect())
}

/// A directory that this process alone may change, until this is dropped.
///
/// Names are relative to it; one may have directories in it, which are made.
#[derive(Debug)]
pub(crate) struct LockedDir {
    path: PathBuf,
    _lock: File,
}

impl LockedDir {
    /// Makes the directory if it is missing, waits for its lock, and finishes or
    /// clears away what a killed writer left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        make_directory(path)?;
        let lock_path = path.join(LOCK_FILE);
        // The lock file is never removed, so whoever opens it locks the same inode.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            // Whoever may open it may hold it.
            .mode(LOCK_MODE)
            .open(&lock_path)
            .map_err(|error| failure("open", &lock_path, &error))?;
        lock.lock()
            .map_err(|error| failure("flock", &lock_path, &error))?;
        let locked = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        locked.finish()?;
        locked.sweep()?;
        Ok(locked)
    }

    /// Puts a file in place whole, over an older one of that name.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = temporary_name(0);
        let replaced = self
            .write(&temporary, bytes)
            .and_then(|()| self.rename(&temporary, name));
        if replaced.is_err() {
            // What cannot be removed now is swept by the next writer.
            let _ = std::fs::remove_file(self.path.join(&temporary));
        }
        replaced
    }

    /// Puts several files in place, all of them or none, whenever this process is killed.
    ///
    /// # Errors
    /// With none of them in place, as far as that can still be had.
    pub(crate) fn replace_all(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        if let [(name, bytes)] = files {
            return self.replace(name, bytes);
        }
        let replaced = self.stage(files).and_then(|()| self.finish());
        if replaced.is_err() {
            // The first error is the one to report.
            let _ = self.remove(JOURNAL);
            for (name, _) in files {
                let _ = self.remove(name);
            }
            let _ = self.sweep();
        }
        replaced
    }

    /// Writes files under temporary names, then the journal that decides for all of them.
    fn stage(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let mut journal = String::new();
        for (number, (name, bytes)) in (1..).zip(files) {
            let temporary = temporary_name(number);
            self.write(&temporary, bytes)?;
            journal.push_str(&format!("{temporary} {name}\n"));
        }
        self.replace(JOURNAL, journal.as_bytes())
    }

    /// Gives the files of a journal their names.
    fn finish(&self) -> Result<()> {
        let pending = pending(&self.path)?;
        if pending.is_empty() {
            return Ok(());
        }
        for Pending { temporary, name } in pending {
            // Without it the rename was done before the writer was killed.
            if exists(&self.path.join(&temporary))? {
                self.rename(&temporary, &name)?;
            }
        }
        self.remove(JOURNAL)
    }

    /// Removes a file; one that is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(|error| failure("unlink", &path, &error))?,
        }
        sync_parent(&path)
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_if_empty(&self, name: &str) {
        // Whatever else keeps it there is no harm.
        let _ = std::fs::remove_dir(self.path.join(name));
    }

    fn write(&self, temporary: &str, bytes: &[u8]) -> Result<()> {
        write_synced(&self.path.join(temporary), bytes)
    }

    fn rename(&self, temporary: &str, name: &str) -> Result<()> {
        let target = self.path.join(name);
        if let Some(directory) = target.parent() {
            make_directory(directory)?;
        }
        std::fs::rename(self.path.join(temporary), &target)
            .map_err(|error| failure("rename", &target, &error))?;
        sync_parent(&target)
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
}

fn temporary_name(number: usize) -> String {
    format!("{TEMPORARY}{number}")
}

/// Makes a directory and those above it for everybody to read, whatever the umask.
fn make_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |error: std::io::Error| failure("mkdir", path, &error);
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        made => made.map_err(failed)?,
    }
    std::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> Result<()> {
    // A relative path of one part lies in the working directory.
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failure("fsync", parent, &error))
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
