//! All layers of an image: which are missing, and who makes them.
//!
//! Among processes, a layer is made by who holds its lock, and fetched by who
//! holds its blob's. A process takes all locks that it can have without
//! waiting, makes those layers, and only then waits for the rest, holding
//! none: nobody waits while others wait for it, so there is no deadlock.

use std::collections::HashSet;

use super::Pull;
use super::access::Standing;
use super::error::PullError;
use super::fetching::InParts;
use super::flight;
use super::waiting::Watch;
use crate::Digest;
use crate::budget::Missing;
use crate::image::{self, ImageConfig, Layer, Manifest};
use crate::progress::Event;
use crate::registry::{Route, Trail};
use crate::store::{BlobName, LayerLock, Partial};

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

/// What is to be done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// To put it into the store.
    Make,
    /// To show, by fetching and verifying it, that the one in the store is ours to have.
    Prove,
}

/// A layer that is ours to fetch.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) wanted: Wanted,
    pub(super) lock: LayerLock,
    pub(super) partial: Partial,
    /// The place of the route to ask first.
    pub(super) place: usize,
    /// Whether to ask for parts.
    pub(super) in_parts: InParts,
    /// The places that were passed over for it.
    pub(super) trail: Trail,
}

/// Sees to it that all of `wanted` are in the store, by whoever's doing.
pub(super) fn fetch_missing(
    pull: &Pull<'_>,
    route: &mut Route<'_>,
    wanted: Vec<Wanted>,
) -> Result<(), PullError> {
    let mut missing = not_ours(pull, wanted)?;
    admit(pull, &missing)?;
    // The order in which locks are taken, the same in every process.
    missing.sort_by(|one, two| one.diff_id.cmp(&two.diff_id));
    let mut watch = Watch::new(pull);
    while !missing.is_empty() {
        let (ours, others) = claim(pull, route, missing)?;
        missing = others;
        if ours.is_empty() && !missing.is_empty() {
            watch.wait(&missing)?;
        } else if !ours.is_empty() {
            flight::fetch(pull, route, ours)?;
        }
        missing = not_ours(pull, missing)?;
    }
    Ok(())
}

/// Whether what is missing may be fetched, and can have room.
fn admit(pull: &Pull<'_>, missing: &[Wanted]) -> Result<(), PullError> {
    let kept = missing
        .iter()
        .map(|wanted| pull.store.partial_bytes(&blob_name(pull, wanted)));
    let in_all = Missing {
        layers: missing.len() as u64,
        bytes: bytes(missing),
        kept: kept.fold(0, u64::saturating_add),
    };
    let Pull { store, request, .. } = pull;
    Ok(request.budget.admit(in_all, store.path(), store.room())?)
}

/// The bytes of these layers as the registry has them; hostile sizes do not wrap.
pub(super) fn bytes(layers: &[Wanted]) -> u64 {
    let sizes = layers.iter().map(|one| one.layer.size);
    sizes.fold(0, u64::saturating_add)
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
            pull.store.clear_blob(&blob_name(pull, &one))?;
        } else {
            not_ours.push(one);
        }
    }
    Ok(not_ours)
}

/// Takes the locks that are free; layers that turn out to be there are left out.
fn claim(
    pull: &Pull<'_>,
    route: &Route<'_>,
    missing: Vec<Wanted>,
) -> Result<(Vec<Job>, Vec<Wanted>), PullError> {
    let mut ours = Vec::new();
    let mut others = Vec::new();
    for wanted in missing {
        let Some(lock) = pull.store.try_lock_layer(&wanted.diff_id)? else {
            others.push(wanted);
            continue;
        };
        let task = match pull.standing(&wanted)? {
            Standing::Absent => Task::Make,
            Standing::Unproved => Task::Prove,
            Standing::Ours => {
                // Since we looked.
                pull.store.unlock_layer(lock)?;
                others.push(wanted);
                continue;
            }
        };
        match pull.store.try_lock_blob(&blob_name(pull, &wanted))? {
            Some(partial) => ours.push(Job {
                task,
                wanted,
                lock,
                partial,
                place: route.first(),
                in_parts: InParts::Hoped,
                trail: Trail::default(),
            }),
            // Somebody fetches it as another layer: their image or ours tells a lie.
            None => {
                pull.store.unlock_layer(lock)?;
                others.push(wanted);
            }
        }
    }
    Ok((ours, others))
}

/// What the layer's blob is known by among processes.
pub(super) fn blob_name(pull: &Pull<'_>, wanted: &Wanted) -> BlobName {
    BlobName::new(pull.request.reference.registry(), &wanted.layer.digest)
}
