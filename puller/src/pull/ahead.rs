//! Reading ahead: a second thread for a layer that has the processors to itself.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes in one buffer.
const PORTION: usize = 128 * 1024;
/// Buffers that are filled and not yet read.
const AHEAD: usize = 4;

/// A portion, or why there is none; an empty one is the end.
type Portion = io::Result<Vec<u8>>;

/// What another thread has read.
struct Ahead {
    filled: Receiver<Portion>,
    used: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

/// Has `take` read what another thread reads from `reader`; returns both.
///
/// The other thread stops when `take` has returned.
pub(super) fn of<R: Read + Send, T>(
    mut reader: R,
    take: impl FnOnce(&mut dyn Read) -> T,
) -> (T, R) {
    let (filler, filled) = sync_channel(AHEAD);
    let (used, spare) = channel();
    let reading = &mut reader;
    let taken = thread::scope(|scope| {
        scope.spawn(move || fill(reading, &filler, &spare));
        take(&mut Ahead {
            filled,
            used,
            current: Vec::new(),
            at: 0,
        })
    });
    (taken, reader)
}

fn fill(reader: &mut impl Read, filler: &SyncSender<Portion>, spare: &Receiver<Vec<u8>>) {
    loop {
        let mut buffer = spare.try_recv().unwrap_or_default();
        buffer.resize(PORTION, 0);
        let portion = read_full(reader, &mut buffer).map(|count| {
            buffer.truncate(count);
            buffer
        });
        let last = portion.as_ref().map_or(true, Vec::is_empty);
        if filler.send(portion).is_err() || last {
            return;
        }
    }
}

/// Fills `buffer` as far as there is something.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let used = std::mem::take(&mut self.current);
            // Nobody takes it when the other thread has come to the end.
            let _ = self.used.send(used);
            self.at = 0;
            // Nor is anything sent behind the end.
            self.current = self.filled.recv().unwrap_or_else(|_end| Ok(Vec::new()))?;
        }
        let count = (self.current.len() - self.at).min(buffer.len());
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes, then an error.
    struct Breaking(usize);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len()).min(1000);
            if count == 0 {
                return Err(io::Error::other("broken"));
            }
            buffer[..count].fill(7);
            self.0 -= count;
            Ok(count)
        }
    }

    #[test]
    fn everything_comes_in_order_and_the_reader_comes_back() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (read, rest) = of(&bytes[..], |reader| {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        assert!(read == bytes && rest.is_empty());
    }

    #[test]
    fn an_error_comes_behind_what_was_read_before_it() {
        let (outcome, _) = of(Breaking(PORTION * 2), |reader| {
            let mut read = Vec::new();
            let error = reader.read_to_end(&mut read).unwrap_err();
            (read.len(), error.to_string())
        });
        assert_eq!(outcome, (PORTION * 2, "broken".to_owned()));
    }

    #[test]
    fn who_wants_no_more_ends_it() {
        let (first, _) = of(io::repeat(1), |reader| {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            byte[0]
        });
        assert_eq!(first, 1);
    }
}
