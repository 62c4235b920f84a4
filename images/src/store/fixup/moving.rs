//! Giving what stands in a directory that hides a link the place it was meant for.
//!
//! Files are hard links, whiteouts too: both are the layer's own inodes, in the
//! same file system, with all their attributes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::{FileType, at};

use super::links::HiddenLink;
use super::stack::{Seen, Stack};
use super::{Failure, join, open, refused};

/// Directories that were moved, by their new path: the layer they are of, and
/// the directory itself if it has an entry of its own.
pub(super) type Moved = BTreeMap<Vec<u8>, (usize, Option<OwnedFd>)>;

/// One directory on its way.
struct Step {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Puts what the layer of `link` has in its directory where the link leads, in the fix-up `fs`.
pub(super) fn move_content(
    stack: &Stack,
    link: &HiddenLink,
    (fs, moved): (BorrowedFd<'_>, &mut Moved),
) -> Result<(), Failure> {
    let mut ahead = vec![Step {
        from: link.path.clone(),
        to: link.target.clone(),
    }];
    while let Some(step) = ahead.pop() {
        let from = open(stack.root(link.depth), &step.from)?;
        let to = open(fs, &step.to)?;
        for name in at::names(from.as_fd())? {
            let next = Step {
                from: join(&step.from, &name),
                to: join(&step.to, &name),
            };
            if !is_directory(from.as_fd(), &name)? {
                if is_free(stack, link.depth, &next.to)? && !exists(to.as_fd(), &name)? {
                    at::make_hard_link(from.as_fd(), &name, to.as_fd(), &name)?;
                }
            } else if is_open(stack, link.depth, &next)? && enter(to.as_fd(), &name)? {
                let known = moved.entry(next.to.clone()).or_insert((link.depth, None));
                if known.1.is_none() && !stack.is_implied(link.depth, &next.from) {
                    *known = (link.depth, Some(at::open_dir(from.as_fd(), &name)?));
                }
                ahead.push(next);
            }
        }
    }
    Ok(())
}

fn exists(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, ucr_sys::Error> {
    Ok(at::stat(dir, name)?.is_some())
}

fn is_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, ucr_sys::Error> {
    let is_dir = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    Ok(at::stat(dir, name)?.is_some_and(|stat| is_dir(stat.st_mode)))
}

/// Makes the directory `name` unless it is there; false where a higher layer has put something else.
fn enter(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, ucr_sys::Error> {
    if exists(dir, name)? {
        return is_directory(dir, name);
    }
    at::make_dir(dir, name)?;
    Ok(true)
}

/// Whether a file of the layer at `depth` shows at `path`, or a higher layer has its say there.
fn is_free(stack: &Stack, depth: usize, path: &[u8]) -> Result<bool, Failure> {
    for above in 0..depth {
        if !matches!(stack.look(above, path)?, Seen::Nothing) {
            return Ok(false);
        }
    }
    match stack.look(depth, path)? {
        Seen::Nothing => Ok(true),
        // Which of the two came last is not known any more.
        _ => Err(refused(path, "one layer has it twice, once through a link")),
    }
}

/// Whether a directory of the layer at `depth` shows at `path`, merged with those that are there.
fn is_open(stack: &Stack, depth: usize, step: &Step) -> Result<bool, Failure> {
    let (source, path) = (&step.from, &step.to);
    if let Seen::Directory { lower: false, .. } = stack.look(depth, source)? {
        return Err(refused(source, "it is opaque, and below a link"));
    }
    for above in 0..depth {
        match stack.look(above, path)? {
            Seen::Nothing | Seen::Directory { lower: true, .. } => {}
            _ => return Ok(false),
        }
    }
    match stack.look(depth, path)? {
        Seen::Nothing | Seen::Directory { lower: true, .. } => {}
        _ => return Err(refused(path, "one layer has it twice, once through a link")),
    }
    if stack.is_implied(depth, source)
        && let Seen::Link(_) = stack.shown(depth + 1, path)?
    {
        return Err(refused(source, "it leads through one link to another"));
    }
    Ok(true)
}
