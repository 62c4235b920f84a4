//! Mounts by file descriptor, mount_namespaces(7) and the mount API of Linux 5.2.
//!
//! A mount is made detached, given its flags there, and attached to a target
//! that was resolved before; no step in between names a path that an image
//! could have changed.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

pub use rustix::mount::MountAttrFlags as Attributes;

use crate::error::{Context, Error, Result};

/// Whether an operation covers the mounts below the one it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// This mount alone.
    One,
    /// This mount and everything mounted below it.
    Recursive,
}

/// One option of a file system: a flag, or a key with a value.
#[derive(Clone, Copy, Debug)]
pub struct FsOption<'a> {
    /// The key.
    pub key: &'a str,
    /// Its value; none for a flag.
    pub value: Option<&'a str>,
}

/// A mount that is not attached anywhere yet; dropped, it is gone.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// Makes a new instance of the file system `kind` of `source`, `fsopen(2)` to `fsmount(2)`.
    ///
    /// # Errors
    ///
    /// The call that failed; a refused option carries the kernel's own message.
    pub fn new(
        kind: &str,
        source: &str,
        options: &[FsOption<'_>],
        attributes: Attributes,
    ) -> Result<Self> {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .context("fsopen", || format!("{kind:?}"))?;
        // What mountinfo shows as the source; else it says "none".
        let source = FsOption {
            key: "source",
            value: Some(source),
        };
        for option in [&source].into_iter().chain(options) {
            match option.value {
                Some(value) => rustix::mount::fsconfig_set_string(&context, option.key, value),
                None => rustix::mount::fsconfig_set_flag(&context, option.key),
            }
            .map_err(|errno| {
                let text = option
                    .value
                    .map_or(String::new(), |value| format!("={value}"));
                let operands = format!("{kind}, {}{text}{}", option.key, kernel_message(&context));
                Error::new("fsconfig", operands, errno)
            })?;
        }
        rustix::mount::fsconfig_create(&context).map_err(|errno| {
            let operands = format!("{kind}, FSCONFIG_CMD_CREATE{}", kernel_message(&context));
            Error::new("fsconfig", operands, errno)
        })?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map(Self)
            .context("fsmount", || kind.into())
    }

    /// Makes a detached copy of what is mounted at `path`, open_tree(2).
    ///
    /// # Errors
    ///
    /// Any failure of `open_tree`.
    pub fn copy_of(path: &Path, depth: Depth) -> Result<Self> {
        rustix::mount::open_tree(CWD, path, copy_flags(depth))
            .map(Self)
            .context("open_tree", || format!("{path:?}, OPEN_TREE_CLONE"))
    }

    /// Makes a detached copy of the mount and directory or file that `fd` is open on.
    ///
    /// # Errors
    ///
    /// Any failure of `open_tree`.
    pub fn copy_of_fd(fd: BorrowedFd<'_>, depth: Depth) -> Result<Self> {
        rustix::mount::open_tree(fd, c"", copy_flags(depth) | OpenTreeFlags::AT_EMPTY_PATH)
            .map(Self)
            .context("open_tree", || {
                format!("{}, OPEN_TREE_CLONE", fd.as_raw_fd())
            })
    }

    /// Sets `attributes` on this mount, mount_setattr(2) (Linux 5.12).
    ///
    /// # Errors
    ///
    /// Any failure of `mount_setattr`.
    pub fn set(&self, attributes: Attributes, depth: Depth) -> Result<()> {
        set_attributes(self.0.as_fd(), attributes, depth)
    }

    /// Changes this mount, mount_setattr(2) (Linux 5.12).
    ///
    /// # Errors
    ///
    /// Any failure of `mount_setattr`: `EINVAL` for a mapping of ids on a file system that takes none.
    pub fn change(&self, change: &Change<'_>, depth: Depth) -> Result<()> {
        apply(self.0.as_fd(), change, depth)
    }

    /// Attaches this mount on what `target` is open on, move_mount(2).
    ///
    /// # Errors
    ///
    /// Any failure of `move_mount`: `ENOTDIR` when one is a directory and the other not.
    pub fn attach(self, target: BorrowedFd<'_>) -> Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, c"", target, c"", flags).context("move_mount", || {
            format!("{}, {}", self.0.as_raw_fd(), target.as_raw_fd())
        })
    }

    /// The same, and keeps it open: on top of `target` a later mount may come.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`], or any failure of `fcntl`.
    pub fn attach_and_keep(self, target: BorrowedFd<'_>) -> Result<OwnedFd> {
        let kept = rustix::io::fcntl_dupfd_cloexec(&self.0, 0)
            .context("fcntl", || self.0.as_raw_fd().to_string())?;
        self.attach(target)?;
        Ok(kept)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn copy_flags(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::One => flags,
        Depth::Recursive => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// What the kernel wrote into the context to explain a refusal, fsconfig(2).
fn kernel_message(context: &OwnedFd) -> String {
    let mut buffer = [0_u8; 512];
    match rustix::io::read(context, &mut buffer) {
        Ok(length) => {
            let text = String::from_utf8_lossy(&buffer[..length]);
            format!(" ({})", text.trim_start_matches("e ").trim_end())
        }
        // Nothing was said: the errno alone has to do.
        Err(_) => String::new(),
    }
}

/// Sets `attributes` on the mount whose root `mount` is open on, mount_setattr(2).
///
/// # Errors
///
/// Any failure of `mount_setattr`; `ENOSYS` before Linux 5.12.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes, depth: Depth) -> Result<()> {
    let change = Change {
        set: attributes,
        ..Change::default()
    };
    apply(mount, &change, depth)
}

/// Whether mounts made below one mount appear below its copies, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// In both directions.
    Shared,
    /// From the original to the copy.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and the mount cannot be bound elsewhere.
    Unbindable,
}

