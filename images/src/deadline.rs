//! When something must be done, whatever is waited for.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ucr_sys::ready::is_readable_within;

/// A moment by which something must be done; by default there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now; a time that no clock will show is none.
    pub fn within(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// What is left until then, `None` without one.
    pub fn left(self) -> Option<Duration> {
        let then = self.0?;
        Some(then.saturating_duration_since(Instant::now()))
    }

    /// Whether it has passed.
    pub fn is_over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// `time`, or what is left where that is less.
    pub fn shorten(self, time: Duration) -> Duration {
        self.left().map_or(time, |left| time.min(left))
    }
}

/// A pipe, terminal or the like, of which nobody knows when something comes.
#[derive(Debug)]
pub struct Awaited<'f> {
    file: &'f File,
    deadline: Deadline,
}

impl<'f> Awaited<'f> {
    /// Reads `file` until the deadline, after which reading fails as `TimedOut`.
    pub fn new(file: &'f File, deadline: Deadline) -> Self {
        Self { file, deadline }
    }
}

impl Read for Awaited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.left();
            let ready = is_readable_within(self.file.as_fd(), left);
            if !ready.map_err(|error| io::Error::from(error.errno()))? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.file.read(buffer) {
                // Somebody else may have read it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Something that is always there to be read, such as a file, until there is no time any more.
#[derive(Debug)]
pub struct Hurried<R> {
    reader: R,
    deadline: Deadline,
}

impl<R> Hurried<R> {
    /// Reads `reader` until the deadline, after which reading fails as `TimedOut`.
    pub fn new(reader: R, deadline: Deadline) -> Self {
        Self { reader, deadline }
    }

    fn in_time(&mut self) -> io::Result<&mut R> {
        match self.deadline.is_over() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(&mut self.reader),
        }
    }
}

impl<R: Read> Read for Hurried<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time()?.read(buffer)
    }
}

impl<R: BufRead> BufRead for Hurried<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.in_time()?.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }
}

/// Lets time pass: nothing would tell when a server is well again, or another process ready.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_one_there_is_always_time() {
        let never = Deadline::default();
        assert_eq!((never.left(), never.is_over()), (None, false));
        assert_eq!(never.shorten(Duration::MAX), Duration::MAX);
        assert_eq!(Deadline::within(Duration::MAX), never);
    }

    #[test]
    fn what_is_left_is_the_most_that_anything_may_take() {
        let over = Deadline::within(Duration::ZERO);
        assert!(over.is_over());
        assert_eq!(over.shorten(Duration::MAX), Duration::ZERO);
        let hour = Duration::from_secs(3600);
        let later = Deadline::within(hour);
        assert!(!later.is_over() && later.shorten(hour * 2) <= hour);
        assert_eq!(
            later.shorten(Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_file_is_read_until_then_only() {
        let mut read = Vec::new();
        let never = Deadline::default();
        assert_eq!(
            Hurried::new(&b"abc"[..], never)
                .read_to_end(&mut read)
                .unwrap(),
            3
        );
        let over = Deadline::within(Duration::ZERO);
        let error = Hurried::new(&b"abc"[..], over).fill_buf().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_pipe_into_which_nobody_writes_is_read_until_then_only() {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        let mut awaited = Awaited::new(&file, Deadline::within(Duration::from_millis(20)));
        let error = awaited.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(writer);
        let mut rest = Vec::new();
        let mut awaited = Awaited::new(&file, Deadline::default());
        assert_eq!(awaited.read_to_end(&mut rest).unwrap(), 0);
    }
}
