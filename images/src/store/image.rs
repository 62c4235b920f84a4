//! Images: what a name stood for, the documents behind it, and the stack of its layers.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use ucr_sys::{Errno, Lock, LockMode, at};

use super::error::Error;
use super::layer::LayerMeta;
use super::layout::{Store, by_algorithm};
use super::tree::{Tree, absent};
use crate::image::ImageConfig;
use crate::{Digest, Platform};

/// The most that a stored manifest or configuration may hold.
const DOCUMENT_LIMIT: u64 = 16 * 1024 * 1024;

/// What is recorded of a name and a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The normalised name.
    pub reference: String,
    /// The platform that was asked for.
    pub platform: String,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The digest of the configuration: the image ID.
    pub config: Digest,
    /// The layers that hold its attributes together, if they need one.
    pub fixup: Option<Digest>,
    /// What the name itself stood for: an index or the manifest.
    #[serde(default)]
    pub resolved: Option<Digest>,
    /// When it was last pulled, in seconds since 1970.
    #[serde(default)]
    pub pulled: Option<u64>,
    /// Whether it was given to who showed a credential, and perhaps to nobody else.
    #[serde(default)]
    pub private: bool,
}

impl ImageRecord {
    /// Whether both say the same of an image, whenever it was pulled.
    fn agrees(&self, other: &Self) -> bool {
        let pulled = other.pulled;
        Self {
            pulled,
            ..self.clone()
        } == *other
    }
}

/// The time as records have it.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// An image that is all there.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// The image ID: the digest of the configuration.
    pub id: Digest,
    /// The digest of the manifest that it was pulled by.
    pub manifest: Digest,
    /// What the name itself stood for, if that was recorded: an index or the manifest.
    pub resolved: Option<Digest>,
    /// Whether it was given to who showed a credential, and perhaps to nobody else.
    pub private: bool,
    /// The configuration.
    pub config: ImageConfig,
    /// Directories for overlayfs to stack, top first.
    pub lower: Vec<PathBuf>,
    /// The same as the store knows them.
    pub(super) trees: Vec<Tree>,
}

/// A record with the name of its file, and when its image was last used.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) file: String,
    pub(super) record: ImageRecord,
    pub(super) used: SystemTime,
}

/// All records of names.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) readable: Vec<Recorded>,
    /// Files that hold none.
    pub(super) unreadable: Vec<String>,
}

impl Store {
    /// The image that `name` last stood for on `platform`, if it is all there.
    ///
    /// # Errors
    /// Only when the store cannot be read: what is missing, torn or distrusted is `None`.
    pub fn image(
        &self,
        name: &dyn fmt::Display,
        platform: &Platform,
    ) -> Result<Option<StoredImage>, Error> {
        let name = record_name(name, platform);
        let Some(record) = self.read_record(&name)? else {
            return Ok(None);
        };
        self.whole(record)
    }

    /// The same image, which nobody removes from here on while this store is open, and which
    /// counts as used now.
    ///
    /// # Errors
    /// As [`Store::image`], and when the lease cannot be written.
    pub fn image_to_use(
        &self,
        name: &dyn fmt::Display,
        platform: &Platform,
    ) -> Result<Option<StoredImage>, Error> {
        let name = record_name(name, platform);
        let Some(record) = self.read_record(&name)? else {
            return Ok(None);
        };
        let Some(config) = self.config_of(&record)? else {
            return Ok(None);
        };
        self.hold(Some(&record.config), &trees(&record, Some(&config)))?;
        let image = self.stacked(record, config)?;
        if image.is_some() && !self.is_read_only() {
            self.refs.touch(&name).map_err(Error::Image)?;
        }
        Ok(image)
    }

    /// The image of a record, if all of it is there.
    pub(super) fn whole(&self, record: ImageRecord) -> Result<Option<StoredImage>, Error> {
        match self.config_of(&record)? {
            Some(config) => self.stacked(record, config),
            None => Ok(None),
        }
    }

    /// The image of a record and its configuration, if its layers are all there.
    pub fn stacked(
        &self,
        record: ImageRecord,
        config: ImageConfig,
    ) -> Result<Option<StoredImage>, Error> {
        let Some(stack) = self.stack(config.diff_ids())? else {
            return Ok(None);
        };
        let mut trees = Vec::with_capacity(stack.len() + 1);
        if let Some(fixup) = &record.fixup {
            if !self.has_fixup(fixup)? {
                return Ok(None);
            }
            trees.push(Tree::Fixup(fixup.clone()));
        }
        trees.extend(stack.into_iter().map(|(diff_id, _)| Tree::Layer(diff_id)));
        Ok(Some(StoredImage {
            id: record.config,
            manifest: record.manifest,
            resolved: record.resolved,
            private: record.private,
            config,
            lower: trees.iter().map(|tree| self.path_of(tree)).collect(),
            trees,
        }))
    }

