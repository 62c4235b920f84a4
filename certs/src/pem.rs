//! Text to PEM blocks and back.
//!
//! Finding the blocks is ours, because operators' files need more forgiveness
//! than RFC 7468 gives (CRLF, a byte order mark, indentation, text around) and
//! because an error has to say *which* block is damaged. Decoding the base64 of
//! one block is done by `rustls-pki-types`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// RFC 7468, section 2: generators wrap at exactly 64 characters.
const LINE_WIDTH: usize = 64;

/// What is wrong with the text of a PEM block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemFlaw {
    /// The file or the next block begins before this block ended.
    #[error("its END line is missing")]
    Unterminated,
    /// There is an END line without a BEGIN line.
    #[error("its BEGIN line is missing")]
    Unbegun,
    /// The END line names another kind of block than the BEGIN line.
    #[error("it begins as {begin} and ends as {end}")]
    Mismatched {
        /// The label of the BEGIN line.
        begin: String,
        /// The label of the END line.
        end: String,
    },
    /// Two boundary lines share one line, as `cat` makes of a file without final newline.
    #[error(
        "line {line} holds more than one BEGIN or END: two files were joined without a newline"
    )]
    Glued {
        /// The number of that line, counted from 1.
        line: usize,
    },
    /// The contents are not base64.
    #[error("its contents are not base64")]
    Base64,
}

/// One block between a BEGIN and an END line.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// Counted from 1, of all blocks of the text.
    pub(crate) number: usize,
    /// The line of its BEGIN, counted from 1.
    pub(crate) line: usize,
    /// What the BEGIN line says it is.
    pub(crate) label: &'a str,
    lines: Vec<&'a [u8]>,
}

/// A flaw, and the block it is in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FlawedBlock {
    pub(crate) number: usize,
    pub(crate) line: usize,
    pub(crate) flaw: PemFlaw,
}

impl Block<'_> {
    /// Decodes the contents. What they are, the caller knows by the label; the decoder is
    /// told that it is a certificate, since it wants to hear something.
    pub(crate) fn decode(&self) -> Result<CertificateDer<'static>, FlawedBlock> {
        let mut text = b"-----BEGIN CERTIFICATE-----\n".to_vec();
        for line in &self.lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(b"-----END CERTIFICATE-----\n");
        CertificateDer::from_pem_slice(&text).map_err(|_base64_error| self.flawed(PemFlaw::Base64))
    }

    fn flawed(&self, flaw: PemFlaw) -> FlawedBlock {
        FlawedBlock {
            number: self.number,
            line: self.line,
            flaw,
        }
    }
}

/// Whether the text has anything that looks like PEM.
///
/// DER is none, whatever the names in it hold: a subject may have lines of its own.
pub(crate) fn is_pem(text: &[u8]) -> bool {
    !is_der(text) && lines(text).any(|(_, line)| is_boundary_start(line))
}

/// Whether bytes begin as a SEQUENCE whose length has a byte of its own, as that of every
/// certificate has (X.690, section 8.1.3); such a byte is no text.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..])
}

/// Finds all blocks of a text, in order; the first damaged one is the error.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, FlawedBlock> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in lines(text) {
        match (boundary(line), open.take()) {
            (None, None) => {}
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (Some(Boundary::Begin(label)), None) => {
                let count = blocks.len() + 1;
                open = Some(Block {
                    number: count,
                    line: number,
                    label,
                    lines: Vec::new(),
                });
            }
            (Some(Boundary::End(label)), Some(block)) if label == block.label => blocks.push(block),
            (Some(boundary), open) => {
                return Err(misplaced(boundary, open, (blocks.len() + 1, number)));
            }
        }
    }
    match open {
        Some(block) => Err(block.flawed(PemFlaw::Unterminated)),
        None => Ok(blocks),
    }
}

/// Writes one certificate as PEM, as `openssl x509 -outform PEM` does.
pub(crate) fn write_certificate(der: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(LINE_WIDTH) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
}

