//! Whiteouts: how a layer says that something below it is gone.
//!
//! In an archive a whiteout is an empty file `.wh.NAME`, and `.wh..wh..opq`
//! makes its directory opaque (OCI layer.md, "Whiteouts"). In overlayfs it is a
//! character device 0:0, and an attribute of the directory (kernel
//! documentation, overlayfs.rst, "whiteouts and opaque directories").

use std::os::fd::BorrowedFd;

use ucr_sys::{FileType, Stat, at};

use super::tar::Kind;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names that AUFS kept for itself.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// What an entry's name says about whiteouts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Nothing: it is an ordinary entry.
    Ordinary,
    /// Lower layers' `0` is gone.
    Gone(&'a [u8]),
    /// Everything lower layers have in this directory is gone.
    Opaque,
    /// Something of AUFS, without meaning here.
    Reserved,
}

/// What is there already under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Directory,
    Symlink,
    Whiteout,
    Other,
}

impl Found {
    /// Tells from the facts of an object.
    pub(crate) fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice if stat.st_rdev == 0 => Self::Whiteout,
            _ => Self::Other,
        }
    }
}

/// Reads the last component of an entry's name.
///
/// # Errors
/// A whiteout of nothing, of `.` or of `..`, or one that is no empty file;
/// said before anything is touched.
pub(super) fn meaning<'a>(name: &'a [u8], kind: &Kind) -> Result<Meaning<'a>, &'static str> {
    let Some(gone) = name.strip_prefix(PREFIX) else {
        return Ok(Meaning::Ordinary);
    };
    if name != OPAQUE && name.starts_with(RESERVED) {
        return Ok(Meaning::Reserved);
    }
    if *kind != Kind::File(0) {
        return Err("a whiteout must be an empty file");
    }
    match gone {
        _ if name == OPAQUE => Ok(Meaning::Opaque),
        b"" | b"." | b".." => Err("it is a whiteout of no name"),
        _ => Ok(Meaning::Gone(gone)),
    }
}

/// Whether a directory on an entry's way has the name of a whiteout.
pub(super) fn is_in_path(parent: &[u8]) -> bool {
    parent
        .split(|byte| *byte == b'/')
        .any(|component| component.starts_with(PREFIX))
}

/// Makes a whiteout for overlayfs.
pub(super) fn make(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), ucr_sys::Error> {
    at::make_node(dir, name, FileType::CharacterDevice, (0, 0))
}

/// Makes a directory hide everything that lower layers have in it.
pub(super) fn mark_opaque(dir: BorrowedFd<'_>) -> Result<(), ucr_sys::Error> {
    at::set_xattr_fd(dir, OPAQUE_XATTR, b"y")
}

/// Whether a directory hides everything that lower layers have in it.
pub(super) fn is_opaque(dir: BorrowedFd<'_>) -> Result<bool, ucr_sys::Error> {
    Ok(at::xattr_fd(dir, OPAQUE_XATTR)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Kind = Kind::File(0);

    #[test]
    fn l36_l51_names_and_what_they_mean() {
        assert_eq!(meaning(b"f", &EMPTY), Ok(Meaning::Ordinary));
        assert_eq!(meaning(b".wh.f", &EMPTY), Ok(Meaning::Gone(b"f")));
        assert_eq!(meaning(b".wh..wh..opq", &EMPTY), Ok(Meaning::Opaque));
        for reserved in [".wh..wh.aufs", ".wh..wh.orph", ".wh..wh.plnk"] {
            assert_eq!(
                meaning(reserved.as_bytes(), &Kind::Directory),
                Ok(Meaning::Reserved)
            );
        }
    }

    #[test]
    fn l37_l38_a_whiteout_of_no_name_is_refused() {
        for name in [".wh.", ".wh..", ".wh..."] {
            assert!(meaning(name.as_bytes(), &EMPTY).is_err(), "{name}");
        }
    }

    #[test]
    fn l50_a_whiteout_is_an_empty_file_or_refused() {
        for kind in [
            Kind::Directory,
            Kind::File(1),
            Kind::Symlink(b"x".to_vec()),
            Kind::Fifo,
        ] {
            assert!(meaning(b".wh.f", &kind).is_err(), "{kind:?}");
            assert!(meaning(b".wh..wh..opq", &kind).is_err(), "{kind:?}");
        }
        assert!(is_in_path(b"a/.wh.etc/b"));
    }
}
