//! Links of lower layers that an implied directory hides.
//!
//! Where `lib` is a link to `usr/lib` in a lower layer, a layer that holds
//! `lib/x` and no entry for `lib` means `usr/lib/x`: it was recorded on a stack
//! where that is the file's place, and whoever unpacks one layer over the other
//! puts it there. Unpacked apart, the layer has a directory that hides the link.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use ucr_sys::at;

use super::stack::{Seen, Stack};
use super::{Failure, is_within, join, open, refused, split};

/// Links followed before it counts as a loop, as the kernel has it.
const MAX_LINKS: u32 = 40;

/// An implied directory of one layer where a layer below has a link.
#[derive(Debug)]
pub(super) struct HiddenLink {
    /// The layer with the directory.
    pub(super) depth: usize,
    /// Where both are.
    pub(super) path: Vec<u8>,
    /// The layer with the link.
    link_depth: usize,
    /// Where the link leads, through directories only.
    pub(super) target: Vec<u8>,
}

/// All hidden links of a stack, those of the highest layers first.
pub(super) fn hidden(stack: &Stack) -> Result<Vec<HiddenLink>, Failure> {
    let mut found: Vec<HiddenLink> = Vec::new();
    for depth in 0..stack.depth() {
        for path in stack.implied(depth).filter(|path| !path.is_empty()) {
            let is_moved = |one: &HiddenLink| one.depth == depth && is_within(path, &one.path);
            if found.iter().any(is_moved) {
                continue;
            }
            let Some(link_depth) = link_below(stack, depth, path)? else {
                continue;
            };
            let target = resolve(stack, depth + 1, path)?;
            check(stack, (depth, path), &target)?;
            found.push(HiddenLink {
                depth,
                path: path.clone(),
                link_depth,
                target,
            });
        }
    }
    Ok(found)
}

/// The layer whose link shows at `path` once the implied directories above it are looked through.
fn link_below(stack: &Stack, depth: usize, path: &[u8]) -> Result<Option<usize>, ucr_sys::Error> {
    for below in depth + 1..stack.depth() {
        match stack.look(below, path)? {
            Seen::Nothing => {}
            Seen::Directory { lower: true, .. } if stack.is_implied(below, path) => {}
            Seen::Link(_) => return Ok(Some(below)),
            _ => break,
        }
    }
    Ok(None)
}

/// Where `path` leads in the layers from `depth` down, as if their root were `/`.
fn resolve(stack: &Stack, depth: usize, path: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut ahead: VecDeque<Vec<u8>> = components(path).collect();
    let mut real = Vec::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == b".." {
            real.truncate(split(&real).0.len());
            continue;
        }
        let next = join(&real, &name);
        match stack.shown(depth, &next)? {
            Seen::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(refused(path, "it is a loop of links"));
                }
                if target.starts_with(b"/") {
                    real.clear();
                }
                let target: Vec<_> = components(&target).collect();
                target
                    .into_iter()
                    .rev()
                    .for_each(|one| ahead.push_front(one));
            }
            Seen::Directory { .. } | Seen::Nothing => real = next,
            Seen::Gone | Seen::Other => {
                return Err(refused(path, "it links to what is no directory"));
            }
        }
    }
    Ok(real)
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .map(<[u8]>::to_vec)
}

/// Refuses what a layer on top cannot mend.
fn check(stack: &Stack, (depth, path): (usize, &[u8]), target: &[u8]) -> Result<(), Failure> {
    if is_within(target, path) || is_within(path, target) {
        return Err(refused(path, "it links to a directory around it"));
    }
    for above in 0..depth {
        match stack.look(above, path)? {
            Seen::Nothing => {}
            Seen::Directory { lower: true, .. } if stack.is_implied(above, path) => {}
            _ => return Err(refused(path, "a higher layer has something else there")),
        }
    }
    for above in 0..=depth {
        match stack.look(above, target)? {
            Seen::Nothing | Seen::Directory { lower: true, .. } => {}
            _ => return Err(refused(path, "a higher layer replaces what it links to")),
        }
    }
    Ok(())
}

/// Gives the fix-up layer `fs` the link that the layer below has.
pub(super) fn put_back(
    stack: &Stack,
    link: &HiddenLink,
    fs: BorrowedFd<'_>,
) -> Result<(), ucr_sys::Error> {
    let (parent, name) = split(&link.path);
    let target = open(fs, parent)?;
    if at::stat(target.as_fd(), name)?.is_some() {
        // A higher layer hides the same link.
        return Ok(());
    }
    let source = open(stack.root(link.link_depth), parent)?;
    at::make_hard_link(source.as_fd(), name, target.as_fd(), name)
}
