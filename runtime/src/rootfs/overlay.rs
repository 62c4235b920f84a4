//! The root file system: the image's layers below a private writable one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ucr_sys::inroot::{self, InRoot};
use ucr_sys::mount::{self, Depth, Tree};

use super::mount_points;
use super::scratch::Scratch;
use super::sources::Users;
use crate::failure::{During, Failure, Step};
use crate::plan::{Mount, Overlay};

/// The directories made in the container's work directory.
pub const UPPER: &str = "upper";
/// The kernel's own.
pub const WORK: &str = "work";
/// Where the overlay is mounted, in the scratch: below the work directory, while that is seen.
pub const ROOT: &str = "root";
/// The mount points that the image lacks, in the scratch.
const MOUNT_POINTS: &str = "mount-points";
/// Where layers with other ids are mounted, in the scratch.
const LAYERS: &str = "layers";
/// The kernel's limit on lower layers, `OVL_MAX_STACK` in fs/overlayfs/params.h.
const LOWER_MAX: usize = 500;

/// Mounts the layers of `overlay`, with places for `mounts`; returns the root of what came of it.
///
/// With `users` the files of the layers, and new ones, are of its ids.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Rootfs`] that names the layer or directory.
pub fn mount(
    overlay: &Overlay,
    mounts: &[Mount],
    users: Option<&Users>,
) -> Result<(InRoot, Scratch), Failure> {
    let work_path = overlay.work_dir.as_path();
    let work_dir = inroot::host_place(work_path).during(Step::Rootfs, &overlay.work_dir)?;
    for name in [UPPER, WORK] {
        inroot::make_directory(work_dir.as_fd(), name, 0o700).during(Step::Rootfs, name)?;
    }
    // Opened in this mount namespace: overlayfs takes layers from no other one.
    let mut lower = Vec::with_capacity(overlay.lower.len() + 1);
    for layer in &overlay.lower {
        lower.push(inroot::host_place(layer.as_path()).during(Step::Rootfs, layer)?);
    }
    let directory = |name| {
        inroot::own_directory(work_dir.as_fd(), name).during(Step::Rootfs, &overlay.work_dir)
    };
    let (upper, work) = (directory(UPPER)?, directory(WORK)?);
    // Over the work directory, whose parts are open.
    let owner = users.map_or((0, 0), Users::root);
    let scratch = Scratch::mount(&overlay.work_dir, mounts, owner)?;
    if let Some(users) = users {
        let place = scratch.directory(LAYERS)?;
        for (layer, path) in lower.iter_mut().zip(&overlay.lower) {
            *layer = with_ids(layer, users, &place).during(Step::LayerIds, path)?;
        }
    }
    adopt_root_attributes(&lower, &upper)?;
    if lower.len() < LOWER_MAX {
        let layer = scratch.directory(MOUNT_POINTS)?;
        if mount_points::make((layer.as_fd(), owner), &lower, mounts)
            .during(Step::Rootfs, MOUNT_POINTS)?
        {
            lower.insert(0, layer);
        }
    }
    let target = scratch.directory(ROOT)?;
    let overlay = mount::Overlay {
        lower: &lower,
        upper: upper.as_fd(),
        work: work.as_fd(),
    };
    mount::mount_overlay(&overlay, target.as_fd()).during(Step::Rootfs, "")?;
    Ok((InRoot::new(scratch.place(ROOT)?), scratch))
}

/// Gives the writable layer the owner and mode that `/` has in the image.
///
/// The merged root shows the attributes of the topmost directory, which would
/// else be ours.
fn adopt_root_attributes(lower: &[OwnedFd], upper: &OwnedFd) -> Result<(), Failure> {
    let Some(top) = lower.first() else {
        return Ok(());
    };
    inroot::copy_owner_and_mode(top.as_fd(), upper.as_fd(), ".").during(Step::Rootfs, UPPER)
}

/// A mount of `layer` whose files have the ids of `users`.
///
/// Attached to `place`, each over the one before: overlayfs takes a layer of a detached mount since
/// Linux 6.15 only.
fn with_ids(layer: &OwnedFd, users: &Users, place: &OwnedFd) -> ucr_sys::Result<OwnedFd> {
    let tree = Tree::copy_of_fd(layer.as_fd(), Depth::One)?;
    users.map(&tree, Depth::One)?;
    tree.attach_and_keep(place.as_fd())
}

/// The root that was mounted outside, and is the working directory: taken over into this mount
/// namespace as a mount of its own, which can be pivoted to.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Rootfs`].
pub fn inherited() -> Result<InRoot, Failure> {
    let take = || {
        let outside = inroot::host_place(Path::new("."))?;
        let tree = Tree::copy_of_fd(outside.as_fd(), Depth::One)?;
        let place = inroot::host_place(Path::new("/"))?;
        tree.attach_and_keep(place.as_fd())
    };
    take().map(InRoot::new).during(Step::Rootfs, "")
}
