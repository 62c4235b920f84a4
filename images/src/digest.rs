//! Digests: parsed at the door, computed while bytes pass, compared at the end.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash algorithm that image content may be named by.
///
/// Only the two that the OCI image specification registers (descriptor.md,
/// "Registered algorithms") and that are strong enough are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what every registry uses.
    Sha256,
    /// SHA-512, optional in OCI.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of stored bytes: `sha256:` and 64 lower-case hex digits, or `sha512:` and 128.
///
/// A value of this type is safe as a file name: nothing else passes its parser
/// (CVE-2014-9358, CVE-2016-7569, CVE-2024-3727).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// The SHA-256 of bytes that are all there.
    pub fn sha256(content: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: hex::encode(Sha256::digest(content)).into(),
        }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hex digits, as people quote it.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// Whether `content` has this digest.
    pub fn matches(&self, content: &[u8]) -> bool {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(content);
        hasher.finish() == *self
    }
}

/// Why a text is not a digest that `ucr` takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is none of sha256 and sha512.
    #[error("digest \"{}\" is neither sha256 nor sha512", .0.escape_default())]
    Algorithm(String),
    /// The part after the colon has the wrong length or other characters than lower-case hex.
    #[error("digest \"{}\" is not the hex digits of its algorithm", .0.escape_default())]
    Encoded(String),
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let shown = || text.chars().take(160).collect::<String>();
        let (algorithm, encoded) = match text.split_once(':') {
            Some(("sha256", encoded)) => (Algorithm::Sha256, encoded),
            Some(("sha512", encoded)) => (Algorithm::Sha512, encoded),
            _ => return Err(DigestError::Algorithm(shown())),
        };
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if encoded.len() != algorithm.hex_length() || !encoded.bytes().all(is_hex) {
            return Err(DigestError::Encoded(shown()));
        }
        Ok(Self {
            algorithm,
            hex: encoded.into(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A hash in the making.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Begins with no bytes.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    pub(crate) fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hex::encode(hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, hex::encode(hasher.finalize())),
        };
        Digest {
            algorithm,
            hex: hex.into(),
        }
    }
}

/// A reader that hashes what is read through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Reads through to `inner`.
    pub fn new(inner: R, algorithm: Algorithm) -> Self {
        Self {
            inner,
            hasher: Hasher::new(algorithm),
        }
    }

    /// The digest of the bytes read, and the reader below.
    pub fn finish(self) -> (Digest, R) {
        (self.hasher.finish(), self.inner)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A reader that hashes and counts, tells how far it is, and ends one byte past `limit`.
pub struct VerifyingReader<'o, R> {
    inner: R,
    hasher: Hasher,
    count: u64,
    limit: u64,
    observe: &'o (dyn Fn(u64) + Sync),
}

impl<R> fmt::Debug for VerifyingReader<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, limit, .. } = self;
        f.debug_struct("VerifyingReader")
            .field("count", count)
            .field("limit", limit)
            .finish_non_exhaustive()
    }
}

impl<'o, R: BufRead> VerifyingReader<'o, R> {
    /// Reads through to `inner`, which should have `limit` bytes; `observe` gets the count so far.
    pub fn new(
        inner: R,
        algorithm: Algorithm,
        limit: u64,
        observe: &'o (dyn Fn(u64) + Sync),
    ) -> Self {
        Self {
            inner,
            hasher: Hasher::new(algorithm),
            count: 0,
            limit,
            observe,
        }
    }

    /// Reads what is left, and returns the digest and number of all bytes.
    pub fn drain(mut self) -> io::Result<(Digest, u64)> {
        loop {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Ok((self.hasher.finish(), self.count));
            }
            self.consume(available);
        }
    }
}

impl<R: BufRead> BufRead for VerifyingReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // One byte too many is enough to know, whatever else would come.
        let left = usize::try_from((self.limit + 1).saturating_sub(self.count));
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(left.unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, amount: usize) {
        // The bytes are in the buffer below: it was filled when they were handed out.
        if let Ok(bytes) = self.inner.fill_buf() {
            self.hasher.update(&bytes[..amount.min(bytes.len())]);
        }
        self.inner.consume(amount);
        self.count += amount as u64;
        (self.observe)(self.count);
    }
}

impl<R: BufRead> Read for VerifyingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s43_nothing_but_a_strong_lower_case_digest_parses() {
        let hex = "0123456789abcdef".repeat(4);
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        assert!(format!("sha512:{hex}{hex}").parse::<Digest>().is_ok());
        for hostile in [
            "sha256:../../etc/passwd".to_owned(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("md5:{}", &hex[..32]),
            format!("sha256:aa/{}", &hex[3..]),
            format!("sha256:{}\0", &hex[1..]),
            format!("sha256:{}", hex.repeat(160)),
            hex,
            String::new(),
        ] {
            assert!(hostile.parse::<Digest>().is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn a_long_digest_is_quoted_in_part() {
        let error = "x".repeat(100_000).parse::<Digest>().unwrap_err();
        assert!(error.to_string().len() < 300);
    }

    #[test]
    fn the_reader_hashes_what_it_passes_on() {
        let mut reader = HashingReader::new(&b"abc"[..], Algorithm::Sha256);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish().0, Digest::sha256(b"abc"));
    }

    #[test]
    fn p51_a_body_longer_than_declared_is_read_one_byte_too_far_and_no_further() {
        let ignore = |_| ();
        let reader = VerifyingReader::new(&b"abcdef"[..], Algorithm::Sha256, 3, &ignore);
        assert_eq!(reader.drain().unwrap(), (Digest::sha256(b"abcd"), 4));
        let reader = VerifyingReader::new(&b"ab"[..], Algorithm::Sha256, 3, &ignore);
        assert_eq!(reader.drain().unwrap(), (Digest::sha256(b"ab"), 2));
    }
}
