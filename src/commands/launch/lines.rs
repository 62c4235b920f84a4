//! Lines that another process writes into a pipe.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most that is kept of a line that does not end.
const LONGEST: usize = 1 << 20;

/// The reading end of a pipe that never waits, and what was read of a line so far.
#[derive(Debug)]
pub(super) struct Lines {
    file: Option<File>,
    unread: Vec<u8>,
}

impl Lines {
    /// Of a pipe that does not wait.
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self {
            file: Some(pipe.into()),
            unread: Vec::new(),
        }
    }

    /// What may have something to read, until its other end is closed.
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Takes the lines that are there; none of it waits.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 4096];
        while let Some(file) = &mut self.file {
            match file.read(&mut buffer) {
                Ok(count) if count > 0 => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Closed; a pipe fails in no other way.
                Ok(_) | Err(_) => self.file = None,
            }
        }
        let mut lines = Vec::new();
        while let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = self.unread.drain(..=at).collect();
            line.pop();
            lines.push(line);
        }
        if self.unread.len() > LONGEST {
            self.unread.clear();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use ucr_sys::pipe::{Pipe, pipe};

    use super::*;

    #[test]
    fn whole_lines_come_and_the_rest_waits() {
        let Pipe { reader, writer } = pipe(4096).unwrap();
        let mut writer = File::from(writer);
        let mut lines = Lines::new(reader);
        assert!(lines.take().is_empty());
        writer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(lines.take(), [b"one".to_vec(), b"two".to_vec()]);
        writer.write_all(b"ee\n").unwrap();
        drop(writer);
        assert_eq!(lines.take(), [b"three".to_vec()]);
        assert!(lines.awaited().is_none());
    }
}
