//! Pulling an image: from a name to layers in the store.

mod access;
mod ahead;
mod error;
mod fetching;
mod flight;
mod layers;
mod learning;
mod local;
mod pace;
mod survey;
mod unpack;
mod waiting;

pub use access::{check_access, may_have};
pub use error::{LayerError, PullError};
pub use local::{LocalRequest, pull_local};
pub use survey::{Kept, ManifestKind, Survey, SurveyedLayer, survey, survey_local};

use std::fmt;
use std::sync::Arc;

use ucr_images::image::{
    self, Content, Document, ForeignLayers, Found, ImageConfig, Manifest, Resolved, resolve,
    without_signatures,
};
use ucr_images::store::{self, ImageRecord, Store, StoredImage, Tree};
use ucr_images::{Digest, Platform, Reference, Registries};
use url::Url;

use self::layers::Wanted;
use crate::budget::{Budget, Meter};
use crate::error::Error;
use crate::http::{self, Client};
use crate::progress::{Event, Progress};
use crate::registry::{self, Route, RouteContext};
use ucr_credentials::CredentialSource;

/// The most that a configuration may hold.
const CONFIG_LIMIT: u64 = 4 * 1024 * 1024;

/// What to pull, and as whom.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image.
    pub reference: Reference,
    /// The platform, where the name stands for several.
    pub platform: Platform,
    /// Who knows as whom to ask, for whoever is asked.
    pub credentials: Arc<dyn CredentialSource>,
    /// What is configured for registries.
    pub registries: Registries,
    /// What the image may take.
    pub budget: Budget,
    /// What becomes of layers that its registry does not serve.
    pub foreign: ForeignLayers,
}

/// Pulls an image into the store; layers that are there already are not fetched.
///
/// When it returns the image is whole and verified; whether it would survive a
/// power cut is up to [`Store::settle`].
///
/// # Errors
/// The first trouble, whatever it is; nothing unverified can be seen in the store then.
pub fn pull(
    store: &Store,
    settings: http::Settings,
    request: &Request,
    progress: &dyn Progress,
) -> Result<StoredImage, Error> {
    with(store, settings, request, progress, |pull| pull.run())
        .map_err(|error| Error::new(&request.reference, error))
}

/// Does a pull's `work`, or some of it.
fn with<T>(
    store: &Store,
    settings: http::Settings,
    request: &Request,
    progress: &dyn Progress,
    work: impl FnOnce(&Pull<'_>) -> Result<T, PullError>,
) -> Result<T, PullError> {
    let teller = Teller(progress);
    let client = Client::telling(settings, &teller);
    let room = || store.room();
    let meter = Meter::new(&request.budget, store.path(), &room);
    work(&Pull {
        store,
        client: &client,
        request,
        progress,
        meter: &meter,
    })
}

/// Passes on to the progress what the transport does again.
struct Teller<'p>(&'p dyn Progress);

impl fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

impl http::Listener for Teller<'_> {
    fn retrying(&self, retrying: &http::Retrying) {
        self.0.event(Event::Retrying(retrying));
    }
}

struct Pull<'a> {
    store: &'a Store,
    client: &'a Client<'a>,
    request: &'a Request,
    progress: &'a dyn Progress,
    meter: &'a Meter<'a>,
}

/// What a manifest comes to.
struct Described {
    /// The image ID: the digest of the configuration.
    id: Digest,
    /// The bytes of the configuration.
    bytes: Vec<u8>,
    config: ImageConfig,
    /// The layers that are still to be seen to, each once.
    wanted: Vec<Wanted>,
}

