//! What a client that knows no mercy thinks of a server: rustls with webpki.
//!
//! Go's crypto/x509 and rustls refuse certificates that OpenSSL lets pass, and a
//! registry is asked by more programs than `ucr`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{CertificateError, OtherError, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};

use crate::bundle::TrustBundle;
use crate::probe::{Presented, bare_host};
use crate::x509::Timestamp;

/// Why rustls refuses a server, in plain words; `None` when it accepts it.
pub fn strict_objection(
    presented: &Presented,
    bundle: &TrustBundle,
    host: &str,
    now: Timestamp,
) -> Option<String> {
    if presented.is_unspeakable_for_rustls() {
        return Some("the two have no cipher, key exchange or signature in common".to_owned());
    }
    verify(presented, bundle, host, now).err()
}

fn verify(
    presented: &Presented,
    bundle: &TrustBundle,
    host: &str,
    now: Timestamp,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for anchor in bundle.anchors() {
        // One that it cannot use for a root is none for it.
        let _ = roots.add(anchor.certificate.der().clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(bare_host(host)).map_err(|error| error.to_string())?;
    let chain: Vec<_> = presented
        .chain()
        .iter()
        .map(|one| one.der().clone())
        .collect();
    let since_1970 = u64::try_from(now.as_unix()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(since_1970));
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
        .map(|_proof| ())
        .map_err(|error| match error {
            rustls::Error::InvalidCertificate(reason) => words(&reason),
            other => other.to_string(),
        })
}

/// What rustls means by a reason that it tells by the name of a variant.
fn words(reason: &CertificateError) -> String {
    let name = match reason {
        // webpki's own reasons, which have no words either.
        CertificateError::Other(OtherError(reason)) => reason.to_string(),
        reason => reason.to_string(),
    };
    // What stands behind a name is bytes of OIDs.
    let words = match name.split(" {").next().unwrap_or_default() {
        "UnknownIssuer" => "no trusted CA signed it",
        "BadSignature" => "a signature in its chain is wrong, or of a kind that it refuses",
        "UnsupportedSignatureAlgorithm"
        | "UnsupportedSignatureAlgorithmContext"
        | "UnsupportedSignatureAlgorithmForPublicKeyContext" => {
            "a signature in its chain is of a kind that it refuses"
        }
        "CaUsedAsEndEntity" => "the certificate of a CA cannot be a server's",
        "EndEntityUsedAsCa" => "a certificate that is not a CA's signed another",
        "NameConstraintViolation" => "the CA may not vouch for this name",
        "PathLenConstraintViolated" => "there are more CAs in the chain than one of them allows",
        "UnsupportedCertVersion" => "it is of X.509 v1",
        "UnsupportedCriticalExtension" => "it has a critical extension that is not known",
        _ => return name,
    };
    words.to_owned()
}
