//! What the task may not see, and what it may not write.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::mount::{Attributes, Depth, FsOption, Tree, set_attributes};

use crate::failure::{During, Failure, Step};
use crate::plan::Bytes;

/// Covers each path that exists: a file with `null`, a directory with an empty one.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Masks`] that names the path.
pub fn mask(root: &InRoot, null: BorrowedFd<'_>, paths: &[Bytes]) -> Result<(), Failure> {
    let mut cover = Cover { null, empty: None };
    for path in paths {
        let Some(target) = existing(root, path).during(Step::Masks, path)? else {
            continue;
        };
        cover.attach(target.as_fd()).during(Step::Masks, path)?;
        cover.remember(root, path).during(Step::Masks, path)?;
    }
    Ok(())
}

/// What masked paths are covered with.
struct Cover<'a> {
    null: BorrowedFd<'a>,
    /// The first empty directory once it is attached: the later ones are copies
    /// of that one mount (a detached one cannot be copied before Linux 6.15).
    empty: Option<OwnedFd>,
}

impl Cover<'_> {
    fn attach(&self, target: BorrowedFd<'_>) -> ucr_sys::Result<()> {
        let tree = match (inroot::kind_of(target)?, &self.empty) {
            (Kind::File, _) => Tree::copy_of_fd(self.null, Depth::One)?,
            (Kind::Directory, Some(empty)) => Tree::copy_of_fd(empty.as_fd(), Depth::One)?,
            (Kind::Directory, None) => {
                let options =
                    [("mode", "755"), ("size", "0"), ("nr_inodes", "1")].map(|(key, value)| {
                        FsOption {
                            key,
                            value: Some(value),
                        }
                    });
                Tree::new("tmpfs", "tmpfs", &options, sealed())?
            }
        };
        tree.set(sealed(), Depth::One)?;
        tree.attach(target)
    }

    fn remember(&mut self, root: &InRoot, path: &Bytes) -> ucr_sys::Result<()> {
        if self.empty.is_none() {
            let covered = root.place(path.as_path(), Links::Follow)?;
            if inroot::kind_of(covered.as_fd())? == Kind::Directory {
                self.empty = Some(covered);
            }
        }
        Ok(())
    }
}

fn sealed() -> Attributes {
    Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC
}

/// Makes each path that exists read-only, with everything mounted below it.
///
/// # Errors
///
/// A [`Failure`] of [`Step::ReadOnly`] that names the path.
pub fn make_readonly(root: &InRoot, paths: &[Bytes]) -> Result<(), Failure> {
    for path in paths {
        let Some(target) = existing(root, path).during(Step::ReadOnly, path)? else {
            continue;
        };
        let cover = || -> ucr_sys::Result<()> {
            let tree = Tree::copy_of_fd(target.as_fd(), Depth::Recursive)?;
            tree.set(Attributes::MOUNT_ATTR_RDONLY, Depth::Recursive)?;
            tree.attach(target.as_fd())
        };
        cover().during(Step::ReadOnly, path)?;
    }
    Ok(())
}

/// Makes the root file system read-only; what is mounted in it stays as it is.
///
/// # Errors
///
/// A [`Failure`] of [`Step::ReadOnly`].
pub fn make_root_readonly(root: &InRoot) -> Result<(), Failure> {
    set_attributes(root.as_fd(), Attributes::MOUNT_ATTR_RDONLY, Depth::One)
        .during(Step::ReadOnly, "/")
}

fn existing(root: &InRoot, path: &Bytes) -> ucr_sys::Result<Option<OwnedFd>> {
    match root.place(path.as_path(), Links::Follow) {
        Ok(fd) => Ok(Some(fd)),
        // Not every kernel has each of these paths.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.errno() == ucr_sys::Errno::NOTDIR => Ok(None),
        Err(error) => Err(error),
    }
}
