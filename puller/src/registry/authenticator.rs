//! Proving to one registry who asks: which credential is looked for when, and what becomes of it.

use std::time::Instant;

use ucr_images::registries::Transport;
use ucr_images::{Credential, Registries, Secret};
use url::Url;

use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::error::Error;
use super::error_body;
use super::places;
use super::realm::{self, Carrying};
use super::token::{self, Due, Failure, Grant, Token, TokenRequest};
use crate::http::{Client, Response};
use ucr_credentials::{CredentialSource, Found};

/// Why an answer may be met with another proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// It says which proof it wants.
    Challenge,
    /// The proof that was sent has expired; it need not say which it wants.
    Renewal,
}

/// What is sent with each request, and how to get the next one.
#[derive(Debug, Clone)]
struct Proof {
    value: Secret,
    /// What it was got by; `None` for one that is made of the credential itself.
    token: Option<(TokenRequest, Due)>,
}

/// The proofs for one repository at one place.
#[derive(Debug)]
pub(super) struct Authenticator<'c> {
    client: &'c Client<'c>,
    registries: &'c Registries,
    credentials: &'c dyn CredentialSource,
    endpoint: Endpoint,
    /// What was found, once a proof was wanted.
    found: Option<Option<Found>>,
    proof: Option<Proof>,
    /// What a token server gave for the time after a token, and where that was.
    refresh: Option<(TokenRequest, Secret)>,
    /// Whether the registry has answered what the proof at hand was sent with.
    accepted: bool,
    /// The challenge that was met, as text.
    challenge: Option<String>,
    anticipation: Anticipation,
}

/// Whether a proof is sent before one is wanted: where one was wanted lately.
#[derive(Debug, Default)]
enum Anticipation {
    /// It is not.
    #[default]
    None,
    /// It will be, as this challenge demanded.
    Of(String),
    /// It was; the registry has not said yet that it wants another.
    Sent,
}

impl<'c> Authenticator<'c> {
    /// Without a proof: none is sent before the registry asks for one.
    pub(super) fn new(
        client: &'c Client<'c>,
        registries: &'c Registries,
        credentials: &'c dyn CredentialSource,
        endpoint: Endpoint,
    ) -> Self {
        Self {
            client,
            registries,
            credentials,
            endpoint,
            found: None,
            proof: None,
            refresh: None,
            accepted: false,
            challenge: None,
            anticipation: Anticipation::None,
        }
    }

    /// Has the next request bring the proof that a challenge of lately demanded.
    pub(super) fn anticipate(&mut self, challenge: String) {
        self.anticipation = Anticipation::Of(challenge);
    }

    /// The challenge by which the registry has let us in, as text.
    pub(super) fn challenge(&self) -> Option<&str> {
        self.challenge.as_deref().filter(|_| self.accepted)
    }

    /// The place that all this is for.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What is configured for whoever is sent to.
    pub(super) fn registries(&self) -> &Registries {
        self.registries
    }

    /// The proof to send with requests to the registry's own origin.
    pub(super) fn authorization(&self) -> Option<&Secret> {
        self.proof.as_ref().map(|proof| &proof.value)
    }

    /// As whom the last request was made; `None` for nobody in particular.
    pub(super) fn who(&self) -> Option<String> {
        self.known().map(ToString::to_string)
    }

    /// Whether a proof made of a credential is sent, whatever becomes of it.
    pub(super) fn proves(&self) -> bool {
        self.proof.is_some() && self.known().is_some()
    }

    /// The credential that the registry has let us in for, if it wanted one.
    pub(super) fn let_in_for(&self) -> Option<&Credential> {
        let found = self.known().filter(|_| self.accepted)?;
        Some(&found.credential)
    }

    /// Notes that the registry has answered what it was sent with `proof`.
    pub(super) fn accept(&mut self, proof: Option<&Secret>) {
        if proof.is_some() && proof == self.authorization() {
            self.accepted = true;
            self.anticipation = Anticipation::None;
        }
    }

    /// Forgets a proof that was brought unasked, when the registry demands one all the same: it
    /// may let in who proves nothing, by now. Returns whether there was one.
    pub(super) fn forget_unasked(&mut self, demand: Demand) -> bool {
        let unasked = matches!(self.anticipation, Anticipation::Sent);
        let forgotten = unasked && demand == Demand::Challenge;
        if forgotten {
            self.anticipation = Anticipation::None;
            self.proof = None;
            self.challenge = None;
        }
        forgotten
    }

