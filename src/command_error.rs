//! What a person reads when a command fails, and the exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::ui::Ui;

/// A failed command: the cause with its chain, what to try, and the exit code.
#[derive(Debug)]
pub(crate) struct CommandError {
    cause: Box<dyn Error + Send + Sync>,
    notes: Vec<String>,
    hints: Vec<String>,
    code: u8,
}

/// A failure that is told in one sentence.
#[derive(Debug)]
struct Sentence(String);

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Sentence {}

impl CommandError {
    /// A failure with a cause of its own, exit code 1.
    pub(crate) fn new(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Box::new(cause),
            notes: Vec::new(),
            hints: Vec::new(),
            code: 1,
        }
    }

    /// A failure that one sentence tells, exit code 1.
    pub(crate) fn sentence(text: impl Into<String>) -> Self {
        Self::new(Sentence(text.into()))
    }

    /// Adds what else is known about it.
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds something to try.
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Sets the exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says what failed and what to try; returns the exit code.
    pub(crate) fn report(&self, ui: &Ui) -> ExitCode {
        ui.say(&format!("ucr: {}", self.message()));
        for note in &self.notes {
            ui.say(&format!("  note: {note}"));
        }
        for hint in &self.hints {
            ui.say(&format!("  try: {hint}"));
        }
        ExitCode::from(self.code)
    }

    /// The whole chain of causes in one line, none of them twice.
    fn message(&self) -> String {
        let mut parts = vec![self.cause.to_string()];
        let mut next = self.cause.source();
        while let Some(error) = next {
            let text = error.to_string();
            if parts.last() != Some(&text) {
                parts.push(text);
            }
            next = error.source();
        }
        parts.join(": ")
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_line_without_repetition() {
        let lock = std::io::Error::other(std::io::Error::other("disk on fire"));
        assert_eq!(CommandError::new(lock).message(), "disk on fire");
        assert_eq!(
            CommandError::sentence("no root").code(125).message(),
            "no root"
        );
    }
}
