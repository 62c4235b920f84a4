//! A blob on its way from transfers to the thread that unpacks it, through files.
//!
//! The bytes go to a directory of *parts*: one file for each stretch of the
//! blob, named by the offset of its first byte. So what has come survives the
//! process, several transfers can fill one blob, and none of them waits for a
//! slow unpacker. The reader takes the bytes in order, from the page cache, as
//! soon as they are there.

mod part;
mod reader;
mod writer;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ucr_sys::{Dir, at};

use self::part::Parts;
pub(crate) use self::reader::SpoolReader;
pub(crate) use self::writer::{SpoolWriter, Stop, Taken};

/// Bytes that are handed on at once, so that files and threads change seldom.
const PORTION: usize = 128 * 1024;

/// The files that a spool of earlier had, at the most; more are nobody's honest work.
const MAX_PARTS: usize = 64;

/// A stretch of the blob that nobody has fetched, or is fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Offset of its first byte.
    pub(crate) start: u64,
    /// Offset behind its last byte.
    pub(crate) end: u64,
}

/// How the whole came to its end, where it did not by its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There will be no more.
    Broken,
}

#[derive(Debug)]
struct State {
    parts: Parts,
    end: Option<End>,
    reader_gone: bool,
    /// How far the reader has got.
    read: u64,
}

#[derive(Debug)]
struct Shared {
    size: u64,
    state: Mutex<State>,
    readable: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that decides what is fetched, and by how many transfers.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: Dir,
    shared: Arc<Shared>,
}

impl Spool {
    /// Goes on with what `dir` holds of a blob of `size` bytes.
    ///
    /// One byte at least is left to be fetched: that a registry gives it to this caller is what
    /// shows the right to the others.
    ///
    /// # Errors
    /// When the directory cannot be read, or what does not belong there not be removed.
    pub(crate) fn open(dir: Dir, size: u64) -> Result<Self, ucr_sys::Error> {
        let mut parts = Parts::new(size);
        for (start, file, length) in found(&dir, size)? {
            parts.add(start, Arc::new(file), length);
        }
        parts.leave_one_to_ask_for();
        let shared = Arc::new(Shared {
            size,
            state: Mutex::new(State {
                parts,
                end: None,
                reader_gone: false,
                read: 0,
            }),
            readable: Condvar::new(),
        });
        Ok(Self { dir, shared })
    }

    /// Bytes that are there.
    pub(crate) fn received(&self) -> u64 {
        self.shared.lock().parts.received()
    }

    /// Bytes that are there and that nobody has read yet.
    pub(crate) fn unread(&self) -> u64 {
        let state = self.shared.lock();
        state.parts.received().saturating_sub(state.read)
    }

    /// What nobody fetches now and is not there.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.shared.lock().parts.gaps()
    }

    /// A writer for a gap, which is nobody else's until the writer is dropped.
    ///
    /// # Errors
    /// When there is no file to be had for it.
    pub(crate) fn writer(&self, gap: Gap) -> Result<SpoolWriter, ucr_sys::Error> {
        let mut state = self.shared.lock();
        let start = match state.parts.resume(gap) {
            Some(start) => start,
            None => {
                let name = gap.start.to_string();
                let fd = at::open_or_create_file(self.dir.as_fd(), name.as_bytes())?;
                state.parts.begin(gap, Arc::new(File::from(fd)));
                gap.start
            }
        };
        drop(state);
        Ok(SpoolWriter::new(Arc::clone(&self.shared), start, gap.start))
    }

    /// Takes the rear half of the largest stretch that is being fetched away from its transfer.
    ///
    /// `None` where what is left of each is smaller than twice `least`.
    pub(crate) fn split(&self, least: u64) -> Option<Gap> {
        self.shared.lock().parts.split(least)
    }

    /// Forgets everything behind the first gap, for a server that sends a body only from its start.
    pub(crate) fn keep_front(&self) -> Result<(), ucr_sys::Error> {
        let dropped = self.shared.lock().parts.keep_front();
        for start in dropped {
            self.dir.remove(&start.to_string())?;
        }
        Ok(())
    }

    /// Gives stretches that were split off, and of which nothing has come, back to what is before.
    pub(crate) fn join_empty(&self) {
        self.shared.lock().parts.join_empty();
    }

    /// The reading end; to be taken once.
    pub(crate) fn reader(&self) -> SpoolReader {
        SpoolReader::new(Arc::clone(&self.shared))
    }

    /// Tells the reader that there will be no more.
    pub(crate) fn give_up(&self) {
        self.shared.lock().end = Some(End::Broken);
        self.shared.readable.notify_all();
    }
}

impl Drop for Spool {
    /// Whoever decided what is fetched is gone, so there will be no more.
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The parts in `dir` that can be of a blob of `size` bytes: offset, file and length.
fn found(dir: &Dir, size: u64) -> Result<Vec<(u64, File, u64)>, ucr_sys::Error> {
    let mut found = Vec::new();
    for name in dir.names()? {
        let start = name.parse::<u64>().ok();
        let start = start.filter(|&start| start < size && start.to_string() == name);
        match start.filter(|_| found.len() < MAX_PARTS) {
            Some(start) => {
                let file = File::from(at::open_or_create_file(dir.as_fd(), name.as_bytes())?);
                let length = at::stat_fd(file.as_fd())?.st_size;
                found.push((start, file, u64::try_from(length).unwrap_or(0)));
            }
            None => dir.remove(&name)?,
        }
    }
    found.sort_by_key(|(start, ..)| *start);
    Ok(found)
}

#[cfg(test)]
mod tests;
