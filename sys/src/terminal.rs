//! A terminal that hands over each key as it is struck, and shows none.

use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::{Error, Result, at};

/// A terminal that shows nothing of what is typed, until this is dropped.
///
/// Keys that would send a signal or edit the line come through as bytes (termios(3)): a
/// process that a signal ends could not give the terminal back.
#[derive(Debug)]
pub struct Unechoed<F: AsFd> {
    terminal: F,
    before: Termios,
}

impl<F: AsFd> Unechoed<F> {
    /// Silences a terminal; what was typed before and not read is forgotten.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(terminal: F) -> Result<Self> {
        let shown = at::described(terminal.as_fd());
        let before =
            tcgetattr(&terminal).map_err(|errno| Error::new("tcgetattr", shown.clone(), errno))?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)
            .map_err(|errno| Error::new("tcsetattr", shown, errno))?;
        Ok(Self { terminal, before })
    }
}

impl<F: AsFd> Drop for Unechoed<F> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
