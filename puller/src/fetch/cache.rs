//! What was fetched, kept for others who want the same.
//!
//! ```text
//! <directory>/            0700
//!   <key>                 what a URL gave; the key is the SHA-256 of the URL
//!   <key>.json            its facts; written after it
//!   <key>.lock            flock: whoever fetches or asks holds it, and others wait
//!   .<key>.<random>       what is coming
//!   shrink.lock           flock: whoever makes room
//! ```
//!
//! A copy is never given without asking its server whether it is still what it has; only who waited
//! for somebody who asked need not ask again. What a server gives no `ETag` and no `Last-Modified`
//! with is fetched each time: a size is no promise.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ucr_images::{Deadline, pause};
use ucr_sys::{Dir, Lock, LockMode, at, random_suffix};

use super::error::Failure;
use crate::http::Validators;

/// The most that the facts of a file take.
const FACTS_LIMIT: u64 = 64 * 1024;
/// How often who waits for another looks whether it is done.
const LOOK: Duration = Duration::from_millis(50);
const FACTS: &str = ".json";
const LOCK: &str = ".lock";
const SHRINK: &[u8] = b"shrink.lock";

/// A directory of files that were fetched.
#[derive(Debug)]
pub struct Cache {
    directory: Dir,
    limit: u64,
}

/// What is known of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    size: u64,
    validators: Validators,
    /// When its server was last asked, in nanoseconds since 1970.
    asked: u64,
}

/// A place in the cache that nobody else changes meanwhile.
#[derive(Debug)]
pub(super) struct Entry<'c> {
    cache: &'c Cache,
    key: String,
    /// When it was wanted, in nanoseconds since 1970.
    wanted: u64,
    _lock: Lock,
}

/// A file that is coming into the cache; it goes with this unless it is kept.
#[derive(Debug)]
pub(super) struct Coming<'c> {
    cache: &'c Cache,
    name: String,
    file: File,
}

impl Cache {
    /// The cache in `directory`, made where it is missing, of `limit` bytes at the most.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: PathBuf, limit: u64) -> Result<Self, Failure> {
        let directory = Dir::open_or_create(directory).map_err(Failure::Cache)?;
        Ok(Self { directory, limit })
    }

    /// Takes the place of `url`; tells `waiting` once if another process has it.
    ///
    /// # Errors
    /// When the deadline is before the other is done.
    pub(super) fn lock(
        &self,
        url: &str,
        deadline: Deadline,
        waiting: &dyn Fn(),
    ) -> Result<Entry<'_>, Failure> {
        let wanted = now();
        let key = hex::encode(Sha256::digest(url));
        let name = format!("{key}{LOCK}");
        let mut is_told = false;
        let lock = loop {
            let directory = self.directory.as_fd();
            let lock = Lock::try_acquire(directory, name.as_bytes(), LockMode::Exclusive);
            if let Some(lock) = lock.map_err(Failure::Cache)? {
                break lock;
            }
            if !is_told {
                waiting();
                is_told = true;
            }
            if deadline.is_over() {
                return Err(Failure::WaitedTooLong);
            }
            pause(deadline.shorten(LOOK));
        };
        let entry = Entry {
            cache: self,
            key,
            wanted,
            _lock: lock,
        };
        entry.sweep()?;
        Ok(entry)
    }

    /// Removes what was not used for longest, until no more is there than may be.
    ///
    /// # Errors
    /// When the directory cannot be read or changed.
    pub(super) fn shrink(&self) -> Result<(), Failure> {
        let directory = self.directory.as_fd();
        let shrink = || {
            // Whoever is at it already will do.
            let Some(_alone) = Lock::try_acquire(directory, SHRINK, LockMode::Exclusive)? else {
                return Ok(());
            };
            let mut kept = Vec::new();
            let mut bytes = 0;
            for name in self.directory.names()? {
                let Some(key) = name.strip_suffix(FACTS) else {
                    continue;
                };
                let facts = self.directory.read(&name, FACTS_LIMIT)?;
                let facts = facts.and_then(|json| serde_json::from_slice::<Facts>(&json).ok());
                let content = at::stat(directory, key.as_bytes())?;
                let size = content.map_or(0, |facts| u64::try_from(facts.st_size).unwrap_or(0));
                bytes += size;
                // Whoever uses one asks first.
                kept.push((facts.map(|facts| facts.asked), key.to_owned(), size));
            }
            kept.sort();
            for (_, key, size) in kept {
                if bytes <= self.limit {
                    break;
                }
                if self.remove(&key)? {
                    bytes = bytes.saturating_sub(size);
                }
            }
            Ok(())
        };
        shrink().map_err(Failure::Cache)
    }

    /// Removes a file that nobody is at; whether it did.
    fn remove(&self, key: &str) -> Result<bool, ucr_sys::Error> {
        let directory = self.directory.as_fd();
        let name = format!("{key}{LOCK}");
        let lock = Lock::try_acquire(directory, name.as_bytes(), LockMode::Exclusive)?;
        let Some(lock) = lock else {
            return Ok(false);
        };
        self.directory.remove(&format!("{key}{FACTS}"))?;
        self.directory.remove(key)?;
        lock.remove_file(directory, name.as_bytes())?;
        Ok(true)
    }
}

