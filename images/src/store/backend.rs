//! What the store stands on: file systems that cannot hold one are refused before anything is
//! unpacked, with the reason.

use std::os::fd::AsFd;

use ucr_sys::{Dir, Errno, FileType, Stat, at, random_suffix};

use super::error::Error;

/// Numbers of file systems (linux/magic.h).
const NFS: u64 = 0x6969;
const SMB2: u64 = 0xFE53_4D42;
const CIFS: u64 = 0xFF53_4D42;
const OVERLAYFS: u64 = 0x794C_7630;
const NINE_P: u64 = 0x0102_1997;
const TMPFS: u64 = 0x0102_1994;

/// How a store can be used where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// For everything.
    ReadWrite,
    /// Images can be run, and nothing can be added or removed.
    ReadOnly,
}

/// Looks at what an existing directory stands on; a few system calls, none of which lists it.
pub(super) fn detect(root: &Dir) -> Result<Backend, Error> {
    let failed = |source| Error::Open {
        path: root.path().to_owned(),
        source,
    };
    let backend = match root.is_read_only().map_err(failed)? {
        true => Backend::ReadOnly,
        false => Backend::ReadWrite,
    };
    let magic = root.file_system_magic().map_err(failed)?;
    if let Some(why) = refusal(magic, backend) {
        return Err(unsuitable(root, why));
    }
    let stat = at::stat_fd(root.as_fd()).map_err(failed)?;
    if stat.st_uid != ucr_sys::user_id() {
        return Err(Error::Owner {
            path: root.path().to_owned(),
            uid: stat.st_uid,
        });
    }
    match (root_is_new(root, &stat).map_err(failed)?, backend) {
        // Made for us by somebody, or a fresh file system, with whatever mode is usual there.
        (true, Backend::ReadWrite) => at::set_mode_fd(root.as_fd(), 0o700).map_err(failed)?,
        (false, _) if stat.st_mode & 0o022 != 0 => {
            return Err(unsuitable(
                root,
                "others may write to it, and so change what containers run; \
                 chmod 0700 it, or name another directory",
            ));
        }
        _ => {}
    }
    Ok(backend)
}

/// Whether a directory is open to others and has nothing in it yet.
fn root_is_new(root: &Dir, stat: &Stat) -> Result<bool, ucr_sys::Error> {
    let is_open = stat.st_mode & 0o077 != 0;
    // A file system of its own begins with that.
    let is_usual = |name: &String| name == "lost+found";
    Ok(is_open && root.names()?.iter().all(is_usual))
}

/// Why a file system of this number holds no store.
fn refusal(magic: u64, backend: Backend) -> Option<&'static str> {
    match (magic, backend) {
        (OVERLAYFS, _) => Some(
            "it stands on overlayfs, which takes neither whiteouts nor containers' writable \
             layers; put it on a volume",
        ),
        (NFS | SMB2 | CIFS | NINE_P, Backend::ReadWrite) => Some(
            "it stands on a network file system, whose locks do not hold between machines and \
             which overlayfs cannot write to; put it on a local disk",
        ),
        _ => None,
    }
}

fn unsuitable(root: &Dir, why: &'static str) -> Error {
    Error::Unsuitable {
        path: root.path().to_owned(),
        why,
    }
}

/// What the directory is called in which something is tried out, before something random.
const PROBE: &str = "probe-";

/// Whether a directory without a store has something in it that no beginning store has left there.
fn has_strangers(root: &Dir) -> Result<bool, ucr_sys::Error> {
    let names = root.names()?;
    let is_usual = |name: &String| {
        name == "lost+found" || name.starts_with(PROBE) || name.starts_with(".version.")
    };
    // Another process may have made the store since we looked.
    let is_store = names.iter().any(|name| name == "version");
    Ok(!is_store && !names.iter().all(is_usual))
}

/// Tries out, in a directory of its own that goes again, what a new store will need.
pub(super) fn check_new(root: &Dir, backend: Backend) -> Result<(), Error> {
    let failed = |source| Error::Open {
        path: root.path().to_owned(),
        source,
    };
    if backend == Backend::ReadOnly {
        return Err(unsuitable(
            root,
            "there is no store in it, and it is read-only",
        ));
    }
    if has_strangers(root).map_err(failed)? {
        return Err(unsuitable(
            root,
            "there is no store in it, but there are other things; \
             name an empty directory, or one that is not there yet",
        ));
    }
    let name = format!("{PROBE}{}", random_suffix());
    let probe = root.create_dir(&name).map_err(failed)?;
    let tried = try_out(&probe);
    root.remove_tree(&name).map_err(failed)?;
    if let Some(why) = tried.map_err(failed)? {
        return Err(unsuitable(root, why));
    }
    if root.file_system_magic().map_err(failed)? == TMPFS {
        tracing::info!("the store is in memory: what is pulled is gone after a reboot");
    }
    Ok(())
}

/// What is missing for layers to be kept here, if anything is.
fn try_out(probe: &Dir) -> Result<Option<&'static str>, ucr_sys::Error> {
    let inner = probe.create_dir("a")?;
    if !probe.tells_types()? {
        return Ok(Some(
            "its file system does not tell the type of a file where it lists it (xfs made with \
             ftype=0, ext4 without filetype), which overlayfs needs; make the file system anew, \
             or use another",
        ));
    }
    if probe.contains("A")? {
        return Ok(Some(
            "it takes upper and lower case for the same, and images have names that differ in \
             nothing else; use a directory without case folding",
        ));
    }
    if ucr_sys::is_root() {
        let device = at::make_node(
            inner.as_fd(),
            b"whiteout",
            FileType::CharacterDevice,
            (0, 0),
        );
        if is_refused(device)? {
            return Ok(Some(
                "its file system takes no device nodes, by which layers hide files of lower ones",
            ));
        }
        let attribute = at::set_xattr_fd(inner.as_fd(), b"trusted.overlay.opaque", b"y");
        if is_refused(attribute)? {
            return Ok(Some("its file system takes no attributes of overlayfs"));
        }
    }
    Ok(None)
}

/// Whether the file system does not do this, as opposed to not now.
fn is_refused(result: Result<(), ucr_sys::Error>) -> Result<bool, ucr_sys::Error> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if matches!(error.errno(), Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c19_file_systems_that_hold_no_store_are_told_apart() {
        for magic in [NFS, SMB2, CIFS, NINE_P] {
            assert!(refusal(magic, Backend::ReadWrite).is_some(), "{magic:x}");
            assert!(refusal(magic, Backend::ReadOnly).is_none(), "{magic:x}");
        }
        for backend in [Backend::ReadWrite, Backend::ReadOnly] {
            assert!(refusal(OVERLAYFS, backend).is_some());
            assert!(refusal(TMPFS, backend).is_none());
        }
    }
}
