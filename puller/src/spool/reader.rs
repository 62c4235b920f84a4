//! The end that is read, in order and from the page cache.

use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use super::{PORTION, Shared};

/// Reads a blob from its first byte to its last, waiting for what is not there yet.
///
/// Reading fails with `UnexpectedEof` when there will be no more.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is, and how many are filled.
    at: usize,
    filled: usize,
    /// Offset in the blob of what follows the buffer.
    next: u64,
}

impl SpoolReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            buffer: Vec::new(),
            at: 0,
            filled: 0,
            next: 0,
        }
    }

    /// Waits for the next portion; an empty one is the end.
    fn refill(&mut self) -> io::Result<()> {
        (self.at, self.filled) = (0, 0);
        let Some((file, offset, available)) = self.wait()? else {
            return Ok(());
        };
        self.buffer.resize(PORTION, 0);
        let wanted = usize::try_from(available).unwrap_or(PORTION).min(PORTION);
        file.read_exact_at(&mut self.buffer[..wanted], offset)?;
        self.filled = wanted;
        self.next += wanted as u64;
        Ok(())
    }

    /// A file, where in it to read, and how much there is; `None` at the end of the blob.
    fn wait(&self) -> io::Result<Option<(Arc<std::fs::File>, u64, u64)>> {
        let mut state = self.shared.lock();
        state.read = self.next;
        loop {
            // Whoever brought the last byte may still bring one too many.
            if self.next == self.shared.size && state.parts.is_idle() && state.end.is_none() {
                return Ok(None);
            }
            if let Some(part) = state.parts.holding(self.next) {
                let available = part.end.saturating_sub(self.next);
                if available >= PORTION as u64 || (available > 0 && part.end == part.limit) {
                    let file = Arc::clone(&part.file);
                    return Ok(Some((file, self.next - part.start, available)));
                }
            }
            if state.end.is_some() {
                let text = "the transfer ended early";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            state = self
                .shared
                .readable
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl BufRead for SpoolReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.filled {
            self.refill()?;
        }
        Ok(&self.buffer[self.at..self.filled])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.filled);
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        self.shared.lock().reader_gone = true;
    }
}
