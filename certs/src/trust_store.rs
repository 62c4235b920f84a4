//! The certificates that an operator added, kept apart from every CAfile that
//! a package owns, so that upgrades leave them alone.
//!
//! On disk, in one directory:
//!
//! ```text
//! <sha256 of the DER, 64 hex digits>.pem   one certificate for all registries, after comment
//!                                          lines: "# subject: …", "# name: …", "# added: …",
//!                                          "# by: …", "# from: …"
//! registries/<host[:port]>/<sha256>.pem    one for this registry alone
//! cafile.pem                               all those for all registries, for other programs
//! .lock                                    held by whoever changes anything
//! .new-…, .commit                          being written (see the module `files`)
//! ```
//!
//! The single files are the truth and are all that `ucr` reads; `cafile.pem` is
//! made from them after each change and repaired by the next one after a crash.
//! Readers take no lock: every file is replaced by a rename.

mod entry;
mod selector;

use std::path::{Path, PathBuf};

pub use entry::{CertName, Entry, Provenance, Scope};
pub use selector::Selector;

use crate::crt::{Certificate, Input};
use crate::error::Error;
use crate::files::{self, LockedDir, Pending};
use crate::fingerprint::Fingerprint;
use crate::host::HostPort;
use crate::x509::{Facts, Note, Timestamp};

const CAFILE: &str = "cafile.pem";
const REGISTRIES: &str = "registries";
const SUFFIX: &str = ".pem";

/// A directory of added certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustStore {
    directory: PathBuf,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The certificates, those for all registries first, then ordered by fingerprint.
    pub entries: Vec<Entry>,
    /// Files that should hold a certificate and do not; each error names its file.
    pub damaged: Vec<Error>,
    /// Files that were put there by hand; they are not trusted.
    pub strangers: Vec<PathBuf>,
}

/// What is to be added, and how.
#[derive(Debug, Clone)]
pub struct Addition<'a> {
    /// The files.
    pub inputs: &'a [Input],
    /// For which registries.
    pub scope: Scope,
    /// What to call the certificates.
    pub name: Option<CertName>,
    /// Who adds them.
    pub by: Option<String>,
    /// The time.
    pub now: Timestamp,
    /// What to do about certificates that no connection would accept today.
    pub dates: Dates,
}

/// What counts about the validity of a certificate that is to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// It must be valid now.
    Checked,
    /// It may be expired, or not valid yet.
    Ignored,
}

/// What became of one certificate that was to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What it says about itself.
    pub facts: Facts,
    /// Where it came from: the absolute path of a file, mostly.
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
    /// For which registries it counted.
    pub scope: Scope,
    /// What it said about itself; `None` when its file was damaged.
    pub facts: Option<Facts>,
}