impl<'c> Entry<'c> {
    /// The file, if its server was asked since it was wanted here.
    pub(super) fn fresh(&self) -> Result<Option<File>, Failure> {
        match self.facts()? {
            Some(facts) if facts.asked > self.wanted => self.open(&facts),
            _ => Ok(None),
        }
    }

    /// The file, and by what its server is asked whether it still has the same.
    pub(super) fn known(&self) -> Result<Option<(Validators, File)>, Failure> {
        let Some(facts) = self.facts()? else {
            return Ok(None);
        };
        if facts.validators.is_empty() {
            return Ok(None);
        }
        Ok(self.open(&facts)?.map(|file| (facts.validators, file)))
    }

    /// A new file, to be kept or not.
    pub(super) fn begin(&self) -> Result<Coming<'c>, Failure> {
        let name = format!(".{}.{}", self.key, random_suffix());
        let directory = self.cache.directory.as_fd();
        // To be read as well: it is what is copied.
        let file = at::open_or_create_file(directory, name.as_bytes()).map_err(Failure::Cache)?;
        Ok(Coming {
            cache: self.cache,
            name,
            file: File::from(file),
        })
    }

    /// Keeps what came, if it is not too large; returns it.
    pub(super) fn keep(
        &self,
        coming: Coming<'c>,
        size: u64,
        validators: Validators,
    ) -> Result<File, Failure> {
        let file = coming.file.try_clone().map_err(Failure::Read)?;
        if size > self.cache.limit {
            return reread(file);
        }
        let directory = &self.cache.directory;
        // Facts that survive a power cut are of a file that does.
        file.sync_data().map_err(Failure::Write)?;
        directory
            .remove(&self.facts_name())
            .map_err(Failure::Cache)?;
        let (old, new) = (coming.name.as_bytes(), self.key.as_bytes());
        at::rename(directory.as_fd(), old, new).map_err(Failure::Cache)?;
        self.write(&Facts {
            size,
            validators,
            asked: now(),
        })?;
        reread(file)
    }

    /// Writes down that its server was asked, and has the same.
    pub(super) fn is_still_so(&self) -> Result<(), Failure> {
        match self.facts()? {
            Some(facts) => self.write(&Facts {
                asked: now(),
                ..facts
            }),
            None => Ok(()),
        }
    }

    fn write(&self, facts: &Facts) -> Result<(), Failure> {
        let json = serde_json::to_vec(facts).map_err(|error| Failure::Write(error.into()))?;
        let directory = &self.cache.directory;
        let written = directory.replace_soon(&self.facts_name(), &json, 0o600);
        written.map_err(Failure::Cache)
    }

    /// The facts; those that make no sense are none.
    fn facts(&self) -> Result<Option<Facts>, Failure> {
        let directory = &self.cache.directory;
        let json = directory.read(&self.facts_name(), FACTS_LIMIT);
        let json = json.map_err(Failure::Cache)?;
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// The file, if it is as large as its facts say.
    fn open(&self, facts: &Facts) -> Result<Option<File>, Failure> {
        let directory = self.cache.directory.as_fd();
        let file = match at::open_file(directory, self.key.as_bytes()) {
            Ok(file) => File::from(file),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Failure::Cache(error)),
        };
        let size = file.metadata().map_err(Failure::Read)?.len();
        Ok((size == facts.size).then_some(file))
    }

    fn facts_name(&self) -> String {
        format!("{}{FACTS}", self.key)
    }

    /// Removes what a process that was killed left of this one: nobody else can be at it.
    fn sweep(&self) -> Result<(), Failure> {
        let directory = &self.cache.directory;
        let ours = format!(".{}.", self.key);
        let sweep = || {
            for name in directory.names()? {
                if name.starts_with(&ours) {
                    directory.remove(&name)?;
                }
            }
            Ok(())
        };
        sweep().map_err(Failure::Cache)
    }
}

impl Coming<'_> {
    /// Where it is written to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        // One that was kept has another name, and one that stays is swept by the next.
        let _ = self.cache.directory.remove(&self.name);
    }
}

fn reread(mut file: File) -> Result<File, Failure> {
    use std::io::{Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(0)).map_err(Failure::Read)?;
    Ok(file)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