/// What is changed of a mount.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Attributes that it gets.
    pub set: Attributes,
    /// Attributes that it loses.
    pub clear: Attributes,
    /// How mounts below it propagate from now on.
    pub propagation: Option<Propagation>,
    /// The user namespace whose mapping of ids its files get.
    pub mapped_by: Option<BorrowedFd<'a>>,
}

impl Default for Change<'_> {
    fn default() -> Self {
        Self {
            set: Attributes::empty(),
            clear: Attributes::empty(),
            propagation: None,
            mapped_by: None,
        }
    }
}

/// Changes the mount whose root `mount` is open on, mount_setattr(2).
///
/// # Errors
///
/// Any failure of `mount_setattr`; `ENOSYS` before Linux 5.12.
pub fn apply(mount: BorrowedFd<'_>, change: &Change<'_>, depth: Depth) -> Result<()> {
    let mut set = u64::from(change.set.bits());
    if change.mapped_by.is_some() {
        set |= libc::MOUNT_ATTR_IDMAP;
    }
    let userns_fd = change
        .mapped_by
        .map_or(0, |fd| fd.as_raw_fd().unsigned_abs());
    let request = libc::mount_attr {
        attr_set: set,
        attr_clr: u64::from(change.clear.bits()),
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: userns_fd.into(),
    };
    let recursive = match depth {
        Depth::One => 0,
        Depth::Recursive => libc::AT_RECURSIVE,
    };
    // SAFETY: the path is a C string, `request` an initialised mount_attr whose
    // size is passed; the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const request,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        let operands = format!("{}, {change:?}", mount.as_raw_fd());
        return Err(Error::from_io("mount_setattr", operands, &error));
    }
    Ok(())
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// Stops every mount of this namespace from sending or receiving mount events.
///
/// # Errors
///
/// Any failure of `mount`.
pub fn make_all_private() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).context("mount", || "\"/\", MS_REC|MS_PRIVATE".into())
}

