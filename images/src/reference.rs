//! The name of an image as people write it, parsed and normalised.
//!
//! Parsed by hand, in microseconds: the parser of `oci-spec` compiles regular
//! expressions for 30 ms (measured), most of the time of a start.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, RegistryHost};

const DOCKER_HUB: &str = "docker.io";
/// The most characters of registry and repository together (`distribution/reference`).
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// A parsed image name: registry, repository, and a tag or a digest (or both).
///
/// `[docker://]host[:port]/path[:tag][@digest]`, by the grammar of
/// `distribution/reference`; a name without a registry is one of Docker Hub,
/// one without tag and digest means `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("\"{}\" is not an image reference: {why}", shortened(.text))]
    Grammar {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Its digest is of an algorithm or form that is not taken.
    #[error("\"{}\" is not an image reference", shortened(.text))]
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
        &self.registry
    }

    /// The path of the repository in its registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if the name says one or implies `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the manifest must have, if the name says one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the manifest is asked for by: the digest if there is one, else the tag.
    pub fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    text: text.to_owned(),
                    source,
                })?;
                (rest, Some(digest))
            }
        };
        let grammar = |why| ReferenceError::Grammar {
            text: text.to_owned(),
            why,
        };
        let (name, tag) = split_tag(rest).map_err(grammar)?;
        let (registry, repository) = split_name(name).map_err(grammar)?;
        if registry.len() + 1 + repository.len() > NAME_LIMIT {
            return Err(grammar("it has more than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// Cuts off the tag: what stands behind a colon in the last component.
fn split_tag(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let Some(colon) = text[last..].find(':') else {
        return Ok((text, None));
    };
    let (name, tag) = (&text[..last + colon], &text[last + colon + 1..]);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = tag.bytes().next().is_some_and(is_word);
    let goes_on = tag
        .bytes()
        .all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    if starts && goes_on && tag.len() <= TAG_LIMIT {
        Ok((name, Some(tag)))
    } else {
        Err("its tag is not made of up to 128 letters, digits, \"_\", \".\" and \"-\"")
    }
}

/// Splits registry from repository as Docker does, by how the first component looks.
fn split_name(name: &str) -> Result<(String, String), &'static str> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if looks_like_a_host(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    let registry = normal_registry(registry)?;
    if !path.split('/').all(is_path_component) {
        return Err(
            "its repository is not made of lower-case words, joined by \".\", \"_\", \"-\" and \"/\"",
        );
    }
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if registry == DOCKER_HUB && path.len() == 64 && path.bytes().all(is_hex) {
        return Err("64 hex digits are an image ID, not a name");
    }
    let official = registry == DOCKER_HUB && !path.contains('/');
    let repository = if official {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    Ok((registry, repository))
}

fn looks_like_a_host(text: &str) -> bool {
    text == "localhost"
        || text.contains(['.', ':', '['])
        || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Checks a host with or without a port by the grammar, and gives it its one spelling.
fn normal_registry(registry: &str) -> Result<String, &'static str> {
    const HOST: &str = "its registry is no host name or address";
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    // What is in brackets the parser of addresses checks.
    if !host.starts_with('[') && !host.split('.').all(is_host_label) {
        return Err(HOST);
    }
    if port.is_some_and(|port| !is_port(port)) {
        return Err(match host {
            "https" | "http" => "it is written without https://: HOST[:PORT]/REPOSITORY[:TAG]",
            _ => "its registry's port is not a number below 65536",
        });
    }
    let parsed: RegistryHost = registry.parse().map_err(|_no_host| HOST)?;
    let shown = parsed.to_string();
    // Without capitals and port it would be read as a path of Docker Hub.
    if looks_like_a_host(&shown) {
        Ok(shown)
    } else {
        Ok(format!("{shown}:443"))
    }
}

fn is_port(text: &str) -> bool {
    // The parser of numbers takes a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Lower-case words, joined by one period, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && bytes.split(is_word).all(|joint| {
            matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-')
        })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
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
        assert_eq!(reference.registry(), "docker.io");
        assert_eq!(reference.repository(), "library/busybox");
        for same in [
            "docker.io/busybox",
            "Docker.IO/busybox",
            "index.docker.io/library/busybox",
            "registry-1.docker.io/busybox",
            "registry.hub.docker.com/busybox:latest",
            "library/busybox:latest",
        ] {
            assert_eq!(parse(same), reference, "{same}");
        }
    }

    #[test]
    fn p73_a_port_or_a_bracketed_address_is_part_of_the_registry() {
        let reference = parse("docker://127.0.0.1:5000/team/app:1.2");
        assert_eq!(reference.registry(), "127.0.0.1:5000");
        assert_eq!(reference.repository(), "team/app");
        assert_eq!(reference.manifest_key(), "1.2");
        assert_eq!(parse("localhost:5000/app").registry(), "localhost:5000");
        assert_eq!(parse("[::1]:5000/app:2").registry(), "[::1]:5000");
        assert_eq!(parse("[fd00::1]/app").to_string(), "[fd00::1]/app:latest");
    }

    #[test]
    fn one_host_has_one_name() {
        let same = [
            ("R.Example:05000/app", "r.example:5000/app:latest"),
            ("[FD00:0:0::01]:5000/app", "[fd00::1]:5000/app:latest"),
            ("LOCALHOST/app", "localhost/app:latest"),
            ("r.example:443/app", "r.example/app:latest"),
            ("docker.io:443/app", "docker.io/library/app:latest"),
            ("registry:443/app", "registry:443/app:latest"),
            ("REGISTRY/app", "registry:443/app:latest"),
        ];
        for (given, normal) in same {
            assert_eq!(parse(given).to_string(), normal);
            assert_eq!(parse(normal).to_string(), normal);
        }
    }

    #[test]
    fn p73_a_digest_wins_over_the_tag_and_replaces_latest() {
        let digest = Digest::sha256(b"x");
        let both = format!("r.example/app:1@{digest}");
        assert_eq!(parse(&both).manifest_key(), digest.to_string());
        assert_eq!(parse(&both).to_string(), both);
        assert_eq!(parse(&both).tag(), Some("1"));
        let only = format!("r.example/app@{digest}");
        assert_eq!(parse(&only).to_string(), only);
        assert_eq!(parse(&only).digest(), Some(&digest));
        assert_eq!(parse(&only).tag(), None);
        let long = format!("r.example/app@sha512:{}", "ab".repeat(64));
        assert_eq!(parse(&long).to_string(), long);
    }

    #[test]
    fn p73_names_are_as_long_as_the_grammar_lets_them_be() {
        let path = "a".repeat(255 - "r.example/".len());
        assert_eq!(parse(&format!("r.example/{path}")).repository(), path);
        assert!(format!("r.example/{path}a").parse::<Reference>().is_err());
        let tag = "T".repeat(128);
        assert_eq!(
            parse(&format!("r.example/a/b/c/d:{tag}")).tag(),
            Some(tag.as_str())
        );
    }

    #[test]
    fn every_joint_that_the_grammar_allows() {
        for name in [
            "a",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "0a/b1/c2",
            "a.b_c__d-e",
        ] {
            assert!(is_path_component(name) || name.contains('/'), "{name}");
            assert_eq!(parse(&format!("r.example/{name}")).repository(), name);
        }
        for name in [
            "a..b", "a___b", "a._b", "-a", "a-", "a_", ".a", "A", "a b", "ä",
        ] {
            assert!(!is_path_component(name), "{name}");
        }
    }

    #[test]
    fn p73_hostile_names_are_refused_and_quoted_escaped() {
        let long = format!("r.example/{}", "a".repeat(250));
        let tag = format!("r.example/a:{}", "t".repeat(129));
        let hex = "0123456789abcdef".repeat(4);
        for text in [
            "",
            "/",
            "UPPER",
            "a//b",
            "r.example/",
            "r.example/../x",
            "x y",
            "r.example/a:\n",
            "r.example/a:",
            "r.example/a:-x",
            "a@sha256:12",
            "a@",
            "-r.example/a",
            "r..example/a",
            "r.example:65536/a",
            "r.example:x/a",
            "r.example:/a",
            "r.example:+5/a",
            "[::1%eth0]/a",
            "::1/a",
            "[::1/a",
            "[::g]/a",
            "[::1]x/a",
            "user@r.example/a",
            "https://r.example/a",
            "a\0b",
            &long,
            &tag,
            &hex,
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!error.contains(['\n', '\0']), "{error}");
        }
    }

    #[test]
    fn w3_a_host_that_only_looks_like_docker_hub_is_another() {
        for host in [
            "docker.io.evil.example",
            "docker.io.evil.com",
            "mydocker.io",
            "evil-docker.io",
            "hub.docker.com",
            "registry.docker.io",
            "docker.io:444",
        ] {
            let reference = parse(&format!("{host}/x"));
            assert_eq!(reference.registry(), host);
            assert_eq!(reference.repository(), "x");
        }
        assert_eq!(parse("evil.example/docker.io/x").registry(), "evil.example");
    }
}
