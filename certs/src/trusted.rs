//! OpenSSL's `TRUSTED CERTIFICATE`: a certificate with settings behind it that
//! say what it may be trusted for (`openssl x509 -trustout`).
//!
//! `X509_CERT_AUX` is described in OpenSSL's crypto/x509/x_x509a.c:
//!
//! ```text
//! SEQUENCE {
//!     trust   SEQUENCE OF OBJECT IDENTIFIER OPTIONAL,
//!     reject  [0] IMPLICIT SEQUENCE OF OBJECT IDENTIFIER OPTIONAL,
//!     …       what does not matter here
//! }
//! ```

use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Sequence, Tag, oid};

use crate::crt::Certificate;
use crate::x509::DerFlaw;

/// Whether the settings let a certificate vouch for TLS servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They do, or say nothing about it.
    Trusted,
    /// They reject it for that, or name other purposes only.
    Distrusted,
}

/// Takes the certificate from the DER of a `TRUSTED CERTIFICATE` block, and what its settings say.
pub(crate) fn split(der: &[u8]) -> Result<(Certificate, Verdict), DerFlaw> {
    let settings = Any::from_der(der).map_or(&[][..], |(rest, _)| rest);
    let certificate = &der[..der.len() - settings.len()];
    let certificate = Certificate::from_der(certificate.to_vec().into())?;
    if settings.is_empty() {
        return Ok((certificate, Verdict::Trusted));
    }
    let verdict = verdict(settings).ok_or(DerFlaw::TrailingBytes {
        count: settings.len(),
    })?;
    Ok((certificate, verdict))
}

/// `None` when the settings cannot be read: what they reject is not known then.
fn verdict(settings: &[u8]) -> Option<Verdict> {
    let (rest, settings) = Sequence::from_der(settings).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let (mut trust, mut reject) = (Vec::new(), Vec::new());
    let mut left = settings.content.as_ref();
    while !left.is_empty() {
        let (rest, field) = Any::from_der(left).ok()?;
        match (field.class(), field.tag()) {
            (Class::Universal, Tag::Sequence) => trust = purposes(field.data)?,
            (Class::ContextSpecific, Tag(0)) => reject = purposes(field.data)?,
            _ => {}
        }
        left = rest;
    }
    let serves_tls = |purposes: &[Oid<'_>]| {
        let any = oid!(2.5.29.37.0);
        let server = oid!(1.3.6.1.5.5.7.3.1);
        purposes.contains(&any) || purposes.contains(&server)
    };
    let trusted = trust.is_empty() || serves_tls(&trust);
    Some(if serves_tls(&reject) || !trusted {
        Verdict::Distrusted
    } else {
        Verdict::Trusted
    })
}

fn purposes(mut content: &[u8]) -> Option<Vec<Oid<'_>>> {
    let mut purposes = Vec::new();
    while !content.is_empty() {
        let (rest, purpose) = Any::from_der(content).ok()?;
        // asn1-rs takes anything for an OID.
        if purpose.tag() != Tag::Oid {
            return None;
        }
        purposes.push(Oid::new(purpose.data.into()));
        content = rest;
    }
    Some(purposes)
}
