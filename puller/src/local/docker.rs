//! Docker archives, as `docker save` and podman write them: `manifest.json`, and what it names.
//!
//! Their layers have no digests of their own but the diff IDs. A manifest is
//! made that says of each what its file is, so that the rest of a pull needs to
//! know of no other kind of image.

use std::collections::HashMap;
use std::io::BufReader;

use serde::Deserialize;
use serde_json::json;
use ucr_images::archive::decompress;
use ucr_images::image::{self, Document, ImageConfig, Manifest, Resolved};
use ucr_images::{Algorithm, Choice, Digest, Reference, VerifyingReader};

use super::error::Error;
use super::files::{Files, escaped};
use super::{BUFFER, DOCUMENT_LIMIT, LocalImage};

/// The list of images.
const MANIFEST: &str = "manifest.json";

/// One image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Finds the image that is chosen, and makes a manifest for it.
pub(super) fn open(files: Files, choice: &Choice) -> Result<LocalImage, Error> {
    let bytes = files.read(MANIFEST, DOCUMENT_LIMIT)?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).map_err(|source| Error::Json {
        name: MANIFEST,
        source,
    })?;
    let entry = choose(&entries, choice)?;
    let bytes = files.read(&entry.config, DOCUMENT_LIMIT)?;
    let id = check_config_name(&entry.config, &bytes)?;
    let config = ImageConfig::parse(&bytes)?;
    let diff_ids = config.diff_ids();
    if diff_ids.len() != entry.layers.len() {
        return Err(Error::Image(image::Error::LayerCount {
            layers: entry.layers.len(),
            diff_ids: diff_ids.len(),
        }));
    }
    let mut names = HashMap::new();
    let mut layers = Vec::new();
    for (name, diff_id) in entry.layers.iter().zip(diff_ids) {
        let size = files.open(name)?.size();
        let (digest, media_type) = blob(&files, name, diff_id)?;
        layers.push(json!({
            "mediaType": media_type,
            "digest": digest.to_string(),
            "size": size,
        }));
        names.insert(digest, name.clone());
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": image::media_type::DOCKER_MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": id.to_string(),
            "size": bytes.len(),
        },
        "layers": layers,
    });
    Ok(LocalImage {
        resolved: resolved(&manifest)?,
        config: bytes,
        files,
        layers: names,
    })
}

/// Reads the manifest that was made as strictly as one that was sent.
fn resolved(manifest: &serde_json::Value) -> Result<Resolved<Manifest>, Error> {
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes);
    match Document::parse(&bytes, None)? {
        Document::Manifest(content) => Ok(Resolved {
            named: digest.clone(),
            digest,
            bytes,
            content,
        }),
        _ => Err(Error::NoFile {
            name: MANIFEST.to_owned(),
            why: "describes no image",
        }),
    }
}

fn choose<'e>(entries: &'e [Entry], choice: &Choice) -> Result<&'e Entry, Error> {
    let found = match choice {
        Choice::Only if entries.len() > 1 => {
            let choices = choices(entries);
            return Err(Error::Several { choices });
        }
        Choice::Only => entries.first(),
        Choice::Index(number) => entries.get(*number),
        Choice::Tag(tag) => entries
            .iter()
            .find(|entry| tags(entry).any(|name| name == *tag)),
    };
    found.ok_or_else(|| {
        let choice = match choice {
            Choice::Only => "of any name".to_owned(),
            Choice::Tag(tag) => tag.clone(),
            Choice::Index(number) => format!("@{number}"),
        };
        let choices = choices(entries);
        Error::NoSuchImage { choice, choices }
    })
}

/// The names of an image as they would be given to us.
fn tags(entry: &Entry) -> impl Iterator<Item = String> {
    let tags = entry.repo_tags.iter().flatten();
    tags.filter_map(|tag| tag.parse::<Reference>().ok())
        .map(|reference| reference.to_string())
}

fn choices(entries: &[Entry]) -> Vec<String> {
    let shown = |(number, entry)| tags(entry).next().unwrap_or_else(|| format!("@{number}"));
    entries.iter().enumerate().map(shown).take(50).collect()
}

/// The image ID, which the configuration's file is named by.
///
/// # Errors
/// When the name is that of another.
fn check_config_name(name: &str, bytes: &[u8]) -> Result<Digest, Error> {
    let file = name.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".json").unwrap_or(file);
    let algorithm = if name.starts_with("blobs/sha512/") {
        Algorithm::Sha512
    } else {
        Algorithm::Sha256
    };
    let named = format!("{}:{stem}", algorithm.as_str()).parse::<Digest>();
    match named {
        Ok(expected) if !expected.matches(bytes) => Err(Error::Digest {
            name: escaped(name),
            expected,
            actual: Digest::sha256(bytes),
        }),
        Ok(expected) => Ok(expected),
        // Some archives have it as "config.json" or the like.
        Err(_) => Ok(Digest::sha256(bytes)),
    }
}

/// The digest of a layer's file as it is, and its media type.
///
/// A plain archive has the diff ID for one. A compressed one has it in its name
/// if it is a blob of a layout; of any other it has to be computed.
fn blob(files: &Files, name: &str, diff_id: &Digest) -> Result<(Digest, &'static str), Error> {
    const PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
    const COMPRESSED: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let looked_at = decompress(BufReader::new(files.open(name)?)).map_err(Error::Archive)?;
    if looked_at.is_plain() {
        return Ok((diff_id.clone(), PLAIN));
    }
    drop(looked_at);
    let named = name
        .strip_prefix("blobs/")
        .map(|rest| rest.replace('/', ":"));
    if let Some(Ok(digest)) = named.map(|text| text.parse()) {
        return Ok((digest, COMPRESSED));
    }
    let section = files.open(name)?;
    let size = section.size();
    let reader = BufReader::with_capacity(BUFFER, section);
    let (digest, _) = VerifyingReader::new(reader, Algorithm::Sha256, size, &|_| ())
        .drain()
        .map_err(Error::Read)?;
    Ok((digest, COMPRESSED))
}
