//! The facts of one certificate: what a person is told about it, and what it
//! is worth as a trust anchor.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::nom;
use x509_parser::nom::error::ErrorKind;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// Why bytes are not a certificate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DerFlaw {
    /// The bytes end before the certificate does.
    #[error("it is cut off")]
    Truncated,
    /// More bytes follow the certificate.
    #[error("{count} bytes follow the certificate")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The bytes do not have the structure of RFC 5280, section 4.1.
    #[error("it has not the structure of an X.509 certificate")]
    Malformed(#[source] X509Error),
    /// OpenSSL, which has to trust or present it, cannot read it.
    #[error("OpenSSL cannot read it ({reason})")]
    NotForOpenssl {
        /// OpenSSL's words.
        reason: String,
    },
}

impl DerFlaw {
    pub(crate) fn not_for_openssl(error: &openssl::error::ErrorStack) -> Self {
        // The last one is where it began; the others tell the way up.
        let reason = error.errors().first().and_then(|error| error.reason());
        Self::NotForOpenssl {
            reason: reason.unwrap_or("no reason given").to_owned(),
        }
    }

    fn from_nom(error: nom::Err<X509Error>) -> Self {
        match error {
            nom::Err::Incomplete(_)
            | nom::Err::Error(X509Error::NomError(ErrorKind::Eof))
            | nom::Err::Failure(X509Error::NomError(ErrorKind::Eof)) => Self::Truncated,
            nom::Err::Error(error) | nom::Err::Failure(error) => Self::Malformed(error),
        }
    }
}

/// A moment in seconds since 1970, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Takes seconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Gives seconds since 1970-01-01T00:00:00Z.
    pub fn as_unix(self) -> i64 {
        self.0
    }

    /// Counts whole days from `earlier` to this moment, rounded down.
    pub fn days_after(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(86_400)
    }

    /// Writes the day alone, as in `2026-11-22`.
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds =
            |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(seconds(after)),
            Err(before) => Self(-seconds(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formatted = OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match formatted {
            Some(text) => f.write_str(&text),
            None => write!(f, "@{}", self.0),
        }
    }
}

/// The version of a certificate's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Without extensions, so it cannot say whether it is a CA.
    V1,
    /// With unique identifiers; never seen in practice.
    V2,
    /// With extensions.
    V3,
}

/// What a certificate says about itself. All text is safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whom it names.
    pub subject: String,
    /// The last common name (CN) of its subject.
    pub common_name: Option<String>,
    /// Who signed it, by name.
    pub issuer: String,
    /// Its serial number in hex, with colons.
    pub serial: String,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
    /// The names and addresses of its subjectAltName: `DNS:x`, `IP:1.2.3.4`.
    pub alternative_names: Vec<String>,
    /// The version of its format.
    pub version: Version,
    /// What basicConstraints says about being a CA, if it is there.
    pub ca: Option<bool>,
    /// Whether keyUsage, if it is there, allows signing certificates.
    pub may_sign_certificates: bool,
    /// Whether extendedKeyUsage, if it is there, allows serving TLS.
    pub may_serve_tls: bool,
    /// Whether keyUsage is there.
    pub(crate) has_key_usage: bool,
    /// Whether subject and issuer are the same; the signature is not checked.
    pub is_self_issued: bool,
    /// The subject as it is compared, in DER.
    pub(crate) raw_subject: Vec<u8>,
    /// The issuer as it is compared, in DER.
    pub(crate) raw_issuer: Vec<u8>,
}

/// Something an operator should know about a certificate before relying on it.
///
/// What TLS libraries make of each was measured with libcurl and OpenSSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Its validity is over.
    Expired {
        /// When it ended.
        since: Timestamp,
    },
    /// Its validity has not begun, or the clock is wrong.
    NotYetValid {
        /// When it begins.
        until: Timestamp,
    },
    /// It is no CA: it vouches for the server that presents it and for no other.
    NotACa,
    /// It does not say whether it is a CA; used as one it is refused.
    NoBasicConstraints,
    /// It is a CA that may not sign certificates by its keyUsage; used as one it is refused.
    MayNotSign,
    /// It does not say whether it is a CA, only that it may sign certificates; used as a
    /// root it is accepted.
    KeyUsageAlone,
    /// It is of version 1, which cannot say what is a CA; used as a root it is accepted.
    Version1,
    /// It is an intermediate, not a root: OpenSSL trusts what it signed, rustls as well.
    Intermediate,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { since } => {
                write!(f, "expired on {since}: no connection will accept it")
            }
            Self::NotYetValid { until } => {
                write!(
                    f,
                    "not valid before {until}: is the clock of this machine right?"
                )
            }
            Self::NotACa => f.write_str(
                "not a CA: trusts the one server that presents it, nothing that it signed",
            ),
            Self::NoBasicConstraints => f.write_str(
                "does not say whether it is a CA (no basicConstraints): trusts the one server \
                 that presents it, and is refused as the signer of others",
            ),
            Self::MayNotSign => {
                f.write_str("a CA whose keyUsage lacks keyCertSign: what it signed will be refused")
            }
            Self::KeyUsageAlone => f.write_str(
                "does not say whether it is a CA (no basicConstraints), only that it may sign \
                 certificates: OpenSSL and rustls accept it as a root, stricter clients do not",
            ),
            Self::Version1 => f.write_str(
                "an X.509 v1 certificate, which cannot say whether it is a CA: OpenSSL and rustls \
                 accept it as a root, but not as an intermediate",
            ),
            Self::Intermediate => f.write_str(
                "an intermediate, not a root: trusts what it signed until the server changes its \
                 chain",
            ),
        }
    }
}

