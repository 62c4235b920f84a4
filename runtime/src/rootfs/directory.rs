//! The root file system: a directory of the caller's, mounted on itself.

use std::os::fd::AsFd;
use std::path::Path;

use ucr_sys::inroot::{self, InRoot};
use ucr_sys::mount::{self, Change, Depth, Tree};

use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::{Propagation, RootPropagation};
use crate::plan::Bytes;

/// Mounts the directory `path`, or the tree that was `prepared` of it, on itself.
///
/// Nothing that is mounted in it is seen outside: at first it is private, or a slave of what the
/// host has there if it is to be one.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Rootfs`] that names the directory.
pub fn mount(
    path: &Bytes,
    prepared: Option<Tree>,
    propagation: RootPropagation,
) -> Result<InRoot, Failure> {
    let place = || inroot::host_place(path.as_path()).during(Step::Rootfs, path);
    let target = place()?;
    if inroot::kind_of(target.as_fd()).during(Step::Rootfs, path)? != inroot::Kind::Directory {
        return Err(Failure::new(Step::Rootfs, path, Cause::NotDirectory));
    }
    let attach = || -> ucr_sys::Result<()> {
        let tree = match prepared {
            Some(tree) => tree,
            None => Tree::copy_of_fd(target.as_fd(), Depth::Recursive)?,
        };
        let kind = match propagation.kind {
            Propagation::Slave => mount::Propagation::Slave,
            _ => mount::Propagation::Private,
        };
        let change = Change {
            propagation: Some(kind),
            ..Change::default()
        };
        tree.change(&change, Depth::Recursive)?;
        tree.attach(target.as_fd())
    };
    attach().during(Step::Rootfs, path)?;
    // Opened again: the name now leads to the root of the mount on it.
    Ok(InRoot::new(place()?))
}

/// Mounts all files of this machine on one of its directories, which is nobody else's; nothing that
/// is mounted in it is seen outside.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Rootfs`].
pub fn host() -> Result<InRoot, Failure> {
    let attach = || {
        let place = inroot::host_place(Path::new("/"))?;
        let tree = Tree::copy_of_fd(place.as_fd(), Depth::Recursive)?;
        let change = Change {
            propagation: Some(mount::Propagation::Private),
            ..Change::default()
        };
        tree.change(&change, Depth::Recursive)?;
        tree.attach_and_keep(place.as_fd())
    };
    attach().map(InRoot::new).during(Step::Rootfs, "/")
}

/// Lets mounts below the root propagate as they are to, once the root is entered.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Propagation`].
pub fn propagate(root: &InRoot, propagation: RootPropagation) -> Result<(), Failure> {
    let change = Change {
        propagation: Some(propagation.kind.into()),
        ..Change::default()
    };
    let depth = if propagation.recursive {
        Depth::Recursive
    } else {
        Depth::One
    };
    mount::apply(root.as_fd(), &change, depth).during(Step::Propagation, "/")
}
