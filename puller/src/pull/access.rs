//! Who may have what the store holds: whoever the registry would give it to.
//!
//! An image that needed a credential is had out of the store by who was let in
//! lately with the same, or is now. A layer that needed one is had by who may
//! read a repository that holds it; anybody else fetches it again, which shows
//! that they can.

use std::time::Duration;

use ucr_credentials::{AccessError, was_let_in};
use ucr_images::image::Layer;
use ucr_images::registries::Place;
use ucr_images::store::{Claim, Holder, Store, StoredImage};
use ucr_images::{Credential, Digest};

use super::Pull;
use super::error::PullError;
use super::layers::Wanted;
use crate::Request;
use crate::error::Error;
use crate::http;
use crate::progress::Progress;
use crate::registry::{self, Endpoint, Route};

/// How a layer stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there, and ours to use.
    Ours,
    /// It is there, and somebody else's as far as we have shown.
    Unproved,
    /// It is not there.
    Absent,
}

impl<'p> Pull<'p> {
    /// How a layer stands with who pulls from this repository.
    pub(super) fn standing(&self, wanted: &Wanted) -> Result<Standing, PullError> {
        let diff_id = &wanted.diff_id;
        if !self.store.has_layer(diff_id)? {
            return Ok(Standing::Absent);
        }
        let held = self.store.is_held(diff_id, &self.repository())?;
        Ok(if held {
            Standing::Ours
        } else {
            Standing::Unproved
        })
    }

    /// Those that are not in the store, or not ours to have.
    pub(super) fn not_ours<'w>(&self, wanted: &'w [Wanted]) -> Result<Vec<&'w Layer>, PullError> {
        let mut not_ours = Vec::new();
        for one in wanted {
            if self.standing(one)? != Standing::Ours {
                not_ours.push(&one.layer);
            }
        }
        Ok(not_ours)
    }

    /// Records that whoever may read this repository may have the layer.
    pub(super) fn record_holder(
        &self,
        diff_id: &Digest,
        route: &Route<'_>,
    ) -> Result<(), PullError> {
        let holder = match route.proves() {
            false => Holder::Public,
            true => self.repository(),
        };
        Ok(self.store.record_holder(diff_id, &holder)?)
    }

    /// Remembers for a while that we were let in.
    pub(super) fn remember(&self, route: &Route<'_>) -> Result<(), PullError> {
        for (endpoint, credential) in route.let_in() {
            self.store
                .remember(&claim(endpoint, credential, &host(endpoint)))?;
        }
        for (endpoint, challenge) in route.challenges() {
            let place = [&*host(endpoint), endpoint.repository()];
            self.store.remember_challenge(place, challenge)?;
        }
        Ok(())
    }

    /// Has the first question bring the proof that the registry wanted of somebody lately: an
    /// image that is there takes one round trip then.
    pub(super) fn anticipate(&self, route: &mut Route<'_>) {
        route.anticipate(|endpoint| {
            let place = [&*host(endpoint), endpoint.repository()];
            // Without it the registry is asked first.
            self.store.challenge_of(place).ok().flatten()
        });
    }

    fn repository(&self) -> Holder<'p> {
        self.request.repository()
    }
}

impl Request {
    /// Who is known to hold a layer, where this repository does.
    pub(super) fn repository(&self) -> Holder<'_> {
        Holder::Repository {
            registry: self.reference.registry(),
            repository: self.reference.repository(),
        }
    }
}

/// Whether who asks may have an image that is in the store, without asking anybody: nobody
/// needed a credential for it, or the registry has let them in within the last `ttl`.
///
/// # Errors
/// When a place where credentials are kept, or the store, cannot be read.
pub fn may_have(
    (store, image): (&Store, &StoredImage),
    request: &Request,
    ttl: Duration,
) -> Result<bool, Error> {
    let look = || Ok(!image.private || is_remembered(store, request, ttl)?);
    look().map_err(|error| Error::of_access(&request.reference, error))
}

/// Asks the registry whether who asks may have an image that is in the store, and remembers it.
///
/// # Errors
/// When the registry does not let them in, or cannot be asked.
pub fn check_access(
    (store, image): (&Store, &StoredImage),
    settings: http::Settings,
    request: &Request,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let check = |pull: &Pull<'_>| {
        let mut route = pull.route()?;
        route.manifest_digest(&image.manifest.to_string())?;
        pull.remember(&route)
    };
    super::with(store, settings, request, progress, check)
        .map_err(|error| Error::of_access(&request.reference, error))
}

/// Whether the registry let us in lately for a credential that we still have.
fn is_remembered(store: &Store, request: &Request, ttl: Duration) -> Result<bool, PullError> {
    let endpoints = registry::endpoints(&request.registries, &request.reference)?;
    let place = |endpoint: &Endpoint| Place {
        host: endpoint.host().clone(),
        repository: endpoint.repository().to_owned(),
    };
    let places: Vec<_> = endpoints.iter().map(place).collect();
    let let_in = was_let_in(store, &places, &*request.credentials, ttl);
    let_in.map_err(|error| match error {
        AccessError::Credentials(error) => registry::Error::from(error).into(),
        AccessError::Store(error) => error.into(),
    })
}

fn host(endpoint: &Endpoint) -> String {
    endpoint.host().to_string()
}

fn claim<'a>(endpoint: &'a Endpoint, credential: &'a Credential, host: &'a str) -> Claim<'a> {
    Claim {
        registry: host,
        repository: endpoint.repository(),
        credential,
    }
}
