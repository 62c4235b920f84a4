//! The files `stdout` and `stderr` of a sandbox: what a task says, up to a size, and what it said
//! before.
//!
//! The task can write to its sandbox, so that nothing with these names is trusted: no link is
//! followed, and nothing is opened that was not made here, but for a regular file when it begins.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ucr_sys::pipe::{Moved, move_to_file};
use ucr_sys::{Errno, FileType, at};

/// The most that is moved before others have their turn.
const TURN: u64 = 16 << 20;
/// The most that is moved at once.
const PIECE: u64 = 1 << 20;
/// Who may read it: it is the sandbox that keeps others out.
const MODE: u32 = 0o644;

/// How large a file becomes, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Bytes of one file; 0 for any number.
    pub(super) size: u64,
    /// Files that are kept, the one that is written among them.
    pub(super) files: u32,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Something of this name is there that is no regular file of one name.
    #[error("{0} is in the sandbox already, and is no regular file")]
    Strange(String),
    /// An operation on it failed.
    #[error("cannot write {0} in the sandbox")]
    System(String, #[source] ucr_sys::Error),
}

/// How much of what is in a pipe was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is more.
    Some,
    /// There is nothing more now.
    All,
    /// Nobody will write any more.
    End,
}

/// A file that what comes out of a pipe is written to.
#[derive(Debug)]
pub(super) struct LogFile {
    folder: Rc<OwnedFd>,
    name: String,
    file: File,
    size: u64,
    rotation: Rotation,
}

impl LogFile {
    /// Opens the file `name` in `folder` to write behind what is there, or makes it.
    pub(super) fn open(folder: Rc<OwnedFd>, name: &str, rotation: Rotation) -> Result<Self, Error> {
        let failed = |error| Error::System(name.to_owned(), error);
        let there = at::stat(folder.as_fd(), name.as_bytes()).map_err(failed)?;
        let (file, size) = match there {
            None => (made(folder.as_fd(), name).map_err(failed)?, 0),
            Some(_) => Self::existing(folder.as_fd(), name)?,
        };
        Ok(Self {
            folder,
            name: name.to_owned(),
            file,
            size,
            rotation,
        })
    }

    fn existing(folder: BorrowedFd<'_>, name: &str) -> Result<(File, u64), Error> {
        let failed = |error| Error::System(name.to_owned(), error);
        let opened = match at::open_or_create_file(folder, name.as_bytes()) {
            Ok(opened) => opened,
            // A link, or a directory.
            Err(error) if matches!(error.errno(), Errno::LOOP | Errno::ISDIR) => {
                return Err(Error::Strange(name.to_owned()));
            }
            Err(error) => return Err(failed(error)),
        };
        let stat = at::stat_fd(opened.as_fd()).map_err(failed)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_nlink != 1 {
            return Err(Error::Strange(name.to_owned()));
        }
        let mut file = File::from(opened);
        let size = file
            .seek(SeekFrom::End(0))
            .map_err(|error| failed(ucr_sys::Error::from_io("lseek", name, &error)))?;
        Ok((file, size))
    }

    /// The file itself, for whoever writes without a limit.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes what is in the pipe, or a part of it if that is much.
    pub(super) fn take(&mut self, pipe: BorrowedFd<'_>) -> Result<Taken, Error> {
        let mut left = TURN;
        while left > 0 {
            if self.is_full() {
                self.rotate()?;
            }
            let room = match self.rotation.size {
                0 => PIECE,
                size => size - self.size,
            };
            let most = room.min(PIECE).min(left);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let moved = move_to_file(pipe, self.file.as_fd(), most);
            match moved.map_err(|error| self.failed(error))? {
                Moved::Bytes(count) => {
                    let count = count as u64;
                    self.size += count;
                    left = left.saturating_sub(count);
                }
                Moved::Nothing => return Ok(Taken::All),
                Moved::End => return Ok(Taken::End),
            }
        }
        Ok(Taken::Some)
    }

    fn is_full(&self) -> bool {
        self.rotation.size > 0 && self.size >= self.rotation.size
    }

