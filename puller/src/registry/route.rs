//! The way to an image: its registry's mirrors one after the other, then the registry itself.

use ucr_images::image::{media_type, without_signatures};
use ucr_images::{Credential, Digest, Reference, Registries};

use super::endpoint::{Endpoint, Role};
use super::error::Error;
use super::places;
use super::session::{Manifest, Session};
use crate::http::Client;
use crate::progress::{Event, Progress};
use ucr_credentials::CredentialSource;

/// A mirror that did not give what was asked of it, and why.
#[derive(Debug)]
pub struct PassedOver {
    /// The mirror.
    pub endpoint: Endpoint,
    /// What it said, or did.
    pub error: Box<Error>,
}

impl PassedOver {
    /// All of them as one message.
    pub(super) fn list(mirrors: &[Self]) -> String {
        let shown = mirrors
            .iter()
            .map(|one| format!("{} did not help ({})", one.endpoint, one.error));
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// What was tried for one question so far.
#[derive(Debug, Default)]
pub(crate) struct Trail(Vec<PassedOver>);

/// Sessions with everybody who may have the image, in the order in which they are asked.
pub(crate) struct Route<'c> {
    sessions: Vec<Session<'c>>,
    /// Those that could not be reached, or not be trusted: they are not asked again.
    down: Vec<bool>,
    progress: &'c dyn Progress,
}

/// What connects a route to the rest of a pull.
#[derive(Clone, Copy)]
pub(crate) struct RouteContext<'c> {
    /// What requests are sent by.
    pub(crate) client: &'c Client<'c>,
    /// What is configured for registries.
    pub(crate) registries: &'c Registries,
    /// Where credentials are looked for.
    pub(crate) credentials: &'c dyn CredentialSource,
    /// Who is told of a mirror that does not help.
    pub(crate) progress: &'c dyn Progress,
}

impl<'c> Route<'c> {
    /// The way to an image; nobody is asked yet.
    ///
    /// # Errors
    /// When a registry on the way is blocked, or the reference's own is no host.
    pub(crate) fn new(context: RouteContext<'c>, reference: &Reference) -> Result<Self, Error> {
        let endpoints = places::endpoints(context.registries, reference)?;
        let down = vec![false; endpoints.len()];
        let sessions = endpoints
            .into_iter()
            .map(|endpoint| Session::new(&context, endpoint));
        Ok(Self {
            sessions: sessions.collect(),
            down,
            progress: context.progress,
        })
    }

