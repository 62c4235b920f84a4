//! Why an archive is not unpacked.

use std::io;

use zip::result::ZipError;

use super::super::error::Error as ArchiveError;
use crate::ErrorKind;

/// An archive that is refused, or that the disk did not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read, or decompressed.
    #[error("cannot decompress it")]
    Read(#[source] io::Error),
    /// It is no archive of tar's kind, or one with something in it that is refused.
    #[error(transparent)]
    Archive(ArchiveError),
    /// It is no zip archive that can be read.
    #[error("it is no zip archive that can be read")]
    Zip(#[source] ZipError),
    /// It says that some of its bytes are several files at once.
    #[error("files of the zip archive overlap, as they do where it is made to fill disks")]
    Overlap,
    /// It is called so, and is not compressed.
    #[error("it is not compressed, as its name says")]
    NotCompressed,
    /// An entry that would do harm or make no sense.
    #[error("its entry \"{}\" is refused: {why}", .name.escape_ascii())]
    Entry {
        /// The entry's name as in the archive.
        name: Vec<u8>,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Something that the file system did not take.
    #[error("cannot write \"{}\"", .name.escape_ascii())]
    Make {
        /// Its name.
        name: Vec<u8>,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// A file that the file system did not take whole.
    #[error("cannot write \"{}\"", .name.escape_ascii())]
    Write {
        /// Its name.
        name: Vec<u8>,
        /// What the system said.
        source: io::Error,
    },
    /// It has more bytes in it than may be taken.
    #[error("it has more in it than the {limit} bytes that are allowed")]
    Bytes {
        /// How many are allowed.
        limit: u64,
    },
    /// It has more files, directories and links in it than may be taken.
    #[error("it has more in it than the {limit} files and directories that are allowed")]
    Entries {
        /// How many are allowed.
        limit: u64,
    },
    /// It becomes too large for what it is.
    #[error(
        "{packed} bytes turned into {unpacked}, where no more than {limit} times as much is \
         allowed: it may have been made to fill disks"
    )]
    Ratio {
        /// Its own bytes.
        packed: u64,
        /// What became of them so far.
        unpacked: u64,
        /// How many times as much is allowed.
        limit: u64,
    },
}

impl Error {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bytes { .. } | Self::Entries { .. } | Self::Ratio { .. } => ErrorKind::Budget,
            Self::Make { source, .. } if source.is_out_of_space() => ErrorKind::DiskFull,
            Self::Write { source, .. } if is_out_of_space(source) => ErrorKind::DiskFull,
            Self::Make { .. } | Self::Write { .. } => ErrorKind::System,
            Self::Read(source) | Self::Archive(ArchiveError::Read(source))
                if source.kind() == io::ErrorKind::TimedOut =>
            {
                ErrorKind::Deadline
            }
            Self::Zip(ZipError::Io(source)) if source.kind() == io::ErrorKind::TimedOut => {
                ErrorKind::Deadline
            }
            _ => ErrorKind::Refused,
        }
    }
}

fn is_out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
