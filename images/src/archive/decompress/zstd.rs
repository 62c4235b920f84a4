//! zstd, of one or many frames, whose windows are looked at before they are allocated.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::memory::Share;
use super::{MAX_WINDOW, cut_short, memory_for};

/// A frame's magic number, and those of skippable frames without their lowest four bits.
const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// The most that a frame header takes (RFC 8878, 3.1.1.1).
const MAX_HEADER: usize = 18;

/// The plain bytes of all frames, one after the other.
pub(crate) struct ZstdDecoder<R> {
    reader: R,
    /// Taken from the reader to look at, and not yet decoded.
    ahead: Vec<u8>,
    decoder: Decoder<'static>,
    share: Share,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Within,
}

impl<R: BufRead> ZstdDecoder<R> {
    /// Begins before the first frame.
    pub(crate) fn new(reader: R, share: Share) -> io::Result<Self> {
        Ok(Self {
            reader,
            ahead: Vec::with_capacity(MAX_HEADER),
            decoder: decoder()?,
            share,
            place: Place::Between,
        })
    }

    /// The reader of the compressed bytes, wherever it stands.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// Gets ready for the next frame; false when there is none.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while self.ahead.len() < MAX_HEADER {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(MAX_HEADER - self.ahead.len());
            self.ahead.extend_from_slice(&available[..count]);
            self.reader.consume(count);
        }
        if self.ahead.is_empty() {
            return Ok(false);
        }
        let memory = memory_for(window(&self.ahead)?)?;
        if !self.share.covers(memory) {
            // The old window goes before anybody waits for room for the new.
            self.decoder = decoder()?;
            self.share.grow(memory);
        }
        self.place = Place::Within;
        Ok(true)
    }
}

fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW.ilog2()))?;
    Ok(decoder)
}

/// How large a window the frame of this header needs; none, for one that is skipped.
fn window(header: &[u8]) -> io::Result<u64> {
    let (magic, header) = header.split_first_chunk().ok_or_else(cut_short)?;
    let magic = u32::from_le_bytes(*magic);
    if magic & !0xf == SKIPPABLE_MAGIC {
        return Ok(0);
    }
    if magic != MAGIC {
        let why = "something else follows a zstd frame";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let (descriptor, rest) = header.split_first().ok_or_else(cut_short)?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = rest.first().ok_or_else(cut_short)?;
        let base = 1_u64 << (10 + (window >> 3));
        return Ok(base + base / 8 * u64::from(window & 7));
    }
    // Then the window is the whole content, whose size stands behind the dictionary's ID.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary..dictionary + length);
    let mut size = [0; 8];
    size[..length].copy_from_slice(field.ok_or_else(cut_short)?);
    let size = u64::from_le_bytes(size);
    Ok(if length == 2 { size + 256 } else { size })
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.place == Place::Between && !self.begin_frame()? {
                return Ok(0);
            }
            let is_ahead = !self.ahead.is_empty();
            let input = if is_ahead {
                &self.ahead
            } else {
                self.reader.fill_buf()?
            };
            let is_end = input.is_empty();
            let status = self.decoder.run_on_buffers(input, buffer)?;
            if is_ahead {
                self.ahead.drain(..status.bytes_read);
            } else {
                self.reader.consume(status.bytes_read);
            }
            if status.remaining == 0 {
                self.place = Place::Between;
            }
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if is_end && self.place == Place::Within {
                return Err(cut_short());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_the_header_says() {
        let header = |rest: &[u8]| [&MAGIC.to_le_bytes()[..], rest].concat();
        assert_eq!(window(&header(&[0, 0])).unwrap(), 1024);
        assert_eq!(window(&header(&[0, 13 << 3 | 1])).unwrap(), 9 << 20);
        assert_eq!(window(&header(&[0x20, 7])).unwrap(), 7);
        assert_eq!(window(&header(&[0x61, 9, 1, 0])).unwrap(), 257);
        assert_eq!(
            window(&header(&[0xe3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])).unwrap(),
            1 << 32
        );
        assert_eq!(window(&[0x5f, 0x2a, 0x4d, 0x18]).unwrap(), 0);
        for broken in [&b"\x28\xb5"[..], b"tail", &header(&[]), &header(&[0x60, 1])] {
            assert!(window(broken).is_err(), "{broken:?}");
        }
    }
}
