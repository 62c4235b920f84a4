//! The name of an image as people write it, parsed and normalised.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution;

use crate::Digest;

/// A parsed image name: registry, repository, and a tag or a digest (or both).
///
/// `[docker://]host[:port]/path[:tag][@digest]`, by the grammar of
/// `distribution/reference`; a name without a registry is one of Docker Hub,
/// one without tag and digest means `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    inner: distribution::Reference,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("\"{}\" is not an image reference", shortened(.text))]
    Grammar {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        source: distribution::ParseError,
    },
    /// Its digest is of an algorithm or form that is not taken.
    #[error("image reference \"{}\"", shortened(.text))]
    Digest {
        /// What was given.
        text: String,
        /// What is wrong with the digest.
        source: crate::digest::DigestError,
    },
}

fn shortened(text: &str) -> String {
    text.chars()
        .take(300)
        .flat_map(char::escape_default)
        .collect()
}

impl Reference {
    /// The registry's host and port as in the name; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        self.inner.registry()
    }

    /// The host and port that serve the registry's API.
    pub fn api_host(&self) -> &str {
        match self.inner.registry() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        }
    }

    /// The path of the repository in its registry.
    pub fn repository(&self) -> &str {
        self.inner.repository()
    }

    /// The digest that the manifest must have, if the name says one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the manifest is asked for by: the digest if there is one, else the tag.
    pub fn manifest_key(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.inner.tag().unwrap_or("latest").to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let inner: distribution::Reference =
            name.parse().map_err(|source| ReferenceError::Grammar {
                text: text.to_owned(),
                source,
            })?;
        let digest = inner
            .digest()
            .map(str::parse)
            .transpose()
            .map_err(|source| ReferenceError::Digest {
                text: text.to_owned(),
                source,
            })?;
        Ok(Self { inner, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.whole())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn short_names_are_docker_hubs_library() {
        let reference = parse("busybox");
        assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
        assert_eq!(reference.api_host(), "registry-1.docker.io");
        assert_eq!(reference.repository(), "library/busybox");
    }

    #[test]
    fn a_port_is_part_of_the_registry() {
        let reference = parse("docker://127.0.0.1:5000/team/app:1.2");
        assert_eq!(reference.registry(), "127.0.0.1:5000");
        assert_eq!(reference.repository(), "team/app");
        assert_eq!(reference.manifest_key(), "1.2");
    }

    #[test]
    fn a_digest_wins_over_the_tag() {
        let digest = Digest::sha256(b"x");
        let reference = parse(&format!("r.example/app:1@{digest}"));
        assert_eq!(reference.manifest_key(), digest.to_string());
        assert_eq!(reference.digest(), Some(&digest));
    }

    #[test]
    fn hostile_names_are_refused_and_quoted_escaped() {
        for text in [
            "",
            "UPPER",
            "a//b",
            "r.example/../x",
            "x y",
            "r.example/a:\n",
            "a@sha256:12",
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_host_that_only_begins_like_docker_hub_is_another() {
        assert_eq!(
            parse("docker.io.evil.example/x").registry(),
            "docker.io.evil.example"
        );
    }
}
