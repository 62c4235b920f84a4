//! Images: what a name stood for, the documents behind it, and the stack of its layers.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ucr_sys::Dir;

use super::error::Error;
use super::layer::LayerMeta;
use super::layout::{Store, by_algorithm};
use crate::image::ImageConfig;
use crate::{Digest, Platform, Reference};

/// The most that a stored manifest or configuration may hold.
const DOCUMENT_LIMIT: u64 = 16 * 1024 * 1024;

/// What is recorded of a name and a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The normalised name.
    pub(crate) reference: String,
    /// The platform that was asked for.
    pub(crate) platform: String,
    /// The digest of the manifest.
    pub(crate) manifest: Digest,
    /// The digest of the configuration: the image ID.
    pub(crate) config: Digest,
    /// The layers that hold its attributes together, if they need one.
    pub(crate) fixup: Option<Digest>,
}

/// An image that is all there.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// The image ID: the digest of the configuration.
    pub id: Digest,
    /// The digest of the manifest that it was pulled by.
    pub manifest: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// Directories for overlayfs to stack, top first.
    pub lower: Vec<PathBuf>,
}

impl Store {
    /// The image that `reference` last stood for on `platform`, if it is all there.
    ///
    /// # Errors
    /// Only when the store cannot be read: what is missing, torn or distrusted is `None`.
    pub fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<StoredImage>, Error> {
        let name = record_name(reference, platform);
        let Some(record) = self.read_record(&name)? else {
            return Ok(None);
        };
        let Some(bytes) = self.document(&record.config)? else {
            return Ok(None);
        };
        let Ok(config) = ImageConfig::parse(&bytes) else {
            return Ok(None);
        };
        let Some(stack) = self.stack(config.diff_ids())? else {
            return Ok(None);
        };
        let mut lower = Vec::with_capacity(stack.len() + 1);
        if let Some(fixup) = &record.fixup {
            if !self.has_fixup(fixup)? {
                return Ok(None);
            }
            lower.push(tree_path(&self.fixups, fixup));
        }
        lower.extend(
            stack
                .iter()
                .map(|(diff_id, _)| tree_path(&self.layers, diff_id)),
        );
        Ok(Some(StoredImage {
            id: record.config,
            manifest: record.manifest,
            config,
            lower,
        }))
    }

    /// The layers of an image that can be seen, top first, or `None` when one is missing.
    ///
    /// A layer hides all below it when its root is opaque; one that occurs
    /// twice counts where it is highest, since overlayfs refuses a directory
    /// twice and the lower one could add nothing.
    pub(super) fn stack(
        &self,
        diff_ids: &[Digest],
    ) -> Result<Option<Vec<(Digest, LayerMeta)>>, Error> {
        let mut stack = Vec::with_capacity(diff_ids.len());
        let mut seen = HashSet::new();
        let mut hidden = false;
        for diff_id in diff_ids.iter().rev() {
            let Some(meta) = self.layer(diff_id)? else {
                return Ok(None);
            };
            if hidden || !seen.insert(diff_id) {
                continue;
            }
            hidden = meta.root_opaque;
            stack.push((diff_id.clone(), meta));
        }
        Ok(Some(stack))
    }

    /// Records what a name stands for, with the documents behind it.
    pub(crate) fn record_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        record: &ImageRecord,
        documents: [&[u8]; 2],
    ) -> Result<(), Error> {
        for (digest, bytes) in [&record.manifest, &record.config]
            .into_iter()
            .zip(documents)
        {
            if self.document(digest)?.is_none() {
                self.images_by(digest)?
                    .replace(digest.hex(), bytes, 0o600)
                    .map_err(Error::Image)?;
            }
        }
        let name = record_name(reference, platform);
        if self.read_record(&name)?.as_ref() == Some(record) {
            return Ok(());
        }
        let content = serde_json::to_vec(record).unwrap_or_default();
        self.refs
            .replace(&name, &content, 0o600)
            .map_err(Error::Image)
    }

    fn read_record(&self, name: &str) -> Result<Option<ImageRecord>, Error> {
        let content = self.refs.read(name, DOCUMENT_LIMIT).map_err(Error::Image)?;
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
    }

    /// A manifest or configuration, if it is there and still has its digest.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let images = self.images_by(digest)?;
        let content = images
            .read(digest.hex(), DOCUMENT_LIMIT)
            .map_err(Error::Image)?;
        Ok(content.filter(|content| digest.matches(content)))
    }

    fn images_by(&self, digest: &Digest) -> Result<Dir, Error> {
        by_algorithm(&self.images, digest.algorithm()).map_err(Error::Image)
    }
}

fn tree_path(parent: &Dir, digest: &Digest) -> PathBuf {
    parent
        .path()
        .join(digest.algorithm().as_str())
        .join(digest.hex())
        .join("fs")
}

/// Names may be longer than a file name, and have slashes: their hash is used.
fn record_name(reference: &Reference, platform: &Platform) -> String {
    Digest::sha256(format!("{reference} {platform}").as_bytes())
        .hex()
        .to_owned()
}