    /// Gives each file the name of the next older one, and begins anew.
    fn rotate(&mut self) -> Result<(), Error> {
        let oldest = self.rotation.files.max(1) - 1;
        self.remove(&self.numbered(oldest))?;
        for number in (0..oldest).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            self.rename(&from, &to)?;
        }
        self.file = made(self.folder.as_fd(), &self.name).map_err(|error| self.failed(error))?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> String {
        match number {
            0 => self.name.clone(),
            number => format!("{}.{number}", self.name),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let removed = ucr_sys::tree::remove_tree(self.folder.as_fd(), name.as_bytes());
        removed.map_err(|error| self.failed(error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let folder = self.folder.as_fd();
        // What the task may have put there meanwhile.
        self.remove(to)?;
        match at::rename(folder, from.as_bytes(), to.as_bytes()) {
            Err(error) if error.errno() == Errno::NOENT => Ok(()),
            renamed => renamed.map_err(|error| self.failed(error)),
        }
    }

    fn failed(&self, error: ucr_sys::Error) -> Error {
        Error::System(self.name.clone(), error)
    }
}

/// A new file, in place of whatever has its name.
fn made(folder: BorrowedFd<'_>, name: &str) -> ucr_sys::Result<File> {
    ucr_sys::tree::remove_tree(folder, name.as_bytes())?;
    let file = at::create_file(folder, name.as_bytes())?;
    at::set_mode_fd(file.as_fd(), MODE)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use ucr_sys::pipe::{Pipe, pipe};

    use super::*;

    fn put(folder: &std::path::Path, name: &str, text: &str) {
        let folder = ucr_sys::Dir::open(folder).unwrap();
        folder.replace(name, text.as_bytes(), 0o644).unwrap();
    }

    fn folder(path: &Path) -> Rc<OwnedFd> {
        Rc::new(File::open(path).unwrap().into())
    }

    fn read(path: &Path, name: &str) -> String {
        std::fs::read_to_string(path.join(name)).unwrap()
    }

    #[test]
    fn what_a_task_says_is_kept_to_the_byte_and_the_oldest_goes() {
        let temp = tempfile::tempdir().unwrap();
        let rotation = Rotation { size: 10, files: 3 };
        let mut log = LogFile::open(folder(temp.path()), "stdout", rotation).unwrap();
        let Pipe { reader, writer } = pipe(1 << 16).unwrap();
        let mut writer = File::from(writer);
        writer
            .write_all(b"0123456789abcdefghijABCDEFGHIJxyz")
            .unwrap();
        assert_eq!(log.take(reader.as_fd()).unwrap(), Taken::All);
        assert_eq!(read(temp.path(), "stdout"), "xyz");
        assert_eq!(read(temp.path(), "stdout.1"), "ABCDEFGHIJ");
        assert_eq!(read(temp.path(), "stdout.2"), "abcdefghij");
        assert!(!temp.path().join("stdout.3").exists());
        drop(writer);
        assert_eq!(log.take(reader.as_fd()).unwrap(), Taken::End);
    }

    #[test]
    fn one_that_is_there_is_written_behind() {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), "stderr", "before ");
        let rotation = Rotation { size: 0, files: 1 };
        let mut log = LogFile::open(folder(temp.path()), "stderr", rotation).unwrap();
        let Pipe { reader, writer } = pipe(1 << 16).unwrap();
        File::from(writer).write_all(b"after").unwrap();
        log.take(reader.as_fd()).unwrap();
        assert_eq!(read(temp.path(), "stderr"), "before after");
    }

    #[test]
    fn links_that_a_task_puts_there_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let rotation = Rotation { size: 4, files: 2 };
        symlink(outside.path(), temp.path().join("stdout")).unwrap();
        let opened = LogFile::open(folder(temp.path()), "stdout", rotation);
        assert!(matches!(opened, Err(Error::Strange(_))));
        std::fs::remove_file(temp.path().join("stdout")).unwrap();
        let mut log = LogFile::open(folder(temp.path()), "stdout", rotation).unwrap();
        for name in ["stdout", "stdout.1"] {
            let _ = std::fs::remove_file(temp.path().join(name));
            symlink(outside.path(), temp.path().join(name)).unwrap();
        }
        let Pipe { reader, writer } = pipe(1 << 16).unwrap();
        File::from(writer).write_all(b"0123456789").unwrap();
        log.take(reader.as_fd()).unwrap();
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
        assert_eq!(read(temp.path(), "stdout"), "89");
    }
}
