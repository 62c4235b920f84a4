//! The mount points that an image lacks, as a layer in memory above its own.
//!
//! Made in the writable layer they would be directories and files on the disk, and their parents
//! copied there. The layer holds nothing but what the layers below, read as overlayfs reads them
//! (overlayfs.rst, "whiteouts and opaque directories"), do not show; a parent in it has the
//! attributes that it has in the image. Where that is not simple nothing is made: the mount point
//! comes into being in the writable layer then, when something is mounted on it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use ucr_sys::at::{self, FileTime};
use ucr_sys::inroot::Kind;
use ucr_sys::{FileType, Result};

use super::scratch::own;
use crate::plan::{Mount, Source};

/// Extended attributes by which overlayfs remembers what is its own matter.
const OWN_XATTRS: &[u8] = b"trusted.overlay.";
const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// A name in a directory, and what is to be there.
#[derive(Debug)]
struct Point<'a> {
    name: &'a [u8],
    kind: Kind,
}

/// A directory, and who is the owner of what is made in it: user and group.
type Owned<'a> = (BorrowedFd<'a>, (u32, u32));

/// Makes in `layer` what `lower`, the layers of the image, top first, lack of the places that
/// `mounts` go to; says whether anything was made.
///
/// # Errors
///
/// Of the call that failed.
pub fn make(layer: Owned<'_>, lower: &[OwnedFd], mounts: &[Mount]) -> Result<bool> {
    let mut parents: BTreeMap<Option<&[u8]>, Vec<Point<'_>>> = BTreeMap::new();
    for (parent, point) in wanted(mounts) {
        parents.entry(parent).or_default().push(point);
    }
    let mut any = false;
    for (parent, points) in parents {
        any |= match parent {
            None => fill(layer, lower, &points)?,
            Some(parent) => fill_parent((layer, lower), parent, &points)?,
        };
    }
    Ok(any)
}

/// The places of `mounts` in the image itself, of at most two names, each with its parent below `/`.
fn wanted(mounts: &[Mount]) -> impl Iterator<Item = (Option<&[u8]>, Point<'_>)> {
    mounts.iter().enumerate().filter_map(|(number, mount)| {
        let kind = match mount.source {
            Source::FileSystem { .. } | Source::Cgroups | Source::Layers(_) => Kind::Directory,
            Source::Text(_) => Kind::File,
            Source::Bind { .. }
            | Source::Device { .. }
            | Source::Node { .. }
            | Source::Shared(_)
            | Source::Own => {
                return None;
            }
        };
        let at = mount.destination.as_path();
        let covers = |earlier: &Mount| at.starts_with(earlier.destination.as_path());
        if mounts.iter().take(number).any(covers) {
            return None;
        }
        let (parent, name) = names(at)?;
        Some((parent, Point { name, kind }))
    })
}

/// The name of `path` and that of its parent, if they are all that there is of it.
fn names(path: &Path) -> Option<(Option<&[u8]>, &[u8])> {
    let components: Option<Vec<&[u8]>> = path
        .strip_prefix("/")
        .ok()?
        .components()
        .map(|component| match component {
            Component::Normal(name) => Some(name.as_encoded_bytes()),
            _ => None,
        })
        .collect();
    match components?[..] {
        [name] => Some((None, name)),
        [parent, name] => Some((Some(parent), name)),
        _ => None,
    }
}

/// Makes those of `points` that none of `directories`, merged, shows.
fn fill((layer, owner): Owned<'_>, directories: &[OwnedFd], points: &[Point<'_>]) -> Result<bool> {
    let mut any = false;
    for Point { name, kind } in points {
        if is_shown(directories, name)? || at::stat(layer, name)?.is_some() {
            continue;
        }
        let made = match kind {
            Kind::Directory => {
                at::make_dir(layer, name)?;
                if owner != (0, 0) {
                    at::set_owner(layer, name, owner.0, owner.1)?;
                }
                at::set_mode(layer, name, 0o755)
            }
            Kind::File => {
                let file = at::create_file(layer, name)?;
                own(file.as_fd(), owner)?;
                at::set_mode_fd(file.as_fd(), 0o644)
            }
        };
        made?;
        any = true;
    }
    Ok(any)
}

