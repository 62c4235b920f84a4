//! What a pull would find and fetch, found out by documents alone.

use std::path::Path;

use ucr_images::image::{Content, ImageConfig, Manifest, Origin, Schema1};
use ucr_images::store::Store;
use ucr_images::{Digest, Platform};

use super::error::PullError;
use super::layers::{self, Wanted, name_of_blob};
use super::learning::{not_measured, noted};
use super::{LocalRequest, Request};
use crate::budget::{Budget, Exceeded, Missing};
use crate::error::Error;
use crate::http::{self, Client, ShownUrl};
use crate::local::LocalImage;
use crate::progress::Progress;
use crate::registry::{Route, RouteContext};

/// What a name stands for now.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What the name itself stands for: an index, or the manifest.
    pub named: Digest,
    /// The manifest of the image for the platform.
    pub manifest: Digest,
    /// Of which kind the manifest is.
    pub kind: ManifestKind,
    /// The image ID: the digest of the configuration. Of schema 1 it is known only when all
    /// layers are.
    pub id: Option<Digest>,
    /// The platform that the configuration names.
    pub platform: Option<Platform>,
    /// The layers, lowest first; one that occurs twice is there once.
    pub layers: Vec<SurveyedLayer>,
    /// Why a pull would not begin to fetch them, as far as that is known before.
    pub refused: Option<Exceeded>,
}

/// What a manifest says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// All there is to know: Docker's schema 2, and OCI's.
    Whole,
    /// Neither sizes nor diff IDs: Docker's schema 1.
    Schema1,
}

/// One layer of an image, and what a pull would find of it in the store.
#[derive(Debug, Clone)]
pub struct SurveyedLayer {
    /// The layer, as the registry has it.
    pub digest: Digest,
    /// What it is, uncompressed; in an image of schema 1 only where somebody here has read it.
    pub diff_id: Option<Digest>,
    /// Its bytes, as the registry has it; `None` where nobody tells them, in an image of schema 1.
    pub size: Option<u64>,
    /// What is there of it.
    pub kept: Kept,
    /// Where it is had from instead of the registry, in this order.
    pub places: Vec<ShownUrl>,
}

/// What a store has of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it, with so many bytes in its files.
    Whole(u64),
    /// The same, but it needed a credential, and this repository is not known to hold it: it is
    /// fetched again, which shows that it is ours to have.
    Unproved(u64),
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

/// Finds out what a pull from files on this machine would unpack; writes nothing.
///
/// # Errors
/// What would end the pull before its first layer; also where it would have to copy an archive
/// before it could read it.
pub fn survey_local(store: Option<&Store>, request: &LocalRequest) -> Result<Survey, Error> {
    look_at_files(store, request).map_err(|error| Error::new(&request.name, error))
}

fn look_at_files(store: Option<&Store>, request: &LocalRequest) -> Result<Survey, PullError> {
    let LocalRequest {
        name,
        platform,
        budget,
        ..
    } = request;
    let image = LocalImage::open(name, platform, None)?;
    let config = ImageConfig::parse(&image.config)?;
    config.check_platform(platform)?;
    let manifest = image.resolved.content;
    let surveyed = layers::pair(&manifest, &config)?.into_iter().map(|wanted| {
        let there = store.map(|store| store.unpacked_bytes(&wanted.diff_id));
        Ok(SurveyedLayer {
            kept: match there.transpose()?.flatten() {
                Some(bytes) => Kept::Whole(bytes),
                // None of it has to be fetched.
                None => Kept::Part(wanted.layer.size),
            },
            digest: wanted.layer.digest,
            diff_id: Some(wanted.diff_id),
            size: Some(wanted.layer.size),
            places: Vec::new(),
        })
    });
    let layers = surveyed.collect::<Result<Vec<_>, PullError>>()?;
    Ok(Survey {
        refused: admit(store, budget, manifest.layers.len(), &layers).err(),
        named: image.resolved.named,
        manifest: image.resolved.digest,
        kind: ManifestKind::Whole,
        id: Some(manifest.config),
        platform: config.platform(),
        layers,
    })
}

