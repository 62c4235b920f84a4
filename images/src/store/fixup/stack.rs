//! What the layers of a stack have at a path, each by itself and all together.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::{FileType, at};

/// Layers, open, top first.
#[derive(Debug, Default)]
pub(super) struct Stack {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    root: OwnedFd,
    /// Directories that only exist for what is in them.
    implied: BTreeSet<Vec<u8>>,
}

/// What one layer has at a path.
#[derive(Debug)]
pub(super) enum Seen {
    /// A directory; `lower` tells whether layers below it show through.
    Directory { dir: OwnedFd, lower: bool },
    /// Nothing, and layers below show through.
    Nothing,
    /// Nothing, and nothing of the layers below either.
    Gone,
    /// A symbolic link that says this.
    Link(Vec<u8>),
    /// Something else, there or on the way there.
    Other,
}

impl Stack {
    /// Adds a layer below all others.
    pub(super) fn push(&mut self, root: OwnedFd, implied: BTreeSet<Vec<u8>>) {
        self.layers.push(Layer { root, implied });
    }

    /// How deep the stack is.
    pub(super) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The root of one layer.
    pub(super) fn root(&self, depth: usize) -> BorrowedFd<'_> {
        self.layers[depth].root.as_fd()
    }

    /// The implied directories of one layer, parents before what is in them.
    pub(super) fn implied(&self, depth: usize) -> impl Iterator<Item = &Vec<u8>> {
        self.layers[depth].implied.iter()
    }

    /// Whether one layer has a directory only for what is in it.
    pub(super) fn is_implied(&self, depth: usize, path: &[u8]) -> bool {
        self.layers[depth].implied.contains(path)
    }

    /// What one layer has at `path`, without following any link.
    pub(super) fn look(&self, depth: usize, path: &[u8]) -> Result<Seen, ucr_sys::Error> {
        let mut dir = at::open_dir(self.root(depth), b".")?;
        let mut lower = true;
        let mut names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .peekable();
        while let Some(name) = names.next() {
            let Some(stat) = at::stat(dir.as_fd(), name)? else {
                return Ok(if lower { Seen::Nothing } else { Seen::Gone });
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink if names.peek().is_none() => {
                    return Ok(Seen::Link(at::read_link(dir.as_fd(), name)?));
                }
                FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(Seen::Gone),
                _ => return Ok(Seen::Other),
            }
            dir = at::open_dir(dir.as_fd(), name)?;
            lower &= at::xattr_fd(dir.as_fd(), b"trusted.overlay.opaque")?.is_none();
        }
        Ok(Seen::Directory { dir, lower })
    }

    /// The directory whose attributes count at `path`: the highest that has an
    /// entry of its own and is not hidden, with its depth.
    pub(super) fn described(
        &self,
        path: &[u8],
    ) -> Result<Option<(usize, OwnedFd)>, ucr_sys::Error> {
        for depth in 0..self.depth() {
            match self.look(depth, path)? {
                Seen::Directory { dir, .. } if !self.is_implied(depth, path) => {
                    return Ok(Some((depth, dir)));
                }
                Seen::Directory { lower: true, .. } | Seen::Nothing => {}
                _ => break,
            }
        }
        Ok(None)
    }

    /// Implied directories that hide the attributes of a lower layer's directory.
    pub(super) fn poorly_described(&self) -> Result<BTreeSet<Vec<u8>>, ucr_sys::Error> {
        let mut found = BTreeSet::new();
        for path in self.layers.iter().flat_map(|layer| &layer.implied) {
            if let Some((described, _)) = self.described(path)?
                && self.topmost(path)? < Some(described)
            {
                found.insert(path.clone());
            }
        }
        Ok(found)
    }

    /// The highest layer that has the directory at all.
    fn topmost(&self, path: &[u8]) -> Result<Option<usize>, ucr_sys::Error> {
        for depth in 0..self.depth() {
            match self.look(depth, path)? {
                Seen::Directory { .. } => return Ok(Some(depth)),
                Seen::Nothing => {}
                _ => break,
            }
        }
        Ok(None)
    }

    /// What the layers from `depth` down show at `path`, as one.
    ///
    /// An implied directory does not count where there is something else below it.
    pub(super) fn shown(&self, depth: usize, path: &[u8]) -> Result<Seen, ucr_sys::Error> {
        let mut implied = Seen::Nothing;
        for depth in depth..self.depth() {
            match self.look(depth, path)? {
                Seen::Nothing => {}
                seen @ Seen::Directory { lower: true, .. } if self.is_implied(depth, path) => {
                    implied = seen;
                }
                Seen::Gone => break,
                other => return Ok(other),
            }
        }
        Ok(implied)
    }
}
