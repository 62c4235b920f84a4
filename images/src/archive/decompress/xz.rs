//! xz, of one or many streams, with a dictionary of bounded size.

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream};

use super::memory::Share;
use super::{BESIDE_WINDOW, LIGHT_WINDOW, MAX_WINDOW, cut_short, memory_for, too_large_a_window};

/// The plain bytes of all streams, one after the other.
pub(crate) struct XzDecoder<R> {
    reader: R,
    stream: Stream,
    share: Share,
    ended: bool,
}

impl<R: BufRead> XzDecoder<R> {
    /// Begins as one that needs little; whether it needs more is in the blocks.
    pub(crate) fn new(reader: R, mut share: Share) -> io::Result<Self> {
        share.grow(memory_for(LIGHT_WINDOW)?);
        let stream = Stream::new_stream_decoder(LIGHT_WINDOW + BESIDE_WINDOW, CONCATENATED)?;
        Ok(Self {
            reader,
            stream,
            share,
            ended: false,
        })
    }

    /// The reader of the compressed bytes, wherever it stands.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// Lets the decoder go on where it stopped for want of memory (`lzma_memlimit_set`).
    fn widen(&mut self) -> io::Result<()> {
        let limit = MAX_WINDOW + BESIDE_WINDOW;
        if self.stream.memlimit() == limit {
            return Err(too_large_a_window());
        }
        self.share.grow(memory_for(MAX_WINDOW)?);
        self.stream
            .set_memlimit(limit)
            .map_err(|_too_little| too_large_a_window())
    }
}

impl<R: BufRead> Read for XzDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.ended {
            let input = self.reader.fill_buf()?;
            let is_end = input.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let before = (self.stream.total_in(), self.stream.total_out());
            let result = self.stream.process(input, buffer, action);
            // Both are differences within buffers.
            let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or_default();
            let read = length(before.0, self.stream.total_in());
            let written = length(before.1, self.stream.total_out());
            self.reader.consume(read);
            match result {
                Ok(Status::StreamEnd) => self.ended = true,
                Err(Error::MemLimit) => self.widen()?,
                Err(error) => return Err(error.into()),
                Ok(_) if is_end && written == 0 => return Err(cut_short()),
                Ok(_) => {}
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
