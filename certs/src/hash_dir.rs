//! Certificates in a directory that OpenSSL looks into by the hash of a subject
//! (`SSL_CERT_DIR`, `-CApath`).
//!
//! ```text
//! <sha256 of the DER, 64 hex digits>.pem   one certificate, below a comment that makes it ours
//! <subject hash, 8 hex digits>.<n>         a link to it, as `openssl rehash` makes them
//! ```
//!
//! OpenSSL tries `.0`, `.1` and so on until one is missing
//! (`X509_LOOKUP_hash_dir(3)`). So a certificate stays at its number as long as
//! there are no more numbers than certificates, a new link is there before an
//! old one goes, and those that go do so from the highest number down: at every
//! moment a reader finds each certificate that is trusted before and after.
//!
//! What is not ours stays, and keeps its number.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::crt::Certificate;
use crate::files;
use crate::files::outside::{self, SharedDir};
use crate::fingerprint::Fingerprint;
use crate::output::annotated_pem;

/// The first line of a file of ours.
const OURS: &[u8] = b"# Written by `ucr certs export --hash-dir`, and removed by it.\n";
const SUFFIX: &str = ".pem";
/// More than one certificate of ours comes to.
const LARGEST_FILE: u64 = 1 << 20;

/// A failure to write a directory of certificates by hash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashDirError {
    /// The directory could not be read or changed.
    #[error("cannot change {}", directory.display())]
    Write {
        /// The directory.
        directory: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
    /// A file that is not ours has the name of one that is to be written.
    #[error("{} is in the way: it was not written by ucr certs export", path.display())]
    InTheWay {
        /// That file.
        path: PathBuf,
    },
    /// OpenSSL has no hash for a certificate.
    #[error("OpenSSL cannot read the certificate {fingerprint}")]
    Unhashed {
        /// The certificate.
        fingerprint: Fingerprint,
        /// OpenSSL's reason.
        source: openssl::error::ErrorStack,
    },
}

/// What was written into a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashDirWritten {
    /// How many certificates of ours it holds.
    pub certificates: usize,
    /// How many it holds no longer.
    pub removed: usize,
}

/// Makes a directory hold these certificates of ours and no others of ours.
///
/// # Errors
///
/// [`HashDirError`]; where a call failed, the directory holds at least what was
/// trusted before and is to be.
pub fn write_hash_dir(
    directory: &Path,
    certificates: &[&Certificate],
) -> Result<HashDirWritten, HashDirError> {
    let wanted = Wanted::of(certificates)?;
    let failed = |source| HashDirError::Write {
        directory: directory.to_owned(),
        source,
    };
    outside::make_dir(directory).map_err(failed)?;
    let locked = SharedDir::lock(directory).map_err(failed)?;
    let present = Present::read(directory).map_err(failed)?;
    if let Some(foreign) = wanted
        .files
        .keys()
        .find(|one| present.foreign.contains(one))
    {
        return Err(HashDirError::InTheWay {
            path: directory.join(file_name(*foreign)),
        });
    }
    let stale = present
        .ours
        .iter()
        .filter(|one| !wanted.files.contains_key(one));
    let stale: Vec<Fingerprint> = stale.copied().collect();
    change(&locked, directory, &wanted, &present)
        .and_then(|()| {
            // Behind their links: one that leads nowhere ends OpenSSL's search.
            let remove = |one: &Fingerprint| locked.remove(OsStr::new(&file_name(*one)));
            stale.iter().try_for_each(remove)
        })
        .and_then(|()| locked.sync())
        .map_err(failed)?;
    Ok(HashDirWritten {
        certificates: wanted.files.len(),
        removed: stale.len(),
    })
}

/// Writes the files, then the links to them, then removes the links that are too many.
fn change(
    locked: &SharedDir,
    directory: &Path,
    wanted: &Wanted<'_>,
    present: &Present,
) -> ucr_sys::Result<()> {
    for (fingerprint, certificate) in &wanted.files {
        let name = file_name(*fingerprint);
        let bytes = [OURS, &annotated_pem([*certificate])].concat();
        if !files::holds(&directory.join(&name), &bytes) {
            locked.replace(OsStr::new(&name), &bytes, None)?;
        }
    }
    let hashes: BTreeSet<&String> = wanted.hashes.keys().chain(present.links.keys()).collect();
    let (no_certificates, no_links) = (BTreeSet::new(), BTreeMap::new());
    let plans = hashes.into_iter().map(|hash| {
        let certificates = wanted.hashes.get(hash).unwrap_or(&no_certificates);
        let links = present.links.get(hash).unwrap_or(&no_links);
        (hash, Plan::of(certificates, links))
    });
    let plans: Vec<_> = plans.collect();
    for (hash, plan) in &plans {
        for (number, fingerprint) in &plan.put {
            let (link, target) = (format!("{hash}.{number}"), file_name(*fingerprint));
            locked.replace_link(OsStr::new(&link), OsStr::new(&target))?;
        }
    }
    // A power cut must not keep the removals and lose the new links.
    locked.sync()?;
    for (hash, plan) in &plans {
        for number in &plan.remove {
            locked.remove(OsStr::new(&format!("{hash}.{number}")))?;
        }
    }
    Ok(())
}

