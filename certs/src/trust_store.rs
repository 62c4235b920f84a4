//! The certificates that an operator added, kept apart from every CAfile that
//! a package owns, so that upgrades leave them alone.
//!
//! On disk, in one directory:
//!
//! ```text
//! <sha256 of the DER, 64 hex digits>.pem   one certificate, after comment lines
//!                                          "# subject: …", "# added: …", "# from: …"
//! cafile.pem                               all of them, for other programs
//! .lock                                    held by whoever changes anything
//! .new-…                                   being written
//! ```
//!
//! The single files are the truth and are all that `ucr` reads; `cafile.pem` is
//! made from them after each change and repaired by the next one after a crash.
//! Readers take no lock: every file is replaced by a rename.

use std::path::{Path, PathBuf};

use crate::crt::{Certificate, Input};
use crate::error::Error;
use crate::files::{self, LockedDir};
use crate::fingerprint::{Fingerprint, FingerprintPrefix};
use crate::x509::{Facts, Note, Timestamp};

const CAFILE: &str = "cafile.pem";
const SUFFIX: &str = ".pem";

/// A directory of added certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustStore {
    directory: PathBuf,
}

/// One added certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The certificate.
    pub certificate: Certificate,
    /// The file that holds it.
    pub path: PathBuf,
    /// When and from where it came, as far as its file says.
    pub provenance: Provenance,
}

/// When and from where a certificate came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// When it was added, as RFC 3339.
    pub added: Option<String>,
    /// The file that it was added from.
    pub from: Option<String>,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The certificates, ordered by fingerprint.
    pub entries: Vec<Entry>,
    /// Files that should hold a certificate and do not; each error names its file.
    pub damaged: Vec<Error>,
    /// Files that were put there by hand; they are not trusted.
    pub strangers: Vec<PathBuf>,
}

/// What became of one certificate that was to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What it says about itself.
    pub facts: Facts,
    /// The name of the file it came from.
    pub from: String,
    /// Whether it was new.
    pub outcome: AddOutcome,
    /// What the operator should know about it.
    pub notes: Vec<Note>,
}

/// Whether a certificate was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOutcome {
    /// It is trusted from now on.
    Added,
    /// It had been added before, or stands earlier in the same call.
    AlreadyTrusted,
}

/// A certificate that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What it said about itself; `None` when its file was damaged.
    pub facts: Option<Facts>,
}

impl TrustStore {
    /// Names the directory; it need not exist until something is added.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory that holds everything.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file with all added certificates, for other programs.
    pub fn cafile(&self) -> PathBuf {
        self.directory.join(CAFILE)
    }

    /// Lists what was added.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] when the directory cannot be read; single damaged files
    /// are in the listing.
    pub fn list(&self) -> Result<Listing, Error> {
        let names = files::names(&self.directory).map_err(|source| Error::Read {
            path: self.directory.clone(),
            source,
        })?;
        let mut listing = Listing::default();
        for name in names {
            match fingerprint_of_name(&name) {
                Some(fingerprint) => listing.push(self.read_entry(&name, fingerprint)),
                None if name == CAFILE || name.starts_with('.') => {}
                None => listing.strangers.push(self.directory.join(name)),
            }
        }
        Ok(listing)
    }

    /// Adds all certificates of all inputs, or none of them.
    ///
    /// # Errors
    ///
    /// What [`Input::certificates`] refuses, with nothing changed, and
    /// [`Error::Write`], with what this call had written taken back.
    pub fn add(&self, inputs: &[Input], now: Timestamp) -> Result<Vec<Added>, Error> {
        let mut certificates = Vec::new();
        for input in inputs {
            let found = input.certificates()?;
            certificates.extend(
                found
                    .into_iter()
                    .map(|certificate| (input.name(), certificate)),
            );
        }
        let locked = self.lock()?;
        let mut trusted: Vec<Fingerprint> = self
            .list()?
            .entries
            .iter()
            .map(|entry| entry.certificate.fingerprint())
            .collect();
        let mut results = Vec::new();
        for (from, certificate) in certificates {
            let fingerprint = certificate.fingerprint();
            let outcome = if trusted.contains(&fingerprint) {
                AddOutcome::AlreadyTrusted
            } else {
                AddOutcome::Added
            };
            trusted.push(fingerprint);
            let notes = certificate.facts().notes(now);
            let facts = certificate.facts().clone();
            let added = Added {
                fingerprint,
                facts,
                from: from.to_owned(),
                outcome,
                notes,
            };
            results.push((certificate, added));
        }
        self.write_added(&locked, &results, now)?;
        Ok(results.into_iter().map(|(_, added)| added).collect())
    }

