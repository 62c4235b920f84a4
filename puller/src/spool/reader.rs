//! The end that is read, in order and from the page cache.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use ucr_images::turns::{Foresee, Next};

use super::{PORTION, Shared, State};

/// What is to be read next.
enum Portion {
    /// So many bytes from an offset of a file on.
    At {
        file: Arc<File>,
        offset: u64,
        available: u64,
    },
    /// Nothing: the blob ends here.
    End,
}

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

    /// Where the next portion is, if there is one; `Err` when there will be none.
    fn portion(&self, state: &State) -> io::Result<Option<Portion>> {
        // Whoever brought the last byte may still bring one too many.
        if self.next == self.shared.size && state.parts.is_idle() && state.end.is_none() {
            return Ok(Some(Portion::End));
        }
        if let Some(part) = state.parts.holding(self.next) {
            let available = part.end.saturating_sub(self.next);
            if available >= PORTION as u64 || (available > 0 && part.end == part.limit) {
                return Ok(Some(Portion::At {
                    file: Arc::clone(&part.file),
                    offset: self.next - part.start,
                    available,
                }));
            }
        }
        if state.end.is_some() {
            let text = "the transfer ended early";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(None)
    }

    /// Waits for the next portion; an empty one is the end.
    fn refill(&mut self) -> io::Result<()> {
        (self.at, self.filled) = (0, 0);
        let Portion::At {
            file,
            offset,
            available,
        } = self.wait()?
        else {
            return Ok(());
        };
        self.buffer.resize(PORTION, 0);
        let wanted = usize::try_from(available).unwrap_or(PORTION).min(PORTION);
        file.read_exact_at(&mut self.buffer[..wanted], offset)?;
        self.filled = wanted;
        self.next += wanted as u64;
        Ok(())
    }

    fn wait(&self) -> io::Result<Portion> {
        let mut state = self.shared.lock();
        state.read = self.next;
        loop {
            if let Some(portion) = self.portion(&state)? {
                return Ok(portion);
            }
            state = self
                .shared
                .readable
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Foresee for SpoolReader {
    fn next(&self) -> Next {
        if self.at < self.filled {
            return Next::AtHand;
        }
        match self.portion(&self.shared.lock()) {
            Ok(None) => Next::NotYet,
            Ok(Some(_)) | Err(_) => Next::There,
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
