//! A task's own files: fetched into its sandbox by the rules of Mesos (docs/fetch.md).
//!
//! A URI is a task's idea, and so is what it leads to. A file of this machine is opened with the
//! rights of the task's user; what comes over the network is shown no client certificate, and a
//! password in a URI goes to the host that it is for alone. Where it goes is resolved below the
//! sandbox's descriptor (`ucr_images::archive::extract`). Nothing here knows images of registries.

mod cache;
mod error;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use ucr_images::archive::extract::{
    Extracted, Form, Limits, Owner, Tree, decompress_into, extract,
};
use ucr_images::{Deadline, Hurried, Secret};

pub use cache::Cache;
pub use error::{Error, Failure};

use self::source::{Remote, Source};
use crate::budget::Budget;
use crate::http::{Client, Download, Downloaded, Failed, Listener, Retrying, Settings, Validators};

const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;
/// What is copied at once.
const PIECE: usize = 128 * 1024;

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// The URI.
    pub uri: &'w Secret,
    /// Its name below the sandbox; none is the last part of the URI.
    pub output: Option<&'w Path>,
    /// What becomes of it.
    pub purpose: Purpose,
    /// Whether others may have the same copy.
    pub sharing: Sharing,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is there.
    Kept,
    /// It can be run, whatever it is.
    Executable,
    /// What its name calls an archive is unpacked, too.
    Unpacked,
}

/// Whether others may have the same copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// It is fetched for this task alone.
    Own,
    /// It is taken from the cache, and kept there.
    Cached,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is, below the sandbox.
    pub name: PathBuf,
    /// How large it is.
    pub size: u64,
    /// What was unpacked of it: files, directories and links.
    pub unpacked: Option<u64>,
    /// Whether it came out of the cache.
    pub cached: bool,
}

/// Something that happens meanwhile.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A file is being fetched.
    Fetching {
        /// Where from, for people.
        from: &'e str,
    },
    /// So much of it is there.
    Bytes {
        /// How much.
        done: u64,
    },
    /// A request will be repeated.
    Retrying(&'e Retrying),
    /// Another process fetches the same into the cache, and is waited for.
    Waiting {
        /// Where from, for people.
        from: &'e str,
    },
    /// A file is in its place.
    Fetched {
        /// Where from, for people.
        from: &'e str,
        /// How large it is.
        size: u64,
        /// Whether it came out of the cache.
        cached: bool,
    },
    /// What was in it is in its place, too.
    Unpacked {
        /// Where from, for people.
        from: &'e str,
        /// Files, directories and links.
        entries: u64,
    },
    /// Something that its reader may not have meant, which is no reason not to go on.
    Note {
        /// Where from, for people.
        from: &'e str,
        /// What.
        text: &'e str,
    },
}

/// Who wants to know.
pub trait Watcher: fmt::Debug {
    /// Takes note of `event`.
    fn event(&self, event: Event<'_>);
}

/// Nobody.
impl Watcher for () {
    fn event(&self, _event: Event<'_>) {}
}

/// A sandbox that is filled.
#[derive(Debug)]
pub struct Sandbox {
    root: OwnedFd,
    owner: Owner,
    /// The bytes that it may still get.
    left: u64,
}

impl Sandbox {
    /// The directory `root`, whose files are to be `owner`'s; no more than `limit` bytes of them.
    pub fn new(root: OwnedFd, owner: Owner, limit: Option<u64>) -> Self {
        let left = limit.unwrap_or(u64::MAX);
        Self { root, owner, left }
    }

    fn tree(&self) -> Tree<'_> {
        Tree::new(self.root.as_fd(), self.owner)
    }
}

/// Who fetches files, one after the other.
#[derive(Debug)]
pub struct Fetcher<'f> {
    client: Client<'f>,
    cache: Option<&'f Cache>,
    budget: Budget,
    deadline: Deadline,
    watcher: &'f dyn Watcher,
}

/// Passes on what a client does again.
#[derive(Debug)]
pub struct Teller<'t>(pub &'t dyn Watcher);

impl Listener for Teller<'_> {
    fn retrying(&self, retrying: &Retrying) {
        self.0.event(Event::Retrying(retrying));
    }
}

impl<'f> Fetcher<'f> {
    /// Fetches by `settings`, as much as `budget` lets one file bring, and tells `teller`.
    pub fn new(
        settings: Settings,
        budget: Budget,
        cache: Option<&'f Cache>,
        teller: &'f Teller<'f>,
    ) -> Self {
        Self {
            deadline: settings.patience.deadline,
            client: Client::telling(settings, teller),
            cache,
            budget,
            watcher: teller.0,
        }
    }

