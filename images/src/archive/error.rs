//! Why a layer cannot be unpacked.

use std::io;

/// A layer that is refused, or that the disk did not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its bytes cannot be had or decompressed.
    #[error("cannot decompress it")]
    Read(#[source] io::Error),
    /// It is no tar archive, or a broken or ambiguous one.
    #[error("it is no tar archive that can be trusted")]
    Tar(#[source] tar_core::parse::ParseError),
    /// It breaks a rule that keeps all readers of an archive in agreement.
    #[error("it is no tar archive that can be trusted: {0}")]
    Strict(&'static str),
    /// An entry that would do harm or make no sense.
    #[error("its entry \"{}\" is refused: {why}", .path.escape_ascii())]
    Entry {
        /// The entry's name as in the archive.
        path: Vec<u8>,
        /// The rule that it breaks.
        why: String,
    },
    /// An entry that the file system did not take.
    #[error("cannot unpack its entry \"{}\"", .path.escape_ascii())]
    Unpack {
        /// The entry's name as in the archive.
        path: Vec<u8>,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// What was unpacked cannot be written down.
    #[error("cannot write the index of what it holds")]
    Index(#[source] io::Error),
    /// The finishing touches failed.
    #[error("cannot finish the unpacked layer")]
    Finish(#[source] ucr_sys::Error),
}

impl Error {
    /// Whether the disk, the quota or the inodes are used up.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            // An attribute too large for its inode is ENOSPC as well (setxattr(2)).
            Self::Unpack { source, .. } if source.call().ends_with("setxattr") => false,
            Self::Unpack { source, .. } | Self::Finish(source) => source.is_out_of_space(),
            Self::Index(source) => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}
