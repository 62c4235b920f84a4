//! The SHA-256 fingerprint of a certificate, its name everywhere in `ucr`.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// Shorter prefixes match by accident too easily to remove anything by.
const SHORTEST_PREFIX: usize = 4;
const HEX_DIGITS: usize = 64;

/// The SHA-256 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of DER bytes.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Writes all 64 hex digits, in lower case.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Writes the first 12 hex digits, enough for a person to tell certificates apart.
    pub fn short(self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Reads 64 hex digits in any of the ways a [`FingerprintPrefix`] is written.
    fn from_str(text: &str) -> Result<Self, Error> {
        let prefix: FingerprintPrefix = text.parse()?;
        let mut bytes = [0; 32];
        match hex::decode_to_slice(&prefix.0, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_too_short) => Err(Error::ShortFingerprint {
                text: text.to_owned(),
            }),
        }
    }
}

/// The beginning of a fingerprint, as a person types it.
///
/// Accepted with or without `sha256:`, in either case, with or without colons
/// (as `openssl x509 -fingerprint` prints it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintPrefix(String);

impl FingerprintPrefix {
    /// Whether `fingerprint` begins with this.
    pub fn matches(&self, fingerprint: Fingerprint) -> bool {
        fingerprint.to_hex().starts_with(&self.0)
    }
}

impl fmt::Display for FingerprintPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FingerprintPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // openssl writes "sha256 Fingerprint=47:74:…".
        let (_, value) = text.rsplit_once('=').unwrap_or(("", text));
        let lower = value.trim().to_ascii_lowercase();
        let digits: String = lower
            .strip_prefix("sha256:")
            .unwrap_or(&lower)
            .split(':')
            .collect();
        let plausible = (SHORTEST_PREFIX..=HEX_DIGITS).contains(&digits.len());
        if plausible && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err(Error::InvalidFingerprint {
                text: text.to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_as_people_copy_it() {
        let fingerprint = Fingerprint::of(b"");
        for text in [
            "e3b0c442",
            "sha256:e3b0c442",
            "E3:B0:C4:42",
            " sha256:E3B0C442\n",
            "sha256 Fingerprint=E3:B0:C4:42",
        ] {
            let prefix: FingerprintPrefix = text.parse().unwrap();
            assert!(prefix.matches(fingerprint), "{text}");
        }
    }

    #[test]
    fn what_is_too_short_too_long_or_not_hex_is_refused() {
        for text in [
            "",
            "abc",
            "xyz12345",
            "sha256:",
            "../../etc",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<FingerprintPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_whole_fingerprint_survives_being_written_and_read() {
        let fingerprint = Fingerprint::of(b"x");
        assert_eq!(
            fingerprint.to_hex().parse::<Fingerprint>().unwrap(),
            fingerprint
        );
        assert!(fingerprint.short().parse::<Fingerprint>().is_err());
    }
}
