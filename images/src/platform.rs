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
    pub(crate) fn accepts(&self, other: &Self) -> bool {
        let variant = |platform: &Self| match (&platform.variant, self.architecture.as_str()) {
            (None, "arm64") => Some("v8".to_owned()),
            (variant, _) => variant.clone(),
        };
        let (ours, theirs) = (variant(self), variant(other));
        self.os == other.os
            && self.architecture == other.architecture
            && (ours.is_none() || theirs.is_none() || ours == theirs)
    }

    /// Whether `other` says nothing that `self` does not ask for.
    ///
    /// amd64 without a variant runs anywhere; amd64/v3 only on newer processors.
    pub(crate) fn is_as_plain(&self, other: &Self) -> bool {
        other.variant.is_none() || other.variant == self.variant
    }

    /// The platform that a document of an image names.
    pub(crate) fn of_image(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.filter(|name| !name.is_empty()).map(str::to_owned),
        }
    }
}

impl From<&image::Platform> for Platform {
    fn from(platform: &image::Platform) -> Self {
        let (os, architecture) = (
            platform.os().to_string(),
            platform.architecture().to_string(),
        );
        Self::of_image(&os, &architecture, platform.variant().as_deref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: &str) -> Platform {
        let platform: image::Platform = serde_json::from_str(json).unwrap();
        Platform::from(&platform)
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
