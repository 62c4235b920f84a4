//! Images and indexes, as Docker schema 2 or OCI documents.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::layer::{Blob, Compression, Layer};

/// Writes the digest of bytes as `sha256:…`.
pub fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Whose media types an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTypes {
    /// `application/vnd.oci.image…`
    Oci,
    /// `application/vnd.docker…`, schema 2.
    Docker,
}

impl MediaTypes {
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Oci, _) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Docker, Compression::Plain) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Zstd) => {
                "application/vnd.docker.image.rootfs.diff.tar.zstd"
            }
            (Self::Docker, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// A document that a registry keeps under its digest and under tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the registry says it is.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: String,
}

impl Stored {
    /// Takes any bytes as a document.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: sha256_digest(&bytes),
            bytes,
        }
    }

    fn of(media_type: &str, document: &Value) -> Self {
        Self::new(media_type, serde_json::to_vec_pretty(document).unwrap())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// An image, ready to be served.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest.
    pub manifest: Stored,
    /// The config; its digest is the image ID.
    pub config: Stored,
    /// The layers as they are sent, from the lowest.
    pub layers: Vec<Blob>,
    /// The digests of the layers before compression.
    pub diff_ids: Vec<String>,
    platform: (String, String),
}

impl Image {
    /// The digest of the config.
    pub fn image_id(&self) -> &str {
        &self.config.digest
    }

    /// All that must be there before the manifest: config and layers, by digest.
    pub fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let config = (self.config.digest.clone(), self.config.bytes.clone());
        let layers = self
            .layers
            .iter()
            .map(|blob| (blob.digest.clone(), blob.bytes.clone()));
        layers.chain([config]).collect()
    }
}

/// A change that a test makes to a document before it is written.
type Edit = Box<dyn FnOnce(&mut Value)>;

/// Makes an image.
pub struct ImageBuilder {
    media_types: MediaTypes,
    platform: (String, String),
    layers: Vec<(Layer, Compression)>,
    process: serde_json::Map<String, Value>,
    edits: Edits,
}

#[derive(Default)]
struct Edits {
    config: Vec<Edit>,
    manifest: Vec<Edit>,
}

impl ImageBuilder {
    /// Starts an image with OCI media types for linux on this machine's processor.
    pub fn new() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            media_types: MediaTypes::Oci,
            platform: ("linux".to_owned(), architecture.to_owned()),
            layers: Vec::new(),
            process: serde_json::Map::new(),
            edits: Edits::default(),
        }
    }

    /// Chooses the media types.
    pub fn media_types(mut self, media_types: MediaTypes) -> Self {
        self.media_types = media_types;
        self
    }

    /// Sets operating system and architecture.
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = (os.to_owned(), architecture.to_owned());
        self
    }

    /// Puts a layer, gzip-compressed, on top.
    pub fn layer(self, layer: Layer) -> Self {
        self.layer_as(layer, Compression::Gzip)
    }

    /// Puts a layer on top.
    pub fn layer_as(mut self, layer: Layer, compression: Compression) -> Self {
        self.layers.push((layer, compression));
        self
    }

    /// Adds a variable, `NAME=value`.
    pub fn env(mut self, variable: &str) -> Self {
        let list = self.process.entry("Env").or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!(variable));
        self
    }

    /// Sets the entrypoint.
    pub fn entrypoint(self, arguments: &[&str]) -> Self {
        self.process("Entrypoint", json!(arguments))
    }

    /// Sets the default command.
    pub fn cmd(self, arguments: &[&str]) -> Self {
        self.process("Cmd", json!(arguments))
    }

    /// Sets the user, as name or number, with or without group.
    pub fn user(self, user: &str) -> Self {
        self.process("User", json!(user))
    }

    /// Sets the working directory.
    pub fn workdir(self, path: &str) -> Self {
        self.process("WorkingDir", json!(path))
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        let labels = self.process.entry("Labels").or_insert_with(|| json!({}));
        labels[key] = json!(value);
        self
    }

    /// Sets any field of the config's `config` object.
    pub fn process(mut self, field: &str, value: Value) -> Self {
        self.process.insert(field.to_owned(), value);
        self
    }

    /// Changes the config document before it is written.
    pub fn edit_config(mut self, edit: impl FnOnce(&mut Value) + 'static) -> Self {
        self.edits.config.push(Box::new(edit));
        self
    }

    /// Changes the manifest document before it is written.
    pub fn edit_manifest(mut self, edit: impl FnOnce(&mut Value) + 'static) -> Self {
        self.edits.manifest.push(Box::new(edit));
        self
    }

    /// Finishes the image.
    pub fn build(self) -> Image {
        let diff_ids: Vec<_> = self
            .layers
            .iter()
            .map(|(layer, _)| layer.diff_id.clone())
            .collect();
        let mut config = json!({
            "created": "2024-01-01T00:00:00Z",
            "architecture": self.platform.1,
            "os": self.platform.0,
            "config": self.process,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        });
        self.edits
            .config
            .into_iter()
            .for_each(|edit| edit(&mut config));
        let config = Stored::of(self.media_types.config(), &config);

        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|(layer, compression)| layer.compress(*compression))
            .collect();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|blob| {
                json!({
                    "mediaType": self.media_types.layer(blob.compression),
                    "digest": blob.digest,
                    "size": blob.bytes.len(),
                })
            })
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.media_types.manifest(),
            "config": config.descriptor(),
            "layers": descriptors,
        });
        self.edits
            .manifest
            .into_iter()
            .for_each(|edit| edit(&mut manifest));
        let manifest = Stored::of(self.media_types.manifest(), &manifest);
        Image {
            manifest,
            config,
            layers,
            diff_ids,
            platform: self.platform,
        }
    }
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ImageBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageBuilder")
            .field("media_types", &self.media_types)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// An index (OCI) or manifest list (Docker) of images for several platforms.