    fn config_of(&self, record: &ImageRecord) -> Result<Option<ImageConfig>, Error> {
        let bytes = self.document(&record.config)?;
        Ok(bytes.and_then(|bytes| ImageConfig::parse(&bytes).ok()))
    }

    /// What overlayfs stacks for an image, and what is hidden below it, as far as its
    /// configuration can be read.
    pub(super) fn trees_of(&self, record: &ImageRecord) -> Result<Vec<Tree>, Error> {
        Ok(trees(record, self.config_of(record)?.as_ref()))
    }

    fn path_of(&self, tree: &Tree) -> PathBuf {
        let kind = match tree {
            Tree::Layer(_) => &self.layers,
            Tree::Fixup(_) => &self.fixups,
        };
        let digest = tree.digest();
        let place = kind.path().join(digest.algorithm().as_str());
        place.join(digest.hex()).join("fs")
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
    pub fn record_image(
        &self,
        name: &dyn fmt::Display,
        platform: &Platform,
        record: &ImageRecord,
        documents: [&[u8]; 2],
    ) -> Result<(), Error> {
        // Documents without a name are removed by whoever holds this alone.
        let _naming = self.lock_names(LockMode::Shared)?;
        for (digest, bytes) in [&record.manifest, &record.config]
            .into_iter()
            .zip(documents)
        {
            if self.document(digest)?.is_none() {
                by_algorithm(&self.images, digest.algorithm())
                    .and_then(|images| images.replace(digest.hex(), bytes, 0o600))
                    .map_err(Error::Image)?;
            }
        }
        let name = record_name(name, platform);
        let there = self.read_record(&name)?;
        if there.is_some_and(|there| there.agrees(record)) {
            return self.refs.touch(&name).map(drop).map_err(Error::Image);
        }
        let content = serde_json::to_vec(record).unwrap_or_default();
        self.refs
            .replace(&name, &content, 0o600)
            .map_err(Error::Image)
    }

    /// Takes the lock under which names are recorded (shared) and documents removed (alone).
    pub(super) fn lock_names(&self, mode: LockMode) -> Result<Lock, Error> {
        at::open_dir(self.refs.as_fd(), b".")
            .and_then(|refs| Lock::on(refs, mode))
            .map_err(Error::Image)
    }

    /// All names, with what they stand for.
    pub(super) fn records(&self) -> Result<Records, Error> {
        let mut records = Records::default();
        for file in self.refs.names().map_err(Error::Image)? {
            if file.starts_with('.') {
                // Being written, or left by who died at it.
                continue;
            }
            let Some(used) = self.refs.modified(&file).map_err(Error::Image)? else {
                continue;
            };
            match self.read_record(&file)? {
                Some(record) => records.readable.push(Recorded { file, record, used }),
                None => records.unreadable.push(file),
            }
        }
        Ok(records)
    }

    pub(super) fn read_record(&self, name: &str) -> Result<Option<ImageRecord>, Error> {
        let content = match self.refs.read(name, DOCUMENT_LIMIT) {
            Err(error) if error.errno() == Errno::FBIG => return Ok(None),
            other => other.map_err(Error::Image)?,
        };
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
    }

    /// A manifest or configuration, if it is there and still has its digest.
    pub fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let content = self.raw_document(digest)?;
        Ok(content.filter(|content| digest.matches(content)))
    }

    /// What stands where a document should be, whatever it is.
    pub(super) fn raw_document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let images = absent(self.images.dir(digest.algorithm().as_str())).map_err(Error::Image)?;
        let content = images.map(|images| images.read(digest.hex(), DOCUMENT_LIMIT));
        match content.transpose() {
            Ok(content) => Ok(content.flatten()),
            Err(error) if error.errno() == Errno::FBIG => Ok(Some(Vec::new())),
            Err(error) => Err(Error::Image(error)),
        }
    }
}

/// What overlayfs stacks for an image, and what is hidden below it.
fn trees(record: &ImageRecord, config: Option<&ImageConfig>) -> Vec<Tree> {
    let fixup = record.fixup.clone().map(Tree::Fixup);
    let layers = config.into_iter().flat_map(ImageConfig::diff_ids).cloned();
    fixup.into_iter().chain(layers.map(Tree::Layer)).collect()
}

/// Names may be longer than a file name, and have slashes: their hash is used.
pub(super) fn record_name(name: &dyn fmt::Display, platform: &Platform) -> String {
    Digest::sha256(format!("{name} {platform}").as_bytes())
        .hex()
        .to_owned()
}