    /// Removes the one certificate whose fingerprint begins with `prefix`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFingerprint`], [`Error::AmbiguousFingerprint`], or
    /// [`Error::Write`].
    pub fn remove(&self, prefix: &FingerprintPrefix) -> Result<Removed, Error> {
        let unknown = || Error::UnknownFingerprint {
            prefix: prefix.to_string(),
        };
        // Without a match nothing is written, not even the directory made.
        if self.matching(prefix)?.is_empty() {
            return Err(unknown());
        }
        let locked = self.lock()?;
        let matches = self.matching(prefix)?;
        let fingerprint = match matches.as_slice() {
            [] => return Err(unknown()),
            [only] => *only,
            _ => {
                return Err(Error::AmbiguousFingerprint {
                    prefix: prefix.to_string(),
                    matches,
                });
            }
        };
        let name = file_name(fingerprint);
        let entry = self.read_entry(&name, fingerprint).ok().flatten();
        self.wrote(locked.remove(&name))?;
        self.rebuild_cafile(&locked)?;
        Ok(Removed {
            fingerprint,
            facts: entry.map(|entry| entry.certificate.facts().clone()),
        })
    }

    /// By file name and not by content, so that a damaged file can be removed too.
    fn matching(&self, prefix: &FingerprintPrefix) -> Result<Vec<Fingerprint>, Error> {
        let names = files::names(&self.directory).map_err(|source| Error::Read {
            path: self.directory.clone(),
            source,
        })?;
        let fingerprints = names.iter().filter_map(|name| fingerprint_of_name(name));
        Ok(fingerprints
            .filter(|fingerprint| prefix.matches(*fingerprint))
            .collect())
    }

    fn lock(&self) -> Result<LockedDir, Error> {
        self.wrote(LockedDir::open(&self.directory))
    }

    fn write_added(
        &self,
        locked: &LockedDir,
        results: &[(Certificate, Added)],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut written = Vec::new();
        let mut write_all = || {
            for (certificate, added) in results {
                if added.outcome == AddOutcome::Added {
                    let name = file_name(added.fingerprint);
                    let bytes = annotated(certificate, &added.from, now);
                    self.wrote(locked.replace(&name, &bytes))?;
                    written.push(name);
                }
            }
            self.rebuild_cafile(locked)
        };
        let result = write_all();
        if result.is_err() {
            // The first error is the one to report; a file that stays is a
            // whole certificate that the operator asked for.
            for name in &written {
                let _ = locked.remove(name);
            }
            let _ = self.rebuild_cafile(locked);
        }
        result
    }

    /// Makes `cafile.pem` from the single files; damaged ones are left out.
    fn rebuild_cafile(&self, locked: &LockedDir) -> Result<(), Error> {
        let mut wanted =
            b"# All certificates added with `ucr certs add`, rebuilt at each change.\n".to_vec();
        for entry in self.list()?.entries {
            wanted.extend(entry.certificate.to_pem());
        }
        let limit = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        match files::read(&self.cafile(), limit) {
            Ok(Some(present)) if present == wanted => Ok(()),
            _ => self.wrote(locked.replace(CAFILE, &wanted)),
        }
    }

    /// `None` when the file is gone: somebody removed it since its name was read.
    fn read_entry(&self, name: &str, fingerprint: Fingerprint) -> Result<Option<Entry>, Error> {
        let path = self.directory.join(name);
        let input = match Input::read(&path) {
            Err(Error::Read { source, .. }) if source.is_not_found() => return Ok(None),
            input => input?,
        };
        let certificates = input.certificates()?;
        match <[Certificate; 1]>::try_from(certificates) {
            Ok([certificate]) if certificate.fingerprint() == fingerprint => {
                let provenance = Provenance::read(input.bytes());
                Ok(Some(Entry {
                    certificate,
                    path,
                    provenance,
                }))
            }
            _ => Err(Error::WrongName { path }),
        }
    }

    fn wrote<T>(&self, result: ucr_sys::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Write {
            directory: self.directory.clone(),
            source,
        })
    }
}

impl Listing {
    fn push(&mut self, entry: Result<Option<Entry>, Error>) {
        match entry {
            Ok(entry) => self.entries.extend(entry),
            Err(error) => self.damaged.push(error),
        }
    }
}

impl Provenance {
    fn read(text: &[u8]) -> Self {
        let mut provenance = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            if let Some(added) = line.strip_prefix("# added: ") {
                provenance.added = Some(added.to_owned());
            } else if let Some(from) = line.strip_prefix("# from: ") {
                provenance.from = Some(from.to_owned());
            }
        }
        provenance
    }
}

/// The certificate as PEM after comments for whoever opens the file.
///
/// The subject and the name of the input were made printable when they were
/// read, so neither can end its line.
fn annotated(certificate: &Certificate, from: &str, now: Timestamp) -> Vec<u8> {
    let subject = &certificate.facts().subject;
    let mut text = format!("# subject: {subject}\n# added: {now}\n# from: {from}\n").into_bytes();
    text.extend(certificate.to_pem());
    text
}

fn file_name(fingerprint: Fingerprint) -> String {
    format!("{fingerprint}{SUFFIX}")
}

fn fingerprint_of_name(name: &str) -> Option<Fingerprint> {
    let fingerprint: Fingerprint = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (file_name(fingerprint) == name).then_some(fingerprint)
}

#[cfg(test)]
mod tests;
