//! Between the terminal of a container and the streams of whoever looks at it.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use ucr_sys::ready::{self, For};
use ucr_sys::terminal::{self, Altered};
use ucr_sys::{Errno, descriptors};

/// Bytes that are carried at once: what a pipe with room takes without waiting, pipe(7) `PIPE_BUF`.
const SIZE: usize = 4096;

/// Carries keys one way and what is shown the other; the caller's terminal is raw meanwhile.
#[derive(Debug)]
pub(super) struct Console {
    master: OwnedFd,
    input: OwnedFd,
    output: OwnedFd,
    keys: Flow,
    shown: Flow,
    /// Given back when this is dropped.
    _caller: Option<Altered<OwnedFd>>,
}

/// Bytes on their way.
#[derive(Debug)]
struct Flow {
    buffer: Vec<u8>,
    filled: Range<usize>,
    /// Whether more may come.
    open: bool,
}

impl Console {
    /// Carries between `master` and this process's standard input and output from now on.
    pub(super) fn new(master: OwnedFd) -> ucr_sys::Result<Self> {
        descriptors::never_wait(master.as_fd())?;
        let input = duplicate(io::stdin().as_fd())?;
        let output = match terminal::reopen_for_writing(io::stdout().as_fd()) {
            Some(terminal) => terminal,
            None => duplicate(io::stdout().as_fd())?,
        };
        // Keys that come from a file need no such thing.
        let caller = Altered::raw(duplicate(input.as_fd())?).ok();
        Ok(Self {
            master,
            input,
            output,
            keys: Flow::new(),
            shown: Flow::new(),
            _caller: caller,
        })
    }

    /// What has to be waited for until [`Self::carry`] can do something.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (BorrowedFd<'_>, For)> {
        let keys = self.keys.awaited(self.input.as_fd(), self.master.as_fd());
        let shown = self.shown.awaited(self.master.as_fd(), self.output.as_fd());
        keys.into_iter().chain(shown)
    }

    /// Carries what can be carried without waiting.
    pub(super) fn carry(&mut self) -> ucr_sys::Result<()> {
        let Self {
            master,
            input,
            output,
            keys,
            shown,
            ..
        } = self;
        keys.step(input.as_fd(), master.as_fd())?;
        shown.step(master.as_fd(), output.as_fd())
    }

    /// Makes the terminal as large as the caller's is now.
    pub(super) fn resize(&self) -> ucr_sys::Result<()> {
        match terminal::standard_size() {
            Some(size) => terminal::set_size(self.master.as_fd(), size),
            None => Ok(()),
        }
    }

    /// Shows what is left to be shown as far as that can be written now; what has to be written to
    /// first, if anything is left.
    ///
    /// For when the task is over. Others may hold its terminal still; what they write is not waited
    /// for.
    pub(super) fn show_rest(&mut self) -> Option<BorrowedFd<'_>> {
        while self.shown.open {
            if self.shown.filled.is_empty() && !self.shown.read(self.master.as_fd()) {
                return None;
            }
            if !self.shown.filled.is_empty() {
                self.shown.write(self.output.as_fd());
            }
            if !self.shown.filled.is_empty() {
                return self.shown.open.then_some(self.output.as_fd());
            }
        }
        None
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> ucr_sys::Result<OwnedFd> {
    fd.try_clone_to_owned()
        .map_err(|error| ucr_sys::Error::from_io("fcntl", "F_DUPFD_CLOEXEC", &error))
}

impl Flow {
    fn new() -> Self {
        Self {
            buffer: vec![0; SIZE],
            filled: 0..0,
            open: true,
        }
    }

    fn awaited<'a>(
        &self,
        from: BorrowedFd<'a>,
        to: BorrowedFd<'a>,
    ) -> Option<(BorrowedFd<'a>, For)> {
        match (self.open, self.filled.is_empty()) {
            (false, _) => None,
            (true, true) => Some((from, For::Reading)),
            (true, false) => Some((to, For::Writing)),
        }
    }

    /// Reads if there is nothing to be written, and writes what there is, where neither waits.
    fn step(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> ucr_sys::Result<()> {
        for _ in 0..2 {
            let Some(awaited) = self.awaited(from, to) else {
                return Ok(());
            };
            if ready::wait_any(&[awaited], Some(Instant::now()))? != [true] {
                return Ok(());
            }
            match awaited.1 {
                For::Reading => drop(self.read(from)),
                For::Writing => self.write(to),
            }
        }
        Ok(())
    }

    /// Whether something was read; at the end nothing more will be.
    fn read(&mut self, from: BorrowedFd<'_>) -> bool {
        match descriptors::read(from, &mut self.buffer) {
            Ok(0) => self.open = false,
            Ok(length) => self.filled = 0..length,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: the other side of the terminal is closed, or the caller's is gone.
            Err(_) => self.open = false,
        }
        !self.filled.is_empty()
    }

    fn write(&mut self, to: BorrowedFd<'_>) {
        match descriptors::write(to, &self.buffer[self.filled.clone()]) {
            Ok(length) => self.filled.start += length,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody looks any more. What comes is read all the same: the task shall not wait for it.
            Err(_) => self.filled = 0..0,
        }
    }
}
