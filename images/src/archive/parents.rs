//! Finding, and where need be making, the directory that an entry goes into.
//!
//! A layer may write below a symbolic link that it made itself; the link is
//! followed as if the layer's root were `/`, never further. A path through
//! directories only is one `openat2` on the layer's fd; the slow walk below
//! runs where a component is missing or is a link. What is noted of a directory
//! is noted by its real path, whatever links it was reached through.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::{Errno, at, group_id, user_id};

use super::whiteout;

/// Directories kept open for the next entry: archives list a directory's entries together, but
/// come back to those above and beside it.
const KEPT_OPEN: usize = 32;
/// Links followed in one name before it counts as a loop, as the kernel has it.
const MAX_LINKS: u32 = 40;
/// Bytes of the paths of implied directories: one name of 4 KB implies 4 MB of them.
const MAX_IMPLIED: usize = 16 * 1024 * 1024;

/// Why a directory cannot be had.
#[derive(Debug)]
pub(super) enum Failure {
    /// The name cannot mean a directory.
    Refused(String),
    /// The system did not do it.
    System(ucr_sys::Error),
}

impl From<ucr_sys::Error> for Failure {
    fn from(error: ucr_sys::Error) -> Self {
        Self::System(error)
    }
}

/// A directory that an entry goes into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent<'a> {
    /// The directory.
    pub(super) fd: BorrowedFd<'a>,
    /// Its path from the root, through directories only.
    real: &'a [u8],
    /// The user and the group that own what is made in it, where that is certain.
    pub(super) gives: Option<(u32, u32)>,
}

impl Parent<'_> {
    /// The real path of what is called `name` in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.real.is_empty() {
            name.to_vec()
        } else {
            [self.real, b"/", name].concat()
        }
    }
}

#[derive(Debug)]
struct Opened {
    asked: Vec<u8>,
    real: Vec<u8>,
    fd: OwnedFd,
    gives: Option<(u32, u32)>,
}

/// The directories of a layer in the making.
#[derive(Debug)]
pub(super) struct Parents<'a> {
    root: BorrowedFd<'a>,
    /// The user and the group of this process, where files that it makes here are theirs.
    maker: Option<(u32, u32)>,
    /// Directories asked for lately, the last one in front.
    recent: VecDeque<Opened>,
    /// Whether a name on the way to one of them may mean another directory now.
    is_stale: bool,
    /// Directories that only exist because something is in them; real paths.
    implied: BTreeSet<Vec<u8>>,
    implied_bytes: usize,
    /// Directories that hide what lower layers have of the same name; real paths.
    opaque: BTreeSet<Vec<u8>>,
}

