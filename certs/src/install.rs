//! The added certificates inside a CAfile of somebody else's: between two
//! marker lines, so that they can be replaced and taken out again.
//!
//! Everything happens under the lock of the CAfile's directory, and the file is
//! replaced whole. A certificate that the CAfile holds already is put into the
//! block all the same: an upgrade may drop the other copy.
//!
//! `block` is the text, without files.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::crt::{Certificate, Input};
use crate::error::Error;
use crate::files;
use crate::files::outside::{self, Found, Place, SharedDir};
use crate::fingerprint::Fingerprint;
use crate::output::unique;
use crate::pem;
use crate::x509::printable;

mod block;

pub use block::FlawedMarkers;
use block::{Layout, with_block};

/// No CAfile is larger than what is read as one elsewhere.
const LARGEST_CAFILE: u64 = 16 << 20;
/// What ends the name of the copy from before the first change, before the number of a further one.
const BACKUP: &str = ".ucr-backup";

/// A failure to install certificates into a CAfile or to take them out; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is nothing to install, and nothing of ours to take out.
    #[error("no certificate was added for all registries, so there is none to install")]
    NothingAdded,
    /// There is no such CAfile.
    #[error("the CAfile {} does not exist", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The CAfile is a directory, a device or a pipe.
    #[error("{} is no regular file: name the CAfile itself", path.display())]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The CAfile cannot be read as one.
    #[error(transparent)]
    Cafile(#[from] Error),
    /// The CAfile holds its certificates in a format that nothing can be added to.
    #[error("{file} is not PEM, which alone holds more than it was made with")]
    NotPem {
        /// The name of the CAfile.
        file: String,
    },
    /// The marker lines are not a pair: the file was edited since.
    #[error("{file}: the markers of ucr's certificates are damaged")]
    Markers {
        /// The name of the CAfile.
        file: String,
        /// What is wrong with them.
        source: FlawedMarkers,
    },
    /// The CAfile or its backup could not be written.
    #[error("cannot change {}", path.display())]
    Write {
        /// The path as it was given.
        path: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
}

/// What became of a CAfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallOutcome {
    /// It held none of ours before.
    Installed,
    /// It held others of ours before, in the same place.
    Replaced,
    /// It held the same, and was not touched.
    Unchanged,
    /// It held some of ours, which were taken out because there is nothing to install.
    Emptied,
}

/// What was done to a CAfile by [`LockedCafile::install`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What became of it.
    pub outcome: InstallOutcome,
    /// The file itself, after following links.
    pub target: PathBuf,
    /// The copy from before the first change since it held none of ours, unless somebody removed it.
    pub backup: Option<PathBuf>,
    /// How many certificates of ours it holds now.
    pub certificates: usize,
    /// How many of them it holds elsewhere as well.
    pub also_elsewhere: usize,
}

/// What was done to a CAfile by [`uninstall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninstalled {
    /// The file itself, after following links.
    pub target: PathBuf,
    /// The copy from before the first change, which stays, unless somebody removed it.
    pub backup: Option<PathBuf>,
    /// How many certificates were taken out; `None` when it held none of ours and was not touched.
    pub certificates: Option<usize>,
}

/// Takes out of a CAfile what [`LockedCafile::install`] put there, so that it is byte for byte as
/// before.
///
/// Whatever else changed in the file since stays, and so does the backup.
///
/// # Errors
///
/// [`InstallError`]: damaged markers, or a call that failed.
pub fn uninstall(cafile: &Path) -> Result<Uninstalled, InstallError> {
    let opened = LockedCafile::open(cafile)?;
    let layout = opened.layout()?;
    let certificates = layout.block.map(|block| {
        // Whoever edited the block may have damaged it, which is no reason to keep it.
        pem::blocks(block).map_or(0, |blocks| blocks.len())
    });
    let without = layout.without_block();
    let backup = opened.backup_of(&without)?;
    if certificates.is_some() {
        opened.put(opened.place.name(), &without)?;
    }
    Ok(Uninstalled {
        target: opened.place.path(),
        backup,
        certificates,
    })
}

/// A CAfile that no other `ucr` changes until this is dropped.
///
/// What is to be installed is looked up while this is held: of two who install
/// at once, the last one knows all that the first one knew.
#[derive(Debug)]
pub struct LockedCafile {
    path: PathBuf,
    name: String,
    place: Place,
    directory: SharedDir,
    file: File,
    bytes: Vec<u8>,
}

impl LockedCafile {
    /// Reads a CAfile and waits until nobody else changes it.
    ///
    /// # Errors
    ///
    /// [`InstallError`]: a file that is none or too large, or a call that failed.
    pub fn open(path: &Path) -> Result<Self, InstallError> {
        let unreadable = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let named = || path.to_owned();
        // Before it is opened, which may wait forever for the other end of a pipe.
        match Found::at(path).map_err(unreadable)? {
            Found::File => {}
            Found::Nothing => return Err(InstallError::Missing { path: named() }),
            Found::Other => return Err(InstallError::NotAFile { path: named() }),
        }
        let place = Place::of(path).map_err(unreadable)?;
        let directory =
            SharedDir::lock(place.directory()).map_err(|source| InstallError::Write {
                path: named(),
                source,
            })?;
        let (file, bytes) =
            outside::open_and_read(&place.path(), LARGEST_CAFILE).map_err(unreadable)?;
        let name = printable(&path.display().to_string());
        let bytes = bytes.ok_or_else(|| Error::TooLarge {
            file: name.clone(),
            limit: LARGEST_CAFILE,
        })?;
        Ok(Self {
            path: named(),
            name,
            place,
            directory,
            file,
            bytes,
        })
    }

