//! Layers of images that say neither what they hold nor how large they are (Docker's schema 1).
//!
//! Such a blob is fetched under its own lock, unpacked in staging, and put in the place of the
//! diff ID that it turns out to have, where nobody's claim had a part in that. The layer's lock
//! is only tried: others may be waiting for blobs that are still being fetched here. What is
//! another's to make just now stays in staging until nothing is being fetched any more.

use std::collections::{HashMap, HashSet};

use ucr_images::Digest;
use ucr_images::image::{ImageConfig, Layer, Origin, Schema1};
use ucr_images::store::{BlobContent, Staging, Store, Tree};

use super::error::{LayerError, PullError};
use super::flight;
use super::layers::{Job, MOST_CLAIMED, Task, Wanted, admit, blob_name, bytes};
use super::unpack::Learnt;
use super::{Described, Pull};
use crate::progress::Event;
use crate::registry::{self, Route};

/// A blob of the image, and what is in it as far as the store has a note of that.
#[derive(Debug)]
struct Blob {
    layer: Layer,
    diff_id: Option<Digest>,
}

/// A layer that stands in staging by the name of its blob.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) layer: Layer,
    pub(super) learnt: Learnt,
}

/// What became of blobs that nobody had a note of.
#[derive(Debug, Default)]
struct Found {
    /// Their layers were put into the store here.
    here: Vec<Wanted>,
    /// Somebody else has found out meanwhile.
    elsewhere: Vec<Wanted>,
}

/// What an image of schema 1 comes to, for which the blobs that are not known are fetched.
///
/// # Errors
/// Before anything is fetched when it would take too much, as far as the registry tells sizes.
pub(super) fn described(
    pull: &Pull<'_>,
    route: &mut Route<'_>,
    (manifest, old): (&Digest, &Schema1),
) -> Result<Described, PullError> {
    let layers = old.layers();
    pull.request.budget.admit_layers(layers.len())?;
    let nothing = ImageConfig::parse(&old.config(&[]))?;
    nothing.check_platform(&pull.request.platform)?;
    let most = pull.request.budget.most_bytes(pull.store.room());
    let blobs = look_up(pull.store, (route, most), layers)?;
    pull.progress.event(Event::Resolved {
        manifest,
        bytes: bytes(blobs.iter().map(|blob| &blob.layer)),
        layers: blobs.len(),
    });
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for Blob { layer, diff_id } in blobs {
        match diff_id {
            Some(diff_id) => known.push(Wanted { diff_id, layer }),
            None => unknown.push(layer),
        }
    }
    let missing = pull.not_ours(&known)?;
    admit(pull, missing.into_iter().chain(&unknown))?;
    let found = learn(pull, route, unknown)?;
    known.extend(found.elsewhere);
    let contents = known.iter().chain(&found.here);
    let contents: HashMap<_, _> = contents
        .map(|one| (&one.layer.digest, &one.diff_id))
        .collect();
    let diff_ids: Vec<Digest> = layers.iter().map(|blob| contents[blob].clone()).collect();
    let bytes = old.config(&diff_ids);
    let mut seen: HashSet<_> = found.here.into_iter().map(|one| one.diff_id).collect();
    known.retain(|one| seen.insert(one.diff_id.clone()));
    Ok(Described {
        id: Digest::sha256(&bytes),
        config: ImageConfig::parse(&bytes)?,
        bytes,
        wanted: known,
    })
}

/// Each blob once, and the note that the store has of it.
pub(super) fn noted<'b>(
    store: Option<&Store>,
    blobs: &'b [Digest],
) -> Result<Vec<(&'b Digest, Option<BlobContent>)>, PullError> {
    let mut seen = HashSet::new();
    let once = blobs.iter().filter(|digest| seen.insert(*digest));
    let noted = once.map(|digest| {
        let note = store.map(|store| store.content_of(digest)).transpose()?;
        Ok((digest, note.flatten()))
    });
    noted.collect()
}

