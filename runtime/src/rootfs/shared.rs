//! Directories of other containers: mounts copied out of their mount namespaces.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ucr_sys::inroot::{self, InRoot, Kind, Links, host_place};
use ucr_sys::mount::{self, Depth, Tree};
use ucr_sys::namespace;
use ucr_sys::process::Namespaces;

use crate::failure::{Cause, During, Failure, Step};
use crate::plan::{Mount, Source};
use crate::volumes::Shared;

/// Copies those of `mounts` that other containers have into `prepared`; `held` are the descriptors
/// that stand for these containers.
///
/// For a moment this process is in their mount namespaces: it opens a directory there, as their
/// root, and nothing else.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Volumes`] that names the destination.
pub fn prepare(
    mounts: &[Mount],
    prepared: &mut [Option<Tree>],
    held: &[OwnedFd],
) -> Result<(), Failure> {
    for (mount, prepared) in mounts.iter().zip(prepared) {
        if let Source::Shared(shared) = &mount.source {
            let at = &mount.destination;
            let container = held.iter().find(|fd| fd.as_raw_fd() == shared.container);
            let container =
                container.ok_or_else(|| Failure::new(Step::Volumes, at, Cause::Orphaned))?;
            *prepared = Some(copy(container.as_fd(), shared).during(Step::Volumes, at)?);
        }
    }
    Ok(())
}

fn copy(container: BorrowedFd<'_>, shared: &Shared) -> Result<Tree, Cause> {
    let ours = namespace::open(Path::new("/proc/self/ns/mnt"))?;
    let here = host_place(Path::new("/"))?;
    namespace::join(container, Namespaces::MOUNT)?;
    let tree = copy_from_here(shared.path.as_path());
    namespace::join(ours.as_fd(), Namespaces::MOUNT)?;
    // Not where the namespace begins, should this process not see all of it.
    mount::change_root_to(here.as_fd())?;
    tree
}

fn copy_from_here(path: &Path) -> Result<Tree, Cause> {
    let root = InRoot::new(host_place(Path::new("/"))?);
    // Made where the image does not have it; links of the other's lead nowhere but to its own.
    let place = root.ensure(path, Kind::Directory, Links::Follow)?;
    if inroot::kind_of(place.as_fd())? != Kind::Directory {
        return Err(Cause::NotDirectory);
    }
    if inroot::is_made_up(place.as_fd())? {
        return Err(Cause::OverProc);
    }
    Ok(Tree::copy_of_fd(place.as_fd(), Depth::One)?)
}
