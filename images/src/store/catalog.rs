//! What is in the store, as people ask for it: by name, by image ID, with sizes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::error::Error;
use super::image::{ImageRecord, Recorded, record_name};
use super::layout::Store;
use super::remove::Removed;
use super::tree::Tree;
use crate::image::ImageConfig;
use crate::{Digest, ImageName, Platform, Reference};

/// The shortest beginning of an image ID that is looked for.
const SHORTEST_ID: usize = 4;

/// One name with what it stands for.
#[derive(Debug, Clone)]
pub struct ImageEntry {
    file: String,
    record: ImageRecord,
    config: Option<ImageConfig>,
    pub(super) trees: Vec<Tree>,
    /// When it was last pulled or run.
    pub last_used: SystemTime,
    /// Bytes of all files in its layers.
    pub bytes: u64,
    /// The names of its pins.
    pub pins: Vec<String>,
    /// Whether all of it is there and can be trusted.
    pub is_whole: bool,
}

impl ImageEntry {
    /// The normalised name.
    pub fn reference(&self) -> &str {
        &self.record.reference
    }

    /// The platform that was asked for.
    pub fn platform(&self) -> &str {
        &self.record.platform
    }

    /// The image ID: the digest of the configuration.
    pub fn id(&self) -> &Digest {
        &self.record.config
    }

    /// The digest of the manifest.
    pub fn manifest(&self) -> &Digest {
        &self.record.manifest
    }

    /// The digest that the name stood for: of an index, or of the manifest.
    pub fn resolved(&self) -> &Digest {
        self.record.resolved.as_ref().unwrap_or(self.manifest())
    }

    /// When it was last pulled, if that was recorded.
    pub fn pulled(&self) -> Option<SystemTime> {
        let pulled = Duration::from_secs(self.record.pulled?);
        SystemTime::UNIX_EPOCH.checked_add(pulled)
    }

    /// Whether it was given to who showed a credential.
    pub fn is_private(&self) -> bool {
        self.record.private
    }

    /// The configuration, if it is there and undamaged.
    pub fn config(&self) -> Option<&ImageConfig> {
        self.config.as_ref()
    }

    /// Registry and repository, and the tag if there is one, as Docker's list shows them.
    pub fn name_and_tag(&self) -> (&str, Option<&str>) {
        let name = self.reference();
        if name.parse::<Reference>().is_err() {
            // One of this machine's files, whose path may have anything in it.
            return (name, None);
        }
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        match name.rsplit_once(':') {
            // A colon before a slash is that of a port.
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        }
    }

    /// Whether it cannot be run without this.
    pub fn needs(&self, tree: &Tree) -> bool {
        self.trees.contains(tree)
    }

    pub(super) fn recorded(&self) -> (&str, &ImageRecord) {
        (&self.file, &self.record)
    }
}

/// Everything in the store that has a name.
#[derive(Debug, Default)]
pub struct Catalog {
    /// One entry for each name and platform, the last used first.
    pub images: Vec<ImageEntry>,
    /// Bytes of all trees that these share.
    pub bytes: u64,
    /// Files of names that hold no record.
    pub unreadable: Vec<String>,
}

impl Catalog {
    /// The entries that `wanted` means: a name, an image ID, or the beginning of one.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] when it is the beginning of several IDs.
    pub fn find(&self, wanted: &str) -> Result<Vec<&ImageEntry>, Error> {
        let name = wanted.parse::<ImageName>();
        let name = name.map_or_else(|_| wanted.to_owned(), |name| name.to_string());
        let named: Vec<_> = self
            .images
            .iter()
            .filter(|entry| entry.reference() == name || entry.reference() == wanted)
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
        let hex = wanted.split_once(':').map_or(wanted, |(_, hex)| hex);
        let begins = |digest: &Digest| {
            digest.hex().starts_with(hex)
                && (wanted == hex || digest.to_string().starts_with(wanted))
        };
        let found: Vec<_> = self
            .images
            .iter()
            .filter(|entry| hex.len() >= SHORTEST_ID && begins(entry.id()))
            .collect();
        let ids: BTreeSet<_> = found.iter().map(|entry| entry.id()).collect();
        if ids.len() > 1 {
            return Err(Error::Ambiguous {
                wanted: wanted.to_owned(),
                count: ids.len(),
            });
        }
        Ok(found)
    }
}

/// What became of a name that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untagged {
    /// The image ID, when that was its last name.
    pub image: Option<Digest>,
    /// Layers that nobody needed any more.
    pub removed: Vec<Removed>,
    /// Who still uses the image, so that its layers stay for now.
    pub user: Option<String>,
}

impl Store {
    /// Lists everything that has a name.
    ///
    /// # Errors
    /// When the store cannot be read; what cannot be understood in it is listed as such.
    pub fn catalog(&self) -> Result<Catalog, Error> {
        let records = self.records()?;
        let pins = self.pins()?;
        let mut sizes = HashMap::new();
        let mut images = Vec::with_capacity(records.readable.len());
        for recorded in records.readable {
            let mut entry = self.entry(recorded, &mut sizes)?;
            let pins = pins.iter().filter(|pin| !pin.is_over());
            let of_it = pins.filter(|pin| pin.image() == entry.id());
            entry.pins = of_it.map(|pin| pin.name().to_owned()).collect();
            images.push(entry);
        }
        images.sort_by(|one, two| {
            let by_use = two.last_used.cmp(&one.last_used);
            by_use.then_with(|| one.reference().cmp(two.reference()))
        });
        Ok(Catalog {
            images,
            bytes: sizes.values().flatten().sum(),
            unreadable: records.unreadable,
        })
    }

