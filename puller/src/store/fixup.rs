//! Fix-up layers: giving back what unpacking layers apart from each other loses.
//!
//! A layer that holds `tmp/x` and no entry for `tmp` gets a plain `tmp`, mode
//! 0755, which would hide the lower layer's 1777 (measured). An image with such
//! layers gets one more on top, with just those directories and the attributes
//! they should have. It is named by the stack that it belongs to.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::at::{self, FileTime};
use ucr_sys::{Dir, FileType, OFlags};

use super::error::Error;
use super::layer::{LayerMeta, read_meta};
use super::layout::{Store, by_algorithm};
use crate::Digest;
use crate::archive::Applied;
use crate::digest::Algorithm;

/// A layer of a stack, open.
struct Open {
    root: OwnedFd,
    implied: BTreeSet<Vec<u8>>,
}

/// What one layer has at a path.
enum Seen {
    /// A directory; `lower` tells whether layers below it show through.
    Directory { dir: OwnedFd, lower: bool },
    /// Nothing, and layers below show through.
    Nothing,
    /// Something that is no directory, or hides whatever is below.
    End,
}

impl Store {
    /// Whether a fix-up layer is there and can be trusted.
    pub(super) fn has_fixup(&self, id: &Digest) -> Result<bool, Error> {
        let parent = by_algorithm(&self.fixups, id.algorithm()).map_err(Error::Fixup)?;
        let meta = read_meta(&parent, id.hex()).map_err(Error::Fixup)?;
        Ok(meta.is_some_and(|meta| meta.is_trusted(&self.boot)))
    }

    /// Makes the fix-up layer for an image whose layers are all there, if it needs one.
    pub(crate) fn fix_up(&self, diff_ids: &[Digest]) -> Result<Option<Digest>, Error> {
        let Some(stack) = self.stack(diff_ids)? else {
            return Ok(None);
        };
        let text: String = stack
            .iter()
            .map(|(diff_id, _)| format!("{diff_id}\n"))
            .collect();
        let id = Digest::sha256(text.as_bytes());
        let open = self.open_stack(&stack).map_err(Error::Fixup)?;
        let wanted = wanted_directories(&open).map_err(Error::Fixup)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        if !self.has_fixup(&id)? {
            self.make_fixup(&id, &open, &wanted)?;
        }
        Ok(Some(id))
    }

    fn open_stack(&self, stack: &[(Digest, LayerMeta)]) -> Result<Vec<Open>, ucr_sys::Error> {
        let open = |(diff_id, meta): &(Digest, LayerMeta)| {
            let layers = by_algorithm(&self.layers, diff_id.algorithm())?;
            let root = at::open_dir(layers.dir(diff_id.hex())?.as_fd(), b"fs")?;
            let mut implied: BTreeSet<Vec<u8>> = meta.implied().collect();
            if !meta.root_explicit {
                implied.insert(Vec::new());
            }
            Ok(Open { root, implied })
        };
        stack.iter().map(open).collect()
    }

    fn make_fixup(
        &self,
        id: &Digest,
        stack: &[Open],
        wanted: &BTreeSet<Vec<u8>>,
    ) -> Result<(), Error> {
        let staging = self.stage()?;
        let made = self.fill_fixup(id, staging.dir(), stack, wanted);
        match made {
            // Another process was faster with the same result.
            Err(error) if error.errno() == ucr_sys::Errno::EXIST => Ok(()),
            other => other.map_err(Error::Fixup),
        }
    }

