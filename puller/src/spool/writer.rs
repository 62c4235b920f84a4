//! The end that one transfer writes to.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{End, PORTION, Shared};

/// Why a writer takes no more.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its stretch is full, and was cut there for another transfer.
    Full,
    /// The blob is full, and there was more.
    TooLong,
    /// Nobody will read it.
    Unread,
    /// The server sent another part than it was asked for, or the whole.
    WrongPart,
    /// The disk did not take it.
    Disk(ucr_sys::Error),
}

/// What became of bytes that were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They are on their way to the reader.
    All,
    /// No more are wanted; [`SpoolWriter::finish`] tells why.
    Stopped,
}

/// Writes one stretch of a blob from its front.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
    /// Where the part starts in the blob.
    start: u64,
    /// Where in the blob the buffer belongs.
    at: u64,
    buffer: Vec<u8>,
    /// Bytes of the body that are there already and must be passed over.
    skip: u64,
    stop: Option<Stop>,
}

impl SpoolWriter {
    pub(super) fn new(shared: Arc<Shared>, start: u64, at: u64) -> Self {
        Self {
            shared,
            start,
            at,
            buffer: Vec::new(),
            skip: 0,
            stop: None,
        }
    }

    /// The offset in the blob of the byte that is taken next.
    pub(crate) fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// The size of the whole blob.
    pub(crate) fn size(&self) -> u64 {
        self.shared.size
    }

    /// Prepares for a body that begins with the blob's first byte.
    ///
    /// Refused when others fill the same blob: their parts would be fetched twice.
    pub(crate) fn expect_whole(&mut self) -> Taken {
        if !self.shared.lock().parts.is_alone(self.start) {
            return self.refuse();
        }
        self.skip = self.position();
        Taken::All
    }

    /// Takes nothing of a body that is not what was asked for.
    pub(crate) fn refuse(&mut self) -> Taken {
        self.stop_for(Stop::WrongPart)
    }

    /// Takes `bytes`, unless no more are wanted.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Taken {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        self.buffer.extend_from_slice(&bytes[skipped..]);
        if self.buffer.len() >= PORTION || self.stop.is_some() {
            return self.flush();
        }
        Taken::All
    }

    /// Writes out what is buffered and lets the reader see it.
    fn flush(&mut self) -> Taken {
        if self.stop.is_some() {
            return Taken::Stopped;
        }
        let (file, room) = {
            let mut state = self.shared.lock();
            let gone = state.reader_gone;
            match state.parts.at(self.start).filter(|_| !gone) {
                Some(part) => (Arc::clone(&part.file), part.limit - part.end),
                None => {
                    drop(state);
                    return self.stop_for(Stop::Unread);
                }
            }
        };
        let fits =
            usize::try_from(room).map_or(self.buffer.len(), |room| room.min(self.buffer.len()));
        if let Err(error) = file.write_all_at(&self.buffer[..fits], self.at - self.start) {
            let place = format!("part {} of a blob", self.start);
            return self.stop_for(Stop::Disk(ucr_sys::Error::from_io(
                "pwrite64", place, &error,
            )));
        }
        let overflows = self.buffer.len() > fits;
        self.buffer.clear();
        self.show(fits as u64);
        if !overflows {
            return Taken::All;
        }
        if self.at < self.shared.size {
            return self.stop_for(Stop::Full);
        }
        self.shared.lock().end = Some(End::Broken);
        self.stop_for(Stop::TooLong)
    }

    fn stop_for(&mut self, stop: Stop) -> Taken {
        self.stop = Some(stop);
        Taken::Stopped
    }

    fn show(&mut self, count: u64) {
        let mut state = self.shared.lock();
        if let Some(part) = state.parts.at(self.start) {
            // The limit may have been drawn in while the bytes were written.
            part.end = (part.end + count).min(part.limit);
            self.at = part.end;
        }
        drop(state);
        self.shared.readable.notify_all();
    }

    /// Ends the writing; says why it stopped, if that was not the transfer's own end.
    pub(crate) fn finish(mut self) -> Option<Stop> {
        self.flush();
        self.stop.take()
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().parts.release(self.start);
        self.shared.readable.notify_all();
    }
}
