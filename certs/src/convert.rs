//! Certificates from one file format into another, as `openssl x509` does for
//! one certificate.

use crate::crt::{Certificate, Input};
use crate::error::Error;

/// How certificates are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Text, for any number of certificates (RFC 7468).
    Pem,
    /// Bytes, for one certificate (X.690).
    Der,
}

/// A failure to convert.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The input holds no certificates that could be read.
    #[error(transparent)]
    Input(#[from] Error),
    /// There are more certificates than the format holds.
    #[error("DER holds one certificate, {file} holds {count}")]
    TooManyForDer {
        /// The name of the input.
        file: String,
        /// How many it holds.
        count: usize,
    },
}

/// What came of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The certificates in the order of the input, then those that it marks as rejected.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub certificates: usize,
    /// How many private keys of the input were left out.
    pub private_keys: usize,
}

/// Writes the certificates of an input, byte for byte as `openssl x509` writes each.
///
/// Those that the input marks as rejected as well: nothing is trusted by being written.
///
/// # Errors
///
/// What [`Input::contents`] refuses, an input that holds private keys alone,
/// and [`ConvertError::TooManyForDer`].
pub fn convert(input: &Input, encoding: Encoding) -> Result<Converted, ConvertError> {
    let contents = input.contents()?;
    let certificates = [contents.certificates, contents.distrusted].concat();
    let bytes = match (encoding, certificates.as_slice()) {
        (_, []) => {
            let file = input.name().to_owned();
            return Err(Error::PrivateKey { file }.into());
        }
        (Encoding::Pem, all) => all.iter().flat_map(Certificate::to_pem).collect(),
        (Encoding::Der, [only]) => only.der().to_vec(),
        (Encoding::Der, several) => {
            return Err(ConvertError::TooManyForDer {
                file: input.name().to_owned(),
                count: several.len(),
            });
        }
    };
    Ok(Converted {
        bytes,
        certificates: certificates.len(),
        private_keys: contents.private_keys,
    })
}

#[cfg(test)]
mod tests;
