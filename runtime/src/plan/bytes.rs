//! Paths and strings that are bytes, and how they are written down.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A path or string of the kernel's: bytes, not necessarily UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The bytes as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<PathBuf> for Bytes {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string().into_vec())
    }
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// What is before bytes that are no text, in formats that people read.
const ESCAPE: char = '\0';

impl Serialize for Bytes {
    /// As bytes; in formats that people read as text, and what is none as hexadecimal digits
    /// behind a NUL.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with(ESCAPE) => serializer.serialize_str(text),
            _ => {
                let mut text = String::with_capacity(1 + 2 * self.0.len());
                text.push(ESCAPE);
                for byte in &self.0 {
                    for half in [byte >> 4, byte & 0xf] {
                        text.extend(char::from_digit(half.into(), 16));
                    }
                }
                serializer.serialize_str(&text)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Text)
        } else {
            Vec::deserialize(deserializer).map(Self)
        }
    }
}

/// Reads what is written for people.
struct Text;

impl Visitor<'_> for Text {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, or a NUL and hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        let Some(digits) = text.strip_prefix(ESCAPE) else {
            return Ok(Bytes::from(text));
        };
        let byte = |pair: &[u8; 2]| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        };
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        match bytes {
            Some(bytes) if rest.is_empty() => Ok(Bytes(bytes)),
            _ => Err(E::custom(
                "odd or other than hexadecimal digits behind a NUL",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_readable_and_everything_comes_back() {
        let kept = |bytes: &[u8]| {
            let bytes = Bytes(bytes.to_vec());
            let json = serde_json::to_string(&bytes).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
            let binary = postcard::to_allocvec(&bytes).unwrap();
            assert_eq!(postcard::from_bytes::<Bytes>(&binary).unwrap(), bytes);
            json
        };
        assert_eq!(kept("/a\u{e4}".as_bytes()), "\"/a\u{e4}\"");
        assert_eq!(kept(&[0xff, 0x0a]), r#""\u0000ff0a""#);
        for bytes in [&b""[..], b"\0", b"\0ff", &[0, 0xff]] {
            kept(bytes);
        }
        for wrong in [r#""\u0000f""#, r#""\u0000fg""#, "7"] {
            assert!(serde_json::from_str::<Bytes>(wrong).is_err(), "{wrong}");
        }
    }
}
