//! Questions to the person at the terminal, whatever standard input and output are.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};

use ucr::command_error::CommandError;
use ucr_images::Secret;
use ucr_sys::terminal::Altered;

/// The terminal that controls this process (tty(4)).
const TERMINAL: &str = "/dev/tty";
/// The most that is taken as an answer.
const LONGEST: usize = 64 * 1024;

/// What the keys that edit a line send, where the terminal leaves that to us (termios(3)).
const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];
const ERASE_LINE: u8 = 0x15;

/// Asks for a line.
///
/// # Errors
/// When there is no terminal, or no answer.
pub(crate) fn line(question: &str) -> Result<String, CommandError> {
    let mut terminal = open()?;
    write!(terminal, "{question}")?;
    let mut answer = String::new();
    BufReader::new(terminal.take(LONGEST as u64)).read_line(&mut answer)?;
    match answer.trim() {
        "" => Err(CommandError::sentence("there was no answer")),
        answer => Ok(answer.to_owned()),
    }
}

/// Asks for a line that is not shown.
///
/// # Errors
/// When there is no terminal, or no answer.
pub(crate) fn secret(question: &str) -> Result<Secret, CommandError> {
    let mut terminal = open()?;
    let silent = Altered::without_echo(terminal.try_clone()?).map_err(CommandError::new)?;
    write!(terminal, "{question}")?;
    let answer = read_secret(&terminal);
    drop(silent);
    // The line end that was typed was not shown either.
    writeln!(terminal)?;
    let answer = answer?.ok_or_else(|| CommandError::sentence("there was no answer"))?;
    let secret = String::from_utf8(answer);
    let secret = secret.map_err(|_bytes| CommandError::sentence("the answer is not UTF-8"))?;
    Ok(Secret::new(secret))
}

fn open() -> Result<File, CommandError> {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL);
    terminal.map_err(|_none| CommandError::sentence("there is no terminal to ask at"))
}

/// Takes key after key up to the line's end; `None` when it was given up.
fn read_secret(keys: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut answer = Vec::new();
    for key in BufReader::new(keys).bytes() {
        match key? {
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Ok(None),
            ERASE_LINE => answer.clear(),
            key if BACKSPACE.contains(&key) => drop_character(&mut answer),
            _ if answer.len() == LONGEST => return Ok(None),
            key => answer.push(key),
        }
    }
    Ok(Some(answer).filter(|answer| !answer.is_empty()))
}

/// All bytes of the last character (RFC 3629, section 3).
fn drop_character(answer: &mut Vec<u8>) {
    while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_edit_a_line_do_so_unseen() {
        let read = |keys: &str| {
            let answer = read_secret(keys.as_bytes()).unwrap();
            answer.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for (keys, expected) in [
            ("secret\n", Some("secret")),
            ("secret\rmore", Some("secret")),
            ("wrong\u{15}right\n", Some("right")),
            ("ab\u{7f}c\n", Some("ac")),
            ("aß\u{8}b\n", Some("ab")),
            ("\u{7f}\u{7f}a\u{4}", Some("a")),
            ("secret\u{3}\n", None),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(read(keys).as_deref(), expected, "{keys:?}");
        }
    }
}