#[derive(Debug)]
enum Boundary<'a> {
    Begin(&'a str),
    End(&'a str),
    /// Something that starts like a boundary and is none.
    Glued,
}

/// Explains a boundary line that may not stand where it does.
fn misplaced(
    boundary: Boundary<'_>,
    open: Option<Block<'_>>,
    (number, line): (usize, usize),
) -> FlawedBlock {
    match (boundary, open) {
        (Boundary::Glued, Some(block)) => block.flawed(PemFlaw::Glued { line }),
        (Boundary::Glued, None) => FlawedBlock {
            number,
            line,
            flaw: PemFlaw::Glued { line },
        },
        (Boundary::End(end), Some(block)) => {
            let begin = block.label.to_owned();
            block.flawed(PemFlaw::Mismatched {
                begin,
                end: end.to_owned(),
            })
        }
        (Boundary::Begin(_), Some(block)) => block.flawed(PemFlaw::Unterminated),
        (_, None) => FlawedBlock {
            number,
            line,
            flaw: PemFlaw::Unbegun,
        },
    }
}

fn boundary(line: &[u8]) -> Option<Boundary<'_>> {
    if !is_boundary_start(line) {
        return None;
    }
    let (rest, make): (_, fn(&str) -> Boundary<'_>) = match line.strip_prefix(BEGIN) {
        Some(rest) => (rest, |label| Boundary::Begin(label)),
        None => (line.strip_prefix(END)?, |label| Boundary::End(label)),
    };
    let label = rest
        .strip_suffix(DASHES)
        .and_then(|label| std::str::from_utf8(label).ok());
    Some(match label {
        Some(label) if !label.contains("---") => make(label),
        _ => Boundary::Glued,
    })
}

fn is_boundary_start(line: &[u8]) -> bool {
    line.starts_with(BEGIN) || line.starts_with(END)
}

/// The lines of a text with their numbers, without what surrounds them.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| {
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            (index + 1, line.trim_ascii())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    fn flaw(text: &str) -> FlawedBlock {
        match blocks(text.as_bytes()) {
            Err(flawed) => flawed,
            Ok(blocks) => blocks[0].decode().unwrap_err(),
        }
    }

    #[test]
    fn forgives_what_surrounds_a_block() {
        let indented = GOOD
            .replace("-----BEGIN", "   -----BEGIN")
            .replace("AAEC", "\tAAEC");
        let crlf = GOOD.replace('\n', "\r\n");
        let marked = format!("\u{feff}{GOOD}");
        let text_around = format!("Bag Attributes\n  x: y\n{GOOD}# see ----- above");
        for text in [&indented, &crlf, &marked, &text_around, GOOD.trim_end()] {
            let blocks = blocks(text.as_bytes()).unwrap();
            assert_eq!(blocks[0].decode().unwrap().as_ref(), [0, 1, 2], "{text}");
        }
    }

    #[test]
    fn p17_names_the_damaged_block_and_what_it_suffers_from() {
        let at = |number, line, flaw| FlawedBlock { number, line, flaw };
        let truncated = format!("{GOOD}-----BEGIN CERTIFICATE-----\nAAEC");
        assert_eq!(flaw(&truncated), at(2, 4, PemFlaw::Unterminated));

        let beheaded = format!("{GOOD}AAEC\n-----END CERTIFICATE-----\n");
        assert_eq!(flaw(&beheaded), at(2, 5, PemFlaw::Unbegun));

        let glued = format!("{}{GOOD}", GOOD.trim_end());
        assert_eq!(flaw(&glued), at(1, 1, PemFlaw::Glued { line: 3 }));

        let zeros = GOOD.replace("AAEC", "AA\0EC");
        assert_eq!(flaw(&zeros), at(1, 1, PemFlaw::Base64));

        let begin_twice = format!("-----BEGIN CERTIFICATE-----\nAAEC\n{GOOD}");
        assert_eq!(flaw(&begin_twice), at(1, 1, PemFlaw::Unterminated));

        let mismatched = GOOD.replace("END CERTIFICATE", "END X509 CRL");
        assert!(matches!(flaw(&mismatched).flaw, PemFlaw::Mismatched { .. }));
    }

    #[test]
    fn writes_lines_of_64_characters() {
        let mut out = Vec::new();
        write_certificate(&[0; 100], &mut out);
        let text = String::from_utf8(out).unwrap();
        let widths: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(widths, [27, 64, 64, 8, 25]);
        let blocks = blocks(text.as_bytes()).unwrap();
        assert_eq!(blocks[0].decode().unwrap().as_ref(), [0; 100]);
    }
}