impl Facts {
    /// Reads the facts from DER bytes that hold exactly one certificate.
    ///
    /// # Errors
    ///
    /// [`DerFlaw`] when they hold anything else.
    pub fn read(der: &[u8]) -> Result<Self, DerFlaw> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(DerFlaw::from_nom)?;
        if rest.is_empty() {
            Ok(Self::of(&certificate))
        } else {
            Err(DerFlaw::TrailingBytes { count: rest.len() })
        }
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        let basic_constraints = certificate.basic_constraints().ok().flatten();
        let key_usage = certificate.key_usage().ok().flatten();
        let extended = certificate.extended_key_usage().ok().flatten();
        let validity = certificate.validity();
        Self {
            subject: printable(&certificate.subject().to_string()),
            common_name: common_name(certificate),
            issuer: printable(&certificate.issuer().to_string()),
            serial: certificate.raw_serial_as_string(),
            not_before: Timestamp(validity.not_before.timestamp()),
            not_after: Timestamp(validity.not_after.timestamp()),
            alternative_names: alternative_names(certificate),
            version: match certificate.version() {
                X509Version::V1 => Version::V1,
                X509Version::V2 => Version::V2,
                _ => Version::V3,
            },
            ca: basic_constraints.map(|constraints| constraints.value.ca),
            may_sign_certificates: key_usage
                .as_ref()
                .is_none_or(|usage| usage.value.key_cert_sign()),
            may_serve_tls: extended.is_none_or(|usage| usage.value.server_auth),
            has_key_usage: key_usage.is_some(),
            is_self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            raw_subject: certificate.subject().as_raw().to_owned(),
            raw_issuer: certificate.issuer().as_raw().to_owned(),
        }
    }

    /// Who signed it, by name: "itself" where that is the same name.
    pub fn issuer_or_itself(&self) -> &str {
        if self.is_self_issued {
            "itself"
        } else {
            &self.issuer
        }
    }

    /// Says what an operator should know before relying on this certificate.
    pub fn notes(&self, now: Timestamp) -> Vec<Note> {
        let mut notes = Vec::new();
        if now > self.not_after {
            notes.push(Note::Expired {
                since: self.not_after,
            });
        }
        if now < self.not_before {
            notes.push(Note::NotYetValid {
                until: self.not_before,
            });
        }
        match (self.version, self.ca) {
            (Version::V1, _) => notes.push(Note::Version1),
            (_, None) if self.has_key_usage && self.may_sign_certificates => {
                notes.push(Note::KeyUsageAlone);
            }
            (_, None) => notes.push(Note::NoBasicConstraints),
            (_, Some(false)) => notes.push(Note::NotACa),
            (_, Some(true)) if !self.may_sign_certificates => notes.push(Note::MayNotSign),
            (_, Some(true)) if !self.is_self_issued => notes.push(Note::Intermediate),
            (_, Some(true)) => {}
        }
        notes
    }
}

/// The last one is the most specific, and the one that libcurl compares.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().last()?;
    name.as_str().ok().map(printable)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .map(|name| printable(&alternative_name(name)))
        .collect()
}

fn alternative_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => format!("IP:{}", std::net::Ipv4Addr::new(a, b, c, d)),
            _ => match <[u8; 16]>::try_from(*bytes) {
                Ok(bytes) => format!("IP:{}", std::net::Ipv6Addr::from(bytes)),
                Err(_) => format!("IP:{}", hex::encode(bytes)),
            },
        },
        other => format!("{other:?}"),
    }
}

/// Makes text of strangers safe for terminals and for comments in our files.
///
/// A subject may hold newlines and escape sequences; written as they are, one
/// could smuggle a second PEM block into a file of the store.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control() || is_invisible(character);
            let plain = (!escaped).then_some(character);
            plain
                .into_iter()
                .chain(character.escape_default().filter(move |_| escaped))
        })
        .collect()
}

/// Characters that reorder or hide what follows them (Unicode TR 36, section 2.5).
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_unix(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_unix(i64::MAX).to_string(),
            format!("@{}", i64::MAX)
        );
        assert_eq!(
            Timestamp::from_unix(-1).days_after(Timestamp::from_unix(0)),
            -1
        );
    }

    #[test]
    fn text_of_strangers_cannot_break_a_line() {
        let hostile = "x\n-----BEGIN\u{1b}[31m\u{202e}é";
        assert_eq!(printable(hostile), "x\\n-----BEGIN\\u{1b}[31m\\u{202e}é");
    }

    #[test]
    fn garbage_is_not_a_certificate() {
        assert!(matches!(
            Facts::read(b"\x02\x01\x00"),
            Err(DerFlaw::Malformed(_))
        ));
        assert!(matches!(
            Facts::read(&[0x30, 0x82, 1, 0]),
            Err(DerFlaw::Truncated)
        ));
    }
}