impl<'a> Parents<'a> {
    /// Begins below an empty root, which this process has made.
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        // A server of NFS may give to nobody what root makes.
        let made = at::stat_fd(root).map(|stat| (stat.st_uid, stat.st_gid));
        Self {
            root,
            maker: made.ok().filter(|made| *made == (user_id(), group_id())),
            recent: VecDeque::with_capacity(KEPT_OPEN),
            is_stale: false,
            implied: BTreeSet::new(),
            implied_bytes: 0,
            opaque: BTreeSet::new(),
        }
    }

    /// The root of the layer.
    pub(super) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// Opens the directory at `path`, making what is missing of it.
    pub(super) fn open(&mut self, path: &[u8]) -> Result<Parent<'_>, Failure> {
        if std::mem::take(&mut self.is_stale) {
            self.recent.clear();
        }
        let kept = self.recent.iter().position(|one| one.asked == path);
        let opened = match kept.and_then(|at| self.recent.remove(at)) {
            Some(kept) => kept,
            None => self.open_new(path)?,
        };
        self.recent.truncate(KEPT_OPEN - 1);
        self.recent.push_front(opened);
        Ok(self.last())
    }

    /// The directory opened last, whatever its name means by now.
    pub(super) fn last(&self) -> Parent<'_> {
        let opened = &self.recent[0];
        Parent {
            fd: opened.fd.as_fd(),
            real: &opened.real,
            gives: opened.gives,
        }
    }

    fn open_new(&mut self, path: &[u8]) -> Result<Opened, Failure> {
        match at::open_dir_below(self.root, path) {
            Ok(fd) => Ok(self.opened(path, path.to_vec(), fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.make(path),
            Err(errno) => Err(ucr_sys::Error::new("openat2", at::quoted(path), errno).into()),
        }
    }

    /// Has names looked up again: one on the way to a directory may mean another now.
    pub(super) fn forget(&mut self) {
        self.is_stale = true;
    }

    /// Notes that the directory at `path`, a real path, has another owner now.
    pub(super) fn owner_changed(&mut self, path: &[u8]) {
        self.recent.retain(|one| one.real != path);
    }

    /// Notes that the directory at `path` has an entry of its own.
    pub(super) fn is_explicit(&mut self, path: &[u8]) {
        self.implied.remove(path);
    }

    /// Notes that the directory at `path` hides everything lower layers have there.
    pub(super) fn is_opaque(&mut self, path: Vec<u8>) {
        // What it hides cannot lend it its attributes either.
        self.implied.remove(&path);
        self.opaque.insert(path);
    }

    /// The directories noted as (implied, opaque).
    pub(super) fn into_noted(self) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
        (self.implied, self.opaque)
    }

    /// Walks `path` component by component, making what is missing.
    fn make(&mut self, path: &[u8]) -> Result<Opened, Failure> {
        let mut ahead: VecDeque<Vec<u8>> = components(path);
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let mut here = self.reopen(&real)?;
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                real.pop();
                here = self.reopen(&real)?;
                continue;
            }
            match at::stat(here.as_fd(), &name)?.map(|stat| whiteout::Found::of(&stat)) {
                Some(whiteout::Found::Directory) => {
                    here = at::open_dir(here.as_fd(), &name)?;
                    real.push(name);
                }
                Some(whiteout::Found::Symlink) => {
                    links += 1;
                    if links > MAX_LINKS {
                        let why = "its path is a loop of links".to_owned();
                        return Err(Failure::Refused(why));
                    }
                    let target = at::read_link(here.as_fd(), &name)?;
                    if target.starts_with(b"/") {
                        real.clear();
                        here = self.reopen(&real)?;
                    }
                    for component in components(&target).into_iter().rev() {
                        ahead.push_front(component);
                    }
                }
                Some(whiteout::Found::Whiteout) => {
                    at::remove(here.as_fd(), &name)?;
                    here = new_dir(here.as_fd(), &name)?;
                    real.push(name);
                    whiteout::mark_opaque(here.as_fd())?;
                    self.is_opaque(real.join(&b'/'));
                }
                Some(whiteout::Found::Other) => {
                    let name = name.escape_ascii();
                    return Err(Failure::Refused(format!("\"{name}\" on its way is a file")));
                }
                None => {
                    here = new_dir(here.as_fd(), &name)?;
                    real.push(name);
                    self.is_implied(real.join(&b'/'))?;
                }
            }
        }
        Ok(self.opened(path, real.join(&b'/'), here))
    }

    fn opened(&self, asked: &[u8], real: Vec<u8>, fd: OwnedFd) -> Opened {
        // The group is the process's or, if a bit of the directory or of the mount says so, the
        // directory's (open(2), ext4(5) `grpid`).
        let group = at::stat_fd(fd.as_fd()).map(|stat| stat.st_gid);
        Opened {
            asked: asked.to_vec(),
            real,
            fd,
            gives: self.maker.filter(|maker| group == Ok(maker.1)),
        }
    }

    fn is_implied(&mut self, path: Vec<u8>) -> Result<(), Failure> {
        self.implied_bytes += path.len();
        if self.implied_bytes > MAX_IMPLIED {
            let why = "the layer implies too many directories without describing them".to_owned();
            return Err(Failure::Refused(why));
        }
        self.implied.insert(path);
        Ok(())
    }

    fn reopen(&self, real: &[Vec<u8>]) -> Result<OwnedFd, Failure> {
        let path = real.join(&b'/');
        at::open_dir_below(self.root, &path)
            .map_err(|errno| ucr_sys::Error::new("openat2", at::quoted(&path), errno).into())
    }
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|component| !matches!(*component, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

/// A directory that no entry describes: root's, 0755, until a lower layer's takes its place.
pub(super) fn new_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, ucr_sys::Error> {
    at::make_dir(parent, name)?;
    let dir = at::open_dir(parent, name)?;
    // A set-group-ID parent would have passed on its group (L83).
    at::set_owner_fd(dir.as_fd(), 0, 0)?;
    at::set_mode_fd(dir.as_fd(), 0o755)?;
    Ok(dir)
}
