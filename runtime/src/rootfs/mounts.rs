//! The mounts of the spec.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::mount::{Attributes, Change, Depth, FsOption, Tree, set_attributes};
use ucr_sys::{FileType, at};

use super::copy_up;
use crate::cgroup::Version;
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::Propagation;
use crate::plan::{Mount, Plan, Source};
use crate::proc_files;

/// Puts `mount` in place inside `root`, or the tree that was `prepared` of it.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Mounts`] that names the destination.
pub fn attach(
    root: &InRoot,
    mount: &Mount,
    prepared: Option<Tree>,
    plan: &Plan,
) -> Result<(), Failure> {
    let at = &mount.destination;
    match &mount.source {
        Source::FileSystem { .. } => {
            let tree = new_tree(mount).during(Step::Mounts, at)?;
            let target = target(root, at.as_path(), Kind::Directory).during(Step::Mounts, at)?;
            if mount.copy_up {
                copy_up::fill(&tree, target.as_fd(), said(mount)).during(Step::Mounts, at)?;
                change(&tree, mount).during(Step::Mounts, at)?;
            }
            tree.attach(target.as_fd()).during(Step::Mounts, at)
        }
        Source::Own => attach_own(root, at.as_path()).during(Step::Mounts, at),
        Source::Device { path, number } => {
            let tree = device(path.as_path(), *number).during(Step::Devices, at)?;
            attach_device(root, mount, tree)
        }
        Source::Node { .. } => {
            let tree = prepared.map_or_else(|| copy_of(&mount.source), Ok);
            attach_device(root, mount, tree.during(Step::Devices, at)?)
        }
        Source::Bind { .. } | Source::Text(_) | Source::Shared(_) | Source::Layers(_) => {
            let tree = prepared.map_or_else(|| copy_of(&mount.source), Ok);
            let tree = tree.during(Step::Mounts, at)?;
            change(&tree, mount).during(Step::Mounts, at)?;
            check_proc(&tree, at.as_path()).during(Step::Mounts, at)?;
            bind(root, &tree, at.as_path())
                .during(Step::Mounts, at)
                .and_then(|target| tree.attach(target.as_fd()).during(Step::Mounts, at))
        }
        Source::Cgroups => {
            let attributes = Attributes::from_bits_retain(mount.attributes);
            attach_cgroups(root, at.as_path(), attributes, plan)
        }
    }
}

/// What the options say of the directory that a new file system is.
fn said(mount: &Mount) -> copy_up::Said {
    let Source::FileSystem { options, .. } = &mount.source else {
        return copy_up::Said::default();
    };
    let says = |key: &str| options.iter().any(|(name, _)| name == key);
    copy_up::Said {
        mode: says("mode"),
        uid: says("uid"),
        gid: says("gid"),
    }
}

fn attach_device(root: &InRoot, mount: &Mount, tree: Tree) -> Result<(), Failure> {
    let at = &mount.destination;
    change(&tree, mount).during(Step::Devices, at)?;
    let target = target(root, at.as_path(), Kind::File).during(Step::Devices, at)?;
    tree.attach(target.as_fd()).during(Step::Devices, at)
}

fn copy_of(source: &Source) -> ucr_sys::Result<Tree> {
    match source {
        Source::Bind { path, recursive } => Tree::copy_of(path.as_path(), depth(*recursive)),
        // Prepared where there is a place for it.
        _ => Err(ucr_sys::Error::new("open_tree", "", ucr_sys::Errno::INVAL)),
    }
}

/// Makes a directory of the root a mount of its own, which stays as it is when the root becomes
/// read-only.
fn attach_own(root: &InRoot, at: &Path) -> Result<(), Cause> {
    let target = target(root, at, Kind::Directory)?;
    if inroot::is_on_procfs(target.as_fd())? {
        return Err(Cause::OverProc);
    }
    Ok(Tree::copy_of_fd(target.as_fd(), Depth::One)?.attach(target.as_fd())?)
}

/// A device file of the host, if it still is that device.
fn device(path: &Path, number: (u32, u32)) -> Result<Tree, Cause> {
    let place = inroot::host_place(path)?;
    let stat = inroot::stat(place.as_fd())?;
    let is_device = matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::CharacterDevice | FileType::BlockDevice
    );
    if !is_device || at::device_parts(stat.st_rdev) != number {
        return Err(Cause::NotTheDevice(number.0, number.1));
    }
    Ok(Tree::copy_of_fd(place.as_fd(), Depth::One)?)
}

fn depth(recursive: bool) -> Depth {
    if recursive {
        Depth::Recursive
    } else {
        Depth::One
    }
}

/// A new instance of a file system; without its attributes if something is copied into it first.
fn new_tree(mount: &Mount) -> ucr_sys::Result<Tree> {
    let Source::FileSystem {
        kind,
        source,
        options,
    } = &mount.source
    else {
        return Err(ucr_sys::Error::new("fsopen", "", ucr_sys::Errno::INVAL));
    };
    let options: Vec<FsOption<'_>> = options
        .iter()
        .map(|(key, value)| FsOption {
            key,
            value: value.as_deref(),
        })
        .collect();
    if mount.copy_up {
        return Tree::new(kind, source, &options, Attributes::empty());
    }
    let attributes = Attributes::from_bits_retain(mount.attributes | mount.recursive.0);
    let tree = Tree::new(kind, source, &options, attributes)?;
    propagate(&tree, mount)?;
    Ok(tree)
}

/// Gives a tree the attributes and the propagation of `mount`.
fn change(tree: &Tree, mount: &Mount) -> ucr_sys::Result<()> {
    let both = [
        (mount.recursive, Depth::Recursive),
        ((mount.attributes, mount.cleared), Depth::One),
    ];
    for ((set, clear), depth) in both {
        if (set, clear) != (0, 0) {
            let change = Change {
                set: Attributes::from_bits_retain(set),
                clear: Attributes::from_bits_retain(clear),
                ..Change::default()
            };
            tree.change(&change, depth)?;
        }
    }
    propagate(tree, mount)
}

