//! From what a name stands for to one image: through indexes, and indexes in those.

use std::collections::HashSet;

use oci_spec::image::{Descriptor, ImageIndex};

use super::descriptor::described;
use super::error::Error;
use super::index::Candidates;
use super::manifest::{Document, Manifest};
use super::schema1::Schema1;
use crate::{Digest, Platform};

/// How deep indexes are followed: the outermost and two below, one more than is ever seen.
const MAX_DEPTH: usize = 3;
/// How many indexes are looked into.
const MAX_INDEXES: usize = 16;

/// A document, with its bytes, whose digest is verified.
#[derive(Debug)]
pub struct Found {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub document: Document,
}

/// The manifest of one image, with its bytes.
#[derive(Debug)]
pub struct Resolved<C = Content> {
    /// What the name itself stands for: an index or the manifest.
    pub named: Digest,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub content: C,
}

/// What the manifest of one image says, by its kind.
#[derive(Debug)]
pub enum Content {
    /// Where the configuration is, and each layer with its size.
    Manifest(Manifest),
    /// The layers, of which it knows neither size nor diff ID, and a configuration without those.
    Schema1(Box<Schema1>),
}

impl Resolved {
    /// The same, unless it is of schema 1, which says too little for an image in files.
    ///
    /// # Errors
    /// When it is.
    pub fn into_manifest(self) -> Result<Resolved<Manifest>, Error> {
        match self.content {
            Content::Manifest(content) => Ok(Resolved {
                named: self.named,
                digest: self.digest,
                bytes: self.bytes,
                content,
            }),
            Content::Schema1(_) => Err(Error::Schema1 {
                why: "images of that kind are had from registries only",
            }),
        }
    }
}

/// Finds the image for `platform`, beginning with `first`; `fetch` gives verified documents.
///
/// An image of the index itself is preferred to those of indexes within. One
/// that says no platform is taken when there is nothing else: its configuration says.
///
/// # Errors
/// What `fetch` says, and everything that is odd on the way.
pub fn resolve<E: From<Error>>(
    first: Found,
    platform: &Platform,
    fetch: &mut dyn FnMut(&Digest) -> Result<Found, E>,
) -> Result<Resolved, E> {
    let mut search = Search {
        platform,
        fetch,
        seen: HashSet::from([first.digest.clone()]),
        available: Vec::new(),
    };
    let named = first.digest.clone();
    let Document::Index(index) = first.document else {
        return Ok(as_image(first)?);
    };
    if let Some(resolved) = search.within(&index, 1)? {
        return Ok(Resolved { named, ..resolved });
    }
    let mut available = search.available;
    available.retain(|name| name != "unknown/unknown");
    if available.is_empty() {
        available.push("no platform at all".to_owned());
    }
    let wanted = platform.to_string();
    Err(Error::NoSuchPlatform { wanted, available }.into())
}

fn as_image(found: Found) -> Result<Resolved, Error> {
    let content = match found.document {
        Document::Manifest(manifest) => Content::Manifest(manifest),
        Document::Schema1(old) => Content::Schema1(old),
        Document::Index(_) => {
            let why = "an index calls another index an image".to_owned();
            return Err(Error::Ambiguous { why });
        }
    };
    Ok(Resolved {
        named: found.digest.clone(),
        digest: found.digest,
        bytes: found.bytes,
        content,
    })
}

struct Search<'s, E> {
    platform: &'s Platform,
    fetch: &'s mut dyn FnMut(&Digest) -> Result<Found, E>,
    /// Indexes that have been looked into.
    seen: HashSet<Digest>,
    /// The platforms of all images that were passed over.
    available: Vec<String>,
}

