//! What one connection trusts: the base CAfile and the added certificates,
//! merged, normalised and without doubles, and where each came from.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use crate::cafile::{BaseCafile, CafileOrigin};
use crate::crt::{Certificate, Input};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::pem;
use crate::trust_store::TrustStore;

/// One place that certificates came from, and how many it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSource {
    /// The CAfile, or the directory of added certificates.
    pub path: PathBuf,
    /// Who named the CAfile; `None` for the added certificates.
    pub origin: Option<CafileOrigin>,
    /// How many different certificates it held.
    pub certificates: usize,
    /// How many private keys it held, which is worth a warning.
    pub private_keys: usize,
}

impl fmt::Display for TrustSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.certificates == 1 { "" } else { "s" };
        write!(
            f,
            "{} ({} certificate{plural}, ",
            self.path.display(),
            self.certificates
        )?;
        match self.origin {
            Some(origin) => write!(f, "from {origin})"),
            None => f.write_str("added)"),
        }
    }
}

/// A certificate that is trusted, and the source it was first seen in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The certificate.
    pub certificate: Certificate,
    /// An index into [`TrustBundle::sources`].
    pub source: usize,
}

/// Everything that one connection trusts.
#[derive(Debug, Clone)]
pub struct TrustBundle {
    anchors: Vec<Anchor>,
    sources: Vec<TrustSource>,
}

impl TrustBundle {
    /// Reads the base and the added certificates and merges them.
    ///
    /// `tried` are the places where a base was looked for, to name them when
    /// there is nothing to trust at all.
    ///
    /// # Errors
    ///
    /// A damaged block in any file: the error names the file and the block.
    /// libcurl would refuse every connection for it, with code 77 and no name.
    pub fn load(
        base: Option<&BaseCafile>,
        store: &TrustStore,
        tried: &[impl AsRef<std::path::Path>],
    ) -> Result<Self, Error> {
        let mut merge = Merge::default();
        if let Some(base) = base {
            merge.base(base)?;
        }
        merge.added(store)?;
        if merge.anchors.is_empty() {
            let tried = tried.iter().map(|path| path.as_ref().to_owned()).collect();
            return Err(Error::NothingTrusted { tried });
        }
        Ok(Self {
            anchors: merge.anchors,
            sources: merge.sources,
        })
    }

    /// The certificates, each once, the base's first.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The places they came from, for messages.
    pub fn sources(&self) -> &[TrustSource] {
        &self.sources
    }

    /// Writes all certificates as clean PEM, for libcurl's `CURLOPT_CAINFO_BLOB`.
    pub fn to_pem(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for anchor in &self.anchors {
            pem::write_certificate(anchor.certificate.der(), &mut text);
        }
        text
    }
}

#[derive(Default)]
struct Merge {
    anchors: Vec<Anchor>,
    sources: Vec<TrustSource>,
    seen: HashSet<Fingerprint>,
}

impl Merge {
    fn base(&mut self, base: &BaseCafile) -> Result<(), Error> {
        let input = Input::read(&base.path)?;
        let contents = input.contents()?;
        if contents.certificates.is_empty() {
            return Err(Error::NoCertificate {
                file: input.name().to_owned(),
                found: vec!["private keys".to_owned()],
            });
        }
        let source = TrustSource {
            path: base.path.clone(),
            origin: Some(base.origin),
            certificates: 0,
            private_keys: contents.private_keys,
        };
        self.push(source, contents.certificates);
        Ok(())
    }

    fn added(&mut self, store: &TrustStore) -> Result<(), Error> {
        let listing = store.list()?;
        if let Some(damaged) = listing.damaged.into_iter().next() {
            return Err(damaged);
        }
        if listing.entries.is_empty() {
            return Ok(());
        }
        let source = TrustSource {
            path: store.directory().to_owned(),
            origin: None,
            certificates: 0,
            private_keys: 0,
        };
        self.push(
            source,
            listing.entries.into_iter().map(|entry| entry.certificate),
        );
        Ok(())
    }

    fn push(
        &mut self,
        mut source: TrustSource,
        certificates: impl IntoIterator<Item = Certificate>,
    ) {
        let index = self.sources.len();
        let mut own = HashSet::new();
        for certificate in certificates {
            own.insert(certificate.fingerprint());
            if self.seen.insert(certificate.fingerprint()) {
                self.anchors.push(Anchor {
                    certificate,
                    source: index,
                });
            }
        }
        source.certificates = own.len();
        self.sources.push(source);
    }
}

#[cfg(test)]
mod tests;
