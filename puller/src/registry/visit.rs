//! Single questions to a registry, outside of a pull: whether a credential is good, and
//! whether an image is there for it.

use ucr_images::{AuthScope, Digest, Reference, Registries};

use super::endpoint::Role;
use super::error::Error;
use super::exchange::Exchange;
use super::places;
use super::route::{Route, RouteContext};
use super::session::Session;
use crate::http::{self, Client};
use ucr_credentials::CredentialSource;

/// The most that an answer to `/v2/` is read of; it says nothing.
const GREETING_LIMIT: usize = 64 * 1024;

/// What a registry did with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It wanted one, and took it.
    Accepted,
    /// It did not want one here.
    NotAsked,
}

/// Somebody with questions: as whom, by which way and under which rules.
#[derive(Debug)]
pub struct Visitor<'a> {
    client: Client<'a>,
    registries: &'a Registries,
    credentials: &'a dyn CredentialSource,
}

impl<'a> Visitor<'a> {
    /// One that has not asked anything yet.
    pub fn new(
        settings: http::Settings,
        registries: &'a Registries,
        credentials: &'a dyn CredentialSource,
    ) -> Self {
        Self {
            client: Client::new(settings),
            registries,
            credentials,
        }
    }

    /// Asks a registry for its first word as whoever the credential for `scope` is of.
    ///
    /// # Errors
    /// When there is no answer, or the credential is not taken.
    pub fn log_in(&self, scope: &AuthScope) -> Result<Verdict, Error> {
        let nothing = String::new();
        let (host, role) = (scope.host.clone(), Role::Registry);
        let endpoint = places::endpoint(self.registries, host, nothing, role)?;
        let url = endpoint.base().clone();
        let mut session = Session::new(&self.context(), endpoint);
        session.ask(Exchange::new(url, &[]), GREETING_LIMIT)?;
        Ok(match session.authenticator.authorization() {
            Some(_) => Verdict::Accepted,
            None => Verdict::NotAsked,
        })
    }

    /// Asks for the digest of an image's manifest or index, and so whether it is there for us;
    /// `None` when it is, and nobody says the digest.
    ///
    /// # Errors
    /// When it is not, or there is no answer.
    pub fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        let mut route = Route::new(self.context(), reference)?;
        route.manifest_digest(&reference.manifest_key())
    }

    fn context(&self) -> RouteContext<'_> {
        RouteContext {
            client: &self.client,
            registries: self.registries,
            credentials: self.credentials,
            progress: &(),
        }
    }
}