impl<E: From<Error>> Search<'_, E> {
    fn within(&mut self, index: &ImageIndex, depth: usize) -> Result<Option<Resolved>, E> {
        let candidates = Candidates::of(index, self.platform);
        if let Some(entry) = candidates.fitting {
            return Ok(Some(as_image(self.fetch(entry)?)?));
        }
        self.available.extend(candidates.platforms);
        for entry in candidates.nested {
            if let Some(resolved) = self.nested(entry, depth + 1)? {
                return Ok(Some(resolved));
            }
        }
        match candidates.unnamed[..] {
            [only] => Ok(Some(as_image(self.fetch(only)?)?)),
            _ => Ok(None),
        }
    }

    fn nested(&mut self, entry: &Descriptor, depth: usize) -> Result<Option<Resolved>, E> {
        if !self.seen.insert(described(entry)?.0) {
            return Ok(None);
        }
        if depth > MAX_DEPTH {
            return Err(Error::IndexDepth { limit: MAX_DEPTH }.into());
        }
        if self.seen.len() > MAX_INDEXES {
            return Err(Error::IndexCount { limit: MAX_INDEXES }.into());
        }
        match self.fetch(entry)?.document {
            Document::Index(index) => self.within(&index, depth),
            _ => {
                let why = "an index calls an image an index".to_owned();
                Err(Error::Ambiguous { why }.into())
            }
        }
    }

    fn fetch(&mut self, entry: &Descriptor) -> Result<Found, E> {
        let (digest, declared) = described(entry)?;
        let found = (self.fetch)(&digest)?;
        let actual = found.bytes.len() as u64;
        // Of a signed manifest the size may be with the signatures or without, and Docker never
        // looks at it: the digest says what is meant.
        let is_signed = matches!(found.document, Document::Schema1(_));
        if actual != declared && !is_signed {
            return Err(Error::EntrySize {
                digest,
                declared,
                actual,
            }
            .into());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::image::media_type::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, SCHEMA1_SIGNED};

    /// Documents by digest, and how often one was asked for.
    #[derive(Default)]
    struct Shelf {
        documents: HashMap<Digest, Vec<u8>>,
        asked: usize,
    }

    impl Shelf {
        fn put(&mut self, document: &Value) -> Digest {
            let bytes = serde_json::to_vec(document).unwrap();
            let digest = Digest::sha256(&bytes);
            self.documents.insert(digest.clone(), bytes);
            digest
        }

        /// An image that differs from others by its name, and its entry for an index.
        fn image(&mut self, name: &str, platform: Option<&str>) -> Value {
            let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::sha256(name.as_bytes()).to_string(), "size": 1});
            let digest = self.put(&json!({"schemaVersion": 2, "config": config, "layers": []}));
            self.entry(OCI_MANIFEST, &digest, platform)
        }

        fn index(&mut self, entries: &[Value]) -> Digest {
            self.put(&json!({"schemaVersion": 2, "manifests": entries}))
        }

        fn entry(&self, media_type: &str, digest: &Digest, platform: Option<&str>) -> Value {
            let size = self.documents.get(digest).map_or(1, Vec::len);
            let mut entry =
                json!({"mediaType": media_type, "digest": digest.to_string(), "size": size});
            if let Some((os, architecture)) = platform.and_then(|name| name.split_once('/')) {
                entry["platform"] = json!({"os": os, "architecture": architecture});
            }
            entry
        }

        fn nest(&mut self, entries: &[Value]) -> Value {
            let digest = self.index(entries);
            self.entry(OCI_INDEX, &digest, None)
        }

        fn found(&self, digest: &Digest) -> Result<Found, Error> {
            let bytes = self.documents[digest].clone();
            Ok(Found {
                digest: digest.clone(),
                document: Document::parse(&bytes, None)?,
                bytes,
            })
        }

        /// The name of the image that an index of `entries` leads to.
        fn resolve(&mut self, entries: &[Value], platform: &str) -> Result<Digest, Error> {
            let digest = self.index(entries);
            let first = self.found(&digest)?;
            let mut asked = 0;
            let resolved = resolve(first, &platform.parse().unwrap(), &mut |digest| {
                asked += 1;
                self.found(digest)
            });
            self.asked = asked;
            match resolved?.content {
                Content::Manifest(manifest) => Ok(manifest.config),
                Content::Schema1(old) => Ok(old.layers()[0].clone()),
            }
        }
    }

    fn name(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    #[test]
    fn the_first_image_that_fits_is_taken() {
        let mut shelf = Shelf::default();
        let arm = shelf.image("arm", Some("linux/arm64"));
        let mut first = shelf.image("first", Some("linux/amd64"));
        first["mediaType"] = json!(DOCKER_MANIFEST);
        let second = shelf.image("second", Some("linux/amd64"));
        let found = shelf.resolve(&[arm, first, second], "linux/amd64").unwrap();
        assert_eq!((found, shelf.asked), (name("first"), 1));
    }

    #[test]
    fn an_image_without_a_variant_comes_before_one_with() {
        let mut shelf = Shelf::default();
        let mut newer = shelf.image("newer", Some("linux/amd64"));
        newer["platform"]["variant"] = json!("v3");
        let plain = shelf.image("plain", Some("linux/amd64"));
        let list = [newer.clone(), plain];
        assert_eq!(shelf.resolve(&list, "linux/amd64").unwrap(), name("plain"));
        let only = shelf.resolve(&[newer], "linux/amd64").unwrap();
        assert_eq!(only, name("newer"));
    }

    #[test]
    fn p69_when_none_fits_the_message_lists_what_there_is() {
        let mut shelf = Shelf::default();
        let arm = shelf.image("arm", Some("linux/arm64"));
        let attestation = shelf.image("attestation", Some("unknown/unknown"));
        let z = shelf.image("z", Some("linux/s390x"));
        let inner = shelf.nest(&[z]);
        let error = shelf.resolve(&[arm, attestation, inner], "linux/amd64");
        let expected = "there is no image for linux/amd64, only for linux/arm64, linux/s390x";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }

    #[test]
    fn p69_an_image_is_found_in_an_index_within() {
        let mut shelf = Shelf::default();
        let image = shelf.image("image", Some("linux/amd64"));
        let inner = shelf.nest(&[image]);
        let middle = shelf.nest(&[inner]);
        let found = shelf.resolve(&[middle], "linux/amd64").unwrap();
        assert_eq!(found, name("image"));
    }

    #[test]
    fn p69_the_only_image_that_says_no_platform_is_taken() {
        let mut shelf = Shelf::default();
        let one = shelf.image("one", None);
        let other = shelf.image("other", None);
        let found = shelf
            .resolve(std::slice::from_ref(&one), "linux/amd64")
            .unwrap();
        assert_eq!(found, name("one"));
        let refused = shelf.resolve(&[one, other], "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::NoSuchPlatform { .. }));
    }

    #[test]
    fn a_manifest_of_schema_1_may_be_in_an_index_as_docker_has_it() {
        let mut shelf = Shelf::default();
        let blob = name("blob");
        let described = json!({"id": "a".repeat(64)}).to_string();
        let old = shelf.put(&json!({"schemaVersion": 1,
            "fsLayers": [{"blobSum": blob.to_string()}],
            "history": [{"v1Compatibility": described}]}));
        let mut entry = shelf.entry(SCHEMA1_SIGNED, &old, Some("linux/amd64"));
        entry["size"] = json!(1);
        assert_eq!(shelf.resolve(&[entry], "linux/amd64").unwrap(), blob);
    }

    #[test]
    fn p69_a_hundred_indexes_deep_is_too_deep() {
        let mut shelf = Shelf::default();
        let image = shelf.image("image", Some("linux/amd64"));
        let deep = (0..100).fold(image, |inner, _| shelf.nest(&[inner]));
        let refused = shelf.resolve(&[deep], "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::IndexDepth { limit: 3 }));
        assert_eq!(shelf.asked, 2);
    }

    #[test]
    fn p69_an_index_is_looked_into_once() {
        let mut shelf = Shelf::default();
        let arm = shelf.image("arm", Some("linux/arm64"));
        let inner = shelf.nest(&[arm]);
        let refused = shelf
            .resolve(&vec![inner; 1000], "linux/amd64")
            .unwrap_err();
        assert!(matches!(refused, Error::NoSuchPlatform { .. }));
        assert_eq!(shelf.asked, 1);
        let many: Vec<_> = (0..100)
            .map(|n| {
                let arm = shelf.image(&n.to_string(), Some("linux/arm64"));
                shelf.nest(&[arm])
            })
            .collect();
        let refused = shelf.resolve(&many, "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::IndexCount { limit: 16 }));
    }

    #[test]
    fn p69_an_index_that_names_itself_is_not_followed() {
        let mut shelf = Shelf::default();
        // No index can hold its own digest: this is what a search sees that trusts the name.
        let own = name("itself");
        let entry = shelf.entry(OCI_INDEX, &own, None);
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        shelf
            .documents
            .insert(own.clone(), serde_json::to_vec(&index).unwrap());
        let first = shelf.found(&own).unwrap();
        let refused = resolve(first, &Platform::host(), &mut |digest| shelf.found(digest));
        assert!(matches!(refused, Err(Error::NoSuchPlatform { .. })));
    }

    #[test]
    fn p66_an_entry_says_how_large_the_document_is_and_what() {
        let mut shelf = Shelf::default();
        let mut image = shelf.image("image", Some("linux/amd64"));
        image["size"] = json!(image["size"].as_u64().unwrap() + 1);
        let refused = shelf.resolve(&[image.clone()], "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::EntrySize { .. }));
        image["size"] = json!(image["size"].as_u64().unwrap() - 1);
        image["mediaType"] = json!(OCI_INDEX);
        let refused = shelf.resolve(&[image], "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::Ambiguous { .. }));
        let mut index = shelf.nest(&[]);
        index["mediaType"] = json!(OCI_MANIFEST);
        index["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let refused = shelf.resolve(&[index], "linux/amd64").unwrap_err();
        assert!(matches!(refused, Error::Ambiguous { .. }));
    }
}