#[derive(Debug, Clone)]
pub struct ImageIndex {
    /// The document.
    pub document: Stored,
    /// The images that it lists.
    pub images: Vec<Image>,
}

impl ImageIndex {
    /// Lists images, each with the platform that it was built for.
    pub fn new(media_types: MediaTypes, images: Vec<Image>) -> Self {
        let manifests: Vec<_> = images
            .iter()
            .map(|image| {
                let mut descriptor = image.manifest.descriptor();
                let (os, architecture) = &image.platform;
                descriptor["platform"] = json!({"os": os, "architecture": architecture});
                descriptor
            })
            .collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media_types.index(),
            "manifests": manifests,
        });
        Self {
            document: Stored::of(media_types.index(), &document),
            images,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerBuilder;

    fn parse(stored: &Stored) -> Value {
        serde_json::from_slice(&stored.bytes).unwrap()
    }

    #[test]
    fn digests_and_sizes_agree() {
        let layer = LayerBuilder::new().file("x", "y").build();
        let image = ImageBuilder::new()
            .layer_as(layer.clone(), Compression::Zstd)
            .env("A=b")
            .cmd(&["true"])
            .label("k", "v")
            .build();
        let manifest = parse(&image.manifest);
        for descriptor in manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&manifest["config"]])
        {
            let bytes = &image.blobs()[descriptor["digest"].as_str().unwrap()];
            assert_eq!(descriptor["size"], bytes.len());
            assert_eq!(descriptor["digest"], sha256_digest(bytes));
        }
        let config = parse(&image.config);
        assert_eq!(config["rootfs"]["diff_ids"], json!([layer.diff_id]));
        assert_eq!(
            config["config"],
            json!({"Env": ["A=b"], "Cmd": ["true"], "Labels": {"k": "v"}})
        );
        assert_eq!(manifest["config"]["digest"], image.image_id());
    }

    #[test]
    fn an_edit_changes_what_the_digest_is_of() {
        let image = ImageBuilder::new()
            .edit_manifest(|manifest| manifest["config"]["size"] = json!(1))
            .build();
        assert_eq!(parse(&image.manifest)["config"]["size"], 1);
        assert_eq!(image.manifest.digest, sha256_digest(&image.manifest.bytes));
    }

    #[test]
    fn an_index_names_platforms() {
        let image = |arch| {
            ImageBuilder::new()
                .media_types(MediaTypes::Docker)
                .platform("linux", arch)
                .build()
        };
        let index = ImageIndex::new(MediaTypes::Docker, vec![image("amd64"), image("arm64")]);
        let document = parse(&index.document);
        assert_eq!(
            document["manifests"][1]["platform"]["architecture"],
            "arm64"
        );
        assert_eq!(
            document["manifests"][1]["digest"],
            index.images[1].manifest.digest
        );
    }
}
