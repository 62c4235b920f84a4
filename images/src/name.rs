//! The name of an image wherever it is: in a registry, in a directory, or in an archive.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Reference, ReferenceError};

/// What stands for standard input in place of a file.
const STDIN: &str = "-";

/// The name of an image, as people give it to podman and skopeo too (containers-transports(5)).
///
/// `[docker://]REFERENCE`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
/// `docker-archive:FILE[:REFERENCE]`, where FILE may be `-` for standard input,
/// `@N` in place of a tag is the image of that number, counted from 0, and `-`
/// alone is an archive of either kind on standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// An image of a registry.
    Registry(Reference),
    /// An image on this machine.
    Local(LocalName),
}

/// The name of an image that is in files on this machine, or comes by a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalName {
    /// How they are kept.
    pub format: LocalFormat,
    /// Where they are.
    pub place: Place,
    /// Which of several images.
    pub choice: Choice,
}

/// In what form an image is kept in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFormat {
    /// A directory by the OCI image layout.
    OciLayout,
    /// An archive of such a directory.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// Whichever of the archives it turns out to be.
    AnyArchive,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this path.
    Path(PathBuf),
    /// On standard input.
    Stdin,
}

/// Which image is meant, where there may be several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The only one.
    Only,
    /// The one of this tag.
    Tag(String),
    /// The one of this number, counted from 0.
    Index(usize),
}

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    /// It is no image of a registry.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It does not say where the image is.
    #[error("\"{prefix}\" is not followed by a path")]
    NoPath {
        /// What it begins with.
        prefix: &'static str,
    },
    /// It is in a place that is another tool's own, containers-transports(5).
    #[error(
        "{prefix} is a place of another tool's own: save the image to a file, and name it as \
         docker-archive:FILE or oci-archive:FILE"
    )]
    Elsewhere {
        /// What it begins with.
        prefix: &'static str,
    },
    /// What follows the path names no image of an OCI layout.
    #[error("\"{}\" is neither a tag of an OCI layout nor @ and a number", shortened(.tag))]
    Tag {
        /// What follows.
        tag: String,
    },
    /// What follows the path names no image of a Docker archive.
    #[error("\"{}\" can be no name of an image in a Docker archive: {why}", shortened(.name))]
    DockerName {
        /// What follows.
        name: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

fn shortened(text: &str) -> String {
    text.chars()
        .take(300)
        .flat_map(char::escape_default)
        .collect()
}

/// Prefixes of what skopeo and podman reach besides, which would be read as images of Docker Hub.
const ELSEWHERE: [&str; 3] = ["containers-storage:", "docker-daemon:", "dir:/"];

impl LocalFormat {
    /// The prefixes of names, and what they stand for.
    const PREFIXES: [(&'static str, Self); 3] = [
        ("oci:", Self::OciLayout),
        ("oci-archive:", Self::OciArchive),
        ("docker-archive:", Self::DockerArchive),
    ];

    fn prefix(self) -> &'static str {
        let found = Self::PREFIXES.iter().find(|(_, format)| *format == self);
        found.map_or("", |(prefix, _)| prefix)
    }
}

impl ImageName {
    /// The same name whatever the working directory is, which was `directory` when it was given.
    pub fn in_directory(self, directory: &Path) -> Self {
        match self {
            Self::Local(name) => Self::Local(name.in_directory(directory)),
            registry @ Self::Registry(_) => registry,
        }
    }
}

impl LocalName {
    fn in_directory(self, directory: &Path) -> Self {
        let place = match self.place {
            // Without "." and doubled slashes; ".." may follow a link, and stays.
            Place::Path(path) => Place::Path(directory.join(path).components().collect()),
            Place::Stdin => Place::Stdin,
        };
        Self { place, ..self }
    }

    fn parse(format: LocalFormat, text: &str) -> Result<Self, ImageNameError> {
        let (path, choice) = match text.split_once(':') {
            None => (text, Choice::Only),
            Some((path, choice)) => (path, Choice::parse(format, choice)?),
        };
        if path.is_empty() {
            let prefix = format.prefix();
            return Err(ImageNameError::NoPath { prefix });
        }
        let place = match path {
            STDIN if format != LocalFormat::OciLayout => Place::Stdin,
            path => Place::Path(path.into()),
        };
        Ok(Self {
            format,
            place,
            choice,
        })
    }
}

impl Choice {
    fn parse(format: LocalFormat, text: &str) -> Result<Self, ImageNameError> {
        if let Some(number) = text.strip_prefix('@') {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|_number| digits);
            let tag = text.to_owned();
            return number.map(Self::Index).ok_or(ImageNameError::Tag { tag });
        }
        match format {
            LocalFormat::DockerArchive => docker_name(text).map(Self::Tag),
            _ if is_layout_tag(text) => Ok(Self::Tag(text.to_owned())),
            _ => Err(ImageNameError::Tag {
                tag: text.to_owned(),
            }),
        }
    }
}

