//! Giving what stands in a directory that hides a link the place it was meant for.
//!
//! Files are hard links, whiteouts too: both are the layer's own inodes, in the
//! same file system, with all their attributes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::{Errno, FileType, at};

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
            let path = join(&step.to, &name);
            let source = join(&step.from, &name);
            let stat = at::stat(from.as_fd(), &name)?;
            let is_directory = stat
                .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            if !is_directory {
                if is_free(stack, link.depth, &path)? && at::stat(to.as_fd(), &name)?.is_none() {
                    at::make_hard_link(from.as_fd(), &name, to.as_fd(), &name)?;
                }
                continue;
            }
            if !is_open(stack, link.depth, (&source, &path))? {
                continue;
            }
            match at::make_dir(to.as_fd(), &name) {
                Ok(()) => {}
                Err(error) if error.errno() == Errno::EXIST => {
                    if at::open_dir(to.as_fd(), &name).is_err() {
                        // A higher layer has put something else there.
                        continue;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if !stack.is_implied(link.depth, &source) {
                let dir = at::open_dir(from.as_fd(), &name)?;
                let known = moved.entry(path.clone()).or_insert((link.depth, None));
                if known.1.is_none() {
                    *known = (link.depth, Some(dir));
                }
            } else {
                moved.entry(path.clone()).or_insert((link.depth, None));
            }
            ahead.push(Step {
                from: source,
                to: path,
            });
        }
    }
    Ok(())
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
fn is_open(stack: &Stack, depth: usize, (source, path): (&[u8], &[u8])) -> Result<bool, Failure> {
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