    /// Puts certificates into it, in the place of those that an earlier call put there.
    ///
    /// The first change leaves the file as it was in `CAFILE.ucr-backup`, or, where
    /// that is the name of something else, in the first free one of
    /// `CAFILE.ucr-backup.1`, `.2` and so on: no backup is ever overwritten, and none
    /// is written twice. Mode, owner and extended attributes stay.
    ///
    /// Without certificates, those that an earlier call put there are taken out.
    ///
    /// # Errors
    ///
    /// [`InstallError`]: neither certificates nor any of an earlier call, a file that
    /// is no sound CAfile in PEM, damaged markers, or a call that failed.
    pub fn install(self, certificates: &[Certificate]) -> Result<Installed, InstallError> {
        let certificates = unique(certificates);
        let layout = self.layout()?;
        if certificates.is_empty() {
            return self.empty(&layout);
        }
        let elsewhere = self.certificates_outside(&layout)?;
        let new = with_block(&layout, &certificates);
        let outcome = match layout.block {
            _ if new == self.bytes => InstallOutcome::Unchanged,
            Some(_) => InstallOutcome::Replaced,
            None => InstallOutcome::Installed,
        };
        let backup = match outcome {
            InstallOutcome::Installed => Some(self.back_up()?),
            _ => self.backup_of(&layout.without_block())?,
        };
        if outcome != InstallOutcome::Unchanged {
            self.put(self.place.name(), &new)?;
        }
        let is_elsewhere = |one: &&&Certificate| elsewhere.contains(&one.fingerprint());
        Ok(Installed {
            outcome,
            target: self.place.path(),
            backup,
            certificates: certificates.len(),
            also_elsewhere: certificates.iter().filter(is_elsewhere).count(),
        })
    }

    /// What is left of [`Self::install`] when there is nothing to install.
    fn empty(&self, layout: &Layout<'_>) -> Result<Installed, InstallError> {
        if layout.block.is_none() {
            return Err(InstallError::NothingAdded);
        }
        let without = layout.without_block();
        let backup = self.backup_of(&without)?;
        self.put(self.place.name(), &without)?;
        Ok(Installed {
            outcome: InstallOutcome::Emptied,
            target: self.place.path(),
            backup,
            certificates: 0,
            also_elsewhere: 0,
        })
    }

    fn layout(&self) -> Result<Layout<'_>, InstallError> {
        Layout::of(&self.bytes).map_err(|source| InstallError::Markers {
            file: self.name.clone(),
            source,
        })
    }

    /// What the CAfile holds without us; an error when that is no sound CAfile.
    fn certificates_outside(
        &self,
        layout: &Layout<'_>,
    ) -> Result<HashSet<Fingerprint>, InstallError> {
        let outside = layout.blanked();
        let input = Input::new(&self.name, outside);
        let contents = input.contents()?;
        if contents.certificates.is_empty() {
            return Err(InstallError::Cafile(Error::NoCertificate {
                file: self.name.clone(),
                found: contents.besides_certificates(),
            }));
        }
        if !pem::is_pem(input.bytes()) {
            return Err(InstallError::NotPem {
                file: self.name.clone(),
            });
        }
        let certificates = contents.certificates.iter();
        Ok(certificates.map(Certificate::fingerprint).collect())
    }

    fn put(&self, name: &OsStr, bytes: &[u8]) -> Result<(), InstallError> {
        let put = self.directory.replace(name, bytes, Some(&self.file));
        put.map_err(|source| self.unwritable(source))
    }

    /// Keeps the CAfile as it is, unless there is such a backup already.
    fn back_up(&self) -> Result<PathBuf, InstallError> {
        let taken = self.backups()?;
        let mut backups = taken.iter().filter(|(_, found)| *found == Found::File);
        if let Some((same, _)) = backups.find(|(path, _)| files::holds(path, &self.bytes)) {
            return Ok(same.clone());
        }
        let name = self.backup_name(taken.len());
        self.put(&name, &self.bytes)?;
        Ok(self.place.directory().join(name))
    }

    /// The backup that holds `original`, or the latest one if that was changed since.
    fn backup_of(&self, original: &[u8]) -> Result<Option<PathBuf>, InstallError> {
        let mut backups = self.backups()?;
        backups.retain(|(_, found)| *found == Found::File);
        let same = backups
            .iter()
            .find(|(path, _)| files::holds(path, original));
        Ok(same.or(backups.last()).map(|(path, _)| path.clone()))
    }

    /// What has the name of a backup, in the order in which they are written.
    fn backups(&self) -> Result<Vec<(PathBuf, Found)>, InstallError> {
        let mut taken = Vec::new();
        loop {
            let path = self.place.directory().join(self.backup_name(taken.len()));
            match Found::named(&path).map_err(|source| self.unwritable(source))? {
                Found::Nothing => return Ok(taken),
                found => taken.push((path, found)),
            }
        }
    }

    fn backup_name(&self, number: usize) -> OsString {
        let mut name = self.place.name().to_owned();
        name.push(BACKUP);
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name
    }

    fn unwritable(&self, source: ucr_sys::Error) -> InstallError {
        InstallError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