fn look(
    store: Option<&Store>,
    context: RouteContext<'_>,
    request: &Request,
) -> Result<Survey, PullError> {
    let mut route = Route::new(context, &request.reference)?;
    let resolved = request.resolve(&mut route)?;
    let (kind, count) = match &resolved.content {
        Content::Manifest(manifest) => (ManifestKind::Whole, manifest.layers.len()),
        Content::Schema1(old) => (ManifestKind::Schema1, old.layers().len()),
    };
    let (id, config, blobs) = match resolved.content {
        Content::Manifest(manifest) => of_manifest(request, &mut route, manifest)?,
        Content::Schema1(old) => of_schema1(store, &mut route, &old)?,
    };
    config.check_platform(&request.platform)?;
    let surveyed = blobs.into_iter().map(|blob| {
        let kept = match store {
            Some(store) => kept(store, request, &blob)?,
            None => Kept::Part(0),
        };
        let places = match &blob.origin {
            Origin::Elsewhere(urls) => urls.iter().map(ShownUrl::from).collect(),
            Origin::Registry | Origin::Claimed(_) => Vec::new(),
        };
        Ok(SurveyedLayer {
            places,
            digest: blob.digest,
            diff_id: blob.diff_id,
            size: blob.size,
            kept,
        })
    });
    let layers = surveyed.collect::<Result<Vec<_>, PullError>>()?;
    Ok(Survey {
        refused: admit(store, &request.budget, count, &layers).err(),
        named: resolved.named,
        manifest: resolved.digest,
        kind,
        id,
        platform: config.platform(),
        layers,
    })
}

/// A layer, as far as the documents and the notes of the store tell.
struct Blob {
    digest: Digest,
    origin: Origin,
    size: Option<u64>,
    diff_id: Option<Digest>,
}

/// The image ID, as far as it is known, the configuration, and the layers, each once.
type Looked = (Option<Digest>, ImageConfig, Vec<Blob>);

fn of_manifest(
    request: &Request,
    route: &mut Route<'_>,
    mut manifest: Manifest,
) -> Result<Looked, PullError> {
    request.admit_foreign(&mut manifest)?;
    let config = ImageConfig::parse(&request.config(route, &manifest)?)?;
    let wanted = layers::pair(&manifest, &config)?;
    let blobs = wanted.into_iter().map(|Wanted { diff_id, layer }| Blob {
        digest: layer.digest,
        origin: layer.origin,
        size: Some(layer.size),
        diff_id: Some(diff_id),
    });
    Ok((Some(manifest.config), config, blobs.collect()))
}

fn of_schema1(
    store: Option<&Store>,
    route: &mut Route<'_>,
    old: &Schema1,
) -> Result<Looked, PullError> {
    let blobs = noted(store, old.layers())?
        .into_iter()
        .map(|(digest, note)| {
            let size = match &note {
                Some(note) => Some(note.bytes),
                None => {
                    let told = route.told_blob_size(digest);
                    told.map_err(|error| not_measured(digest, error))?
                }
            };
            Ok(Blob {
                digest: digest.clone(),
                origin: Origin::Registry,
                size,
                diff_id: note.map(|note| note.diff_id),
            })
        });
    let blobs = blobs.collect::<Result<Vec<_>, PullError>>()?;
    let known = |digest: &Digest| {
        let blob = blobs.iter().find(|blob| blob.digest == *digest)?;
        blob.diff_id.clone()
    };
    let diff_ids: Option<Vec<_>> = old.layers().iter().map(known).collect();
    let id = diff_ids
        .as_ref()
        .map(|all| Digest::sha256(&old.config(all)));
    let config = old.config(&diff_ids.unwrap_or_default());
    Ok((id, ImageConfig::parse(&config)?, blobs))
}

/// Whether a pull would begin to fetch what is missing.
fn admit(
    store: Option<&Store>,
    budget: &Budget,
    count: usize,
    layers: &[SurveyedLayer],
) -> Result<(), Exceeded> {
    budget.admit_layers(count)?;
    let mut missing = Missing::default();
    for layer in layers {
        let kept = match layer.kept {
            Kept::Whole(_) => None,
            Kept::Unproved(_) => Some(0),
            Kept::Part(kept) => Some(kept),
        };
        if let Some(kept) = kept {
            missing.layers += 1;
            // What is kept of one whose size nobody tells makes no room for another.
            if let Some(size) = layer.size {
                missing.bytes = missing.bytes.saturating_add(size);
                missing.kept = missing.kept.saturating_add(kept);
            }
        }
    }
    match store {
        Some(store) => budget.admit(missing, store.path(), store.room()),
        None => budget.admit(missing, Path::new(""), None),
    }
}

fn kept(store: &Store, request: &Request, blob: &Blob) -> Result<Kept, PullError> {
    if let Some(diff_id) = &blob.diff_id
        && let Some(bytes) = store.unpacked_bytes(diff_id)?
    {
        return Ok(match store.is_held(diff_id, &request.repository())? {
            true => Kept::Whole(bytes),
            false => Kept::Unproved(bytes),
        });
    }
    let name = name_of_blob(request, (&blob.digest, &blob.origin));
    Ok(Kept::Part(store.partial_bytes(&name)))
}
