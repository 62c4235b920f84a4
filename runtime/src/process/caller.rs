//! Whoever waits for a task in a terminal or a script: their signals are passed on, and their
//! terminal shows the task's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use ucr_sys::process::{self, Child};
use ucr_sys::ready::{self, For};
use ucr_sys::signal::{self, Number, SignalFd};

use super::console::Console;

/// `SIGWINCH`, signal(7): the caller's terminal has another size.
const RESIZED: Number = 28;

/// Those that ask for an end: SIGHUP, SIGINT, SIGQUIT and SIGTERM, signal(7).
const ENDING: [Number; 4] = [1, 2, 3, 15];

/// Whether a signal is passed on to the task.
///
/// Not those about the supervisor's own children, pipes and terminal, and not
/// those that the kernel raises for a fault of the process itself.
pub fn is_forwarded(number: Number) -> bool {
    const OWN: [Number; 12] = {
        // SIGCHLD SIGPIPE SIGTSTP SIGTTIN SIGTTOU SIGURG, then SIGILL SIGTRAP
        // SIGBUS SIGFPE SIGSEGV SIGSYS, signal(7).
        [17, 13, 20, 21, 22, 23, 4, 5, 7, 8, 11, 31]
    };
    !OWN.contains(&number)
}

/// The caller's side of a task.
#[derive(Debug)]
pub struct Caller {
    signals: SignalFd,
    /// Signals that the caller wants ignored: not for the task either.
    ignored: signal::Set,
    console: Option<Console>,
}

impl Caller {
    /// Takes every signal that this process gets from now on.
    ///
    /// # Errors
    ///
    /// Any failure of `sigprocmask` or `signalfd`.
    pub fn new() -> ucr_sys::Result<Self> {
        Ok(Self {
            signals: SignalFd::for_all()?,
            ignored: signal::Set::ignored(),
            console: None,
        })
    }

    /// Shows the terminal whose other side is `master` until [`Self::leave_terminal`].
    ///
    /// # Errors
    ///
    /// Any failure of `ioctl` or `fcntl`.
    pub fn show_terminal(&mut self, master: Option<OwnedFd>) -> ucr_sys::Result<()> {
        self.console = master.map(Console::new).transpose()?;
        Ok(())
    }

    /// Shows what is left, and gives the caller's own terminal back.
    ///
    /// # Errors
    ///
    /// Any failure of `poll`.
    pub fn leave_terminal(&mut self) -> ucr_sys::Result<()> {
        let Some(mut console) = self.console.take() else {
            return Ok(());
        };
        while let Some(output) = console.show_rest() {
            let awaited = [(output, For::Writing), (self.signals.as_fd(), For::Reading)];
            ready::wait_any(&awaited, None)?;
            // Nobody may read it, ever.
            if self.is_asked_to_end()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether one of the signals that came asks to end.
    fn is_asked_to_end(&self) -> ucr_sys::Result<bool> {
        while let Some(number) = self.signals.next()? {
            if ENDING.contains(&number) && !self.ignored.contains(number) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until `fd` can be read; false if a signal asks to end before.
    pub(super) fn wait_unless_asked_to_end(&self, fd: BorrowedFd<'_>) -> ucr_sys::Result<bool> {
        loop {
            let [is_ready, _] = ready::wait_readable([fd, self.signals.as_fd()])?;
            if is_ready {
                return Ok(true);
            }
            if self.is_asked_to_end()? {
                return Ok(false);
            }
        }
    }

    /// Waits for something to happen: which of `fds` can be read now.
    ///
    /// Signals that came are passed on to `child`, and the terminal's bytes carried. It may also be
    /// `end`, or nothing at all.
    ///
    /// # Errors
    ///
    /// Any failure of `poll`, `read` or `pidfd_send_signal`.
    pub(super) fn wait_for<const N: usize>(
        &mut self,
        fds: [BorrowedFd<'_>; N],
        child: &Child,
        end: Option<Instant>,
    ) -> ucr_sys::Result<[bool; N]> {
        let own = fds.into_iter().chain([self.signals.as_fd()]);
        let own = own.map(|fd| (fd, For::Reading));
        let terminal = self.console.iter().flat_map(Console::awaited);
        let awaited: Vec<_> = own.chain(terminal).collect();
        let ready = ready::wait_any(&awaited, end)?;
        let mut ready = ready.into_iter();
        let are_ready = [(); N].map(|()| ready.next() == Some(true));
        if let Some(console) = &mut self.console {
            console.carry()?;
        }
        while let Some(number) = self.signals.next()? {
            match &self.console {
                // Its own foreground is told by the kernel.
                Some(console) if number == RESIZED => console.resize()?,
                _ if is_forwarded(number) && !self.ignored.contains(number) => {
                    process::send_signal(child.pidfd.as_fd(), number)?;
                }
                _ => {}
            }
        }
        Ok(are_ready)
    }

    /// Waits for `child` to end, whatever else happens.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn wait_for_end(&mut self, child: &Child) -> ucr_sys::Result<()> {
        while self.wait_for([child.pidfd.as_fd()], child, None)? != [true] {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_control_and_faults_are_the_supervisors_own() {
        assert!(
            [1, 2, 3, 10, 12, 14, 15, 18, 28, 34]
                .into_iter()
                .all(is_forwarded)
        );
        assert!(![17, 13, 20, 11].into_iter().any(is_forwarded));
    }
}