    /// How many may be asked; the last one is the registry itself.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The registry itself, whoever is asked before it.
    pub(crate) fn registry(&mut self) -> &mut Session<'c> {
        let last = self.len() - 1;
        self.session(last)
    }

    /// One who may be asked.
    pub(crate) fn session(&mut self, index: usize) -> &mut Session<'c> {
        &mut self.sessions[index]
    }

    /// Whether a proof was sent to anybody: what came may then not be for everybody.
    pub(crate) fn proves(&self) -> bool {
        self.sessions.iter().any(Session::proves)
    }

    /// Where we were let in for a credential, and for which.
    pub(crate) fn let_in(&self) -> impl Iterator<Item = (&Endpoint, &Credential)> {
        self.sessions.iter().filter_map(|session| {
            let credential = session.let_in_for()?;
            Some((session.endpoint(), credential))
        })
    }

    /// Who let us in by which challenge, as text.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = (&Endpoint, &str)> {
        self.sessions
            .iter()
            .filter_map(|session| Some((session.endpoint(), session.challenge()?)))
    }

    /// Has first requests bring the proof that a challenge of lately demanded, where `of` knows one.
    pub(crate) fn anticipate(&mut self, of: impl Fn(&Endpoint) -> Option<String>) {
        for session in &mut self.sessions {
            if let Some(challenge) = of(session.endpoint()) {
                session.anticipate(challenge);
            }
        }
    }

    /// Who is asked first.
    pub(crate) fn first(&self) -> usize {
        self.from(0)
    }

    /// Who is asked after one that failed.
    ///
    /// # Errors
    /// What to end with when there is nobody left, or asking others would not help.
    pub(crate) fn after(
        &mut self,
        index: usize,
        error: Error,
        trail: &mut Trail,
    ) -> Result<usize, Error> {
        let endpoint = self.sessions[index].endpoint();
        // Our own files do not get better by asking somebody else.
        if matches!(error, Error::Credentials(_)) {
            return Err(error);
        }
        if endpoint.role() == Role::Registry {
            let mirrors = std::mem::take(&mut trail.0);
            return Err(match mirrors.is_empty() {
                true => error,
                false => Error::Everywhere {
                    mirrors,
                    source: Box::new(error),
                },
            });
        }
        self.progress.event(Event::MirrorPassedOver {
            endpoint,
            error: &error,
        });
        self.down[index] |= error.is_of_connection();
        trail.0.push(PassedOver {
            endpoint: endpoint.clone(),
            error: Box::new(error),
        });
        Ok(self.from(index + 1))
    }

    /// The first from `index` on that is not known to be down; the registry itself always is
    /// worth a question.
    fn from(&self, index: usize) -> usize {
        let last = self.len() - 1;
        (index..last).find(|at| !self.down[*at]).unwrap_or(last)
    }

    /// Fetches a manifest or index by tag or digest from the first who has it.
    ///
    /// What a mirror sends must be a manifest, and of that digest where one is `expected`;
    /// what the registry itself sends is for the caller to verify.
    pub(crate) fn manifest(
        &mut self,
        key: &str,
        expected: Option<&Digest>,
    ) -> Result<Manifest, Error> {
        self.ask(|session| {
            let manifest = session.manifest(key)?;
            let is_known = |kind: &String| media_type::ACCEPTED_MANIFESTS.contains(&kind.as_str());
            let fits = manifest.content_type.as_ref().is_some_and(is_known)
                && without_signatures(&manifest.bytes)
                    .is_ok_and(|text| expected.is_none_or(|expected| expected.matches(&text)));
            Ok((manifest, fits))
        })
    }

    /// Asks the first who has a manifest or index for its digest; see [`Session::manifest_digest`].
    pub(crate) fn manifest_digest(&mut self, key: &str) -> Result<Option<Digest>, Error> {
        self.ask(|session| Ok((session.manifest_digest(key)?, true)))
    }

    /// Fetches a small blob into memory from the first who has it.
    ///
    /// What a mirror sends must be it; what the registry itself sends is for the caller to verify.
    pub(crate) fn small_blob(&mut self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        self.ask(|session| {
            let bytes = session.small_blob(digest, limit)?;
            let fits = digest.matches(&bytes);
            Ok((bytes, fits))
        })
    }

    /// Asks the first who has a blob how many bytes it has; see [`Session::told_blob_size`].
    pub(crate) fn told_blob_size(&mut self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.ask(|session| Ok((session.told_blob_size(digest)?, true)))
    }

    /// As [`Route::told_blob_size`], counting where nobody tells; see [`Session::blob_size`].
    pub(crate) fn blob_size(&mut self, digest: &Digest, most: u64) -> Result<u64, Error> {
        self.ask(|session| Ok((session.blob_size(digest, most)?, true)))
    }

    fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut Session<'c>) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let mut trail = Trail::default();
        let mut index = self.first();
        loop {
            let session = &mut self.sessions[index];
            let error = match question(session) {
                Ok((answer, fits)) if fits || session.endpoint().role() == Role::Registry => {
                    return Ok(answer);
                }
                Ok(_) => Error::OtherContent {
                    endpoint: session.endpoint().to_string(),
                },
                Err(error) => error,
            };
            index = self.after(index, error, &mut trail)?;
        }
    }
}
