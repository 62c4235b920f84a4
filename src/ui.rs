//! The only place that prints: data on stdout, talk on stderr.

use std::io::{self, IsTerminal, Write};

use crate::command_error::{CommandError, explained};

/// Standard output and standard error.
#[derive(Debug, Clone, Copy)]
pub struct Ui(());

impl Ui {
    /// Takes the process's own.
    #[expect(clippy::new_without_default, reason = "it is not made in passing")]
    pub fn new() -> Self {
        Self(())
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// When nobody takes it; a reader that has gone is no error.
    pub fn print(&self, line: &str) -> io::Result<()> {
        match writeln!(io::stdout().lock(), "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Prints data that is no line, such as a file.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn print_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Prints text that ends its own lines, such as help.
    pub fn print_block(&self, text: &str) {
        // Help for a reader that has gone is help for nobody.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    /// Says a line to the person.
    pub fn say(&self, line: &str) {
        // When stderr is gone there is nowhere left to say so.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Says something that the person is to go on writing behind.
    pub fn ask(&self, question: &str) {
        let _ = write!(io::stderr().lock(), "{question}");
    }

    /// Says what went wrong without stopping anything.
    pub(crate) fn say_ignored(&self, error: &CommandError) {
        self.say(&format!("ucr: {}, ignoring", error.message()));
    }

    /// Says what of the trusted certificates could not be used; each names its file.
    pub fn say_passed_over(&self, problems: &[impl std::error::Error + 'static]) {
        for problem in problems {
            self.say(&format!("ucr: {}, ignoring", explained(problem)));
        }
    }

    /// Says text that ends its own lines.
    pub fn say_block(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Whether a person reads standard output.
    pub fn is_read(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether a person watches standard error.
    pub fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }
}
