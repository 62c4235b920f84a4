//! The text of a CAfile with a block of ours in it.
//!
//! ```text
//! # BEGIN certificates added by ucr
//! # Replaced by `ucr certs install`, taken out by `ucr certs uninstall`.
//! # subject: …
//! -----BEGIN CERTIFICATE-----
//! …
//! # END certificates added by ucr
//! ```
//!
//! A file that did not end its last line gets a line end before the block; the
//! BEGIN marker says so, and taking the block out takes that back.

use crate::crt::Certificate;
use crate::output::annotated_pem;

const BEGIN: &[u8] = b"# BEGIN certificates added by ucr";
const END: &[u8] = b"# END certificates added by ucr";
/// What the BEGIN marker says of a line end that was missing.
const ENDED_LINE: &[u8] = b", which ended the line before";
const COMMENT: &[u8] = b"# Replaced by `ucr certs install`, taken out by `ucr certs uninstall`.\n";

/// Why marker lines do not enclose one block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlawedMarkers {
    /// The file or the next block begins before this block ended.
    #[error("the BEGIN of line {line} has no END: restore the file, or remove that block by hand")]
    Unterminated {
        /// The line of the BEGIN marker, counted from 1.
        line: usize,
    },
    /// There is an END marker without a BEGIN marker.
    #[error("the END of line {line} has no BEGIN: restore the file, or remove that block by hand")]
    Unbegun {
        /// The line of the END marker, counted from 1.
        line: usize,
    },
    /// There is a second block.
    #[error("a second block begins in line {line}: remove one of them by hand")]
    Second {
        /// The line of its BEGIN marker, counted from 1.
        line: usize,
    },
}

/// Who ended the line before the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// It was ended, or there is none.
    TheirOwn,
    /// It was not, and we did.
    Ours,
}

/// A text as what stands before a block, the block with its markers, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout<'a> {
    before: &'a [u8],
    pub(super) block: Option<&'a [u8]>,
    after: &'a [u8],
    line_end: LineEnd,
}

impl<'a> Layout<'a> {
    /// Finds the block.
    pub(super) fn of(text: &'a [u8]) -> Result<Self, FlawedMarkers> {
        let mut open: Option<(usize, usize, LineEnd)> = None;
        let mut found: Option<Self> = None;
        let mut start = 0;
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let (number, end) = (index + 1, start + line.len());
            let marker = line.trim_ascii();
            if let Some(rest) = marker.strip_prefix(BEGIN) {
                if let Some((line, ..)) = open {
                    return Err(FlawedMarkers::Unterminated { line });
                }
                if found.is_some() {
                    return Err(FlawedMarkers::Second { line: number });
                }
                let ours = rest == ENDED_LINE;
                let line_end = if ours {
                    LineEnd::Ours
                } else {
                    LineEnd::TheirOwn
                };
                open = Some((number, start, line_end));
            } else if marker == END {
                let unbegun = FlawedMarkers::Unbegun { line: number };
                let (_, begin, line_end) = open.take().ok_or(unbegun)?;
                found = Some(Self {
                    before: &text[..begin],
                    block: Some(&text[begin..end]),
                    after: &text[end..],
                    line_end,
                });
            }
            start = end;
        }
        match open {
            Some((line, ..)) => Err(FlawedMarkers::Unterminated { line }),
            None => Ok(found.unwrap_or_else(|| Self::without(text))),
        }
    }

    fn without(text: &'a [u8]) -> Self {
        let is_ended = text.is_empty() || text.ends_with(b"\n");
        Self {
            before: text,
            block: None,
            after: b"",
            line_end: if is_ended {
                LineEnd::TheirOwn
            } else {
                LineEnd::Ours
            },
        }
    }

    /// The text without the block, as it was before there was one.
    pub(super) fn without_block(&self) -> Vec<u8> {
        let taken_back = match self.line_end {
            // What somebody appended since must not end up in that line.
            LineEnd::Ours if self.after.is_empty() => self.before.strip_suffix(b"\n"),
            _ => None,
        };
        [taken_back.unwrap_or(self.before), self.after].concat()
    }

    /// The text with nothing but line ends in place of the block, so that lines keep their numbers.
    pub(super) fn blanked(&self) -> Vec<u8> {
        let block = self.block.unwrap_or_default().iter();
        let line_ends: Vec<u8> = block.copied().filter(|&byte| byte == b'\n').collect();
        [self.before, &line_ends, self.after].concat()
    }
}

/// Writes the text with a block of these certificates, in the place of an older one or at the end.
pub(super) fn with_block(layout: &Layout<'_>, certificates: &[&Certificate]) -> Vec<u8> {
    let mut text = layout.before.to_vec();
    if layout.block.is_none() && layout.line_end == LineEnd::Ours {
        text.push(b'\n');
    }
    text.extend_from_slice(BEGIN);
    if layout.line_end == LineEnd::Ours {
        text.extend_from_slice(ENDED_LINE);
    }
    text.push(b'\n');
    text.extend_from_slice(COMMENT);
    text.extend(annotated_pem(certificates.iter().copied()));
    text.extend_from_slice(END);
    text.push(b'\n');
    text.extend_from_slice(layout.after);
    text
}
