//! The OCI image layout: `oci-layout`, `index.json`, and blobs by digest (OCI image-layout.md).

use std::collections::{BTreeSet, HashMap};

use oci_spec::image::{Descriptor, ImageIndex};
use serde::Deserialize;
use ucr_images::image::{Document, Found, resolve};
use ucr_images::{Choice, Digest, Platform};

use super::error::Error;
use super::files::Files;
use super::{DOCUMENT_LIMIT, LocalImage};

/// The file that says that a directory is a layout.
pub(super) const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const VERSION: &str = "1.0.0";
/// The tag of an image within its layout (OCI annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Its whole name, which Docker and containerd add.
const IMAGE_NAME: &str = "io.containerd.image.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The file of a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Finds the image that is chosen, for `platform` where there are several.
pub(super) fn open(
    files: Files,
    choice: &Choice,
    platform: &Platform,
) -> Result<LocalImage, Error> {
    let marker = files.read(MARKER, DOCUMENT_LIMIT)?;
    let marker: Marker = serde_json::from_slice(&marker).map_err(|source| Error::Json {
        name: MARKER,
        source,
    })?;
    if marker.image_layout_version != VERSION {
        let version = marker.image_layout_version.chars().take(100).collect();
        return Err(Error::Version { version });
    }
    let bytes = files.read(INDEX, DOCUMENT_LIMIT)?;
    let Document::Index(mut index) = Document::parse(&bytes, None)? else {
        return Err(Error::NoFile {
            name: INDEX.to_owned(),
            why: "is no index",
        });
    };
    index.set_manifests(choose(&index, choice)?);
    let first = Found {
        digest: Digest::sha256(&bytes),
        bytes,
        document: Document::Index(index),
    };
    let resolved = resolve(first, platform, &mut |digest| {
        let bytes = blob(&files, digest, DOCUMENT_LIMIT)?;
        Ok::<_, Error>(Found {
            digest: digest.clone(),
            document: Document::parse(&bytes, None)?,
            bytes,
        })
    })?;
    let resolved = resolved.into_manifest()?;
    let manifest = &resolved.content;
    let config = blob(&files, &manifest.config, DOCUMENT_LIMIT)?;
    let actual = config.len() as u64;
    if actual != manifest.config_size {
        return Err(Error::Size {
            name: blob_name(&manifest.config),
            declared: manifest.config_size,
            actual,
        });
    }
    Ok(LocalImage {
        resolved,
        config,
        files,
        layers: HashMap::new(),
    })
}

/// A blob that is small enough for memory, verified.
fn blob(files: &Files, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
    let name = blob_name(digest);
    let bytes = files.read(&name, limit)?;
    if digest.matches(&bytes) {
        return Ok(bytes);
    }
    Err(Error::Digest {
        name,
        expected: digest.clone(),
        actual: Digest::sha256(&bytes),
    })
}

/// The entries that come into question: several only for several platforms.
fn choose(index: &ImageIndex, choice: &Choice) -> Result<Vec<Descriptor>, Error> {
    let entries = index.manifests();
    let chosen: Vec<Descriptor> = match choice {
        Choice::Only => {
            let names: BTreeSet<_> = entries.iter().map(names_of).collect();
            let is_told_apart = entries.iter().all(|entry| entry.platform().is_some());
            if entries.len() > 1 && (names.len() > 1 || !is_told_apart) {
                let choices = choices(entries);
                return Err(Error::Several { choices });
            }
            entries.clone()
        }
        Choice::Tag(tag) => {
            let is_it = |entry: &&Descriptor| names_of(entry).contains(&Some(tag.as_str()));
            entries.iter().filter(is_it).cloned().collect()
        }
        Choice::Index(number) => entries.get(*number).cloned().into_iter().collect(),
    };
    if chosen.is_empty() {
        let choice = match choice {
            Choice::Only => "of any name".to_owned(),
            Choice::Tag(tag) => tag.clone(),
            Choice::Index(number) => format!("@{number}"),
        };
        let choices = choices(entries);
        return Err(Error::NoSuchImage { choice, choices });
    }
    Ok(chosen)
}

/// The names that an entry may be asked for by.
fn names_of(entry: &Descriptor) -> [Option<&str>; 2] {
    let annotation = |key| {
        let annotations = entry.annotations().as_ref()?;
        annotations.get(key).map(String::as_str)
    };
    [annotation(IMAGE_NAME), annotation(REF_NAME)]
}

/// What may stand behind the path, for a message.
fn choices(entries: &[Descriptor]) -> Vec<String> {
    let shown = |(number, entry): (usize, &Descriptor)| {
        let name = names_of(entry).into_iter().flatten().next();
        let name = name.map(|name| {
            name.chars()
                .take(200)
                .flat_map(char::escape_debug)
                .collect()
        });
        name.unwrap_or_else(|| format!("@{number}"))
    };
    entries.iter().enumerate().map(shown).take(50).collect()
}