/// Each blob once, with its size, which the registry is asked for where no note has it.
///
/// Where they have to be counted, no more than `most` bytes are in all.
fn look_up(
    store: &Store,
    (route, mut most): (&mut Route<'_>, u64),
    blobs: &[Digest],
) -> Result<Vec<Blob>, PullError> {
    let mut found = Vec::new();
    for (digest, note) in noted(Some(store), blobs)? {
        let (size, diff_id) = match note {
            Some(BlobContent { diff_id, bytes }) => (bytes, Some(diff_id)),
            None => {
                let size = route.blob_size(digest, most);
                (size.map_err(|error| not_measured(digest, error))?, None)
            }
        };
        most = most.saturating_sub(size);
        let layer = Layer {
            digest: digest.clone(),
            size,
            origin: Origin::Registry,
        };
        found.push(Blob { layer, diff_id });
    }
    Ok(found)
}

/// Nobody could be asked how large a blob is.
pub(super) fn not_measured(digest: &Digest, error: registry::Error) -> PullError {
    PullError::Layer {
        digest: digest.clone(),
        source: Box::new(LayerError::Registry(error)),
    }
}

/// Sees to it that all of `missing` are in the store, by whoever's doing.
///
/// Holds no lock while it waits for another, as in `layers`.
fn learn(
    pull: &Pull<'_>,
    route: &mut Route<'_>,
    mut missing: Vec<Layer>,
) -> Result<Found, PullError> {
    let mut found = Found::default();
    let mut watch = pull.watch();
    missing.sort_by(|one, two| one.digest.cmp(&two.digest));
    while !missing.is_empty() {
        let mut ours = Vec::new();
        let mut others = Vec::new();
        for layer in missing {
            if ours.len() == MOST_CLAIMED {
                others.push(layer);
                continue;
            }
            let Some(partial) = pull.store.try_lock_blob(&blob_name(pull.request, &layer))? else {
                others.push(layer);
                continue;
            };
            partial.sign();
            match pull.store.content_of(&layer.digest)? {
                // Since we looked.
                Some(BlobContent { diff_id, .. }) => {
                    found.elsewhere.push(Wanted { diff_id, layer });
                }
                None => ours.push(Job::new(Task::Learn, layer, partial, route)),
            }
        }
        missing = others;
        if !ours.is_empty() {
            found.here.extend(flight::fetch(pull, route, ours)?);
        } else if !missing.is_empty() {
            watch.wait(missing.iter().map(|layer| {
                let maker = pull.store.fetcher(&blob_name(pull.request, layer));
                pull.awaited(layer, maker)
            }))?;
        }
    }
    Ok(found)
}

/// Puts a layer that was learnt in its place, unless somebody else is making it just now.
///
/// Whatever was there is the same: it has the same diff ID.
pub(super) fn commit(
    pull: &Pull<'_>,
    route: &Route<'_>,
    (staging, staged): (&Staging, &Staged),
) -> Result<bool, PullError> {
    let Staged { layer, learnt } = staged;
    let diff_id = &learnt.diff_id;
    let lock = pull.store.try_lock_layer(diff_id)?;
    match &lock {
        Some(lock) => {
            let name = layer.digest.hex();
            pull.store
                .commit_layer(lock, staging, name, &learnt.applied)?;
        }
        None if pull.store.has_layer(diff_id)? => {}
        None => return Ok(false),
    }
    pull.record_holder(diff_id, route)?;
    if let Some(lock) = lock {
        pull.store.unlock_layer(lock)?;
    }
    let digest = &layer.digest;
    pull.progress.event(Event::LayerDone { digest });
    Ok(true)
}

/// Commits what somebody else was making, waiting for that; nothing is being fetched here.
pub(super) fn commit_aside(
    pull: &Pull<'_>,
    route: &Route<'_>,
    staging: &Staging,
    mut aside: Vec<Staged>,
) -> Result<(), PullError> {
    let mut watch = pull.watch();
    loop {
        let mut others = Vec::new();
        for staged in aside {
            if !commit(pull, route, (staging, &staged))? {
                others.push(staged);
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        watch.wait(others.iter().map(|staged| {
            let maker = pull.store.maker(&staged.learnt.diff_id);
            pull.awaited(&staged.layer, maker)
        }))?;
        aside = others;
    }
}

impl Staged {
    /// Keeps the layer from being removed once it is in its place.
    pub(super) fn hold(&self, pull: &Pull<'_>) -> Result<(), PullError> {
        let tree = Tree::Layer(self.learnt.diff_id.clone());
        Ok(pull.store.hold(None, &[tree])?)
    }

    /// Notes what the blob was found to hold.
    pub(super) fn note(&self, pull: &Pull<'_>) -> Result<(), PullError> {
        let content = BlobContent {
            diff_id: self.learnt.diff_id.clone(),
            bytes: self.layer.size,
        };
        Ok(pull.store.note_content(&self.layer.digest, &content)?)
    }

    /// What the layer is, now that it is known.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            diff_id: self.learnt.diff_id.clone(),
            layer: self.layer.clone(),
        }
    }
}
