//! All layers of an image: which are missing, and who makes them.
//!
//! Among processes, a layer is made by who holds its lock, and fetched by who
//! holds its blob's. A process takes all locks that it can have without
//! waiting, makes those layers, and only then waits for the rest, holding
//! none: nobody waits while others wait for it, so there is no deadlock.

use std::collections::HashSet;

use ucr_images::Digest;
use ucr_images::image::{self, ImageConfig, Layer, Manifest, Origin};
use ucr_images::store::{BlobName, LayerLock, Partial};

use super::access::Standing;
use super::error::PullError;
use super::fetching::{InParts, Place};
use super::flight;
use super::{Pull, Request};
use crate::budget::Missing;
use crate::progress::Event;
use crate::registry::{Route, Trail};

/// The most layers whose locks are held at once, with four descriptors each.
///
/// libcurl waits by select(2), which takes no descriptor beyond 1023, and that is as many as a
/// process usually may have.
pub(super) const MOST_CLAIMED: usize = 128;

/// A layer that the image needs.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What it must be, uncompressed.
    pub(super) diff_id: Digest,
    /// What the registry has it as.
    pub(super) layer: Layer,
}

/// Joins the manifest's layers with the configuration's diff IDs; one that occurs twice is wanted once.
pub(super) fn pair(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Wanted>, image::Error> {
    let diff_ids = config.diff_ids();
    if manifest.layers.len() != diff_ids.len() {
        let layers = manifest.layers.len();
        return Err(image::Error::LayerCount {
            layers,
            diff_ids: diff_ids.len(),
        });
    }
    let mut seen = HashSet::new();
    let pairs = diff_ids.iter().zip(&manifest.layers);
    Ok(pairs
        .filter(|(diff_id, _)| seen.insert(*diff_id))
        .map(|(diff_id, layer)| Wanted {
            diff_id: diff_id.clone(),
            layer: layer.clone(),
        })
        .collect())
}

/// What is to be done with a layer, and the right to it.
#[derive(Debug)]
pub(super) enum Task {
    /// To put it into the store.
    Make(LayerLock),
    /// To show, by fetching and verifying it, that the one in the store is ours to have.
    Prove(LayerLock),
    /// To find out what it is, and put it into the store as that.
    Learn,
}

/// A layer that is ours to fetch.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) layer: Layer,
    pub(super) partial: Partial,
    /// Whom to ask first.
    pub(super) place: Place,
    /// Whether to ask for parts.
    pub(super) in_parts: InParts,
    /// The places of the route that were passed over for it.
    pub(super) trail: Trail,
    /// What those outside said that were passed over for it.
    pub(super) passed: Vec<String>,
}

impl Job {
    /// A job that nobody has been asked for yet.
    pub(super) fn new(task: Task, layer: Layer, partial: Partial, route: &Route<'_>) -> Self {
        let place = match layer.origin {
            Origin::Elsewhere(_) => Place::Outside(0),
            Origin::Registry | Origin::Claimed(_) => Place::Route(route.first()),
        };
        Self {
            task,
            layer,
            partial,
            place,
            in_parts: InParts::Hoped,
            trail: Trail::default(),
            passed: Vec::new(),
        }
    }
}

/// Sees to it that all of `wanted` are in the store, by whoever's doing.
pub(super) fn fetch_missing(
    pull: &Pull<'_>,
    route: &mut Route<'_>,
    wanted: Vec<Wanted>,
) -> Result<(), PullError> {
    let mut missing = not_ours(pull, wanted)?;
    admit(pull, missing.iter().map(|wanted| &wanted.layer))?;
    // The order in which locks are taken, the same in every process.
    missing.sort_by(|one, two| one.diff_id.cmp(&two.diff_id));
    let mut watch = pull.watch();
    while !missing.is_empty() {
        let (ours, others) = claim(pull, route, missing)?;
        missing = others;
        if ours.is_empty() && !missing.is_empty() {
            let others = missing.iter().map(|wanted| {
                let maker = pull.store.maker(&wanted.diff_id);
                pull.awaited(&wanted.layer, maker)
            });
            watch.wait(others)?;
        } else if !ours.is_empty() {
            flight::fetch(pull, route, ours)?;
        }
        missing = not_ours(pull, missing)?;
    }
    Ok(())
}

