//! How much becomes of an archive.

use std::fs::File;
use std::io::{self, Read, Write as _};

use super::error::Error;

/// What is copied at once.
const PIECE: usize = 64 * 1024;

/// How much may become of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that its files may have.
    pub bytes: u64,
    /// The most files, directories and links.
    pub entries: u64,
    /// How many times as large as it is what becomes of it may be …
    pub ratio: u64,
    /// … from this many bytes on.
    pub ratio_from: u64,
}

/// What has become of an archive so far.
#[derive(Debug)]
pub(super) struct Measure {
    limits: Limits,
    packed: u64,
    bytes: u64,
    entries: u64,
    buffer: Vec<u8>,
}

impl Measure {
    /// Nothing, of an archive of `packed` bytes.
    pub(super) fn new(limits: Limits, packed: u64) -> Self {
        Self {
            limits,
            packed,
            bytes: 0,
            entries: 0,
            buffer: Vec::new(),
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files, directories and links.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts a file, directory or link.
    ///
    /// # Errors
    /// When it is one too many.
    pub(super) fn entry(&mut self) -> Result<(), Error> {
        let limit = self.limits.entries;
        if self.entries >= limit {
            return Err(Error::Entries { limit });
        }
        self.entries += 1;
        Ok(())
    }

    /// Counts bytes that are about to be written.
    ///
    /// # Errors
    /// When they are too many, by themselves or for what the archive is.
    pub(super) fn count(&mut self, more: usize) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(more as u64);
        let Limits {
            bytes: limit,
            ratio,
            ratio_from,
            ..
        } = self.limits;
        if self.bytes > limit {
            return Err(Error::Bytes { limit });
        }
        if self.bytes > ratio_from && self.bytes > self.packed.saturating_mul(ratio) {
            return Err(Error::Ratio {
                packed: self.packed,
                unpacked: self.bytes,
                limit: ratio,
            });
        }
        Ok(())
    }

    /// Copies all of `from`, whose failures `failed` makes errors of.
    ///
    /// # Errors
    /// As [`Self::count`], and [`Error::Write`] without a name for what is not taken.
    pub(super) fn copy(
        &mut self,
        from: &mut impl Read,
        to: &mut File,
        failed: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(PIECE, 0);
        let copied = loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(failed(error)),
            };
            let counted = self.count(count);
            let written = counted.and_then(|()| write(to, &buffer[..count]));
            if written.is_err() {
                break written;
            }
        };
        self.buffer = buffer;
        copied
    }
}

/// Writes a piece of a file whose name its maker adds to a failure.
pub(super) fn write(mut to: &File, bytes: &[u8]) -> Result<(), Error> {
    to.write_all(bytes).map_err(|source| Error::Write {
        name: Vec::new(),
        source,
    })
}
