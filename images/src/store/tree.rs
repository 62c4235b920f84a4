//! Trees: what overlayfs stacks, each a directory with `fs/`, `meta` and `index` in it.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;

use ucr_sys::{Dir, Lock, LockMode, at};

use super::error::Error;
use super::layer::{LayerMeta, read_meta};
use super::layout::Store;
use crate::{Digest, DigestError};

/// One thing in the store that overlayfs stacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tree {
    /// A layer, by diff ID.
    Layer(Digest),
    /// What an image needs on top of its layers, by the hash of their stack.
    Fixup(Digest),
}

impl Tree {
    /// Its digest, whatever it is.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Layer(digest) | Self::Fixup(digest) => digest,
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(digest) => write!(f, "layer {digest}"),
            Self::Fixup(digest) => write!(f, "fixup {digest}"),
        }
    }
}

impl FromStr for Tree {
    type Err = DigestError;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(' ') {
            Some(("layer", digest)) => digest.parse().map(Self::Layer),
            Some(("fixup", digest)) => digest.parse().map(Self::Fixup),
            _ => text.parse().map(Self::Layer),
        }
    }
}

/// A tree that was opened, locked against removal for as long as this lives.
#[derive(Debug)]
pub(super) struct OpenTree {
    pub(super) dir: Dir,
    pub(super) meta: LayerMeta,
    lock: Lock,
}

impl OpenTree {
    /// The descriptor that keeps the tree from being removed.
    pub(super) fn into_lock(self) -> OwnedFd {
        self.lock.into_fd()
    }
}

impl Store {
    /// The directory that holds the trees of this kind and algorithm, if there is one.
    pub(super) fn parent_of(&self, tree: &Tree) -> Result<Option<Dir>, ucr_sys::Error> {
        let kind = match tree {
            Tree::Layer(_) => &self.layers,
            Tree::Fixup(_) => &self.fixups,
        };
        absent(kind.dir(tree.digest().algorithm().as_str()))
    }

    /// Opens a tree that is there with a record that can be read, trusted or not.
    ///
    /// Whoever removes one holds it exclusively and takes its record away first,
    /// so that what is opened here stays for as long as it is held.
    pub(super) fn open_tree(&self, tree: &Tree) -> Result<Option<OpenTree>, ucr_sys::Error> {
        let Some(parent) = self.parent_of(tree)? else {
            return Ok(None);
        };
        let Some(dir) = absent(parent.dir(tree.digest().hex()))? else {
            return Ok(None);
        };
        let lock = Lock::on(at::open_dir(dir.as_fd(), b".")?, LockMode::Shared)?;
        let meta = read_meta(&dir)?;
        Ok(meta.map(|meta| OpenTree { dir, meta, lock }))
    }

    /// Opens a tree that is there and can be trusted.
    pub(super) fn trusted_tree(&self, tree: &Tree) -> Result<Option<OpenTree>, Error> {
        let found = self.open_tree(tree).map_err(|source| Error::Layer {
            diff_id: tree.digest().clone(),
            source,
        })?;
        Ok(found.filter(|open| open.meta.is_trusted(&self.boot)))
    }

    /// All trees by name, whatever state they are in.
    pub(super) fn trees(&self) -> Result<Vec<Tree>, ucr_sys::Error> {
        let mut found = Vec::new();
        for (kind, make) in [
            (&self.layers, Tree::Layer as fn(Digest) -> Tree),
            (&self.fixups, Tree::Fixup),
        ] {
            for algorithm in kind.names()? {
                let Some(parent) = absent(kind.dir(&algorithm))? else {
                    continue;
                };
                // A name that is no digest is nobody's of ours.
                let digests = parent.names()?.into_iter();
                let digests = digests.filter_map(|hex| format!("{algorithm}:{hex}").parse().ok());
                found.extend(digests.map(make));
            }
        }
        Ok(found)
    }
}

/// What was asked for, or `None` where it is not there.
pub(super) fn absent<T>(result: Result<T, ucr_sys::Error>) -> Result<Option<T>, ucr_sys::Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_it_was_written() {
        for make in [Tree::Layer, Tree::Fixup] {
            let tree = make(Digest::sha256(b"x"));
            assert_eq!(tree.to_string().parse(), Ok(tree));
        }
        assert!("fixup x".parse::<Tree>().is_err());
        assert!("".parse::<Tree>().is_err());
    }
}