    fn fill_fixup(
        &self,
        id: &Digest,
        staging: &Dir,
        stack: &[Open],
        wanted: &BTreeSet<Vec<u8>>,
    ) -> Result<(), ucr_sys::Error> {
        let fs = staging.create_dir("fixup")?.create_dir("fs")?;
        let paths = with_ancestors(wanted);
        // Parents sort before what is in them.
        for path in &paths {
            let (parent, name) = split(path);
            at::make_dir(open(fs.as_fd(), parent)?.as_fd(), name)?;
        }
        // From the leaves up: making a directory changed the time of the one it is in.
        for path in paths.iter().rev() {
            copy_attributes(stack, path, open(fs.as_fd(), path)?.as_fd())?;
        }
        copy_attributes(stack, b"", fs.as_fd())?;
        let meta = LayerMeta::new(&Applied::default(), &self.boot);
        let fixups = by_algorithm(&self.fixups, Algorithm::Sha256)?;
        self.put(&fixups, (staging, "fixup"), id.hex(), &meta)
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, ucr_sys::Error> {
    at::open_in_root(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|errno| ucr_sys::Error::new("openat2", at::quoted(path), errno))
}

/// Implied directories that a lower layer describes, where it shows through.
fn wanted_directories(stack: &[Open]) -> Result<BTreeSet<Vec<u8>>, ucr_sys::Error> {
    let mut wanted = BTreeSet::new();
    for path in stack.iter().flat_map(|layer| &layer.implied) {
        if let Some((depth, _)) = source(stack, path)?
            && topmost(stack, path)? < Some(depth)
        {
            wanted.insert(path.clone());
        }
    }
    Ok(wanted)
}

fn with_ancestors(paths: &BTreeSet<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for path in paths.iter().filter(|path| !path.is_empty()) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        all.extend(slashes.map(|(at, _)| path[..at].to_vec()));
        all.insert(path.clone());
    }
    all
}

/// The highest layer that has the directory at all.
fn topmost(stack: &[Open], path: &[u8]) -> Result<Option<usize>, ucr_sys::Error> {
    for (depth, layer) in stack.iter().enumerate() {
        match look(layer, path)? {
            Seen::Directory { .. } => return Ok(Some(depth)),
            Seen::Nothing => {}
            Seen::End => break,
        }
    }
    Ok(None)
}

/// The directory whose attributes count: the highest that has an entry of its own.
fn source(stack: &[Open], path: &[u8]) -> Result<Option<(usize, OwnedFd)>, ucr_sys::Error> {
    for (depth, layer) in stack.iter().enumerate() {
        match look(layer, path)? {
            Seen::Directory { dir, .. } if !layer.implied.contains(path) => {
                return Ok(Some((depth, dir)));
            }
            Seen::Directory { lower: true, .. } | Seen::Nothing => {}
            Seen::Directory { lower: false, .. } | Seen::End => break,
        }
    }
    Ok(None)
}

/// What `layer` has at `path`, without following any link.
fn look(layer: &Open, path: &[u8]) -> Result<Seen, ucr_sys::Error> {
    let mut dir = at::open_dir(layer.root.as_fd(), b".")?;
    let mut lower = true;
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let Some(stat) = at::stat(dir.as_fd(), name)? else {
            return Ok(if lower { Seen::Nothing } else { Seen::End });
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Seen::End);
        }
        dir = at::open_dir(dir.as_fd(), name)?;
        lower &= at::xattr_fd(dir.as_fd(), b"trusted.overlay.opaque")?.is_none();
    }
    Ok(Seen::Directory { dir, lower })
}

/// Gives `target` the attributes that the stack shows at `path`.
fn copy_attributes(
    stack: &[Open],
    path: &[u8],
    target: BorrowedFd<'_>,
) -> Result<(), ucr_sys::Error> {
    let Some((_, dir)) = source(stack, path)? else {
        return at::set_mode_fd(target, 0o755);
    };
    let stat = at::stat_fd(dir.as_fd())?;
    at::set_owner_fd(target, stat.st_uid, stat.st_gid)?;
    for key in at::xattr_names_fd(dir.as_fd())? {
        if key.starts_with(b"trusted.overlay.") {
            continue;
        }
        if let Some(value) = at::xattr_fd(dir.as_fd(), &key)? {
            at::set_xattr_fd(target, &key, &value)?;
        }
    }
    at::set_mode_fd(target, stat.st_mode)?;
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    at::set_times_fd(
        target,
        FileTime {
            seconds: stat.st_mtime,
            nanoseconds,
        },
    )
}