/// Sets how mounts below propagate: not at all unless somebody asked for more.
fn propagate(tree: &Tree, mount: &Mount) -> ucr_sys::Result<()> {
    let unasked = [(Propagation::Private, true)];
    let wanted = if mount.propagation.is_empty() {
        &unasked[..]
    } else {
        &mount.propagation
    };
    for (kind, recursive) in wanted {
        let change = Change {
            propagation: Some((*kind).into()),
            ..Change::default()
        };
        tree.change(&change, depth(*recursive))?;
    }
    Ok(())
}

/// What is bound over `/proc` is another procfs, as where the host's pid namespace is shared.
fn check_proc(tree: &Tree, at: &Path) -> Result<(), Cause> {
    match at == Path::new("/proc") && !inroot::is_on_procfs(tree.as_fd())? {
        true => Err(Cause::OverProc),
        false => Ok(()),
    }
}

/// The target of a bind mount: a directory or a file, as its source is.
fn bind(root: &InRoot, tree: &Tree, at: &Path) -> Result<OwnedFd, Cause> {
    let kind = inroot::kind_of(tree.as_fd())?;
    let target = target(root, at, kind)?;
    // However it was spelled and whatever links led there (CVE-2015-3630); no link leads to those.
    if !proc_files::may_be_covered(at) && inroot::is_on_procfs(target.as_fd())? {
        return Err(Cause::OverProc);
    }
    Ok(target)
}

/// Refuses the root itself, and what is below `/proc` or `/sys`, where a link of the image led there
/// (CVE-2015-3630).
fn check_led(root: &InRoot, at: &Path, target: OwnedFd) -> Result<OwnedFd, Cause> {
    let inside = inroot::shown_path(target.as_fd())?;
    let above = inroot::shown_path(root.as_fd())?;
    let is_root = inside == above && at != Path::new("/");
    let is_kernels = ["proc", "sys"]
        .iter()
        .any(|top| inside.starts_with(above.join(top)));
    match is_root || is_kernels {
        true => Err(Cause::Led),
        false => Ok(target),
    }
}

/// Finds or makes the place to mount on.
///
/// In and below `/proc`, `/sys` and `/dev` an image has no say: a link there is
/// an error (CVE-2019-16884, CVE-2019-19921, CVE-2026-41579). Elsewhere links are
/// followed, inside the root.
fn target(root: &InRoot, at: &Path, kind: Kind) -> Result<OwnedFd, Cause> {
    let ours = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|top| at.starts_with(top));
    let links = if ours { Links::Refuse } else { Links::Follow };
    let target = root.ensure(at, kind, links).map_err(|error| {
        if ours && error.errno() == ucr_sys::Errno::LOOP {
            Cause::Link
        } else {
            error.into()
        }
    })?;
    // move_mount(2) says less.
    match (kind, inroot::kind_of(target.as_fd())?) {
        (Kind::Directory, Kind::File) => return Err(Cause::OverFile),
        (Kind::File, Kind::Directory) => return Err(Cause::OverDirectory),
        _ => {}
    }
    if ours {
        return Ok(target);
    }
    check_led(root, at, target)
}

/// Shows the container its own cgroups and none above them.
fn attach_cgroups(
    root: &InRoot,
    at: &Path,
    attributes: Attributes,
    plan: &Plan,
) -> Result<(), Failure> {
    let operand = at.as_os_str().as_encoded_bytes();
    let place = |path: &Path| target(root, path, Kind::Directory).during(Step::Mounts, operand);
    let show = |from: &Path, to: &Path| -> Result<(), Failure> {
        let tree = Tree::copy_of(from, Depth::One).during(Step::Mounts, operand)?;
        tree.set(attributes, Depth::One)
            .during(Step::Mounts, operand)?;
        tree.attach(place(to)?.as_fd())
            .during(Step::Mounts, operand)
    };
    let groups = plan.cgroups.groups.as_slice();
    if let [only] = groups
        && only.version == Version::Two
    {
        return show(&only.path, at);
    }
    let options = [FsOption {
        key: "mode",
        value: Some("755"),
    }];
    // Writable until the directories are in it.
    let folder = Tree::new(
        "tmpfs",
        "tmpfs",
        &options,
        attributes - Attributes::MOUNT_ATTR_RDONLY,
    );
    let folder = folder.during(Step::Mounts, operand)?;
    folder
        .attach(place(at)?.as_fd())
        .during(Step::Mounts, operand)?;
    for group in groups {
        show(&group.path, &at.join(&group.name))?;
        link_controllers(root, at, group).during(Step::Mounts, operand)?;
    }
    // What is mounted among them later, as podman does with that of systemd.
    let destinations = plan.mounts.iter().map(|mount| mount.destination.as_path());
    for inside in destinations.filter(|path| path.starts_with(at) && *path != at) {
        place(inside)?;
    }
    set_attributes(place(at)?.as_fd(), attributes, Depth::One).during(Step::Mounts, operand)
}

/// Links `cpu` to `cpu,cpuacct`, where two controllers share a hierarchy.
fn link_controllers(
    root: &InRoot,
    at: &Path,
    group: &crate::cgroup::Group,
) -> Result<(), ucr_sys::Error> {
    let apart = group.version == Version::One && group.controllers.len() > 1;
    for controller in group
        .controllers
        .iter()
        .filter(|name| apart && **name != group.name)
    {
        let link: PathBuf = at.join(controller);
        root.symlink(&group.name, &link)?;
    }
    Ok(())
}