    /// Makes sure of a proof before a request, where one is known to be wanted.
    ///
    /// Whatever goes wrong is left to what the registry says to a request without.
    pub(super) fn prepare(&mut self) {
        match std::mem::take(&mut self.anticipation) {
            Anticipation::Of(challenge) => {
                if let Err(error) = self.meet_beforehand(challenge) {
                    let host = self.endpoint.host();
                    tracing::debug!(%host, %error, "no proof as was demanded lately");
                }
            }
            other => self.anticipation = other,
        }
        self.renew_if_due();
    }

    /// Gets the proof that a challenge of lately demanded.
    fn meet_beforehand(&mut self, text: String) -> Result<(), Error> {
        if self.endpoint.transport() == Transport::PlainHttp {
            return Ok(());
        }
        let Some(found) = self.find()? else {
            return Ok(());
        };
        match (challenge::of_memory(&text), &found.credential) {
            (Some(Challenge::Basic), Credential::Login(login)) => {
                let value = login.basic();
                self.proof = Some(Proof { value, token: None });
            }
            (Some(Challenge::Bearer(wanted)), _) => self.take_bearer(wanted)?,
            _ => return Ok(()),
        }
        self.challenge = Some(text);
        self.anticipation = Anticipation::Sent;
        Ok(())
    }

    /// Gets another token where the one at hand is about to expire.
    ///
    /// What goes wrong is left to the registry's answer: the old one may still do, and is not
    /// tried to be renewed before that again.
    fn renew_if_due(&mut self) {
        let token = self.proof.as_ref().and_then(|proof| proof.token.as_ref());
        let Some((wanted, _)) = token.filter(|(_, due)| due.has_come(Instant::now())) else {
            return;
        };
        let wanted = wanted.clone();
        if let Err(error) = self.take_token(wanted) {
            let host = self.endpoint.host();
            tracing::debug!(%host, %error, "no new token before the old one expires");
            if let Some((_, due)) = self.proof.as_mut().and_then(|proof| proof.token.as_mut()) {
                *due = Due::NEVER;
            }
        }
    }

    /// Gets the proof that an answer demands.
    ///
    /// # Errors
    /// When there is none to be had, or it may not be sent where it is wanted.
    pub(super) fn meet(&mut self, demand: Demand, response: &Response) -> Result<(), Error> {
        if self.endpoint.transport() == Transport::PlainHttp {
            return Err(Error::PlainCredential {
                host: self.endpoint.host().to_string(),
                said: error_body::said(response),
            });
        }
        self.accepted = false;
        let sent = self.proof.clone();
        if demand == Demand::Renewal {
            // What the proof was made of may have expired too, and a helper may have another.
            self.found = None;
            self.refresh = None;
        }
        let fields = || response.header_all("www-authenticate");
        let chosen = challenge::choose(fields());
        if chosen.is_some() {
            self.challenge = challenge::to_remember(fields());
        }
        match (chosen, sent.and_then(|proof| proof.token)) {
            (Some(Challenge::Basic), _) => self.take_login(response),
            (Some(Challenge::Bearer(wanted)), _) => self.meet_bearer(wanted, response),
            (None, Some((wanted, _))) if demand == Demand::Renewal => self.take_token(wanted),
            (None, None) if demand == Demand::Renewal => self.take_login(response),
            (None, _) => Err(Error::ChallengeUnknown {
                host: self.endpoint.host().to_string(),
                said: error_body::said(response),
            }),
        }
    }

    /// That the registry does not take what it was given, or was given nothing.
    pub(super) fn unauthorized(&self, said: String) -> Error {
        let host = self.endpoint.host().to_string();
        match self.known() {
            Some(found) => Error::CredentialRejected {
                host,
                who: found.to_string(),
                said,
            },
            None => Error::CredentialMissing { host, said },
        }
    }

    fn known(&self) -> Option<&Found> {
        self.found.as_ref()?.as_ref()
    }

    /// Looks for the credential, the first time that it is needed.
    fn find(&mut self) -> Result<Option<&Found>, Error> {
        if self.found.is_none() {
            let (host, repository) = (self.endpoint.host(), self.endpoint.repository());
            let found = self.credentials.find(host, repository)?;
            let source = found.as_ref().map(|found| found.source.as_str());
            tracing::debug!(%host, source, "looked for a credential");
            self.found = Some(found);
        }
        Ok(self.known())
    }