    /// The configuration of an image as the registry had it, if it is there and undamaged.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn configuration(&self, entry: &ImageEntry) -> Result<Option<Vec<u8>>, Error> {
        self.document(entry.id())
    }

    /// Where the directories of an image are that overlayfs stacks, top first; none where it is
    /// not whole.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stack_of(&self, entry: &ImageEntry) -> Result<Vec<PathBuf>, Error> {
        let image = self.whole(entry.record.clone())?;
        Ok(image.map(|image| image.lower).unwrap_or_default())
    }

    /// Takes a name away and nothing else.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_name(
        &self,
        reference: &dyn fmt::Display,
        platform: &Platform,
    ) -> Result<(), Error> {
        let file = record_name(reference, platform);
        self.refs.remove(&file).map_err(Error::Remove)
    }

    fn entry(
        &self,
        recorded: Recorded,
        sizes: &mut HashMap<Tree, Option<u64>>,
    ) -> Result<ImageEntry, Error> {
        let Recorded { file, record, used } = recorded;
        let trees = self.trees_of(&record)?;
        let mut bytes = 0;
        let mut is_whole = true;
        for tree in &trees {
            let size = match sizes.get(tree) {
                Some(size) => *size,
                None => {
                    let size = self.trusted_tree(tree)?.map(|open| open.meta.bytes);
                    sizes.insert(tree.clone(), size);
                    size
                }
            };
            bytes += size.unwrap_or_default();
            is_whole &= size.is_some();
        }
        let config = self.document(&record.config)?;
        let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
        Ok(ImageEntry {
            file,
            trees,
            last_used: used,
            bytes,
            pins: Vec::new(),
            is_whole: is_whole && config.is_some(),
            config,
            record,
        })
    }

    /// Takes a name away, and with the last one of an image the layers that nobody else needs.
    ///
    /// # Errors
    /// [`Error::Kept`] when it is the last name of an image that is pinned or in use, and
    /// `even_if_used` is not set.
    pub fn untag(&self, entry: &ImageEntry, even_if_used: bool) -> Result<Untagged, Error> {
        self.check_writable()?;
        let others = self.records()?.readable;
        let is_last = !others
            .iter()
            .any(|other| other.record.config == *entry.id() && other.file != entry.file);
        let leases = self.live_leases().map_err(Error::Remove)?;
        let user = leases
            .iter()
            .find(|lease| lease.images.contains(entry.id()));
        let user = user.filter(|_| is_last).map(super::lease::Live::holder);
        if is_last && !even_if_used {
            let kept = |why, pin| Error::Kept {
                reference: entry.reference().to_owned(),
                why,
                pin,
            };
            if let Some(user) = &user {
                return Err(kept(format!("{user} is using it"), None));
            }
            if let Some(pin) = entry.pins.first() {
                return Err(kept(format!("pin {pin:?} keeps it"), Some(pin.clone())));
            }
        }
        self.refs.remove(&entry.file).map_err(Error::Remove)?;
        if !is_last {
            return Ok(Untagged {
                image: None,
                removed: Vec::new(),
                user: None,
            });
        }
        for pin in &entry.pins {
            self.unpin(pin)?;
        }
        self.remove_old_documents()?;
        Ok(Untagged {
            image: Some(entry.id().clone()),
            removed: self.remove_unneeded(&entry.trees)?,
            user,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reference: &str) -> ImageEntry {
        let digest = Digest::sha256(reference.as_bytes());
        ImageEntry {
            file: digest.hex().to_owned(),
            record: ImageRecord {
                reference: reference.to_owned(),
                platform: "linux/amd64".to_owned(),
                manifest: digest.clone(),
                config: digest,
                fixup: None,
                resolved: None,
                pulled: None,
                private: false,
            },
            config: None,
            trees: Vec::new(),
            last_used: SystemTime::UNIX_EPOCH,
            bytes: 0,
            pins: Vec::new(),
            is_whole: true,
        }
    }

    #[test]
    fn a_name_is_split_as_docker_shows_it() {
        let digest = Digest::sha256(b"x");
        let pinned = format!("r.example:5000/a/b@{digest}");
        for (reference, name, tag) in [
            ("r.example/a:1", "r.example/a", Some("1")),
            ("r.example:5000/a/b:x", "r.example:5000/a/b", Some("x")),
            (pinned.as_str(), "r.example:5000/a/b", None),
        ] {
            assert_eq!(entry(reference).name_and_tag(), (name, tag), "{reference}");
        }
    }

    #[test]
    fn an_image_is_found_by_name_id_and_the_beginning_of_an_id() {
        let catalog = Catalog {
            images: vec![entry("r.example/a:1"), entry("r.example/a:2")],
            ..Catalog::default()
        };
        let id = catalog.images[0].id();
        for wanted in ["r.example/a:1", &id.to_string(), id.hex(), id.short()] {
            let found = catalog.find(wanted).unwrap();
            assert_eq!(found.len(), 1, "{wanted}");
            assert_eq!(found[0].reference(), "r.example/a:1");
        }
        for wanted in ["", "a", "r.example/a:3", "sha512:", &id.hex()[..3]] {
            assert!(catalog.find(wanted).unwrap().is_empty(), "{wanted}");
        }
    }
}
