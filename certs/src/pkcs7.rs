//! Certificates out of a PKCS#7 bundle, as Windows exports a chain (`.p7b`).

use openssl::pkcs7::Pkcs7;

use crate::crt::Certificate;
use crate::x509::DerFlaw;

/// What is wrong with a PKCS#7 file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs7Flaw {
    /// OpenSSL cannot read it.
    #[error("it has not the structure of PKCS#7")]
    Malformed(#[source] openssl::error::ErrorStack),
    /// It is of another type, encrypted say, and holds no certificates to take.
    #[error("it is not of the type signedData, which certificates travel in")]
    NotSignedData,
    /// One of its certificates cannot be read.
    #[error("certificate {position} in it cannot be read")]
    Certificate {
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        source: DerFlaw,
    },
}

/// Takes the certificates out of signedData (RFC 2315, section 9.1), in their order.
///
/// Nothing is verified: such a bundle is signed by nobody and only carries.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, Pkcs7Flaw> {
    let bundle = Pkcs7::from_der(bytes).map_err(Pkcs7Flaw::Malformed)?;
    let signed = bundle.signed().ok_or(Pkcs7Flaw::NotSignedData)?;
    let carried = signed.certificates().into_iter().flatten();
    let read = |(index, x509): (usize, &openssl::x509::X509Ref)| {
        let der = x509.to_der().map_err(Pkcs7Flaw::Malformed)?;
        Certificate::from_der(der.into()).map_err(|source| Pkcs7Flaw::Certificate {
            position: index + 1,
            source,
        })
    };
    carried.enumerate().map(read).collect()
}