/// Whether what is missing may be fetched, and can have room.
pub(super) fn admit<'l>(
    pull: &Pull<'_>,
    missing: impl Iterator<Item = &'l Layer> + Clone,
) -> Result<(), PullError> {
    let kept = missing
        .clone()
        .map(|layer| pull.store.partial_bytes(&blob_name(pull.request, layer)));
    let in_all = Missing {
        layers: missing.clone().count() as u64,
        kept: kept.fold(0, u64::saturating_add),
        bytes: bytes(missing),
    };
    let Pull { store, request, .. } = pull;
    Ok(request.budget.admit(in_all, store.path(), store.room())?)
}

/// The bytes of these layers as the registry has them; hostile sizes do not wrap.
pub(super) fn bytes<'l>(layers: impl Iterator<Item = &'l Layer>) -> u64 {
    layers.map(|layer| layer.size).fold(0, u64::saturating_add)
}

/// Those that are not in the store, or not ours to have.
fn not_ours(pull: &Pull<'_>, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, PullError> {
    let mut not_ours = Vec::new();
    for one in wanted {
        if pull.standing(&one)? == Standing::Ours {
            pull.progress.event(Event::LayerPresent {
                digest: &one.layer.digest,
            });
            // Whoever made the layer may have died before this was gone.
            pull.store
                .clear_blob(&blob_name(pull.request, &one.layer))?;
        } else {
            not_ours.push(one);
        }
    }
    Ok(not_ours)
}

/// Takes the locks that are free, as far as they are not too many.
fn claim(
    pull: &Pull<'_>,
    route: &Route<'_>,
    missing: Vec<Wanted>,
) -> Result<(Vec<Job>, Vec<Wanted>), PullError> {
    let mut ours = Vec::new();
    let mut others = Vec::new();
    for wanted in missing {
        if ours.len() == MOST_CLAIMED {
            others.push(wanted);
            continue;
        }
        let Some(lock) = pull.store.try_lock_layer(&wanted.diff_id)? else {
            others.push(wanted);
            continue;
        };
        let task = match pull.standing(&wanted)? {
            Standing::Absent => Task::Make(lock),
            Standing::Unproved => Task::Prove(lock),
            Standing::Ours => {
                // Since we looked.
                pull.store.unlock_layer(lock)?;
                others.push(wanted);
                continue;
            }
        };
        match (
            pull.store
                .try_lock_blob(&blob_name(pull.request, &wanted.layer))?,
            task,
        ) {
            (Some(partial), task) => {
                ours.push(Job::new(task, wanted.layer, partial, route));
            }
            // Somebody fetches it as another layer, which their image or ours says wrongly, or
            // without knowing as which.
            (None, Task::Make(lock) | Task::Prove(lock)) => {
                pull.store.unlock_layer(lock)?;
                others.push(wanted);
            }
            (None, Task::Learn) => others.push(wanted),
        }
    }
    Ok((ours, others))
}

/// What the layer's blob is known by among processes.
///
/// By where it comes from, too: nobody else completes what was begun there.
pub(super) fn blob_name(request: &Request, layer: &Layer) -> BlobName {
    name_of_blob(request, (&layer.digest, &layer.origin))
}

pub(super) fn name_of_blob(request: &Request, (digest, origin): (&Digest, &Origin)) -> BlobName {
    match origin {
        Origin::Elsewhere(_) => BlobName::outside(digest),
        Origin::Registry | Origin::Claimed(_) => {
            BlobName::new(request.reference.registry(), digest)
        }
    }
}
