//! Finding, and where need be making, the directory that an entry goes into.
//!
//! A layer may write below a symbolic link that it made itself; the link is
//! followed as if the layer's root were `/`, never further. Resolution is by
//! `openat2(RESOLVE_IN_ROOT)` on the layer's fd; the slow walk below only runs
//! where a component is missing.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::{Errno, OFlags, at};

use super::whiteout;

/// Links followed in one name before it counts as a loop, as the kernel has it.
const MAX_LINKS: u32 = 40;

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

/// The directories of a layer in the making.
#[derive(Debug)]
pub(super) struct Parents<'a> {
    root: BorrowedFd<'a>,
    /// The last directory asked for: archives list a directory's entries together.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Directories that only exist because something is in them; real paths.
    implied: BTreeSet<Vec<u8>>,
    /// Directories that hide what lower layers have of the same name; real paths.
    opaque: BTreeSet<Vec<u8>>,
}

impl<'a> Parents<'a> {
    /// Begins below an empty root.
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            last: None,
            implied: BTreeSet::new(),
            opaque: BTreeSet::new(),
        }
    }

    /// The root of the layer.
    pub(super) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// Opens the directory at `path`, making what is missing of it.
    pub(super) fn open(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Failure> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = match at::open_in_root(self.root, path, flags) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => self.make(path)?,
                Err(errno) => {
                    return Err(ucr_sys::Error::new("openat2", at::quoted(path), errno).into());
                }
            };
            self.last = Some((path.to_vec(), fd));
        }
        match &self.last {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => unreachable!("it was set above"),
        }
    }

    /// Forgets the directory last opened: a name on the way to it may mean another now.
    pub(super) fn forget(&mut self) {
        self.last = None;
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
    fn make(&mut self, path: &[u8]) -> Result<OwnedFd, Failure> {
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
                        return Err(Failure::Refused("its path is a loop of links".to_owned()));
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
                    self.implied.insert(real.join(&b'/'));
                }
            }
        }
        Ok(here)
    }

    fn reopen(&self, real: &[Vec<u8>]) -> Result<OwnedFd, Failure> {
        let path = real.join(&b'/');
        at::open_in_root(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY)
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
fn new_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, ucr_sys::Error> {
    at::make_dir(parent, name)?;
    let dir = at::open_dir(parent, name)?;
    // A set-group-ID parent would have passed on its group (L83).
    at::set_owner_fd(dir.as_fd(), 0, 0)?;
    at::set_mode_fd(dir.as_fd(), 0o755)?;
    Ok(dir)
}