/// A file that holds, or should hold, one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredFile {
    scope: Scope,
    fingerprint: Fingerprint,
    /// Relative to the directory of the store.
    name: String,
    /// Under which name it may still be, while a writer is at work.
    temporary: Option<String>,
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

    /// The file with all certificates for all registries, for other programs.
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
        let (stored, strangers) = self.stored()?;
        let mut listing = Listing {
            strangers,
            ..Listing::default()
        };
        for file in &stored {
            match self.read_entry(file) {
                Ok(entry) => listing.entries.extend(entry),
                Err(error) => listing.damaged.push(error),
            }
        }
        Ok(listing)
    }

    /// Adds all certificates of all inputs, or none of them.
    ///
    /// A certificate that is trusted for all registries is not added for a
    /// single one as well.
    ///
    /// # Errors
    ///
    /// What [`Input::certificates`] refuses and [`Error::OutOfTime`], with nothing
    /// changed, and [`Error::Write`], with what this call had written taken back.
    pub fn add(&self, addition: &Addition<'_>) -> Result<Vec<Added>, Error> {
        let mut certificates = Vec::new();
        for input in addition.inputs {
            let found = input.certificates()?;
            certificates.extend(found.into_iter().map(|found| (input.origin(), found)));
        }
        // Before the lock, so that a refusal does not even make the directory …
        addition.check_dates(&self.sort_out(&certificates, addition)?)?;
        let locked = self.lock()?;
        // … and once more below it: others may have added or removed since.
        let sorted = self.sort_out(&certificates, addition)?;
        addition.check_dates(&sorted)?;
        let new = certificates.iter().zip(&sorted);
        let new = new.filter(|(_, added)| added.outcome == AddOutcome::Added);
        let written: Vec<(String, Vec<u8>)> = new
            .map(|((_, certificate), added)| {
                let name = file_name(&addition.scope, added.fingerprint);
                (name, addition.file(certificate, &added.from))
            })
            .collect();
        self.write_added(&locked, &written)?;
        Ok(sorted)
    }

    /// Tells the new certificates from those that are trusted already.
    fn sort_out(
        &self,
        certificates: &[(&str, Certificate)],
        addition: &Addition<'_>,
    ) -> Result<Vec<Added>, Error> {
        let entries = self.list()?.entries.into_iter();
        let mut trusted: Vec<Fingerprint> = entries
            .filter(|entry| entry.scope == Scope::AllRegistries || entry.scope == addition.scope)
            .map(|entry| entry.certificate.fingerprint())
            .collect();
        let sort = |(from, certificate): &(&str, Certificate)| {
            let fingerprint = certificate.fingerprint();
            let outcome = if trusted.contains(&fingerprint) {
                AddOutcome::AlreadyTrusted
            } else {
                AddOutcome::Added
            };
            trusted.push(fingerprint);
            let facts = certificate.facts().clone();
            Added {
                fingerprint,
                notes: facts.notes(addition.now),
                facts,
                from: (*from).to_owned(),
                outcome,
            }
        };
        Ok(certificates.iter().map(sort).collect())
    }

    /// Removes what `selector` points at: one certificate by the beginning of its
    /// fingerprint, or all of a name; for `scope` alone, or wherever it counts.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSelector`], [`Error::AmbiguousSelector`], or [`Error::Write`].
    pub fn remove(
        &self,
        selector: &Selector,
        scope: Option<&Scope>,
    ) -> Result<Vec<Removed>, Error> {
        // Without a match nothing is written, not even the directory made.
        self.select(selector, scope)?;
        let locked = self.lock()?;
        let mut removed = Vec::new();
        for file in self.select(selector, scope)? {
            let entry = self.read_entry(&file).ok().flatten();
            self.wrote(locked.remove(&file.name))?;
            if let Scope::Registry(registry) = &file.scope {
                locked.remove_if_empty(&format!("{REGISTRIES}/{registry}"));
            }
            removed.push(Removed {
                fingerprint: file.fingerprint,
                scope: file.scope,
                facts: entry.map(|entry| entry.certificate.facts().clone()),
            });
        }
        self.rebuild_cafile(&locked)?;
        Ok(removed)
    }

    /// By file name where it is a fingerprint, so that a damaged file can be removed too.
    fn select(&self, selector: &Selector, scope: Option<&Scope>) -> Result<Vec<StoredFile>, Error> {
        let (mut stored, _) = self.stored()?;
        stored.retain(|file| scope.is_none_or(|scope| *scope == file.scope));
        let is_named = |file: &StoredFile| {
            let entry = self.read_entry(file).ok().flatten();
            entry.is_some_and(|entry| selector.names(&entry))
        };
        let (pointed, others): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .partition(|file| selector.points_at(file.fingerprint));
        let named: Vec<StoredFile> = others.into_iter().filter(is_named).collect();
        let one = pointed
            .iter()
            .all(|file| file.fingerprint == pointed[0].fingerprint);
        match (pointed.is_empty(), named.is_empty()) {
            (true, true) => Err(Error::UnknownSelector {
                selector: selector.to_string(),
                directory: self.directory.clone(),
            }),
            (true, false) => Ok(named),
            (false, true) if one => Ok(pointed),
            _ => {
                let all = pointed.iter().chain(&named);
                let mut matches: Vec<Fingerprint> = all.map(|file| file.fingerprint).collect();
                matches.sort();
                matches.dedup();
                Err(Error::AmbiguousSelector {
                    selector: selector.to_string(),
                    matches,
                })
            }
        }
    }

    /// The files that hold certificates, also those that a writer has decided on
    /// and not yet named; and files of somebody else.
    fn stored(&self) -> Result<(Vec<StoredFile>, Vec<PathBuf>), Error> {
        let (mut stored, mut strangers) = (Vec::new(), Vec::new());
        for Pending { temporary, name } in self.read(files::pending(&self.directory))? {
            let file = StoredFile::by_name(&name);
            stored.extend(file.map(|file| StoredFile {
                temporary: Some(temporary),
                ..file
            }));
        }
        for name in self.names()? {
            match StoredFile::by_name(&name) {
                Some(file) if stored.iter().any(|known| known.name == file.name) => {}
                Some(file) => stored.push(file),
                None => strangers.push(self.directory.join(name)),
            }
        }
        stored.sort_by(|a, b| (&a.scope, a.fingerprint).cmp(&(&b.scope, b.fingerprint)));
        Ok((stored, strangers))
    }

    /// The names of all files that may hold a certificate, relative to the directory.
    fn names(&self) -> Result<Vec<String>, Error> {
        let registries = self.directory.join(REGISTRIES);
        let has_registries = registries.is_dir();
        let own = |name: &String| {
            name == CAFILE || name.starts_with('.') || has_registries && name == REGISTRIES
        };
        let mut names = self.read(files::names(&self.directory))?;
        names.retain(|name| !own(name));
        if !has_registries {
            return Ok(names);
        }
        for registry in self.read(files::names(&registries))? {
            let directory = registries.join(&registry);
            // A file where a directory should be is a stranger by its name.
            let inside = match directory.is_dir() {
                true => self.read(files::names(&directory))?,
                false => vec![String::new()],
            };
            let path = |name| format!("{REGISTRIES}/{registry}/{name}");
            names.extend(inside.iter().map(path));
        }
        Ok(names)
    }

    fn lock(&self) -> Result<LockedDir, Error> {
        self.wrote(LockedDir::open(&self.directory))
    }

    fn write_added(&self, locked: &LockedDir, written: &[(String, Vec<u8>)]) -> Result<(), Error> {
        if !written.is_empty() {
            self.wrote(locked.replace_all(written))?;
        }
        let rebuilt = self.rebuild_cafile(locked);
        if rebuilt.is_err() {
            // The first error is the one to report; a file that stays is a
            // whole certificate that the operator asked for.
            for (name, _) in written {
                let _ = locked.remove(name);
            }
            let _ = self.rebuild_cafile(locked);
        }
        rebuilt
    }

    /// Makes `cafile.pem` from the single files; damaged ones are left out.
    fn rebuild_cafile(&self, locked: &LockedDir) -> Result<(), Error> {
        let mut wanted = b"# All certificates for all registries that were added with \
            `ucr certs add`, rebuilt at each change.\n"
            .to_vec();
        for entry in self.list()?.entries {
            if entry.scope == Scope::AllRegistries {
                wanted.extend(entry.certificate.to_pem());
            }
        }
        let limit = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        match files::read(&self.cafile(), limit) {
            Ok(Some(present)) if present == wanted => Ok(()),
            _ => self.wrote(locked.replace(CAFILE, &wanted)),
        }
    }

    /// `None` when the file is gone: somebody removed it since its name was read.
    fn read_entry(&self, file: &StoredFile) -> Result<Option<Entry>, Error> {
        let path = self.directory.join(&file.name);
        // A pending file moves from its temporary name to its own while we look.
        let temporary = file.temporary.iter().map(|name| self.directory.join(name));
        let places = [path.clone()].into_iter().chain(temporary);
        let places = places.chain([path.clone()]);
        for place in places {
            let input = match Input::read_regular(&place) {
                Err(Error::Read { source, .. }) if source.is_not_found() => continue,
                input => input?,
            };
            let certificates = <[Certificate; 1]>::try_from(input.certificates()?);
            return match certificates {
                Ok([certificate]) if certificate.fingerprint() == file.fingerprint => {
                    Ok(Some(Entry {
                        certificate,
                        scope: file.scope.clone(),
                        path,
                        provenance: Provenance::read(input.bytes()),
                    }))
                }
                _ => Err(Error::WrongName { path }),
            };
        }
        Ok(None)
    }

    fn read<T>(&self, result: ucr_sys::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Read {
            path: self.directory.clone(),
            source,
        })
    }

    fn wrote<T>(&self, result: ucr_sys::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Write {
            directory: self.directory.clone(),
            source,
        })
    }
}