impl Pull<'_> {
    fn run(&self) -> Result<StoredImage, PullError> {
        let Request {
            reference,
            platform,
            ..
        } = self.request;
        let mut route = self.route()?;
        if let Some(image) = self.unchanged(&mut route)? {
            return Ok(image);
        }
        let resolved = self.request.resolve(&mut route)?;
        let digest = &resolved.digest;
        let image = match resolved.content {
            Content::Manifest(manifest) => self.described(&mut route, digest, manifest)?,
            Content::Schema1(old) => learning::described(self, &mut route, (digest, &old))?,
        };
        let diff_ids = image.config.diff_ids();
        let trees: Vec<_> = diff_ids.iter().cloned().map(Tree::Layer).collect();
        self.store.hold(Some(&image.id), &trees)?;
        layers::fetch_missing(self, &mut route, image.wanted)?;
        let record = ImageRecord {
            reference: reference.to_string(),
            platform: platform.to_string(),
            fixup: self.store.fix_up(diff_ids)?,
            manifest: resolved.digest,
            config: image.id,
            resolved: Some(resolved.named),
            pulled: Some(store::now()),
            private: route.proves(),
        };
        let documents = [&resolved.bytes[..], &image.bytes[..]];
        self.store
            .record_image(reference, platform, &record, documents)?;
        self.remember(&route)?;
        // Not by its name, which somebody may have taken away again: what it is of is held.
        self.store
            .stacked(record, image.config)?
            .ok_or(PullError::Vanished)
    }

    /// What a manifest comes to that names a configuration.
    fn described(
        &self,
        route: &mut Route<'_>,
        digest: &Digest,
        mut manifest: Manifest,
    ) -> Result<Described, PullError> {
        self.request.admit_foreign(&mut manifest)?;
        let Request {
            platform, budget, ..
        } = self.request;
        budget.admit_layers(manifest.layers.len())?;
        let bytes = self.config(route, &manifest)?;
        let config = ImageConfig::parse(&bytes)?;
        config.check_platform(platform)?;
        let wanted = layers::pair(&manifest, &config)?;
        self.progress.event(Event::Resolved {
            manifest: digest,
            bytes: layers::bytes(wanted.iter().map(|one| &one.layer)),
            layers: wanted.len(),
        });
        Ok(Described {
            id: manifest.config,
            bytes,
            config,
            wanted,
        })
    }

    /// The way to the image.
    fn route(&self) -> Result<Route<'_>, PullError> {
        self.store.check_writable()?;
        let context = RouteContext {
            client: self.client,
            registries: &self.request.registries,
            credentials: &*self.request.credentials,
            progress: self.progress,
        };
        Ok(Route::new(context, &self.request.reference)?)
    }

    /// The image in the store, if the name still stands for it: one question to the registry,
    /// which also tells whether we may have it.
    fn unchanged(&self, route: &mut Route<'_>) -> Result<Option<StoredImage>, PullError> {
        let Request {
            reference,
            platform,
            ..
        } = self.request;
        let Some(image) = self.store.image_to_use(reference, platform)? else {
            return Ok(None);
        };
        self.anticipate(route);
        let now = route.manifest_digest(&reference.manifest_key())?;
        if now.is_none() || now != image.resolved {
            return Ok(None);
        }
        self.progress.event(Event::Unchanged {
            manifest: &image.manifest,
        });
        self.remember(route)?;
        Ok(Some(image))
    }

    /// The configuration, from the store or the registry, verified.
    fn config(&self, route: &mut Route<'_>, manifest: &Manifest) -> Result<Vec<u8>, PullError> {
        match self.store.document(&manifest.config)? {
            Some(bytes) => Ok(bytes),
            None => self.request.config(route, manifest),
        }
    }
}

impl Request {
    /// Finds the one manifest that the reference and the platform stand for.
    fn resolve(&self, route: &mut Route<'_>) -> Result<Resolved, PullError> {
        let Self {
            reference,
            platform,
            ..
        } = self;
        let key = reference.manifest_key();
        let first = self.document(route, &key, reference.digest())?;
        resolve(first, platform, &mut |digest| {
            self.document(route, &digest.to_string(), Some(digest))
        })
    }

    /// Fetches one manifest or index, verified against `expected` if that is known.
    fn document(
        &self,
        route: &mut Route<'_>,
        key: &str,
        expected: Option<&Digest>,
    ) -> Result<Found, PullError> {
        let answer = route.manifest(key, expected)?;
        let bytes = without_signatures(&answer.bytes)?.into_owned();
        if let Some(expected) = expected
            && !expected.matches(&bytes)
        {
            return Err(PullError::ManifestDigest {
                expected: expected.clone(),
                actual: Digest::sha256(&bytes),
            });
        }
        Ok(Found {
            document: Document::parse(&bytes, answer.content_type.as_deref())?,
            digest: expected.cloned().unwrap_or_else(|| Digest::sha256(&bytes)),
            bytes,
        })
    }

    /// Decides where foreign layers are fetched from, or refuses the image for them.
    fn admit_foreign(&self, manifest: &mut Manifest) -> Result<(), image::Error> {
        let is_blocked = |url: &Url| registry::check_target(&self.registries, url).is_err();
        manifest.admit_foreign(self.foreign, &is_blocked)
    }

    /// The configuration from the registry, verified.
    fn config(&self, route: &mut Route<'_>, manifest: &Manifest) -> Result<Vec<u8>, PullError> {
        let declared = manifest.config_size;
        if declared > CONFIG_LIMIT {
            return Err(PullError::ConfigSize {
                declared,
                actual: None,
                limit: CONFIG_LIMIT,
            });
        }
        let limit = usize::try_from(CONFIG_LIMIT).unwrap_or(usize::MAX);
        let bytes = route.small_blob(&manifest.config, limit)?;
        let actual = bytes.len() as u64;
        if actual != declared {
            let actual = Some(actual);
            return Err(PullError::ConfigSize {
                declared,
                actual,
                limit: CONFIG_LIMIT,
            });
        }
        if !manifest.config.matches(&bytes) {
            let expected = manifest.config.clone();
            return Err(PullError::ConfigDigest {
                expected,
                actual: Digest::sha256(&bytes),
            });
        }
        Ok(bytes)
    }
}
