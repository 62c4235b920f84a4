//! A directory that is filled by names that nobody trusts.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::at::{self, FileTime};
use ucr_sys::{Errno, FileType, random_suffix};

use super::super::path::{Place, place};
use super::error::Error;

/// The most that a symbolic link may say, symlink(7).
const LINK_MAX: usize = 4095;
/// The bits of a mode that a file of a task has: no set-user-ID, no set-group-ID, no sticky bit.
const PERMISSIONS: u32 = 0o777;
const DIRECTORY_MODE: u32 = 0o755;

/// Whose the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A directory, and whose all is that is made below it.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'d> {
    root: BorrowedFd<'d>,
    owner: Owner,
}

/// Where something is to be made: an open directory, and the name in it.
struct Spot {
    parent: OwnedFd,
    name: Vec<u8>,
}

impl<'d> Tree<'d> {
    /// Below `root`.
    pub fn new(root: BorrowedFd<'d>, owner: Owner) -> Self {
        Self { root, owner }
    }

    /// Makes the file `name`, with the permissions of `mode`, in place of what was there; `fill`
    /// writes it. It has its name once it is whole.
    ///
    /// # Errors
    /// A name that leads elsewhere, is a directory's or goes through a link; what the system does
    /// not take; and what `fill` fails with.
    pub fn write_file<E: From<Error>>(
        &self,
        name: &[u8],
        mode: u32,
        time: Option<FileTime>,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(), E> {
        let spot = self.spot(name)?;
        let parent = spot.parent.as_fd();
        let aside = format!(".ucr-{}", random_suffix()).into_bytes();
        let made = |source| Error::Make {
            name: name.to_owned(),
            source,
        };
        let mut file = File::from(at::create_file(parent, &aside).map_err(made)?);
        let finish = |file: &File| {
            let finish = || {
                at::set_owner_fd(file.as_fd(), self.owner.uid, self.owner.gid)?;
                at::set_mode_fd(file.as_fd(), mode & PERMISSIONS)?;
                time.map_or(Ok(()), |time| at::set_times_fd(file.as_fd(), time))
            };
            finish().map_err(made)?;
            spot.clear(name)?;
            at::rename(parent, &aside, &spot.name).map_err(made)
        };
        let finished = fill(&mut file).and_then(|()| Ok(finish(&file)?));
        if finished.is_err() {
            // What it failed of is told.
            let _ = at::remove(parent, &aside);
        }
        finished
    }

    /// As [`Self::write_file`], where `fill` does not know the name.
    pub(super) fn write_entry(
        &self,
        name: &[u8],
        (mode, time): (u32, Option<FileTime>),
        fill: impl FnOnce(&mut File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write_file(name, mode, time, |to| {
            fill(to).map_err(|error| named(error, name))
        })
    }

    /// Opens the regular file `name` for reading, through no link.
    ///
    /// # Errors
    /// What is not there, is no file, or is reached through a link.
    pub fn open_file(&self, name: &[u8]) -> Result<File, Error> {
        let spot = self.spot(name)?;
        match spot.kind(name)? {
            Some(FileType::RegularFile) => {}
            _ => return Err(refused(name, "it is no file")),
        }
        let opened = at::open_file(spot.parent.as_fd(), &spot.name);
        opened.map(File::from).map_err(|source| Error::Make {
            name: name.to_owned(),
            source,
        })
    }

    /// Makes the directory `name`, with the permissions of `mode`; one that is there stays, with
    /// its own.
    ///
    /// # Errors
    /// A name that leads elsewhere or goes through a link, and what the system does not take.
    pub(super) fn make_directory(&self, name: &[u8], mode: u32) -> Result<(), Error> {
        let Some(spot) = self.spot_below(name)? else {
            return Ok(());
        };
        match spot.kind(name)? {
            Some(FileType::Directory) => return Ok(()),
            Some(_) => spot.clear(name)?,
            None => {}
        }
        self.make_one(spot.parent.as_fd(), &spot.name, mode)
            .map(drop)
            .map_err(|source| Error::Make {
                name: name.to_owned(),
                source,
            })
    }

    /// Makes the symbolic link `name` that says `target`, wherever that leads: it is the task that
    /// follows it, in its own root file system.
    ///
    /// # Errors
    /// As [`Self::make_directory`], and what no link can say.
    pub(super) fn make_symlink(&self, name: &[u8], target: &[u8]) -> Result<(), Error> {
        if target.is_empty() || target.len() > LINK_MAX || target.contains(&0) {
            return Err(refused(name, "it links to nothing that a link can say"));
        }
        let spot = self.spot(name)?;
        spot.clear(name)?;
        let parent = spot.parent.as_fd();
        at::make_symlink(parent, &spot.name, target)
            .and_then(|()| at::set_owner(parent, &spot.name, self.owner.uid, self.owner.gid))
            .map_err(|source| Error::Make {
                name: name.to_owned(),
                source,
            })
    }

    /// Gives the file `target` a second name.
    ///
    /// # Errors
    /// As [`Self::make_directory`], and a target that is not a file of the owner's below the root.
    pub(super) fn make_hard_link(&self, name: &[u8], target: &[u8]) -> Result<(), Error> {
        let elsewhere = "it is another name for something that is no file of this directory";
        let Ok(Place::Below {
            parent: folder,
            name: old,
        }) = place(target)
        else {
            return Err(refused(name, elsewhere));
        };
        let made = |source| Error::Make {
            name: name.to_owned(),
            source,
        };
        let folder = match at::open_dir_below(self.root, &folder) {
            Ok(folder) => folder,
            Err(_nowhere) => return Err(refused(name, elsewhere)),
        };
        let facts = at::stat(folder.as_fd(), &old).map_err(made)?;
        let is_ours = facts.is_some_and(|facts| {
            FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile
                && facts.st_uid == self.owner.uid
        });
        if !is_ours {
            return Err(refused(name, elsewhere));
        }
        let spot = self.spot(name)?;
        let there = at::stat(spot.parent.as_fd(), &spot.name).map_err(made)?;
        if there
            .zip(facts)
            .is_some_and(|(there, old)| (there.st_dev, there.st_ino) == (old.st_dev, old.st_ino))
        {
            return Ok(());
        }
        spot.clear(name)?;
        at::make_hard_link(folder.as_fd(), &old, spot.parent.as_fd(), &spot.name).map_err(made)
    }

    /// Where `name` is to be made; the root is refused.
    fn spot(&self, name: &[u8]) -> Result<Spot, Error> {
        self.spot_below(name)?
            .ok_or_else(|| refused(name, "it would take the place of the directory itself"))
    }

    /// Where `name` is to be made; none for the root.
    fn spot_below(&self, name: &[u8]) -> Result<Option<Spot>, Error> {
        let found = place(name).map_err(|why| refused(name, why))?;
        let Place::Below { parent, name: last } = found else {
            return Ok(None);
        };
        Ok(Some(Spot {
            parent: self.directory(&parent, name)?,
            name: last,
        }))
    }

    /// Opens the directory `path`, making what is missing of it, for what is called `name`.
    fn directory(&self, path: &[u8], name: &[u8]) -> Result<OwnedFd, Error> {
        let failed = |errno: Errno| match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
                refused(name, "its way leads through something that is no directory")
            }
            errno => Error::Make {
                name: name.to_owned(),
                source: ucr_sys::Error::new("openat2", at::quoted(path), errno),
            },
        };
        match at::open_dir_below(self.root, path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(failed),
        }
        let mut here = at::open_dir_below(self.root, b"").map_err(failed)?;
        for part in path.split(|byte| *byte == b'/') {
            here = match at::open_dir_below(here.as_fd(), part) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    let made = self.make_one(here.as_fd(), part, DIRECTORY_MODE);
                    made.map_err(|source| Error::Make {
                        name: name.to_owned(),
                        source,
                    })?
                }
                Err(errno) => return Err(failed(errno)),
            };
        }
        Ok(here)
    }

    fn make_one(&self, parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> ucr_sys::Result<OwnedFd> {
        at::make_dir(parent, name)?;
        let made = at::open_dir(parent, name)?;
        at::set_owner_fd(made.as_fd(), self.owner.uid, self.owner.gid)?;
        at::set_mode_fd(made.as_fd(), mode & PERMISSIONS)?;
        Ok(made)
    }
}

impl Spot {
    /// What is there of this name.
    fn kind(&self, name: &[u8]) -> Result<Option<FileType>, Error> {
        let facts = at::stat(self.parent.as_fd(), &self.name);
        let facts = facts.map_err(|source| Error::Make {
            name: name.to_owned(),
            source,
        })?;
        Ok(facts.map(|facts| FileType::from_raw_mode(facts.st_mode)))
    }

    /// Removes what is there of this name, so that nothing is written through it.
    fn clear(&self, name: &[u8]) -> Result<(), Error> {
        match self.kind(name)? {
            None => Ok(()),
            Some(FileType::Directory) => Err(refused(name, "there is a directory of this name")),
            Some(_) => at::remove(self.parent.as_fd(), &self.name).map_err(|source| Error::Make {
                name: name.to_owned(),
                source,
            }),
        }
    }
}

fn refused(name: &[u8], why: &'static str) -> Error {
    let name = name.to_owned();
    Error::Entry { name, why }
}

/// Says of which file it is that a piece was not taken.
fn named(error: Error, of: &[u8]) -> Error {
    match error {
        Error::Write { name, source } if name.is_empty() => Error::Write {
            name: of.to_owned(),
            source,
        },
        error => error,
    }
}
