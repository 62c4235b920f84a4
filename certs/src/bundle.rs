//! What one connection trusts: certificates of several sources, merged,
//! normalised and without doubles, and where each came from.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use crate::cafile::CafileOrigin;
use crate::crt::Certificate;
use crate::fingerprint::Fingerprint;
use crate::pem;

/// One place that certificates come from, and how many it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSource {
    /// The CAfile, or the directory.
    pub path: PathBuf,
    /// What kind of place it is.
    pub kind: SourceKind,
    /// How many different certificates it held; `None` when there is no such place.
    pub certificates: Option<usize>,
}

/// The kinds of place that certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// The base CAfile.
    Base(CafileOrigin),
    /// A trust store: those for all registries, and those for the host in question.
    Added,
    /// A directory of dockerd's or podman's for the host in question.
    RegistryDir,
}

impl fmt::Display for TrustSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.path.display())?;
        match (self.certificates, self.kind) {
            (None | Some(0), SourceKind::Added) => {
                return f.write_str("nothing added for this host)");
            }
            (None, _) => return f.write_str("absent)"),
            (Some(1), _) => f.write_str("1 certificate")?,
            (Some(count), _) => write!(f, "{count} certificates")?,
        }
        match self.kind {
            SourceKind::Base(origin) => write!(f, ", from {origin})"),
            SourceKind::Added => f.write_str(", added)"),
            SourceKind::RegistryDir => f.write_str(")"),
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
#[derive(Debug, Clone, Default)]
pub struct TrustBundle {
    anchors: Vec<Anchor>,
    sources: Vec<TrustSource>,
    seen: HashSet<Fingerprint>,
}

impl TrustBundle {
    /// Adds what a place held, or that there is no such place.
    pub(crate) fn push<'a>(
        &mut self,
        path: PathBuf,
        kind: SourceKind,
        held: Option<impl IntoIterator<Item = &'a Certificate>>,
    ) {
        let source = self.sources.len();
        let certificates = held.map(|held| {
            let mut own = HashSet::new();
            for certificate in held {
                own.insert(certificate.fingerprint());
                if self.seen.insert(certificate.fingerprint()) {
                    let certificate = certificate.clone();
                    self.anchors.push(Anchor {
                        certificate,
                        source,
                    });
                }
            }
            own.len()
        });
        self.sources.push(TrustSource {
            path,
            kind,
            certificates,
        });
    }

    /// The certificates, each once, in the order of the sources.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The places that were looked at, for messages.
    pub fn sources(&self) -> &[TrustSource] {
        &self.sources
    }

    /// The trusted certificate with this fingerprint, and the place it came from.
    pub fn find(&self, fingerprint: Fingerprint) -> Option<(&Certificate, &TrustSource)> {
        let mut anchors = self.anchors.iter();
        let anchor = anchors.find(|anchor| anchor.certificate.fingerprint() == fingerprint)?;
        Some((&anchor.certificate, self.sources.get(anchor.source)?))
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
