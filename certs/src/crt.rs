//! From the bytes of some file to certificates, told by content and never by
//! the file's name.

use std::io::Read;
use std::path::Path;

use openssl::x509::X509;
use rustls_pki_types::CertificateDer;

use crate::error::{Error, Foreign};
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::pem::{self, Block, FlawedBlock};
use crate::pkcs7;
use crate::trusted::{self, Verdict};
use crate::x509::{DerFlaw, Facts, printable};

/// The whole of Mozilla's roots is 220 KB; nothing honest is larger than this.
const LARGEST_INPUT: u64 = 16 << 20;

/// DER of the OID 1.2.840.113549.1.7.2, signedData (RFC 5652, section 5.1).
const OID_SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// DER of the arcs 1.2.840.113549.1.5, PKCS#5, and 1.2.840.113549.1.12.1, PKCS#12's own
/// algorithms: one of them begins an encrypted PKCS#8 key.
const OID_PKCS5: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05";
const OID_PKCS12_PBE: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01";

/// One certificate that parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    fingerprint: Fingerprint,
    facts: Facts,
}

impl Certificate {
    /// Takes DER bytes that hold exactly one certificate.
    ///
    /// # Errors
    ///
    /// [`DerFlaw`] when they hold anything else.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, DerFlaw> {
        let facts = Facts::read(&der)?;
        // OpenSSL is stricter here and there, and one certificate that it cannot read
        // makes libcurl refuse a whole bundle.
        if let Err(error) = X509::from_der(&der) {
            return Err(DerFlaw::not_for_openssl(&error));
        }
        let fingerprint = Fingerprint::of(&der);
        Ok(Self {
            der,
            fingerprint,
            facts,
        })
    }

    /// The DER bytes.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The SHA-256 of the DER bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What it says about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Writes it as PEM, byte for byte as `openssl x509 -outform PEM` does.
    pub fn to_pem(&self) -> Vec<u8> {
        let mut text = Vec::new();
        pem::write_certificate(&self.der, &mut text);
        text
    }

    /// The hash of the subject that OpenSSL looks certificates up by in a directory, as
    /// `openssl x509 -subject_hash` prints it: 8 hex digits.
    ///
    /// # Errors
    ///
    /// When OpenSSL fails, which could read it before.
    pub fn subject_hash(&self) -> Result<String, openssl::error::ErrorStack> {
        let x509 = X509::from_der(&self.der)?;
        Ok(format!("{:08x}", x509.subject_name_hash()))
    }
}

/// Bytes that should hold certificates, and the name to call them by in messages.
#[derive(Debug, Clone)]
pub struct Input {
    name: String,
    origin: String,
    bytes: Vec<u8>,
}

