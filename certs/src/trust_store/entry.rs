//! One added certificate, as its file in the trust store holds it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::crt::Certificate;
use crate::error::Error;
use crate::host::HostPort;
use crate::output::comment_text;
use crate::x509::{Timestamp, printable};

/// The longest name of a certificate, in characters.
const LONGEST_NAME: usize = 64;

/// For which registries an added certificate counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// For every registry.
    AllRegistries,
    /// For this one alone.
    Registry(HostPort),
}

impl Scope {
    /// Whether a certificate of this scope counts for `host`.
    pub fn covers(&self, host: &HostPort) -> bool {
        match self {
            Self::AllRegistries => true,
            Self::Registry(registry) => registry == host,
        }
    }

    /// The registry, if it is a single one.
    pub fn registry(&self) -> Option<&HostPort> {
        match self {
            Self::AllRegistries => None,
            Self::Registry(registry) => Some(registry),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllRegistries => f.write_str("all registries"),
            Self::Registry(registry) => registry.fmt(f),
        }
    }
}

/// What an operator calls a certificate: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertName(String);

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CertName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if begins && text.len() <= LONGEST_NAME && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::InvalidName {
                text: text.to_owned(),
            })
        }
    }
}

/// One added certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The certificate.
    pub certificate: Certificate,
    /// For which registries it counts.
    pub scope: Scope,
    /// The file that holds it.
    pub path: PathBuf,
    /// Who added it, when and from where.
    pub provenance: Provenance,
}

/// Who added a certificate, when and from where, as far as its file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// What it is called.
    pub name: Option<CertName>,
    /// When it was added, as RFC 3339.
    pub added: Option<String>,
    /// Who added it.
    pub by: Option<String>,
    /// The file or the server that it came from.
    pub from: Option<String>,
}

impl Provenance {
    /// Reads the comment lines that [`annotated`] writes; what somebody wrote into them
    /// since is made printable.
    pub(super) fn read(text: &[u8]) -> Self {
        let mut provenance = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            let Some((key, value)) = line.strip_prefix("# ").and_then(|it| it.split_once(": "))
            else {
                continue;
            };
            match key {
                "name" => provenance.name = value.parse().ok(),
                "added" => provenance.added = Some(printable(value)),
                "by" => provenance.by = Some(printable(value)),
                "from" => provenance.from = Some(printable(value)),
                _ => {}
            }
        }
        provenance
    }

    pub(super) fn new(
        name: Option<&CertName>,
        by: Option<&str>,
        from: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            name: name.cloned(),
            added: Some(now.to_string()),
            by: by.map(printable),
            from: Some(printable(from)),
        }
    }
}

/// The certificate as PEM after comments for whoever opens the file.
///
/// No line of a comment can end early: subject and provenance are printable.
pub(super) fn annotated(certificate: &Certificate, provenance: &Provenance) -> Vec<u8> {
    let lines = [
        ("subject", Some(certificate.facts().subject.clone())),
        ("name", provenance.name.as_ref().map(ToString::to_string)),
        ("added", provenance.added.clone()),
        ("by", provenance.by.clone()),
        ("from", provenance.from.clone()),
    ];
    let mut text = String::new();
    for (key, value) in lines {
        if let Some(value) = value {
            text.push_str(&format!("# {key}: {}\n", comment_text(&value)));
        }
    }
    let mut bytes = text.into_bytes();
    bytes.extend(certificate.to_pem());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_somebody_edited_are_printable() {
        let provenance = Provenance::read(b"# by: \x1b[31mroot\r\n# from: a\xe2\x80\xaeb\n");
        assert_eq!(provenance.by.unwrap(), "\\u{1b}[31mroot");
        assert_eq!(provenance.from.unwrap(), "a\\u{202e}b");
    }

    #[test]
    fn a_name_is_one_plain_word() {
        assert!("corp-root_2026.a".parse::<CertName>().is_ok());
        let long = "a".repeat(65);
        for text in ["", "-a", ".a", "a b", "a/b", "a\nb", "ä", &long] {
            assert!(text.parse::<CertName>().is_err(), "{text:?}");
        }
    }
}
