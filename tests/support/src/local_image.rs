//! Images in files: OCI layouts, and archives as Docker's versions write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::image::{Image, ImageIndex, Stored, sha256_digest};
use crate::layer::{Entry, Layer, LayerBuilder};

/// Files by name, to be written as a directory or as an archive.
#[derive(Debug, Clone, Default)]
pub struct ImageFiles {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
    entries: Vec<Value>,
}

impl ImageFiles {
    /// The start of an OCI layout, with no image in it.
    pub fn layout() -> Self {
        Self::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    /// An OCI layout with one image, without a tag.
    pub fn of(image: &Image) -> Self {
        Self::layout().image(image, None)
    }

    /// Adds or replaces a file.
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .insert(name.to_owned(), content.as_ref().to_vec());
        self
    }

    /// Takes a file away.
    pub fn without(mut self, name: &str) -> Self {
        assert!(self.files.remove(name).is_some(), "{name}");
        self
    }

    /// Adds a symbolic link.
    pub fn symlink(mut self, name: &str, target: &str) -> Self {
        self.links.insert(name.to_owned(), target.to_owned());
        self
    }

    /// Adds an image to the layout.
    pub fn image(self, image: &Image, tag: Option<&str>) -> Self {
        self.blobs(image).listed(&image.manifest, tag)
    }

    /// Adds an index with its images to the layout.
    pub fn index(self, index: &ImageIndex, tag: Option<&str>) -> Self {
        let with_images = index.images.iter().fold(self, Self::blobs);
        with_images
            .blob(&index.document.bytes)
            .listed(&index.document, tag)
    }

    /// Adds an entry to the layout's own index.
    pub fn listed(mut self, document: &Stored, tag: Option<&str>) -> Self {
        let mut entry = json!({
            "mediaType": document.media_type,
            "digest": document.digest,
            "size": document.bytes.len(),
        });
        if let Some(tag) = tag {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        }
        self.entries.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        self.file("index.json", index.to_string())
    }

    fn blobs(self, image: &Image) -> Self {
        let with_manifest = self.blob(&image.manifest.bytes);
        let blobs = image.blobs().into_values();
        blobs.fold(with_manifest, |files, blob| files.blob(&blob))
    }

    fn blob(self, bytes: &[u8]) -> Self {
        self.file(&blob_file(&sha256_digest(bytes)), bytes)
    }

    /// What `docker save` wrote before version 25: a folder for each layer, with its archive.
    ///
    /// A layer that occurs twice is a link to the first.
    pub fn docker_save(image: &Image, layers: &[Layer], tags: &[&str]) -> Self {
        let mut files = Self::default();
        let mut names = Vec::new();
        let mut first = BTreeMap::new();
        for (number, layer) in layers.iter().enumerate() {
            let folder = hex::encode([u8::try_from(number).unwrap(); 32]);
            let name = format!("{folder}/layer.tar");
            files = files
                .file(&format!("{folder}/VERSION"), "1.0")
                .file(&format!("{folder}/json"), "{}");
            files = match first.get(&layer.diff_id) {
                Some(other) => files.symlink(&name, &format!("../{other}")),
                None => files.file(&name, &layer.bytes),
            };
            first.entry(&layer.diff_id).or_insert_with(|| name.clone());
            names.push(name);
        }
        let config = format!("{}.json", hex_of(image.image_id()));
        files
            .file(&config, &image.config.bytes)
            .file("repositories", "{}")
            .docker_manifest(&[(&config, tags, &names)])
    }

    /// What `docker save` has written since version 25: a layout that has Docker's list too.
    pub fn docker_save_with_layout(image: &Image, tags: &[&str]) -> Self {
        let layers: Vec<String> = image
            .layers
            .iter()
            .map(|blob| blob_file(&blob.digest))
            .collect();
        let config = blob_file(image.image_id());
        Self::of(image).docker_manifest(&[(&config, tags, &layers)])
    }

    /// Sets `manifest.json`: configuration, tags and layers of each image.
    pub fn docker_manifest(self, images: &[(&str, &[&str], &[String])]) -> Self {
        let entry = |(config, tags, layers): &(&str, &[&str], &[String])| json!({"Config": config, "RepoTags": tags, "Layers": layers});
        let images: Vec<Value> = images.iter().map(entry).collect();
        self.file("manifest.json", json!(images).to_string())
    }

    /// Writes them as a directory.
    pub fn write(&self, directory: &Path) {
        for (name, content) in &self.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap().write_all(content).unwrap();
        }
        for (name, target) in &self.links {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }
    }

    /// Writes them as an archive.
    pub fn archive(&self) -> Layer {
        let files = self.files.iter();
        let archive = files.fold(LayerBuilder::new(), |archive, (name, content)| {
            archive.entry(Entry::file(name, content))
        });
        let links = self.links.iter();
        let archive = links.fold(archive, |archive, (name, target)| {
            archive.entry(Entry::symlink(name, target))
        });
        archive.build()
    }
}

/// The file of a blob in an OCI layout.
pub fn blob_file(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn hex_of(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}
