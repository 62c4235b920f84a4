//! What leaves for another program: the text of certificates, and a file of
//! somebody else's that is written whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::crt::Certificate;
use crate::files::outside::{Found, Place};

/// Bytes of somebody's text in a comment; the words before it are ours and short.
const LONGEST_COMMENT: usize = 160;

/// A failure to write a file that is not of the trust store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The path leads to something that a file cannot take the place of.
    #[error("{} is no regular file, and is not replaced by one", path.display())]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file could not be written; an older one is as it was.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path as it was given.
        path: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
}

/// Writes a file whole, over an older one, whose mode and owner it keeps; else with mode 0644.
///
/// A symbolic link is followed, and what it leads to is replaced. A reader, and
/// whoever looks after a crash, finds the old bytes or the new ones.
///
/// # Errors
///
/// [`OutputError::NotAFile`] for a directory, a device or a pipe, and
/// [`OutputError::Write`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let failed = |source| OutputError::Write {
        path: path.to_owned(),
        source,
    };
    if Found::at(path).map_err(failed)? == Found::Other {
        return Err(OutputError::NotAFile {
            path: path.to_owned(),
        });
    }
    let place = Place::of(path).map_err(failed)?;
    place.replace(bytes).map_err(failed)
}

/// Writes certificates as PEM, each after a comment line with its subject.
///
/// The text is ASCII: `certifi.contents()` of Python reads a CAfile as that.
pub fn annotated_pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Vec<u8> {
    let mut text = Vec::new();
    for certificate in certificates {
        let subject = comment_text(&certificate.facts().subject);
        text.extend_from_slice(format!("# subject: {subject}\n").as_bytes());
        text.extend(certificate.to_pem());
    }
    text
}

/// Each certificate once, in order.
pub(crate) fn unique(certificates: &[Certificate]) -> Vec<&Certificate> {
    let mut seen = HashSet::new();
    let mut unique: Vec<&Certificate> = certificates.iter().collect();
    unique.retain(|one| seen.insert(one.fingerprint()));
    unique
}

/// Text for a comment line of a file of certificates: ASCII, as some programs read a bundle,
/// and short, since to OpenSSL a line ends after 254 bytes (`LINESIZE` in crypto/pem/pem_lib.c)
/// and what follows could begin a block.
pub fn comment_text(text: &str) -> String {
    let mut comment = String::new();
    for character in text.chars().take(LONGEST_COMMENT) {
        if character == ' ' || character.is_ascii_graphic() {
            comment.push(character);
        } else {
            comment.extend(character.escape_unicode());
        }
    }
    comment.truncate(LONGEST_COMMENT);
    comment
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::testing::Workshop;

    #[test]
    fn a_file_is_made_for_everybody_to_read_or_keeps_its_mode() {
        let workshop = Workshop::new();
        let path = workshop.path("out.pem");
        let mode = || path.metadata().unwrap().mode() & 0o7777;
        write_file(&path, b"one").unwrap();
        assert_eq!(mode(), 0o644);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!((mode(), workshop.read("out.pem")), (0o600, b"two".to_vec()));
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced_or_made() {
        let workshop = Workshop::new();
        let link = workshop.path("link");
        symlink("target", &link).unwrap();
        for content in [b"one", b"two"] {
            write_file(&link, content).unwrap();
            assert!(link.is_symlink());
            assert_eq!(workshop.read("target"), content);
        }
    }

    #[test]
    fn a_device_or_directory_is_not_replaced() {
        let workshop = Workshop::new();
        for path in [Path::new("/dev/null"), &workshop.path("")] {
            let error = write_file(path, b"x").unwrap_err();
            assert!(matches!(error, OutputError::NotAFile { .. }), "{error}");
        }
        let error = write_file(&workshop.path("no/out.pem"), b"x").unwrap_err();
        assert!(matches!(error, OutputError::Write { .. }), "{error}");
    }

    #[test]
    fn a_subject_is_one_line_of_ascii() {
        let workshop = Workshop::new();
        workshop.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8 -keyout k \
             -out ca.pem -subj /CN=Zürich\n-----BEGIN",
        );
        let certificates = workshop.input("ca.pem").certificates().unwrap();
        let text = String::from_utf8(annotated_pem(&certificates)).unwrap();
        let expected = "# subject: CN=Z\\u{fc}rich\\n-----BEGIN\n-----BEGIN CERTIFICATE-----\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.is_ascii());
    }

    #[test]
    fn p17_a_long_subject_begins_no_block_where_openssl_cuts_the_line() {
        let workshop = Workshop::new();
        // What could begin a block is moved over every offset around OpenSSL's limit.
        for last in 1..40 {
            let units = format!(
                "/OU={0}/OU={0}/OU={0}/OU={1}",
                "a".repeat(60),
                "b".repeat(last)
            );
            workshop.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout k \
                 -out ca.pem -subj {units}/CN=-----BEGIN+CERTIFICATE-----"
            ));
            let found = workshop.input("ca.pem").certificates().unwrap();
            assert!(comment_text(&found[0].facts().subject).len() <= LONGEST_COMMENT);
            let written = annotated_pem(&found);
            let read = openssl::x509::X509::stack_from_pem(&written).unwrap();
            assert_eq!(read.len(), 1, "{last}");
        }
    }
}
