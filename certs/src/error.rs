//! What can go wrong with certificates and the files that hold them.

use std::path::PathBuf;

use crate::cafile::CafileOrigin;
use crate::fingerprint::Fingerprint;
use crate::pem::PemFlaw;
use crate::pkcs7::Pkcs7Flaw;
use crate::registry_dir::ClientFlaw;
use crate::x509::{DerFlaw, Note};

/// A failure to read, add, remove or merge certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
    /// Where a file should be is a directory, a device or a pipe.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than any set of certificates.
    #[error("{file} is larger than {limit} bytes: not a file of certificates")]
    TooLarge {
        /// The name of the file.
        file: String,
        /// How much would have been read.
        limit: u64,
    },
    /// The certificates directory could not be changed.
    #[error("cannot change the certificates in {}", directory.display())]
    Write {
        /// The directory of the trust store.
        directory: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
    /// The file holds a private key, which no trust store needs.
    #[error(
        "{file} holds a private key: keep it secret and give the file that holds only the certificate"
    )]
    PrivateKey {
        /// The name of the file.
        file: String,
    },
    /// The file is of a known kind that is not read.
    #[error("{file} comes as {format}; {}", format.advice())]
    Foreign {
        /// The name of the file.
        file: String,
        /// What it is instead.
        format: Foreign,
    },
    /// The file holds nothing that could be a certificate.
    #[error("{file} holds no certificate{}", only(found))]
    NoCertificate {
        /// The name of the file.
        file: String,
        /// Labels of the PEM blocks that it does hold.
        found: Vec<String>,
    },
    /// A PEM block is damaged.
    #[error("{file}: PEM block {block} (line {line}) is damaged")]
    DamagedBlock {
        /// The name of the file.
        file: String,
        /// Which block, counted from 1.
        block: usize,
        /// The line where the block begins, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: PemFlaw,
    },
    /// A PEM block decodes, but to something else than a certificate.
    #[error("{file}: PEM block {block} (line {line}) is not a certificate")]
    NotACertificate {
        /// The name of the file.
        file: String,
        /// Which block, counted from 1.
        block: usize,
        /// The line where the block begins, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: DerFlaw,
    },
    /// A DER file is not a certificate.
    #[error("{file} looks like DER but is not a certificate")]
    DamagedDer {
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        source: DerFlaw,
    },
    /// A PKCS#7 file or block cannot be read.
    #[error("{file} comes as PKCS#7 but is damaged")]
    DamagedPkcs7 {
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        source: Box<Pkcs7Flaw>,
    },
    /// OpenSSL's trust settings exclude a certificate from what it is to be added for.
    #[error(
        "{file}: {subject} is marked as not to be trusted for TLS servers \
         (openssl x509 -addreject or -addtrust): not added"
    )]
    Distrusted {
        /// The name of the file.
        file: String,
        /// The certificate.
        subject: String,
    },
    /// A file of the trust store holds another certificate than its name says.
    #[error("{} does not hold the certificate it is named after", path.display())]
    WrongName {
        /// The file.
        path: PathBuf,
    },
    /// The CAfile that somebody named does not exist.
    #[error("the CAfile {} (from {origin}) does not exist", path.display())]
    CafileMissing {
        /// The path as it was named.
        path: PathBuf,
        /// Who named it.
        origin: CafileOrigin,
    },
    /// Neither a base CAfile nor an added certificate exists.
    #[error("no CAfile found (tried {}) and no certificate added", paths(tried))]
    NothingTrusted {
        /// The places that were looked at.
        tried: Vec<PathBuf>,
    },
    /// The text is not the beginning of a SHA-256 fingerprint.
    #[error("{text:?} is not a SHA-256 fingerprint or the beginning of one (4 to 64 hex digits)")]
    InvalidFingerprint {
        /// What was given.
        text: String,
    },
    /// The base CAfile cannot be used.
    #[error("cannot use the CAfile {} (from {origin})", path.display())]
    Base {
        /// Where it is.
        path: PathBuf,
        /// Who named it.
        origin: CafileOrigin,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A client certificate of a registry's directory is not used.
    #[error("the client certificate {} is not used: {flaw}", path.display())]
    ClientCertificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        flaw: ClientFlaw,
    },
    /// The text is only the beginning of a SHA-256 fingerprint, where all of it is wanted.
    #[error("{text:?} is the beginning of a SHA-256 fingerprint: all 64 digits are needed here")]
    ShortFingerprint {
        /// What was given.
        text: String,
    },
    /// The text is no name for a certificate.
    #[error(
        "{text:?} is no name for a certificate: up to 64 letters, digits, \"-\", \"_\" and \".\""
    )]
    InvalidName {
        /// What was given.
        text: String,
    },
    /// The text can be neither a fingerprint nor a name.
    #[error("{text:?} is neither a SHA-256 fingerprint (or its beginning) nor a name")]
    InvalidSelector {
        /// What was given.
        text: String,
    },
    /// No added certificate has such a fingerprint or name.
    #[error(
        "no certificate in {} has the name {selector} or a fingerprint that begins so",
        directory.display()
    )]
    UnknownSelector {
        /// What was looked for.
        selector: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// Several added certificates have such a fingerprint, or name and fingerprint.
    #[error("{selector} may be any of {}", shorts(matches))]
    AmbiguousSelector {
        /// What was looked for.
        selector: String,
        /// All that match.
        matches: Vec<Fingerprint>,
    },
    /// A certificate that is to be added is not valid now.
    #[error("{file}: not added: {subject}: {note}")]
    OutOfTime {
        /// The name of the file.
        file: String,
        /// The certificate.
        subject: String,
        /// Whether it is too old or too new, and since or until when.
        note: Note,
    },
}

/// Kinds of file that operators have in hand instead of a plain certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// PKCS#12, often `.p12` or `.pfx`.
    Pkcs12,
    /// Text in UTF-16, as some Windows editors save it.
    Utf16,
}

impl Foreign {
    fn advice(self) -> &'static str {
        match self {
            Self::Pkcs12 => "take them out with `openssl pkcs12 -in FILE -nokeys -out ca.pem`",
            Self::Utf16 => "save it as UTF-8 or ASCII",
        }
    }
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pkcs12 => "PKCS#12",
            Self::Utf16 => "UTF-16 text",
        })
    }
}

fn only(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!(", only {}", found.join(", "))
    }
}

fn shorts(matches: &[Fingerprint]) -> String {
    let shorts: Vec<String> = matches.iter().map(|one| one.short()).collect();
    shorts.join(", ")
}

fn paths(tried: &[PathBuf]) -> String {
    tried
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
