//! Everything that is asked of one registry for one repository, as one principal.

use url::Url;

use super::challenge::{self, Challenge};
use super::error::Error;
use super::error_body;
use super::exchange::{Exchange, Step};
use super::token::{self, TokenRequest};
use crate::credentials::{Credential, Secret};
use crate::http::{Client, Response};
use crate::image::media_type;
use crate::{Digest, Reference};

/// The most that a manifest or an index may hold; registries take no more either.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// A manifest or index as the registry sent it, not yet verified.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What `Content-Type` said, in lower case and without parameters.
    pub(crate) content_type: Option<String>,
}

/// A repository, and the proof that was last accepted for it.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    client: &'c Client<'c>,
    host: String,
    base: Url,
    repository: String,
    credential: Option<Credential>,
    authorization: Option<Secret>,
}

impl<'c> Session<'c> {
    /// Begins without a proof: none is sent before the registry asks for one.
    ///
    /// # Errors
    /// When the reference's registry is no host that a URL can name.
    pub(crate) fn new(
        client: &'c Client<'c>,
        reference: &Reference,
        credential: Option<Credential>,
    ) -> Result<Self, Error> {
        let host = reference.api_host().to_owned();
        let base = Url::parse(&format!("https://{host}/")).map_err(|source| Error::Host {
            host: host.clone(),
            source,
        })?;
        Ok(Self {
            client,
            host,
            base,
            repository: reference.repository().to_owned(),
            credential,
            authorization: None,
        })
    }

    /// Fetches a manifest or index by tag or digest.
    pub(crate) fn manifest(&mut self, key: &str) -> Result<Manifest, Error> {
        let url = self.url("manifests", key);
        let exchange = Exchange::new(url, media_type::ACCEPTED_MANIFESTS);
        let response = self.ask(exchange, MANIFEST_LIMIT)?;
        Ok(Manifest {
            content_type: response.media_type(),
            bytes: response.body,
        })
    }

    /// Fetches a small blob into memory.
    pub(crate) fn small_blob(&mut self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        Ok(self.ask(self.blob(digest), limit)?.body)
    }

    /// The question for a blob, to be sent by whoever streams it.
    pub(crate) fn blob(&self, digest: &Digest) -> Exchange {
        Exchange::new(self.url("blobs", &digest.to_string()), &[])
    }

    fn ask(&mut self, mut exchange: Exchange, limit: usize) -> Result<Response, Error> {
        let mut request = exchange.request(self);
        loop {
            let response = self.client.fetch(&request, limit)?;
            match exchange.advance(self, &response)? {
                Step::Done => return Ok(response),
                Step::Again(next) => request = next,
            }
        }
    }

    fn url(&self, kind: &str, key: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{kind}/{key}", self.repository));
        url
    }

    /// Host and port that are asked.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// An answer that is none, as an error.
    pub(crate) fn refusal(&self, response: &Response) -> Error {
        Error::Status {
            url: (&response.url).into(),
            status: response.status,
            said: error_body::said(response),
        }
    }

    /// The proof to send with requests to the registry's own origin.
    pub(super) fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_ref()
    }

    /// Gets the proof that a 401 asks for; `last` when it has had its chances.
    pub(super) fn meet_challenge(&mut self, response: &Response, last: bool) -> Result<(), Error> {
        let said = error_body::said(response);
        if last {
            return Err(self.unauthorized(said));
        }
        let authorization = match challenge::choose(response.header_all("www-authenticate")) {
            None => {
                return Err(Error::ChallengeUnknown {
                    host: self.host.clone(),
                    said,
                });
            }
            Some(Challenge::Basic) => {
                let basic = self.credential.as_ref().map(Credential::basic);
                // The same proof a second time cannot do better.
                basic
                    .filter(|basic| self.authorization.as_ref() != Some(basic))
                    .ok_or_else(|| self.unauthorized(said))?
            }
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
                let registry = self.host.clone();
                let wanted = TokenRequest {
                    registry,
                    realm,
                    service,
                    scope,
                };
                token::fetch(self.client, &wanted, self.credential.as_ref())?
            }
        };
        tracing::debug!(
            host = self.host,
            principal = self.principal(),
            "got a proof"
        );
        self.authorization = Some(authorization);
        Ok(())
    }

    fn principal(&self) -> &str {
        self.credential
            .as_ref()
            .map_or("anonymous", |credential| &credential.principal)
    }

    fn unauthorized(&self, said: String) -> Error {
        let host = self.host.clone();
        match &self.credential {
            Some(Credential { principal, .. }) => Error::CredentialRejected {
                host,
                principal: principal.clone(),
                said,
            },
            None => Error::CredentialMissing { host, said },
        }
    }

    /// Turns every status but 200 into an error.
    pub(super) fn check_status(&self, response: &Response) -> Result<(), Error> {
        let url = (&response.url).into();
        let said = || error_body::said(response);
        match response.status {
            200 => Ok(()),
            404 => Err(Error::NotFound { url, said: said() }),
            403 => {
                let who = self.credential.as_ref().map_or_else(
                    || "anonymous".to_owned(),
                    |credential| format!("principal \"{}\"", credential.principal),
                );
                Err(Error::Forbidden {
                    url,
                    who,
                    said: said(),
                })
            }
            status => Err(Error::Status {
                url,
                status,
                said: said(),
            }),
        }
    }
}
