//! What a person reads when a command fails, and the exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::report::Failure;
use crate::ui::Ui;

/// Characters of a message that are shown.
const LONGEST: usize = 4000;

/// A failed command: the cause with its chain, what to try, and the exit code.
#[derive(Debug)]
pub struct CommandError {
    cause: Box<dyn Error + Send + Sync>,
    notes: Vec<String>,
    hints: Vec<String>,
    code: u8,
    failure: Box<Failure>,
}

/// What was found out about a failure: facts, and what to try.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Facts.
    pub notes: Vec<String>,
    /// What to try, best first.
    pub hints: Vec<String>,
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
    pub fn new(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Box::new(cause),
            notes: Vec::new(),
            hints: Vec::new(),
            code: 1,
            failure: Box::new(Failure::SETUP),
        }
    }

    /// A failure that one sentence tells, exit code 1.
    pub fn sentence(text: impl Into<String>) -> Self {
        Self::new(Sentence(text.into()))
    }

    /// Adds what else is known about it.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds something to try.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Adds something to try, where there is something.
    pub fn hints(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.hints.extend(texts.into_iter().map(Into::into));
        self
    }

    /// Adds what was found out about it.
    pub fn advised(mut self, advice: Advice) -> Self {
        self.notes.extend(advice.notes);
        self.hints.extend(advice.hints);
        self
    }

    /// Sets the exit code.
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Sets what a program is told of it.
    pub fn told_as(mut self, failure: impl Into<Failure>) -> Self {
        self.failure = Box::new(failure.into());
        self
    }

    /// What a program is told of it.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Says what failed and what to try; returns the exit code.
    pub fn report(&self, ui: &Ui) -> ExitCode {
        ui.say(&format!("ucr: {}", self.message()));
        for note in &self.notes {
            ui.say(&format!("  note: {}", printable(note)));
        }
        for hint in &self.hints {
            ui.say(&format!("  try: {}", printable(hint)));
        }
        ExitCode::from(self.code)
    }

    /// What else there is to say: notes, then what to try, each with a word for which it is.
    pub fn details(&self) -> impl Iterator<Item = (&'static str, String)> {
        let notes = self.notes.iter().map(|note| ("note", printable(note)));
        notes.chain(self.hints.iter().map(|hint| ("try", printable(hint))))
    }

    /// The whole chain of causes in one line, none of them twice.
    pub fn message(&self) -> String {
        explained(&*self.cause)
    }
}

/// An error with the whole chain of its causes in one line, none of them twice, fit for a terminal.
pub fn explained(error: &(dyn Error + 'static)) -> String {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = error.source();
    }
    printable(&parts.join(": "))
}

/// Text fit for a terminal, whoever wrote it: no control characters, and an end.
///
/// A registry's or an image's own words may be in it: escape sequences would
/// act on the reader's terminal, a line end would forge a line of ours.
pub fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
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
    fn s18_nobody_elses_words_act_on_the_terminal() {
        let error = CommandError::sentence("only for \u{1b}]0;OWNED\u{7}\nucr: all is well");
        let expected = "only for \\u{1b}]0;OWNED\\u{7}\\nucr: all is well";
        assert_eq!(error.message(), expected);
        let long = CommandError::sentence("ä".repeat(100_000)).message();
        assert_eq!(long.chars().count(), LONGEST + 1);
    }

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
