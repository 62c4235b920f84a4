//! A small file system in memory, of pid 1's own mount namespace, that goes with it.
//!
//! The root is mounted in it, files of text that the container gets are made in it, and so are the
//! mount points that an image lacks: on a disk each of them would be a file made and deleted again.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::at;
use ucr_sys::inroot::{host_place, own_directory};
use ucr_sys::mount::{Attributes, Change, Depth, FsOption, Tree, mount_layers};

use super::nodes;
use crate::failure::{During, Failure, Step};
use crate::plan::{Bytes, Mount, Source};

/// Room for what is no text: names and mount points.
const ROOM: usize = 1 << 20;

/// The file system.
#[derive(Debug)]
pub struct Scratch {
    root: OwnedFd,
    /// Who its files belong to: user and group.
    owner: (u32, u32),
}

impl Scratch {
    /// Mounts one over the directory `place`, with room for the texts among `mounts`, which are
    /// `owner`'s.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Rootfs`].
    pub fn mount(place: &Bytes, mounts: &[Mount], owner: (u32, u32)) -> Result<Self, Failure> {
        let texts = mounts.iter().filter_map(text);
        let size = (ROOM + texts.map(<[u8]>::len).sum::<usize>()).to_string();
        let options = [("mode", "0700"), ("size", &size)].map(|(key, value)| FsOption {
            key,
            value: Some(value),
        });
        let attributes = Attributes::MOUNT_ATTR_NODEV
            | Attributes::MOUNT_ATTR_NOSUID
            | Attributes::MOUNT_ATTR_NOEXEC;
        let mount = || {
            let target = host_place(place.as_path())?;
            Tree::new("tmpfs", "tmpfs", &options, attributes)?.attach(target.as_fd())?;
            // Opened again: the name now leads to the root of the mount on it.
            host_place(place.as_path())
        };
        let root = mount().during(Step::Rootfs, place)?;
        Ok(Self { root, owner })
    }

    /// Makes a directory in it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Rootfs`].
    pub fn directory(&self, name: &str) -> Result<OwnedFd, Failure> {
        at::make_dir(self.root.as_fd(), name.as_bytes()).during(Step::Rootfs, name)?;
        self.place(name)
    }

    /// What is at the directory `name` now: it, or what was mounted on it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Rootfs`].
    pub fn place(&self, name: &str) -> Result<OwnedFd, Failure> {
        own_directory(self.root.as_fd(), name).during(Step::Rootfs, name)
    }

    /// The texts and device files among `mounts`, made here, each to be mounted; none for the other
    /// mounts.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of [`Step::Mounts`] that names the destination.
    pub fn files(&self, mounts: &[Mount]) -> Result<Vec<Option<Tree>>, Failure> {
        let one = |(number, mount): (usize, &Mount)| {
            let name = format!("file-{number}");
            let file = match &mount.source {
                Source::Text(text) => Some(self.file(&name, &text.0)),
                Source::Node { .. } => Some(self.node(name.as_bytes(), &mount.source)),
                Source::Layers(layers) => Some(self.layers(&name, layers)),
                _ => None,
            };
            file.transpose().during(Step::Mounts, &mount.destination)
        };
        mounts.iter().enumerate().map(one).collect()
    }

    /// What the layers of an image are together.
    fn layers(&self, name: &str, layers: &[Bytes]) -> ucr_sys::Result<Tree> {
        let opened = layers.iter().map(|layer| host_place(layer.as_path()));
        let opened: Vec<OwnedFd> = opened.collect::<ucr_sys::Result<_>>()?;
        if let [only] = &*opened {
            return Tree::copy_of_fd(only.as_fd(), Depth::One);
        }
        at::make_dir(self.root.as_fd(), name.as_bytes())?;
        let target = own_directory(self.root.as_fd(), name)?;
        mount_layers(&opened, target.as_fd())?;
        // Opened again: the name now leads to what was mounted.
        let mounted = own_directory(self.root.as_fd(), name)?;
        Tree::copy_of_fd(mounted.as_fd(), Depth::One)
    }

    /// A device file that works, though nothing else does here that is one.
    fn node(&self, name: &[u8], source: &Source) -> ucr_sys::Result<Tree> {
        let Source::Node {
            kind,
            number,
            mode,
            owner,
        } = source
        else {
            return Err(ucr_sys::Error::new("mknodat", "", ucr_sys::Errno::INVAL));
        };
        let folder = self.root.as_fd();
        at::make_node(folder, name, nodes::file_type(*kind), *number)?;
        at::set_owner(folder, name, owner.0, owner.1)?;
        at::set_mode(folder, name, *mode)?;
        let place = at::place(folder, name)?;
        let tree = Tree::copy_of_fd(place.as_fd(), Depth::One)?;
        let change = Change {
            clear: Attributes::MOUNT_ATTR_NODEV,
            ..Change::default()
        };
        tree.change(&change, Depth::One)?;
        Ok(tree)
    }

    fn file(&self, name: &str, text: &[u8]) -> ucr_sys::Result<Tree> {
        let file = at::create_file(self.root.as_fd(), name.as_bytes())?;
        at::set_mode_fd(file.as_fd(), 0o644)?;
        own(file.as_fd(), self.owner)?;
        let tree = Tree::copy_of_fd(file.as_fd(), Depth::One)?;
        std::fs::File::from(file)
            .write_all(text)
            .map_err(|error| ucr_sys::Error::from_io("write", name, &error))?;
        Ok(tree)
    }
}

/// Gives a new file to `owner`, if that is another than who made it.
///
/// # Errors
///
/// Any failure of `fchown`.
pub(super) fn own(file: BorrowedFd<'_>, owner: (u32, u32)) -> ucr_sys::Result<()> {
    match owner {
        (0, 0) => Ok(()),
        (uid, gid) => at::set_owner_fd(file, uid, gid),
    }
}

fn text(mount: &Mount) -> Option<&[u8]> {
    match &mount.source {
        Source::Text(text) => Some(&text.0),
        _ => None,
    }
}
