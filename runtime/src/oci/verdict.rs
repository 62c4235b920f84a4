//! What `start` hears of the first process, by a FIFO that `execve` closes.
//!
//! The byte [`PROGRAM`] comes just before the program does. Whatever fails, before that or after,
//! is said by [`failed`]. Who is killed before says nothing at all.

use crate::failure::Failure;

/// The program is next.
pub(crate) const PROGRAM: u8 = b'p';
/// A failure follows.
const FAILED: u8 = b'f';

/// How a start came out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The program runs.
    Runs,
    /// It does not, and this is why.
    Failed(Box<Failure>),
    /// The first process ended without a word.
    Silence,
}

/// The bytes that tell of `failure`.
pub(crate) fn failed(failure: &Failure) -> Vec<u8> {
    // Numbers and bytes: there is nothing that could not be written down.
    let mut bytes = postcard::to_allocvec(failure).unwrap_or_default();
    bytes.insert(0, FAILED);
    bytes
}

/// Understands all that was said until the FIFO was closed.
pub(crate) fn read(said: &[u8]) -> Verdict {
    let (begun, rest) = match said {
        [PROGRAM, rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    match (rest, begun) {
        ([FAILED, failure @ ..], _) => match postcard::from_bytes(failure) {
            Ok(failure) => Verdict::Failed(Box::new(failure)),
            // Killed in the middle of it.
            Err(_) => Verdict::Silence,
        },
        (_, true) => Verdict::Runs,
        (_, false) => Verdict::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, Step};

    #[test]
    fn what_is_said_of_a_start_is_told_apart_from_silence() {
        let failure = Failure::new(Step::Execute, "x", Cause::Orphaned);
        let bytes = failed(&failure);
        assert_eq!(read(&[]), Verdict::Silence);
        assert_eq!(read(&[PROGRAM]), Verdict::Runs);
        assert_eq!(read(&bytes), Verdict::Failed(Box::new(failure.clone())));
        assert_eq!(read(&bytes[..2]), Verdict::Silence);
        let both = [&[PROGRAM], bytes.as_slice()].concat();
        assert_eq!(read(&both), Verdict::Failed(Box::new(failure)));
    }
}
