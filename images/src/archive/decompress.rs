//! Decompression, chosen by what the bytes are and not by what anyone says they are.
//!
//! Owns how much memory all decoders of the process may use at once ([`memory`]):
//! one that needs more than there is for several runs alone.

mod memory;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

use std::fmt;
use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

use self::memory::{Memory, Share};
use self::xz::XzDecoder;
use self::zstd::ZstdDecoder;
use super::error::Error;
use crate::turns::Turn;

/// What all decoders of this process share.
static MEMORY: Memory = Memory::new(10 * MIB);
/// The largest window (zstd) or dictionary (xz) beside which others are decoded.
const LIGHT_WINDOW: u64 = 8 * MIB;
/// The largest one that is decoded at all: 2^27 bytes, as `zstd -d` allows.
const MAX_WINDOW: u64 = 128 * MIB;
/// What a decoder uses beside its window: buffers and tables.
const BESIDE_WINDOW: u64 = 3 * MIB / 4;
/// What bzip2 uses for its largest block: 100 kB and 4 bytes for each of 900 kB (bzip2(1)).
const BZIP2: u64 = 4 * MIB;
const MIB: u64 = 1024 * 1024;

/// The plain bytes of a layer.
pub struct Decompressed<R: BufRead>(Form<R>);

impl<R: BufRead> fmt::Debug for Decompressed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressed").finish_non_exhaustive()
    }
}

/// What they come out of.
enum Form<R: BufRead> {
    /// They were plain already.
    Plain(R),
    /// From gzip, of one or many members (pigz and bgzip write many).
    Gzip(Box<MultiGzDecoder<R>>),
    /// From zstd, of one or many frames.
    Zstd(Box<ZstdDecoder<R>>),
    /// From xz, of one or many streams.
    Xz(Box<XzDecoder<R>>),
    /// From bzip2, of one or many streams (lbzip2 and pbzip2 write many).
    Bzip2(Box<MultiBzDecoder<R>>, Share),
}

/// Looks at the first bytes of `reader` and decompresses accordingly.
///
/// Reading, and for bzip2 already this, may wait for other decoders to end.
///
/// # Errors
/// When nothing can be read.
pub fn decompress<R: BufRead>(reader: R) -> Result<Decompressed<R>, Error> {
    decompress_in(None, reader)
}

/// As [`decompress`], for who may work in turns, and gives this one back before it waits for memory.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_in<R: BufRead>(turn: Option<Turn>, reader: R) -> Result<Decompressed<R>, Error> {
    decompress_with(MEMORY.share(turn), reader)
}

fn decompress_with<R: BufRead>(mut share: Share, mut reader: R) -> Result<Decompressed<R>, Error> {
    // A reader of ours gives more than six bytes at once unless there are no more.
    let magic = reader.fill_buf().map_err(Error::Read)?;
    let form = match magic {
        [0x1f, 0x8b, ..] => Form::Gzip(Box::new(MultiGzDecoder::new(reader))),
        // A zstd frame, or a skippable one before it, as zstd:chunked has it (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = ZstdDecoder::new(reader, share).map_err(Error::Read)?;
            Form::Zstd(Box::new(decoder))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let decoder = XzDecoder::new(reader, share).map_err(Error::Read)?;
            Form::Xz(Box::new(decoder))
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
            share.grow(BZIP2);
            let decoder = Box::new(MultiBzDecoder::new(reader));
            Form::Bzip2(decoder, share)
        }
        _ => Form::Plain(reader),
    };
    Ok(Decompressed(form))
}

/// The memory to take for a window (or dictionary) of so many bytes.
///
/// # Errors
/// When it is larger than what is decoded at all.
fn memory_for(window: u64) -> io::Result<u64> {
    if window > MAX_WINDOW {
        return Err(too_large_a_window());
    }
    Ok(if window > LIGHT_WINDOW {
        u64::MAX
    } else {
        window + BESIDE_WINDOW
    })
}

fn too_large_a_window() -> io::Error {
    let why = format!(
        "decoding takes a window of more than {} MiB",
        MAX_WINDOW / MIB
    );
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early")
}

impl<R: BufRead> Decompressed<R> {
    /// Whether they were not compressed at all.
    pub fn is_plain(&self) -> bool {
        matches!(self.0, Form::Plain(_))
    }

    /// The reader of the compressed bytes, wherever it stands.
    pub fn into_inner(self) -> R {
        match self.0 {
            Form::Plain(reader) => reader,
            Form::Gzip(decoder) => decoder.into_inner(),
            Form::Zstd(decoder) => decoder.into_inner(),
            Form::Xz(decoder) => decoder.into_inner(),
            Form::Bzip2(decoder, _share) => decoder.into_inner(),
        }
    }
}

impl<R: BufRead> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Form::Plain(reader) => reader.read(buffer),
            Form::Gzip(decoder) => decoder.read(buffer),
            Form::Zstd(decoder) => decoder.read(buffer),
            Form::Xz(decoder) => decoder.read(buffer),
            Form::Bzip2(decoder, _share) => decoder.read(buffer),
        }
    }
}