    /// Sends user and password from now on.
    fn take_login(&mut self, response: &Response) -> Result<(), Error> {
        let host = self.endpoint.host().to_string();
        let login = match self.find()? {
            None => return Err(self.unauthorized(error_body::said(response))),
            Some(Found {
                credential: Credential::Login(login),
                ..
            }) => login.basic(),
            Some(found) => {
                let who = found.to_string();
                return Err(Error::CredentialUnfit { host, who });
            }
        };
        self.send_from_now_on(login, response)
    }

    fn meet_bearer(
        &mut self,
        challenge: challenge::Bearer,
        response: &Response,
    ) -> Result<(), Error> {
        match self.registry_token()? {
            Some(value) => self.send_from_now_on(value, response),
            None => self.take_bearer(challenge),
        }
    }

    /// The credential itself, where it is a token of the registry.
    fn registry_token(&mut self) -> Result<Option<Secret>, Error> {
        Ok(match self.find()?.map(|found| &found.credential) {
            Some(Credential::RegistryToken(token)) => Some(token::bearer(token.expose())),
            _ => None,
        })
    }

    fn take_bearer(&mut self, challenge: challenge::Bearer) -> Result<(), Error> {
        if let Some(value) = self.registry_token()? {
            self.proof = Some(Proof { value, token: None });
            return Ok(());
        }
        let realm = self.allowed_realm(&challenge.realm)?;
        places::check_target(self.registries, &realm)?;
        let repository = self.endpoint.repository();
        let own = (!repository.is_empty()).then(|| format!("repository:{repository}:pull"));
        self.take_token(TokenRequest {
            realm,
            service: challenge.service,
            scope: challenge.scope.or(own),
        })
    }

    /// The token server's URL, if it may be sent what there is to send.
    fn allowed_realm(&mut self, realm: &str) -> Result<Url, Error> {
        let carrying = match self.find()? {
            None => Carrying::Nothing,
            Some(_) => Carrying::Credential,
        };
        let host = self.endpoint.host();
        let friends = self.registries.token_realms(host);
        realm::allowed(host, realm, friends, carrying)
    }

    /// Sends what the credential itself is; the same a second time cannot do better.
    fn send_from_now_on(&mut self, value: Secret, response: &Response) -> Result<(), Error> {
        if self.authorization() == Some(&value) {
            return Err(self.unauthorized(error_body::said(response)));
        }
        self.proof = Some(Proof { value, token: None });
        Ok(())
    }

    /// Sends a new token from now on.
    fn take_token(&mut self, wanted: TokenRequest) -> Result<(), Error> {
        let token = self.fetch_token(&wanted)?;
        if let Some(refresh) = token.refresh {
            self.refresh = Some((wanted.clone(), refresh));
        }
        self.proof = Some(Proof {
            value: token.authorization,
            token: Some((wanted, token.due)),
        });
        Ok(())
    }

    fn fetch_token(&mut self, wanted: &TokenRequest) -> Result<Token, Error> {
        // A refresh token is for the server that gave it, and what it was given for.
        let kept = self.refresh.take();
        if let Some((_, refresh)) = kept.filter(|(of, _)| of.is_at_the_server_of(wanted)) {
            if let Ok(token) = token::fetch(self.client, wanted, Grant::Refresh(&refresh)) {
                self.refresh = Some((wanted.clone(), refresh));
                return Ok(token);
            }
            tracing::debug!(host = %self.endpoint.host(), "a refresh token is of no use");
        }
        // A credential may be known by now that was not when the server was first asked.
        self.allowed_realm(wanted.realm.as_str())?;
        let client = self.client;
        let grant = match self.find()?.map(|found| &found.credential) {
            Some(Credential::Login(login)) => Grant::Login(login),
            Some(Credential::IdentityToken(token)) => Grant::Refresh(token),
            Some(Credential::RegistryToken(_)) | None => Grant::Anonymous,
        };
        let token = token::fetch(client, wanted, grant);
        token.map_err(|failure| match failure {
            Failure::Refused(said) => self.unauthorized(said),
            Failure::Other(error) => error,
        })
    }
}

/// What another proof might change about an answer; `None` when nothing.
pub(super) fn demand_of(response: &Response) -> Option<Demand> {
    let lacks_scope = || challenge::lacks_scope(response.header_all("www-authenticate"));
    match response.status {
        401 => Some(Demand::Challenge),
        403 if lacks_scope() => Some(Demand::Challenge),
        403 if error_body::tells_of_expiry(&response.body) => Some(Demand::Renewal),
        _ => None,
    }
}