/// What the directory shall hold.
struct Wanted<'a> {
    files: BTreeMap<Fingerprint, &'a Certificate>,
    hashes: BTreeMap<String, BTreeSet<Fingerprint>>,
}

impl<'a> Wanted<'a> {
    fn of(certificates: &[&'a Certificate]) -> Result<Self, HashDirError> {
        let (mut files, mut hashes) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for &certificate in certificates {
            let fingerprint = certificate.fingerprint();
            let hash = certificate.subject_hash();
            let hash = hash.map_err(|source| HashDirError::Unhashed {
                fingerprint,
                source,
            })?;
            files.insert(fingerprint, certificate);
            hashes.entry(hash).or_default().insert(fingerprint);
        }
        Ok(Self { files, hashes })
    }
}

/// Whose a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Of ours, to that certificate.
    Ours(Fingerprint),
    /// Or a file, of somebody else.
    Foreign,
}

/// The links of one hash, by their numbers.
type Links = BTreeMap<u32, Link>;

/// What the directory holds.
struct Present {
    ours: BTreeSet<Fingerprint>,
    foreign: BTreeSet<Fingerprint>,
    links: BTreeMap<String, Links>,
}

impl Present {
    fn read(directory: &Path) -> ucr_sys::Result<Self> {
        let names = files::names(directory)?;
        let fingerprints = names.iter().filter_map(|name| fingerprint_of_name(name));
        let (ours, foreign) =
            fingerprints.partition(|one| is_ours(&directory.join(file_name(*one))));
        let mut present = Self {
            ours,
            foreign,
            links: BTreeMap::new(),
        };
        for name in &names {
            if let Some((hash, number)) = hash_and_number(name) {
                let link = present.link(&directory.join(name));
                let links = present.links.entry(hash.to_owned()).or_default();
                links.insert(number, link);
            }
        }
        Ok(present)
    }

    fn link(&self, path: &Path) -> Link {
        let target = std::fs::read_link(path).ok();
        let name = target.as_deref().and_then(Path::to_str);
        match name.and_then(fingerprint_of_name) {
            Some(fingerprint) if !self.foreign.contains(&fingerprint) => Link::Ours(fingerprint),
            _ => Link::Foreign,
        }
    }
}

/// How the links of one hash become those that are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    put: Vec<(u32, Fingerprint)>,
    /// From the highest down.
    remove: Vec<u32>,
}

impl Plan {
    fn of(wanted: &BTreeSet<Fingerprint>, present: &Links) -> Self {
        let is_free = |number: &u32| present.get(number) != Some(&Link::Foreign);
        let numbers: BTreeSet<u32> = (0..).filter(is_free).take(wanted.len()).collect();
        let mut left = wanted.clone();
        let stays = |number: &u32| match present.get(number) {
            Some(Link::Ours(fingerprint)) => left.remove(fingerprint),
            _ => false,
        };
        let (_staying, free): (Vec<u32>, Vec<u32>) = numbers.iter().copied().partition(stays);
        let is_extra = |number: &&u32| is_free(number) && !numbers.contains(number);
        Self {
            put: free.into_iter().zip(left).collect(),
            remove: present.keys().rev().filter(is_extra).copied().collect(),
        }
    }
}

fn file_name(fingerprint: Fingerprint) -> String {
    format!("{fingerprint}{SUFFIX}")
}

fn fingerprint_of_name(name: &str) -> Option<Fingerprint> {
    let fingerprint: Fingerprint = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (file_name(fingerprint) == name).then_some(fingerprint)
}

/// Whether a file begins as those of ours do; one that is gone is nobody's.
fn is_ours(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let content = is_file.then(|| files::read(path, LARGEST_FILE));
    matches!(content, Some(Ok(Some(bytes))) if bytes.starts_with(OURS))
}

/// Takes a name like `4f06f81d.0` apart.
fn hash_and_number(name: &str) -> Option<(&str, u32)> {
    let (hash, digits) = name.split_once('.')?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let number: u32 = digits.parse().ok()?;
    let is_hash = hash.len() == 8 && hash.bytes().all(is_hex);
    (is_hash && number.to_string() == digits).then_some((hash, number))
}

#[cfg(test)]
mod tests;