impl Input {
    /// Takes bytes from anywhere, standard input for example.
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: printable(name),
            origin: printable(name),
            bytes,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], or [`Error::TooLarge`] beyond 16 MiB.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = printable(&path.display().to_string());
        let bytes = files::read(path, LARGEST_INPUT)
            .map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })?
            .ok_or_else(|| Error::TooLarge {
                file: name.clone(),
                limit: LARGEST_INPUT,
            })?;
        // The working directory of today says nothing tomorrow.
        let origin = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            name,
            origin: printable(&origin.display().to_string()),
            bytes,
        })
    }

    /// Reads from anywhere, standard input for example.
    ///
    /// # Errors
    ///
    /// What the reader fails with, and [`Error::TooLarge`] beyond 16 MiB.
    pub fn read_from(name: &str, reader: impl Read) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        reader.take(LARGEST_INPUT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_INPUT {
            return Err(std::io::Error::other(Error::TooLarge {
                file: printable(name),
                limit: LARGEST_INPUT,
            }));
        }
        Ok(Self::new(name, bytes))
    }

    /// Reads a file of our own or a daemon's directory, which is a regular one: nothing else
    /// is waited for.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and [`Error::NotAFile`].
    pub(crate) fn read_regular(path: &Path) -> Result<Self, Error> {
        // Whoever puts something else there in between may do so anywhere.
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => Err(Error::NotAFile {
                path: path.to_owned(),
            }),
            _ => Self::read(path),
        }
    }

    /// What messages call these bytes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where they came from, for the record: the absolute path of a file.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Finds the certificates that somebody wants to add: PEM, one or many, DER,
    /// PKCS#7 in either, or OpenSSL's `TRUSTED CERTIFICATE`.
    ///
    /// # Errors
    ///
    /// A private key anywhere, a certificate marked as rejected, a damaged block,
    /// a format that is not read, and no certificate at all are errors that name
    /// the file.
    pub fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        let contents = self.contents()?;
        if contents.private_keys > 0 {
            return Err(Error::PrivateKey {
                file: self.name.clone(),
            });
        }
        if let Some(certificate) = contents.distrusted.first() {
            return Err(Error::Distrusted {
                file: self.name.clone(),
                subject: certificate.facts().subject.clone(),
            });
        }
        Ok(contents.certificates)
    }

    /// Finds the certificates of a CAfile, where libcurl tolerates private keys
    /// and passes over certificates that are marked as rejected.
    ///
    /// # Errors
    ///
    /// As [`Self::certificates`], but those two are only told apart.
    pub fn contents(&self) -> Result<Contents, Error> {
        self.refuse_foreign()?;
        if pem::is_pem(&self.bytes) {
            return self.pem_contents();
        }
        let mut contents = Contents::default();
        match der_kind(&self.bytes) {
            DerKind::PrivateKey => {
                return Err(Error::PrivateKey {
                    file: self.name.clone(),
                });
            }
            DerKind::Foreign(format) => return self.foreign(format),
            DerKind::None => {}
            DerKind::Pkcs7 => contents.certificates = self.pkcs7(&self.bytes)?,
            DerKind::Certificate => {
                let der = self.bytes.clone().into();
                let certificate =
                    Certificate::from_der(der).map_err(|source| Error::DamagedDer {
                        file: self.name.clone(),
                        source,
                    })?;
                contents.certificates.push(certificate);
            }
        }
        self.not_empty(contents, Vec::new)
    }

    fn pem_contents(&self) -> Result<Contents, Error> {
        let blocks = pem::blocks(&self.bytes).map_err(|flawed| self.damaged(flawed))?;
        let mut contents = Contents::default();
        for block in &blocks {
            self.read_block(block, &mut contents)?;
        }
        self.not_empty(contents, || {
            blocks.iter().map(|block| printable(block.label)).collect()
        })
    }

    fn read_block(&self, block: &Block<'_>, contents: &mut Contents) -> Result<(), Error> {
        let decode = || block.decode().map_err(|flawed| self.damaged(flawed));
        let not_a_certificate = |source| Error::NotACertificate {
            file: self.name.clone(),
            block: block.number,
            line: block.line,
            source,
        };
        match block.label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let certificate = Certificate::from_der(decode()?).map_err(not_a_certificate)?;
                contents.certificates.push(certificate);
            }
            "TRUSTED CERTIFICATE" => {
                let (certificate, verdict) =
                    trusted::split(&decode()?).map_err(not_a_certificate)?;
                match verdict {
                    Verdict::Trusted => contents.certificates.push(certificate),
                    Verdict::Distrusted => contents.distrusted.push(certificate),
                }
            }
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => {
                contents.certificates.extend(self.pkcs7(&decode()?)?);
            }
            label if label.ends_with("PRIVATE KEY") => contents.private_keys += 1,
            _ => {}
        }
        Ok(())
    }

    fn pkcs7(&self, der: &[u8]) -> Result<Vec<Certificate>, Error> {
        pkcs7::certificates(der).map_err(|source| Error::DamagedPkcs7 {
            file: self.name.clone(),
            source: Box::new(source),
        })
    }

    /// `found` says what there is instead of certificates.
    fn not_empty(
        &self,
        contents: Contents,
        found: impl FnOnce() -> Vec<String>,
    ) -> Result<Contents, Error> {
        if contents.is_empty() {
            return Err(Error::NoCertificate {
                file: self.name.clone(),
                found: found(),
            });
        }
        Ok(contents)
    }

    fn damaged(&self, FlawedBlock { number, line, flaw }: FlawedBlock) -> Error {
        Error::DamagedBlock {
            file: self.name.clone(),
            block: number,
            line,
            source: flaw,
        }
    }

    fn refuse_foreign(&self) -> Result<(), Error> {
        if self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff") {
            return self.foreign(Foreign::Utf16);
        }
        Ok(())
    }

    fn foreign<T>(&self, format: Foreign) -> Result<T, Error> {
        Err(Error::Foreign {
            file: self.name.clone(),
            format,
        })
    }
}

/// What a file of certificates holds.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The certificates, in the order of the file, twice if they are there twice.
    pub certificates: Vec<Certificate>,
    /// Certificates that OpenSSL's trust settings exclude from vouching for TLS servers.
    pub distrusted: Vec<Certificate>,
    /// How many private keys were passed over; one in a CAfile deserves a warning.
    pub private_keys: usize,
}

impl Contents {
    /// What there is besides certificates to trust, for a message that says there are none.
    pub(crate) fn besides_certificates(&self) -> Vec<String> {
        let rejected =
            (!self.distrusted.is_empty()).then_some("certificates that are not to be trusted");
        let keys = (self.private_keys > 0).then_some("private keys");
        let found = [rejected, keys].into_iter().flatten();
        found.map(str::to_owned).collect()
    }

    fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.distrusted.is_empty() && self.private_keys == 0
    }
}

enum DerKind {
    Certificate,
    Pkcs7,
    PrivateKey,
    Foreign(Foreign),
    None,
}

/// Tells by the first elements what a DER file is.
///
/// A certificate is a SEQUENCE that begins with a SEQUENCE (RFC 5280, section
/// 4.1); private keys begin with a version number (RFC 5208, 5915, 8017), the
/// encrypted ones with a PKCS#5 OID; PKCS#12 has version 3 (RFC 7292).
fn der_kind(bytes: &[u8]) -> DerKind {
    let Some(inside) = enter_sequence(bytes) else {
        return DerKind::None;
    };
    if inside.starts_with(OID_SIGNED_DATA) {
        return DerKind::Pkcs7;
    }
    match inside {
        [0x02, 0x01, 0x03, ..] => DerKind::Foreign(Foreign::Pkcs12),
        [0x02, 0x01, 0x00 | 0x01, ..] => DerKind::PrivateKey,
        _ => match enter_sequence(inside) {
            Some(deeper) if deeper.starts_with(OID_PKCS5) || deeper.starts_with(OID_PKCS12_PBE) => {
                DerKind::PrivateKey
            }
            Some(_) => DerKind::Certificate,
            None if bytes.len() <= LONGEST_HEADER => DerKind::Certificate,
            None => DerKind::None,
        },
    }
}

/// Tag, length of the length, and four bytes of length.
const LONGEST_HEADER: usize = 6;

/// Steps over the tag and length of a SEQUENCE, whatever the length says.
fn enter_sequence(bytes: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = bytes else {
        return None;
    };
    match length {
        0..=0x80 => Some(rest),
        0x81..=0x84 => Some(rest.get(usize::from(length & 0x7f)..).unwrap_or_default()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
