//! Fix-up layers: giving back what unpacking layers apart from each other loses.
//!
//! A layer that holds `tmp/x` and no entry for `tmp` gets a plain `tmp`, mode
//! 0755, which would hide the lower layer's 1777 (measured). An image with such
//! layers gets one more on top, with just those directories and the attributes
//! they should have. Where the lower layer has a link instead (`lib`, of a
//! merged `/usr`), the fix-up layer has the link, and what the upper layer has
//! in that directory stands where the link leads ([`links`], [`moving`]).
//!
//! A fix-up layer is named by the stack that it belongs to.

mod links;
mod moving;
mod stack;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::at::{self, FileTime};
use ucr_sys::{Dir, Lock, LockMode};

use self::links::HiddenLink;
use self::stack::Stack;
use super::error::Error;
use super::layer::LayerMeta;
use super::layout::Store;
use super::tree::Tree;
use crate::Digest;
use crate::archive::{self, Applied};

/// Why a fix-up layer cannot be made.
#[derive(Debug)]
enum Failure {
    /// The layers at `path` contradict each other in a way that overlayfs cannot show.
    Refused { path: Vec<u8>, why: &'static str },
    /// The system did not do it.
    System(ucr_sys::Error),
}

impl From<ucr_sys::Error> for Failure {
    fn from(error: ucr_sys::Error) -> Self {
        Self::System(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { path, why } => Self::Unmergeable { path, why },
            Failure::System(source) => Self::Fixup(source),
        }
    }
}

fn refused(path: &[u8], why: &'static str) -> Failure {
    Failure::Refused {
        path: path.to_vec(),
        why,
    }
}

/// What a fix-up layer is to hold.
struct Plan {
    /// Directories to describe, the root as the empty path.
    directories: BTreeSet<Vec<u8>>,
    links: Vec<HiddenLink>,
}

impl Plan {
    fn of(stack: &Stack) -> Result<Self, Failure> {
        let links = links::hidden(stack)?;
        let mut directories = stack.poorly_described()?;
        // What a link hides again needs no description.
        directories.retain(|path| !links.iter().any(|link| is_within(path, &link.path)));
        for link in &links {
            directories.extend(ancestors(&link.path));
            directories.extend(ancestors(&link.target));
            directories.insert(link.target.clone());
        }
        Ok(Self { directories, links })
    }

    fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.links.is_empty()
    }
}

impl Store {
    /// Whether a fix-up layer is there and can be trusted.
    pub(super) fn has_fixup(&self, id: &Digest) -> Result<bool, Error> {
        Ok(self.trusted_tree(&Tree::Fixup(id.clone()))?.is_some())
    }

    /// Makes the fix-up layer for an image whose layers are all there, if it needs one.
    ///
    /// # Errors
    /// Also when the layers contradict each other in a way that no layer on top can mend.
    pub fn fix_up(&self, diff_ids: &[Digest]) -> Result<Option<Digest>, Error> {
        let Some(layers) = self.stack(diff_ids)? else {
            return Ok(None);
        };
        let text: String = layers
            .iter()
            .map(|(diff_id, _)| format!("{diff_id}\n"))
            .collect();
        let id = Digest::sha256(text.as_bytes());
        let stack = self.open_stack(&layers).map_err(Error::Fixup)?;
        let plan = Plan::of(&stack)?;
        if plan.is_empty() {
            return Ok(None);
        }
        self.hold(None, &[Tree::Fixup(id.clone())])?;
        if !self.has_fixup(&id)? {
            self.make_fixup(&id, &stack, &plan)?;
        }
        Ok(Some(id))
    }

    fn open_stack(&self, layers: &[(Digest, LayerMeta)]) -> Result<Stack, ucr_sys::Error> {
        let mut stack = Stack::default();
        for (diff_id, meta) in layers {
            let layer = self.layers.dir(diff_id.algorithm().as_str())?;
            let root = at::open_dir(layer.dir(diff_id.hex())?.as_fd(), b"fs")?;
            let mut implied: BTreeSet<Vec<u8>> = meta.implied().collect();
            if !meta.root_explicit {
                implied.insert(Vec::new());
            }
            stack.push(root, implied);
        }
        Ok(stack)
    }

