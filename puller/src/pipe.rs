//! A bounded pipe of bytes between the one thread that transfers and a thread that unpacks.
//!
//! The writer never blocks: when the pipe is full it is told so, pauses its
//! transfer, and is woken once half of the pipe has been read. The reader
//! blocks until there is a good portion or the end. So a slow disk slows the
//! network down, and memory stays bounded whatever the size of a layer.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes in one buffer; also what the reader waits for, so that threads change seldom.
const PORTION: usize = 128 * 1024;
/// Full buffers that may wait for the reader.
const CAPACITY: usize = 8 * PORTION;

/// What became of bytes offered to a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// All of them are in the pipe.
    Taken,
    /// None of them: pause, and try again when woken.
    Full,
    /// None of them: nobody will ever read again.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    filled: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    bytes: usize,
    end: Option<End>,
    reader_gone: bool,
    writer_waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
}

struct Shared {
    state: Mutex<State>,
    readable: Condvar,
    wake_writer: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Makes a pipe; `wake_writer` is called from the reader's thread when a full pipe has room again.
pub(crate) fn pipe(wake_writer: impl Fn() + Send + Sync + 'static) -> (PipeWriter, PipeReader) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State::default()),
        readable: Condvar::new(),
        wake_writer: Box::new(wake_writer),
    });
    let reader = PipeReader {
        shared: Arc::clone(&shared),
        current: Vec::new(),
        at: 0,
    };
    (PipeWriter { shared }, reader)
}

/// The end that a transfer writes to.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    shared: Arc<Shared>,
}

impl PipeWriter {
    /// Puts all of `bytes` into the pipe, or none.
    pub(crate) fn offer(&self, bytes: &[u8]) -> Offer {
        let mut state = self.shared.lock();
        if state.reader_gone {
            return Offer::Closed;
        }
        if state.bytes >= CAPACITY {
            state.writer_waits = true;
            return Offer::Full;
        }
        match state.filled.back_mut() {
            Some(last) if last.len() + bytes.len() <= PORTION => last.extend_from_slice(bytes),
            _ => {
                let mut buffer = state
                    .spare
                    .pop()
                    .unwrap_or_else(|| Vec::with_capacity(PORTION));
                buffer.extend_from_slice(bytes);
                state.filled.push_back(buffer);
            }
        }
        state.bytes += bytes.len();
        if state.bytes >= PORTION {
            self.shared.readable.notify_one();
        }
        Offer::Taken
    }

    /// Whether an offer would be taken (or refused for good) now.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.shared.lock();
        state.reader_gone || state.bytes < CAPACITY / 2
    }

    /// Says that everything has been written.
    pub(crate) fn complete(self) {
        self.close(End::Complete);
    }

    fn close(&self, end: End) {
        let mut state = self.shared.lock();
        state.end.get_or_insert(end);
        self.shared.readable.notify_one();
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.close(End::Broken);
    }
}

/// The end that is read; reading fails with `UnexpectedEof` when the writer gave up.
#[derive(Debug)]
pub(crate) struct PipeReader {
    shared: Arc<Shared>,
    current: Vec<u8>,
    at: usize,
}

impl PipeReader {
    /// Waits for the next portion; an empty one is the end.
    fn refill(&mut self) -> io::Result<()> {
        let mut state = self.shared.lock();
        if self.current.capacity() > 0 {
            self.current.clear();
            let used = std::mem::take(&mut self.current);
            state.spare.push(used);
        }
        self.at = 0;
        while state.bytes < PORTION && state.end.is_none() {
            state = self
                .shared
                .readable
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(buffer) = state.filled.pop_front() {
            state.bytes -= buffer.len();
            self.current = buffer;
            if state.writer_waits && state.bytes < CAPACITY / 2 {
                state.writer_waits = false;
                drop(state);
                (self.shared.wake_writer)();
            }
        } else if state.end == Some(End::Broken) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the transfer ended early",
            ));
        }
        Ok(())
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            self.refill()?;
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_gone = true;
        state.filled.clear();
        let waits = std::mem::take(&mut state.writer_waits);
        drop(state);
        if waits {
            (self.shared.wake_writer)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_whole() {
        let (woken, wake) = mpsc::channel();
        let (writer, mut reader) = pipe(move || {
            let _ = woken.send(());
        });
        let sent: Vec<u8> = (0..5_000_000_u32)
            .map(|n| n.to_le_bytes()[n as usize % 3])
            .collect();
        let expected = sent.clone();
        let thread = thread::spawn(move || {
            for chunk in sent.chunks(16_000) {
                while writer.offer(chunk) == Offer::Full {
                    wake.recv().unwrap();
                }
            }
            writer.complete();
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        thread.join().unwrap();
        assert_eq!(received, expected);
    }

    #[test]
    fn a_full_pipe_takes_nothing_and_bounds_memory() {
        let (writer, _reader) = pipe(|| ());
        let mut taken = 0;
        while writer.offer(&[0; 16_384]) == Offer::Taken {
            taken += 16_384;
        }
        assert!(taken <= CAPACITY + 16_384);
        assert!(!writer.has_room());
    }

    #[test]
    fn a_writer_that_gives_up_is_not_an_end_of_file() {
        let (writer, mut reader) = pipe(|| ());
        writer.offer(b"half of it");
        drop(writer);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_reader_that_gives_up_closes_the_pipe() {
        let (writer, reader) = pipe(|| ());
        drop(reader);
        assert_eq!(writer.offer(b"x"), Offer::Closed);
    }
}
