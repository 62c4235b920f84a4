//! How a person points at an added certificate: by fingerprint or by name.

use std::fmt;
use std::str::FromStr;

use super::entry::{CertName, Entry};
use crate::error::Error;
use crate::fingerprint::{Fingerprint, FingerprintPrefix};

/// A fingerprint, the beginning of one, or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    prefix: Option<FingerprintPrefix>,
    name: Option<CertName>,
}

impl Selector {
    /// Whether it is the beginning of this fingerprint.
    pub fn points_at(&self, fingerprint: Fingerprint) -> bool {
        let prefix = self.prefix.as_ref();
        prefix.is_some_and(|prefix| prefix.matches(fingerprint))
    }

    /// Whether it is the name of this entry.
    pub fn names(&self, entry: &Entry) -> bool {
        self.name.is_some() && self.name == entry.provenance.name
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let prefix = text.parse::<FingerprintPrefix>().ok();
        let name = text.parse::<CertName>().ok();
        if prefix.is_none() && name.is_none() {
            return Err(Error::InvalidSelector {
                text: text.to_owned(),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            prefix,
            name,
        })
    }
}