    fn make_fixup(&self, id: &Digest, stack: &Stack, plan: &Plan) -> Result<(), Error> {
        // One at a time: replacing a fix-up that another process has just made
        // would take it away from under the containers on it.
        let name = format!("fixup-{}-{}", id.algorithm().as_str(), id.hex());
        let lock = Lock::acquire(self.locks.as_fd(), name.as_bytes(), LockMode::Exclusive)
            .map_err(Error::Fixup)?;
        if !self.has_fixup(id)? {
            let staging = self.stage()?;
            self.fill_fixup(id, staging.dir(), stack, plan)?;
        }
        lock.remove_file(self.locks.as_fd(), name.as_bytes())
            .map_err(Error::Fixup)
    }

    fn fill_fixup(
        &self,
        id: &Digest,
        staging: &Dir,
        stack: &Stack,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let tree = staging.create_dir("fixup")?;
        let fs = tree.create_dir("fs")?;
        // Parents sort before what is in them.
        let mut paths = plan.directories.clone();
        for path in plan.directories.iter().flat_map(|path| ancestors(path)) {
            paths.insert(path);
        }
        for path in &paths {
            make_directory(fs.as_fd(), path)?;
        }
        let mut moved = BTreeMap::new();
        for link in &plan.links {
            links::put_back(stack, link, fs.as_fd())?;
            moving::move_content(stack, link, (fs.as_fd(), &mut moved))?;
        }
        paths.extend(moved.keys().cloned());
        paths.insert(Vec::new());
        // From the leaves up: whatever is made in a directory changes its time.
        for path in paths.iter().rev() {
            let described = match (stack.described(path)?, moved.remove(path)) {
                (Some((above, dir)), Some((depth, _))) if above <= depth => Some(dir),
                (_, Some((_, Some(dir)))) => Some(dir),
                (described, _) => described.map(|(_, dir)| dir),
            };
            let target = open(fs.as_fd(), path)?;
            copy_attributes(described.as_ref(), target.as_fd())?;
        }
        write_index(&tree, fs.as_fd())?;
        let meta = LayerMeta::new(&Applied::default(), &self.boot);
        Ok(self.put((staging, "fixup"), &Tree::Fixup(id.clone()), meta)?)
    }
}

/// Writes down what a fix-up layer holds. Its files are the layers' own, whose indexes answer
/// for their bytes.
fn write_index(tree: &Dir, root: BorrowedFd<'_>) -> Result<(), ucr_sys::Error> {
    let file = File::from(at::create_file(tree.as_fd(), b"index")?);
    archive::describe(root, BufWriter::new(file))
}

/// The directory and the last component of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

/// Whether `path` is `root` or below it.
fn is_within(path: &[u8], root: &[u8]) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The directories above `path`, without the root.
fn ancestors(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| path[..at].to_vec())
}

fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, ucr_sys::Error> {
    at::open_dir_below(root, path)
        .map_err(|errno| ucr_sys::Error::new("openat2", at::quoted(path), errno))
}

/// Makes the directory at `path`, whose parent is there; the root always is.
fn make_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<(), ucr_sys::Error> {
    if path.is_empty() {
        return Ok(());
    }
    let (parent, name) = split(path);
    at::make_dir(open(root, parent)?.as_fd(), name)
}

/// Gives `target` the attributes of `described`, or those of a directory that nobody describes.
fn copy_attributes(
    described: Option<&OwnedFd>,
    target: BorrowedFd<'_>,
) -> Result<(), ucr_sys::Error> {
    let Some(dir) = described.map(AsFd::as_fd) else {
        return at::set_mode_fd(target, 0o755);
    };
    let stat = at::stat_fd(dir)?;
    at::set_owner_fd(target, stat.st_uid, stat.st_gid)?;
    for key in at::xattr_names_fd(dir)? {
        if key.starts_with(b"trusted.overlay.") {
            continue;
        }
        if let Some(value) = at::xattr_fd(dir, &key)? {
            at::set_xattr_fd(target, &key, &value)?;
        }
    }
    at::set_mode_fd(target, stat.st_mode)?;
    at::set_times_fd(target, FileTime::modified(&stat))
}