/// The directories of an overlay mount, open.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// The read-only layers, top first; up to 500 (the kernel's limit).
    pub lower: &'a [OwnedFd],
    /// The private writable layer.
    pub upper: BorrowedFd<'a>,
    /// The kernel's work directory, on the same file system as `upper`.
    pub work: BorrowedFd<'a>,
}

/// Mounts an overlay on `target`, `nodev` and `volatile`; changes the working directory.
///
/// The layers are named by descriptor number relative to `/proc/self/fd`: 500
/// of them fit in the one page of options that mount(2) takes, no path of the
/// host shows in the container's mountinfo, and every kernel from 5.10 takes it
/// (`lowerdir+` by descriptor needs 6.13). `volatile` because the writable layer
/// is thrown away: without it the end of the container waits for `syncfs`.
///
/// # Errors
///
/// Any failure of `chdir` or `mount`.
pub fn mount_overlay(overlay: &Overlay<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        numbers(overlay.lower),
        overlay.upper.as_raw_fd(),
        overlay.work.as_raw_fd(),
    );
    mount_overlay_with(options, MountFlags::NODEV, target)
}

/// Mounts layers, of which nothing can be written, at `target`; the working directory is another
/// afterwards.
///
/// # Errors
///
/// Any failure of `chdir` or `mount`; `EINVAL` for fewer than two.
pub fn mount_layers(lower: &[OwnedFd], target: BorrowedFd<'_>) -> Result<()> {
    let options = format!("lowerdir={}", numbers(lower));
    mount_overlay_with(options, MountFlags::NODEV | MountFlags::RDONLY, target)
}

/// Layers as an overlay's options have them: their descriptors, found where the kernel shows them.
fn numbers(layers: &[OwnedFd]) -> String {
    let numbers = layers.iter().map(|fd| fd.as_raw_fd().to_string());
    numbers.collect::<Vec<_>>().join(":")
}

fn mount_overlay_with(options: String, flags: MountFlags, target: BorrowedFd<'_>) -> Result<()> {
    rustix::process::chdir("/proc/self/fd").context("chdir", || "\"/proc/self/fd\"".into())?;
    let data = std::ffi::CString::new(options.clone())
        .map_err(|_nul| Error::new("mount", options.clone(), Errno::INVAL))?;
    let target = target.as_raw_fd().to_string();
    let data: Option<&CStr> = Some(&data);
    rustix::mount::mount("overlay", target.as_str(), "overlay", flags, data)
        .context("mount", || format!("overlay, {options}"))
}

/// Makes `root` the root and working directory, and unmounts everything else, pivot_root(2).
///
/// # Errors
///
/// Any failure of `fchdir`, `pivot_root`, `umount2` or `chdir`.
pub fn pivot_to(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).context("fchdir", || root.as_raw_fd().to_string())?;
    rustix::process::pivot_root(".", ".").context("pivot_root", || "\".\", \".\"".into())?;
    // The old root is now mounted over the new one, at "/" and ".": pivot_root(2),
    // "pivot_root(".", ".")".
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .context("umount2", || "\".\", MNT_DETACH".into())?;
    rustix::process::chdir("/").context("chdir", || "\"/\"".into())
}

/// Makes `root` the root and working directory of this process alone, chroot(2).
///
/// For a mount namespace that others are in too: what they see stays as it is.
///
/// # Errors
///
/// Any failure of `fchdir`, `chroot` or `chdir`.
pub fn change_root_to(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).context("fchdir", || root.as_raw_fd().to_string())?;
    rustix::process::chroot(".").context("chroot", || "\".\"".into())?;
    rustix::process::chdir("/").context("chdir", || "\"/\"".into())
}

/// Takes away what is mounted on `path`, and what is mounted below it; nothing there is no error.
///
/// # Errors
///
/// Any failure of `umount2` other than that nothing is mounted there.
pub fn detach(path: &Path) -> Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        other => other.context("umount2", || format!("{path:?}, MNT_DETACH")),
    }
}
