//! What a pull would find and fetch, found out by documents alone.

use std::path::Path;

use super::Request;
use super::error::PullError;
use super::layers::{self, Wanted};
use crate::budget::{Exceeded, Missing};
use crate::error::Error;
use crate::http::{self, Client};
use crate::image::ImageConfig;
use crate::progress::Progress;
use crate::registry::{Route, RouteContext};
use crate::store::{BlobName, Store};
use crate::{Digest, Platform};

/// What a name stands for now.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What the name itself stands for: an index, or the manifest.
    pub named: Digest,
    /// The manifest of the image for the platform.
    pub manifest: Digest,
    /// The image ID: the digest of the configuration.
    pub id: Digest,
    /// The platform that the configuration names.
    pub platform: Option<Platform>,
    /// The layers, lowest first; one that occurs twice is there once.
    pub layers: Vec<SurveyedLayer>,
    /// Why a pull would not begin to fetch them, as far as that is known before.
    pub refused: Option<Exceeded>,
}

/// One layer of an image, and what a pull would find of it in the store.
#[derive(Debug, Clone)]
pub struct SurveyedLayer {
    /// The layer, as the registry has it.
    pub digest: Digest,
    /// What it is, uncompressed.
    pub diff_id: Digest,
    /// Its bytes, as the registry has it.
    pub size: u64,
    /// What is there of it.
    pub kept: Kept,
}

/// What a store has of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it, with so many bytes in its files.
    Whole(u64),
    /// So many bytes of what the registry has, which may be none.
    Part(u64),
}

/// Finds out what a pull would fetch, and fetches none of the layers; writes nothing.
///
/// # Errors
/// What would end the pull before its first layer.
pub fn survey(
    store: Option<&Store>,
    settings: http::Settings,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Survey, Error> {
    let client = Client::new(settings);
    let context = RouteContext {
        client: &client,
        registries: &request.registries,
        credentials: &*request.credentials,
        progress,
    };
    look(store, context, request).map_err(|error| Error::new(&request.reference, error))
}

fn look(
    store: Option<&Store>,
    context: RouteContext<'_>,
    request: &Request,
) -> Result<Survey, PullError> {
    let mut route = Route::new(context, &request.reference)?;
    let resolved = request.resolve(&mut route)?;
    let config = request.config(&mut route, &resolved.manifest)?;
    let config = ImageConfig::parse(&config)?;
    config.check_platform(&request.platform)?;
    let wanted = layers::pair(&resolved.manifest, &config)?;
    let surveyed = wanted.into_iter().map(|wanted| {
        let kept = store.map_or(Ok(Kept::Part(0)), |store| kept(store, request, &wanted))?;
        Ok(SurveyedLayer {
            digest: wanted.layer.digest,
            diff_id: wanted.diff_id,
            size: wanted.layer.size,
            kept,
        })
    });
    let layers = surveyed.collect::<Result<Vec<_>, PullError>>()?;
    let count = resolved.manifest.layers.len();
    Ok(Survey {
        refused: admit(store, request, count, &layers).err(),
        named: resolved.named,
        manifest: resolved.digest,
        id: resolved.manifest.config,
        platform: config.platform(),
        layers,
    })
}

/// Whether a pull would begin to fetch what is missing.
fn admit(
    store: Option<&Store>,
    request: &Request,
    count: usize,
    layers: &[SurveyedLayer],
) -> Result<(), Exceeded> {
    request.budget.admit_layers(count)?;
    let mut missing = Missing::default();
    for layer in layers {
        if let Kept::Part(bytes) = layer.kept {
            missing.layers += 1;
            missing.bytes = missing.bytes.saturating_add(layer.size);
            missing.kept = missing.kept.saturating_add(bytes);
        }
    }
    match store {
        Some(store) => request.budget.admit(missing, store.path(), store.room()),
        None => request.budget.admit(missing, Path::new(""), None),
    }
}

fn kept(store: &Store, request: &Request, wanted: &Wanted) -> Result<Kept, PullError> {
    if let Some(bytes) = store.unpacked_bytes(&wanted.diff_id)? {
        return Ok(Kept::Whole(bytes));
    }
    let blob = BlobName::new(request.reference.registry(), &wanted.layer.digest);
    Ok(Kept::Part(store.partial_bytes(&blob)))
}
