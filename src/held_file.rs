//! Files that say that something belongs to a container, for as long as a lock is held.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ucr_sys::{Dir, Errno, Lock, LockMode};

use crate::command_error::CommandError;

/// The most that is read of one file.
const LIMIT: u64 = 64 * 1024;

/// A folder below the state directory, with a file for each container that has something.
#[derive(Debug)]
pub(crate) struct HeldFiles(Rc<Dir>);

/// A file that is ours while its lock is held.
///
/// It goes when this is dropped: what it was for did not come about. A program that takes this
/// one's place (execve(2)) drops nothing, and has the lock and the file from then on.
#[derive(Debug)]
pub(crate) struct HeldFile {
    lock: Option<Lock>,
    folder: Rc<Dir>,
    name: String,
}

impl HeldFiles {
    /// Opens the folder `name` below `state`, making it where it is missing.
    pub(crate) fn open(state: &Path, name: &str) -> Result<Self, CommandError> {
        Dir::open_or_create(state)
            .and_then(|state| state.dir_or_create(name))
            .map(|folder| Self(Rc::new(folder)))
            .map_err(CommandError::new)
    }

    /// Opens the folder `name` below `state`, if there is one.
    fn existing(state: &Path, name: &str) -> Result<Option<Self>, CommandError> {
        match Dir::open(state.join(name)) {
            Ok(folder) => Ok(Some(Self(Rc::new(folder)))),
            Err(error) if error.errno() == Errno::NOENT => Ok(None),
            Err(error) => Err(CommandError::new(error)),
        }
    }

    /// Removes the files of the folder `name` below `state` that nobody holds, but for `except`:
    /// what they were for was killed.
    pub(crate) fn sweep(state: &Path, name: &str, except: &str) -> Result<(), CommandError> {
        let files = Self::existing(state, name)?;
        files.map_or(Ok(()), |files| files.of_others(except).map(drop))
    }

    /// Keeps out, until it is dropped, all others who take or remove.
    ///
    /// Who looks whether a file is held has its lock for a moment, and is not its holder.
    fn alone(&self) -> Result<Dir, CommandError> {
        // Opened anew: this lock goes with it, while the folder stays open.
        let folder = Dir::open(self.0.path()).map_err(CommandError::new)?;
        ucr_sys::lock_file(folder.as_fd(), LockMode::Exclusive).map_err(CommandError::new)?;
        Ok(folder)
    }

    /// Takes the file `name`; none if another has it.
    pub(crate) fn take(&self, name: &str) -> Result<Option<HeldFile>, CommandError> {
        let _alone = self.alone()?;
        let lock = Lock::try_acquire(self.0.as_fd(), name.as_bytes(), LockMode::Exclusive);
        let lock = lock.map_err(CommandError::new)?;
        Ok(lock.map(|lock| HeldFile {
            lock: Some(lock),
            folder: Rc::clone(&self.0),
            name: name.to_owned(),
        }))
    }

    /// Waits for the lock of `name`, which is nobody's file.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, CommandError> {
        Lock::acquire(self.0.as_fd(), name.as_bytes(), LockMode::Exclusive)
            .map_err(CommandError::new)
    }

    /// The texts of the files that are held, and where they are, but for `except`; those that
    /// nobody holds are removed.
    pub(crate) fn of_others(&self, except: &str) -> Result<Vec<(PathBuf, String)>, CommandError> {
        let _alone = self.alone()?;
        let mut held = Vec::new();
        for name in self.0.names().map_err(CommandError::new)? {
            if name == except {
                continue;
            }
            let lock = Lock::try_acquire(self.0.as_fd(), name.as_bytes(), LockMode::Exclusive);
            if let Some(lock) = lock.map_err(CommandError::new)? {
                lock.remove_file(self.0.as_fd(), name.as_bytes())
                    .map_err(CommandError::new)?;
                continue;
            }
            let text = self.0.read(&name, LIMIT).map_err(CommandError::new)?;
            // One that ended just now holds nothing.
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            held.push((self.0.path().join(&name), text));
        }
        Ok(held)
    }
}

impl HeldFile {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The lock, to be kept by whoever keeps the container alive.
    pub(crate) fn lock(&self) -> std::io::Result<OwnedFd> {
        let lock = self.lock.as_ref();
        lock.map_or_else(
            || Err(std::io::ErrorKind::NotFound.into()),
            |lock| lock.as_fd().try_clone_to_owned(),
        )
    }

    /// Where it is; the last holder of the lock removes it.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Writes what it says.
    pub(crate) fn write(&self, text: &str) -> Result<(), CommandError> {
        let written = self
            .lock()
            .and_then(|file| File::from(file).write_all(text.as_bytes()));
        written.map_err(|error| {
            let (file, error) = (self.path(), ucr_sys::reason(&error));
            CommandError::sentence(format!("cannot write {}: {error}", file.display()))
        })
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // One that stays does no harm: nobody holds it.
            let _ = lock.remove_file(self.folder.as_fd(), self.name.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_file_is_one_holders_and_goes_with_what_it_was_for() {
        let temp = tempfile::tempdir().unwrap();
        let files = HeldFiles::open(temp.path(), "names").unwrap();
        let held = files.take("web").unwrap().unwrap();
        held.write("text").unwrap();
        assert!(files.take("web").unwrap().is_none());
        let others = files.of_others("lock").unwrap();
        assert_eq!(others, [(held.path(), "text".to_owned())]);
        let path = held.path();
        drop(held);
        assert!(!path.exists());
        assert!(files.take("web").unwrap().is_some());
    }

    #[test]
    fn c13_what_a_killed_holder_left_is_nobodys() {
        let temp = tempfile::tempdir().unwrap();
        let files = HeldFiles::open(temp.path(), "names").unwrap();
        for name in ["a", "b"] {
            File::create(temp.path().join("names").join(name)).unwrap();
        }
        let again = files.take("a").unwrap().unwrap();
        assert_eq!(files.of_others("lock").unwrap().len(), 1);
        assert!(again.path().exists() && !temp.path().join("names/b").exists());
    }

    #[test]
    fn c13_who_cleans_up_is_never_taken_for_a_holder() {
        const ROUNDS: usize = 2000;
        let temp = tempfile::tempdir().unwrap();
        let files = HeldFiles::open(temp.path(), "names").unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    HeldFiles::sweep(temp.path(), "names", "").unwrap();
                }
            });
            let taken = (0..ROUNDS).filter(|_| {
                File::create(temp.path().join("names/web")).unwrap();
                files.take("web").is_ok_and(|held| held.is_some())
            });
            let taken = taken.count();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(taken, ROUNDS);
        });
    }

    #[test]
    fn c13_a_folder_that_is_missing_has_nothing_to_clean_up() {
        let temp = tempfile::tempdir().unwrap();
        HeldFiles::sweep(temp.path(), "names", "").unwrap();
        assert!(!temp.path().join("names").exists());
    }
}