/// Makes those of `points` that the directory `parent` of the image does not show, and it.
fn fill_parent(
    ((layer, owner), lower): (Owned<'_>, &[OwnedFd]),
    parent: &[u8],
    points: &[Point<'_>],
) -> Result<bool> {
    let Some(merged) = merged(lower, parent)? else {
        return Ok(false);
    };
    if let Some(top) = merged.first()
        && has_more_attributes(top)?
    {
        return Ok(false);
    }
    let shown = points.iter().map(|point| is_shown(&merged, point.name));
    if shown
        .collect::<Result<Vec<_>>>()?
        .iter()
        .all(|shown| *shown)
    {
        return Ok(false);
    }
    at::make_dir(layer, parent)?;
    let directory = at::open_dir(layer, parent)?;
    at::set_mode_fd(directory.as_fd(), 0o755)?;
    fill((directory.as_fd(), owner), &merged, points)?;
    if let Some(top) = merged.first() {
        let stat = at::stat_fd(top.as_fd())?;
        at::set_owner_fd(directory.as_fd(), stat.st_uid, stat.st_gid)?;
        at::set_mode_fd(directory.as_fd(), stat.st_mode)?;
        at::set_times_fd(directory.as_fd(), FileTime::modified(&stat))?;
    }
    Ok(true)
}

/// Whether a directory has attributes that a file system in memory may not be able to have.
fn has_more_attributes(directory: &OwnedFd) -> Result<bool> {
    let names = at::xattr_names_fd(directory.as_fd())?;
    Ok(names.iter().any(|name| !name.starts_with(OWN_XATTRS)))
}

/// Whether `directories`, merged, show anything at `name`.
fn is_shown(directories: &[OwnedFd], name: &[u8]) -> Result<bool> {
    for directory in directories {
        if let Some(stat) = at::stat(directory.as_fd(), name)? {
            return Ok(!is_whiteout(&stat));
        }
    }
    Ok(false)
}

/// The directories that are merged at `name`, top first; none where something else is shown.
fn merged(lower: &[OwnedFd], name: &[u8]) -> Result<Option<Vec<OwnedFd>>> {
    let mut merged = Vec::new();
    for layer in lower {
        let Some(stat) = at::stat(layer.as_fd(), name)? else {
            continue;
        };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            let hidden = is_whiteout(&stat) || !merged.is_empty();
            return Ok(hidden.then_some(merged));
        }
        let directory = at::open_dir(layer.as_fd(), name)?;
        let opaque = at::xattr_fd(directory.as_fd(), OPAQUE_XATTR)?;
        merged.push(directory);
        if opaque.is_some() {
            break;
        }
    }
    Ok(Some(merged))
}

fn is_whiteout(stat: &ucr_sys::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, create_dir_all, metadata, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// A layer for each name, top first, with what `fill` makes in it; and one for the mount points.
    struct Layers(tempfile::TempDir);

    impl Layers {
        fn new(lower: usize) -> Self {
            let temp = tempfile::tempdir().expect("tempdir");
            for number in 0..lower {
                create_dir(temp.path().join(number.to_string())).expect("mkdir");
            }
            create_dir(temp.path().join("made")).expect("mkdir");
            Self(temp)
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.0.path().join(path)
        }

        /// Makes the mount points of `/proc` and `/etc/hosts`; says what came into being.
        fn make(&self) -> Vec<String> {
            let open = |path: &Path| ucr_sys::inroot::host_place(path).expect("open");
            let numbers = (0..).map(|number: usize| self.path(&number.to_string()));
            let lower: Vec<OwnedFd> = numbers
                .take_while(|path| path.exists())
                .map(|path| open(&path))
                .collect();
            let proc = Source::FileSystem {
                kind: "proc".into(),
                source: "proc".into(),
                options: vec![],
            };
            let mounts = [
                Mount::new("/proc".into(), proc, 0),
                Mount::new("/proc/x".into(), Source::Cgroups, 0),
                Mount::new("/etc/hosts".into(), Source::Text("".into()), 0),
            ];
            let layer = open(&self.path("made"));
            let any = make((layer.as_fd(), (0, 0)), &lower, &mounts).expect("make");
            let points = ["proc", "proc/x", "etc", "etc/hosts"];
            let there = |point: &&str| self.path("made").join(point).exists();
            let made: Vec<String> = points
                .iter()
                .filter(|p| there(p))
                .map(|p| (*p).into())
                .collect();
            assert_eq!(any, !made.is_empty());
            made
        }

        fn whiteout(&self, layer: &str, name: &str) {
            let layer = ucr_sys::inroot::host_place(&self.path(layer)).expect("open");
            let kind = FileType::CharacterDevice;
            at::make_node(layer.as_fd(), name.as_bytes(), kind, (0, 0)).expect("mknod");
        }
    }

    #[test]
    fn what_is_missing_is_made_and_its_parent_is_as_in_the_image() {
        let layers = Layers::new(2);
        create_dir(layers.path("1/etc")).expect("mkdir");
        set_permissions(layers.path("1/etc"), Permissions::from_mode(0o1711)).expect("chmod");
        assert_eq!(layers.make(), ["proc", "etc", "etc/hosts"]);
        let [made, image] =
            ["made/etc", "1/etc"].map(|path| metadata(layers.path(path)).expect(path));
        assert_eq!(
            (made.mode(), made.mtime_nsec()),
            (image.mode(), image.mtime_nsec())
        );
    }

    #[test]
    fn what_the_image_has_is_left_alone() {
        let layers = Layers::new(2);
        create_dir(layers.path("0/proc")).expect("mkdir");
        create_dir_all(layers.path("1/etc/hosts")).expect("mkdir");
        create_dir(layers.path("0/etc")).expect("mkdir");
        assert_eq!(layers.make(), [""; 0]);
    }

    #[test]
    fn what_a_layer_removes_is_missing() {
        let layers = Layers::new(2);
        create_dir(layers.path("1/proc")).expect("mkdir");
        layers.whiteout("0", "proc");
        create_dir_all(layers.path("1/etc/hosts")).expect("mkdir");
        layers.whiteout("0", "etc");
        assert_eq!(layers.make(), ["proc", "etc", "etc/hosts"]);
    }

    #[test]
    fn an_opaque_directory_hides_what_is_below_it() {
        let layers = Layers::new(2);
        create_dir_all(layers.path("1/etc/hosts")).expect("mkdir");
        create_dir(layers.path("0/etc")).expect("mkdir");
        let etc = ucr_sys::inroot::host_place(&layers.path("0")).expect("open");
        at::set_xattr(etc.as_fd(), b"etc", OPAQUE_XATTR, b"y").expect("setxattr");
        assert_eq!(layers.make(), ["proc", "etc", "etc/hosts"]);
        let made = std::fs::File::open(layers.path("made/etc")).expect("open");
        assert_eq!(
            at::xattr_names_fd(made.as_fd()).expect("names"),
            [[0; 0]; 0]
        );
    }

    #[test]
    fn s4_links_of_the_image_are_left_to_who_mounts() {
        let layers = Layers::new(1);
        symlink("/elsewhere", layers.path("0/proc")).expect("symlink");
        symlink("/", layers.path("0/etc")).expect("symlink");
        assert_eq!(layers.make(), [""; 0]);
    }
}
