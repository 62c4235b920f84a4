//! Terminals: how they treat keys, and how large they are.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, isatty, tcgetattr,
    tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::error::{Context, Result};
use crate::{Error, at};

/// A terminal that treats keys differently until this is dropped.
#[derive(Debug)]
pub struct Altered<F: AsFd> {
    terminal: F,
    before: Termios,
    /// What becomes of what was typed and not read, each time.
    typed: OptionalActions,
}

impl<F: AsFd> Altered<F> {
    /// Shows nothing of what is typed; what was typed before and not read is forgotten.
    ///
    /// Keys that would send a signal or edit the line come through as bytes (termios(3)): a
    /// process that a signal ends could not give the terminal back.
    ///
    /// # Errors
    /// When it is no terminal.
    pub fn without_echo(terminal: F) -> Result<Self> {
        Self::new(terminal, OptionalActions::Flush, |modes| {
            modes.local_modes.remove(
                LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG,
            );
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        })
    }

    /// Hands each byte over as it comes, in both directions, cfmakeraw(3): another terminal
    /// treats them.
    ///
    /// # Errors
    /// When it is no terminal.
    pub fn raw(terminal: F) -> Result<Self> {
        Self::new(terminal, OptionalActions::Drain, Termios::make_raw)
    }

    fn new(terminal: F, typed: OptionalActions, alter: impl FnOnce(&mut Termios)) -> Result<Self> {
        let shown = at::described(terminal.as_fd());
        let before =
            tcgetattr(&terminal).map_err(|errno| Error::new("tcgetattr", shown.clone(), errno))?;
        let mut altered = before.clone();
        alter(&mut altered);
        tcsetattr(&terminal, typed, &altered)
            .map_err(|errno| Error::new("tcsetattr", shown, errno))?;
        Ok(Self {
            terminal,
            before,
            typed,
        })
    }
}

impl<F: AsFd> Drop for Altered<F> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(&self.terminal, self.typed, &self.before);
    }
}

/// Stands still as long as `fd` is the terminal of a shell that has others in front of it, and goes
/// on when it is this process's turn.
///
/// The kernel sees to that, as for everybody who changes a terminal (`SIGTTOU`, termios(3)). What
/// is no terminal is nobody's, and an orphan, whom no shell would wake, is let through.
pub fn wait_for_turn(fd: BorrowedFd<'_>) {
    if let Ok(modes) = tcgetattr(fd) {
        // To what they are.
        let _ = tcsetattr(fd, OptionalActions::Now, &modes);
    }
}

/// How many characters a terminal shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The size of the first terminal among standard input, output and error; none without one.
pub fn standard_size() -> Option<Size> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut all = [input.as_fd(), output.as_fd(), error.as_fd()].into_iter();
    let size = all.find_map(|fd| tcgetwinsize(fd).ok())?;
    Some(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Sets the size; the kernel tells those in its foreground by `SIGWINCH`, ioctl_tty(2).
///
/// # Errors
///
/// Any failure of `ioctl`.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).context("ioctl", || "TIOCSWINSZ".into())
}

/// Opens the terminal that `fd` is open on anew, for writes that do not wait; none if it is no
/// terminal.
///
/// Not a flag on `fd`: that would be set for everybody who has it, the caller's shell too.
pub fn reopen_for_writing(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    if !isatty(fd) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(Path::new(&path), flags, Mode::empty()).ok()
}

/// Makes standard input the controlling terminal of this process's session, ioctl_tty(2).
///
/// # Errors
///
/// Any failure of `ioctl`: `EPERM` when this process leads no session.
pub fn control_by_input() -> Result<()> {
    rustix::process::ioctl_tiocsctty(std::io::stdin()).context("ioctl", || "0, TIOCSCTTY".into())
}