    /// Fetches a file into a sandbox, and unpacks it if it is to be.
    ///
    /// # Errors
    /// What failed. What has been made by then stays.
    pub fn fetch(&self, wanted: &Wanted<'_>, sandbox: &mut Sandbox) -> Result<Fetched, Error> {
        let shown = source::shown(wanted.uri);
        let failed = |failure| Error::new(&shown, failure);
        let from = shown.as_str();
        self.watcher.event(Event::Fetching { from });
        let source = Source::parse(wanted.uri).map_err(failed)?;
        let name = name_of(wanted, &source).map_err(failed)?;
        let brought = self.bring(&source, (wanted, &name), sandbox, from);
        let (size, cached) = brought.map_err(failed)?;
        sandbox.left = sandbox.left.saturating_sub(size);
        self.watcher.event(Event::Fetched { from, size, cached });
        let unpacked = match wanted.purpose {
            Purpose::Unpacked => self.unpack(&name, sandbox, from).map_err(failed)?,
            Purpose::Kept | Purpose::Executable => None,
        };
        Ok(Fetched {
            name,
            size,
            unpacked,
            cached,
        })
    }

    /// Brings a file to its place; returns its size, and whether it was in the cache.
    fn bring(
        &self,
        source: &Source,
        (wanted, name): (&Wanted<'_>, &Path),
        sandbox: &Sandbox,
        from: &str,
    ) -> Result<(u64, bool), Failure> {
        let limit = self.limit(sandbox);
        match (source, self.cache) {
            (Source::Local(path), _) => {
                let owner = sandbox.owner;
                let opened = ucr_sys::open_as(path, (owner.uid, owner.gid));
                let file = opened.map_err(|source| Failure::Local {
                    path: path.clone(),
                    source,
                })?;
                let size = self.place_copy(&File::from(file), (wanted, name), sandbox)?;
                Ok((size, false))
            }
            (Source::Remote(remote), Some(cache)) if is_shared(wanted, remote) => {
                self.bring_by_cache((remote, cache), (wanted, name), sandbox, from)
            }
            (Source::Remote(remote), _) => {
                if wanted.sharing == Sharing::Cached && remote.authorization.is_some() {
                    let text = "it is not cached: what a password gives is for whoever has it";
                    self.watcher.event(Event::Note { from, text });
                }
                let mut size = 0;
                place(sandbox, (wanted, name), |to| {
                    if let Downloaded::Whole { size: whole, .. } =
                        self.download(remote, None, (to, limit))?
                    {
                        size = whole;
                    }
                    Ok(())
                })?;
                Ok((size, false))
            }
        }
    }

    /// The most bytes that one file may have now.
    fn limit(&self, sandbox: &Sandbox) -> u64 {
        self.budget.max_bytes.unwrap_or(u64::MAX).min(sandbox.left)
    }

    fn download(
        &self,
        remote: &Remote,
        known: Option<&Validators>,
        (to, limit): (&File, u64),
    ) -> Result<Downloaded, Failure> {
        let wanted = Download {
            url: &remote.url,
            authorization: remote.authorization.as_ref(),
            known,
            limit,
            told: &|done| self.watcher.event(Event::Bytes { done }),
        };
        let came = self.client.download(&wanted, to);
        came.map_err(|failed| match failed {
            Failed::Http(error) => Failure::Http(error),
            Failed::Status { url, status } => Failure::Status { url, status },
            Failed::TooLarge => Failure::TooLarge { limit },
            Failed::Write(source) => Failure::Write(source),
        })
    }

    /// Brings a file by way of the cache, which is asked first.
    fn bring_by_cache(
        &self,
        (remote, cache): (&Remote, &Cache),
        place: (&Wanted<'_>, &Path),
        sandbox: &Sandbox,
        from: &str,
    ) -> Result<(u64, bool), Failure> {
        let limit = self.limit(sandbox);
        let waiting = || self.watcher.event(Event::Waiting { from });
        let entry = cache.lock(remote.url.as_str(), self.deadline, &waiting)?;
        let (file, was_there) = match entry.fresh()? {
            Some(file) => (file, true),
            None => {
                let known = entry.known()?;
                let validators = known.as_ref().map(|(validators, _)| validators);
                let new = entry.begin()?;
                match self.download(remote, validators, (new.file(), limit))? {
                    Downloaded::Whole { size, validators } => {
                        (entry.keep(new, size, validators)?, false)
                    }
                    Downloaded::Unchanged => match known {
                        Some((_, file)) => {
                            entry.is_still_so()?;
                            (file, true)
                        }
                        // Nobody was asked whether it is.
                        None => return Err(Failure::Vanished),
                    },
                }
            }
        };
        // Whoever waits need not wait for the copy: what is removed meanwhile is still open here.
        drop(entry);
        let size = self.place_copy(&file, place, sandbox)?;
        cache.shrink()?;
        Ok((size, was_there))
    }

    /// Copies an open file to its place; returns its size.
    fn place_copy(
        &self,
        from: &File,
        to: (&Wanted<'_>, &Path),
        sandbox: &Sandbox,
    ) -> Result<u64, Failure> {
        let limit = self.limit(sandbox);
        let mut size = 0;
        place(sandbox, to, |to| {
            size = self.copy(from, to, limit)?;
            Ok(())
        })?;
        Ok(size)
    }

    fn copy(&self, from: &File, mut to: &File, limit: u64) -> Result<u64, Failure> {
        let mut reader = BufReader::with_capacity(PIECE, Hurried::new(from, self.deadline));
        let mut done = 0_u64;
        loop {
            let piece = match io::BufRead::fill_buf(&mut reader) {
                Ok([]) => return Ok(done),
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Read(error)),
            };
            done += piece.len() as u64;
            if done > limit {
                return Err(Failure::TooLarge { limit });
            }
            to.write_all(piece).map_err(Failure::Write)?;
            let count = piece.len();
            io::BufRead::consume(&mut reader, count);
            self.watcher.event(Event::Bytes { done });
        }
    }

    /// Unpacks what has come, if its name says that it can be; how many things that were.
    fn unpack(
        &self,
        name: &Path,
        sandbox: &mut Sandbox,
        from: &str,
    ) -> Result<Option<u64>, Failure> {
        use std::os::unix::ffi::OsStrExt as _;

        let last = name.file_name().unwrap_or_default().as_bytes();
        let form = Form::of_name(last);
        if form == Form::Other {
            let text = "it is not unpacked: its name is not that of an archive";
            self.watcher.event(Event::Note { from, text });
            return Ok(None);
        }
        let how = (self.limits(sandbox), self.deadline);
        let tree = sandbox.tree();
        let file = tree.open_file(name.as_os_str().as_bytes());
        let file = file.map_err(Failure::Unpack)?;
        let done = match form {
            Form::Archive(kind) => extract(&file, kind, &tree, how),
            Form::Compressed | Form::Other => {
                let plain = &last[..last.len() - ".gz".len()];
                decompress_into(&file, &tree, plain, how).map(|bytes| Extracted {
                    entries: 1,
                    bytes,
                    lied: None,
                })
            }
        };
        let Extracted {
            entries,
            bytes,
            lied,
        } = done.map_err(Failure::Unpack)?;
        if let Some(kind) = lied {
            let text = format!("it is an archive of another kind than its name says: {kind:?}");
            self.watcher.event(Event::Note { from, text: &text });
        }
        sandbox.left = sandbox.left.saturating_sub(bytes);
        self.watcher.event(Event::Unpacked { from, entries });
        Ok(Some(entries))
    }

    fn limits(&self, sandbox: &Sandbox) -> Limits {
        let budget = &self.budget;
        Limits {
            bytes: budget.max_unpacked.unwrap_or(u64::MAX).min(sandbox.left),
            entries: budget.max_files.unwrap_or(u64::MAX),
            ratio: budget.max_ratio,
            ratio_from: budget.ratio_from,
        }
    }
}

/// What a password gives is for whoever has it, and nobody else.
fn is_shared(wanted: &Wanted<'_>, remote: &Remote) -> bool {
    wanted.sharing == Sharing::Cached && remote.authorization.is_none()
}

/// Makes the file that is wanted, of what `fill` writes.
fn place(
    sandbox: &Sandbox,
    (wanted, name): (&Wanted<'_>, &Path),
    fill: impl FnOnce(&File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    use std::os::unix::ffi::OsStrExt as _;

    let mode = match wanted.purpose {
        Purpose::Executable => EXECUTABLE_MODE,
        Purpose::Kept | Purpose::Unpacked => FILE_MODE,
    };
    let name = name.as_os_str().as_bytes();
    sandbox.tree().write_file(name, mode, None, |to| fill(to))
}

/// Where a file goes: where the task says, or by the last part of the URI.
fn name_of(wanted: &Wanted<'_>, source: &Source) -> Result<PathBuf, Failure> {
    use std::path::Component;

    let Some(output) = wanted.output else {
        return source.name().map(PathBuf::from);
    };
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let is_below = output.components().all(is_plain);
    match output.file_name() {
        Some(_) if is_below => Ok(output.to_owned()),
        _ => Err(Failure::Output {
            output: output.to_owned(),
        }),
    }
}