/// The normalised form of a name as a Docker archive has it: never with a digest.
fn docker_name(text: &str) -> Result<String, ImageNameError> {
    let reference: Reference = text.parse()?;
    let refused = |why| ImageNameError::DockerName {
        name: text.to_owned(),
        why,
    };
    if text.contains("://") {
        return Err(refused("it is one of a registry"));
    }
    if reference.digest().is_some() {
        return Err(refused("it has a digest"));
    }
    Ok(reference.to_string())
}

/// The grammar of `org.opencontainers.image.ref.name` (OCI annotations.md).
fn is_layout_tag(text: &str) -> bool {
    const LONGEST: usize = 4096;
    text.len() <= LONGEST && text.split('/').all(is_layout_component)
}

/// Letters and digits, joined by one of `-._:@+` or by `--`.
fn is_layout_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let is_joint = |joint: &[u8]| match joint {
        [] | b"--" => true,
        [one] => b"-._:@+".contains(one),
        _ => false,
    };
    is_word(first) && is_word(last) && bytes.split(is_word).all(is_joint)
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        if text == STDIN {
            return Ok(Self::Local(LocalName {
                format: LocalFormat::AnyArchive,
                place: Place::Stdin,
                choice: Choice::Only,
            }));
        }
        for (prefix, format) in LocalFormat::PREFIXES {
            if let Some(rest) = text.strip_prefix(prefix) {
                return LocalName::parse(format, rest).map(Self::Local);
            }
        }
        match ELSEWHERE.iter().find(|prefix| text.starts_with(**prefix)) {
            Some(prefix) => Err(ImageNameError::Elsewhere { prefix }),
            None => Ok(Self::Registry(text.parse()?)),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => {
                // A registry's host may be called as a place on this machine begins.
                let shown = reference.to_string();
                let begins = |(prefix, _): &(&str, _)| shown.starts_with(prefix);
                match LocalFormat::PREFIXES.iter().any(begins) {
                    true => write!(f, "docker://{shown}"),
                    false => f.write_str(&shown),
                }
            }
            Self::Local(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.prefix())?;
        match &self.place {
            // A path may hold anything; a name is one line of text.
            Place::Path(path) => {
                let shown = path.to_string_lossy();
                let mut plain = shown.chars();
                plain.try_for_each(|c| match c.is_control() {
                    true => write!(f, "{}", c.escape_default()),
                    false => write!(f, "{c}"),
                })?;
            }
            Place::Stdin => f.write_str(STDIN)?,
        }
        match &self.choice {
            Choice::Only => Ok(()),
            Choice::Tag(tag) => write!(f, ":{tag}"),
            Choice::Index(number) => write!(f, ":@{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageName {
        text.parse().unwrap()
    }

    fn local(text: &str) -> LocalName {
        match parse(text) {
            ImageName::Local(name) => name,
            ImageName::Registry(reference) => panic!("{reference}"),
        }
    }

    #[test]
    fn names_without_a_prefix_are_those_of_registries() {
        for text in ["busybox", "docker://r.example/a:1", "r.example:5000/oci"] {
            assert_eq!(parse(text), ImageName::Registry(text.parse().unwrap()));
        }
    }

    #[test]
    fn p73_a_registry_that_is_called_like_a_place_is_shown_as_a_registry() {
        for text in [
            "docker://oci:5000/app:1",
            "docker://docker-archive:80/app:1",
        ] {
            assert_eq!(parse(text).to_string(), text);
            assert_eq!(parse(text), ImageName::Registry(text.parse().unwrap()));
        }
    }

    #[test]
    fn every_place_on_this_machine_has_its_prefix() {
        for (text, format, place, choice) in [
            ("oci:dir", LocalFormat::OciLayout, "dir", Choice::Only),
            (
                "oci:/a/b:1.2-rc",
                LocalFormat::OciLayout,
                "/a/b",
                Choice::Tag("1.2-rc".into()),
            ),
            (
                "oci:d:r.example/x:5000/y:v1",
                LocalFormat::OciLayout,
                "d",
                Choice::Tag("r.example/x:5000/y:v1".into()),
            ),
            ("oci:d:@3", LocalFormat::OciLayout, "d", Choice::Index(3)),
            (
                "oci-archive:f.tar:x",
                LocalFormat::OciArchive,
                "f.tar",
                Choice::Tag("x".into()),
            ),
            (
                "docker-archive:f.tar",
                LocalFormat::DockerArchive,
                "f.tar",
                Choice::Only,
            ),
            (
                "docker-archive:f.tar:busybox",
                LocalFormat::DockerArchive,
                "f.tar",
                Choice::Tag("docker.io/library/busybox:latest".into()),
            ),
            (
                "docker-archive:f:r.example:5000/a:1",
                LocalFormat::DockerArchive,
                "f",
                Choice::Tag("r.example:5000/a:1".into()),
            ),
        ] {
            let place = Place::Path(place.into());
            assert_eq!(
                local(text),
                LocalName {
                    format,
                    place,
                    choice
                }
            );
        }
        for text in ["-", "oci-archive:-", "docker-archive:-"] {
            assert_eq!(local(text).place, Place::Stdin);
            assert_eq!(local(text).to_string(), text);
        }
        assert_eq!(local("oci:-").place, Place::Path("-".into()));
    }

    #[test]
    fn p73_names_that_say_no_place_or_no_image_are_refused() {
        let long = format!("oci:d:{}", "a".repeat(5000));
        for text in [
            "oci:",
            "oci::tag",
            "oci-archive:",
            "docker-archive::x",
            "oci:d:",
            "oci:d:-x",
            "oci:d:a b",
            "oci:d:a//b",
            "oci:d:a..b",
            "oci:d:a\nb",
            "oci:d:@",
            "oci:d:@x",
            "oci:d:@+1",
            "oci:d:@99999999999999999999999",
            "docker-archive:f:UPPER",
            "docker-archive:f:a@sha256:12",
            "dir:/x",
            "containers-storage:x/",
            "docker-daemon:busybox:latest",
            "",
            &long,
        ] {
            let error = text.parse::<ImageName>().unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() < 1000, "{error}");
        }
        let digest = crate::Digest::sha256(b"x");
        assert!(
            format!("docker-archive:f:a@{digest}")
                .parse::<ImageName>()
                .is_err()
        );
    }

    #[test]
    fn a_name_is_the_same_in_every_directory() {
        let name = |text: &str| parse(text).in_directory(Path::new("/work/dir")).to_string();
        assert_eq!(name("oci:a//./b/:t"), "oci:/work/dir/a/b:t");
        assert_eq!(name("oci:../x"), "oci:/work/dir/../x");
        assert_eq!(name("oci-archive:/x.tar"), "oci-archive:/x.tar");
        assert_eq!(
            name("docker-archive:-:a"),
            "docker-archive:-:docker.io/library/a:latest"
        );
        assert_eq!(name("a"), "docker.io/library/a:latest");
        assert_eq!(name("oci:a\u{1b}[1m"), "oci:/work/dir/a\\u{1b}[1m");
    }
}