impl Addition<'_> {
    /// Refuses what no connection would accept today, and names the first of it.
    fn check_dates(&self, sorted: &[Added]) -> Result<(), Error> {
        if self.dates == Dates::Ignored {
            return Ok(());
        }
        let new = sorted
            .iter()
            .filter(|added| added.outcome == AddOutcome::Added);
        let refused = new.flat_map(|added| added.notes.iter().map(move |note| (added, *note)));
        let mut refused = refused
            .filter(|(_, note)| matches!(note, Note::Expired { .. } | Note::NotYetValid { .. }));
        match refused.next() {
            None => Ok(()),
            Some((added, note)) => Err(Error::OutOfTime {
                file: added.from.clone(),
                subject: added.facts.subject.clone(),
                note,
            }),
        }
    }

    fn file(&self, certificate: &Certificate, from: &str) -> Vec<u8> {
        let provenance = Provenance::new(self.name.as_ref(), self.by.as_deref(), from, self.now);
        entry::annotated(certificate, &provenance)
    }
}

impl StoredFile {
    /// `None` for a name that [`file_name`] never gives.
    fn by_name(name: &str) -> Option<Self> {
        let (scope, last) = match name.strip_prefix(REGISTRIES) {
            None => (Scope::AllRegistries, name),
            Some(rest) => {
                let (registry, last) = rest.strip_prefix('/')?.rsplit_once('/')?;
                (Scope::Registry(registry.parse::<HostPort>().ok()?), last)
            }
        };
        let fingerprint = last.strip_suffix(SUFFIX)?.parse().ok()?;
        (file_name(&scope, fingerprint) == name).then(|| Self {
            scope,
            fingerprint,
            name: name.to_owned(),
            temporary: None,
        })
    }
}

/// The name of a certificate's file, relative to the directory of the store.
fn file_name(scope: &Scope, fingerprint: Fingerprint) -> String {
    match scope {
        Scope::AllRegistries => format!("{fingerprint}{SUFFIX}"),
        Scope::Registry(registry) => format!("{REGISTRIES}/{registry}/{fingerprint}{SUFFIX}"),
    }
}

#[cfg(test)]
mod tests;
