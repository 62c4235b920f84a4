//! Which machine an image is for: operating system, architecture, variant.

use std::fmt;
use std::str::FromStr;

use oci_spec::image;

/// A platform as in `--platform`: `linux/amd64`, `linux/arm64/v8`.
///
/// Names are those of Go's `GOOS` and `GOARCH` (OCI image-index.md, "platform").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text that is no `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not a platform like linux/amd64 or linux/arm64/v8", .0.escape_default())]
pub struct PlatformError(String);

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether an image for `other` may run where `self` was asked for.
    ///
    /// A variant counts only when both sides name one, and arm64 without one is v8.
    pub fn accepts(&self, other: &image::Platform) -> bool {
        let variant = |name: Option<&str>| match (name, self.architecture.as_str()) {
            (None | Some(""), "arm64") => Some("v8".to_owned()),
            (None | Some(""), _) => None,
            (Some(name), _) => Some(name.to_owned()),
        };
        let ours = variant(self.variant.as_deref());
        let theirs = variant(other.variant().as_deref());
        self.os == other.os().to_string()
            && self.architecture == other.architecture().to_string()
            && (ours.is_none() || theirs.is_none() || ours == theirs)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let refused = || PlatformError(text.chars().take(100).collect());
        let is_name = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_name) {
            return Err(refused());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(refused()),
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// How an image's platform is written in messages.
pub(crate) fn shown(platform: &image::Platform) -> String {
    match platform.variant() {
        Some(variant) => format!("{}/{}/{variant}", platform.os(), platform.architecture()),
        None => format!("{}/{}", platform.os(), platform.architecture()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: &str) -> image::Platform {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn arm64_is_v8_whether_it_says_so_or_not() {
        let asked: Platform = "linux/arm64".parse().unwrap();
        assert!(asked.accepts(&image(
            r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#
        )));
        let asked: Platform = "linux/arm64/v8".parse().unwrap();
        assert!(asked.accepts(&image(r#"{"os":"linux","architecture":"arm64"}"#)));
    }

    #[test]
    fn another_architecture_or_variant_is_refused() {
        let asked: Platform = "linux/arm/v6".parse().unwrap();
        assert!(!asked.accepts(&image(
            r#"{"os":"linux","architecture":"arm","variant":"v7"}"#
        )));
        assert!(!asked.accepts(&image(r#"{"os":"linux","architecture":"amd64"}"#)));
        assert!(!asked.accepts(&image(r#"{"os":"windows","architecture":"arm"}"#)));
    }

    #[test]
    fn a_platform_has_two_or_three_plain_parts() {
        for text in ["linux", "linux/", "linux/amd64/v1/x", "linux/amd 64", ""] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
