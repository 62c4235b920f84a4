//! Everything that is asked of one place for one repository, as one principal.

use ucr_images::image::{media_type, without_signatures};
use ucr_images::{Credential, Digest};

use super::authenticator::Authenticator;
use super::endpoint::{Endpoint, Role};
use super::error::Error;
use super::error_body;
use super::exchange::{Exchange, Step};
use super::route::RouteContext;
use crate::http::{Client, Response};

/// The most that a manifest or an index may hold; registries take no more either.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// The header that says the digest of a manifest (distribution specification, "Pulling manifests").
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or index as the registry sent it, not yet verified.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What `Content-Type` said, in lower case and without parameters.
    pub(crate) content_type: Option<String>,
}

/// A repository at one place, and the proof that was last accepted for it.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    client: &'c Client<'c>,
    pub(super) authenticator: Authenticator<'c>,
}

impl<'c> Session<'c> {
    /// Begins without a proof: none is sent before the registry asks for one.
    pub(super) fn new(context: &RouteContext<'c>, endpoint: Endpoint) -> Self {
        let RouteContext {
            client,
            registries,
            credentials,
            ..
        } = *context;
        Self {
            client,
            authenticator: Authenticator::new(client, registries, credentials, endpoint),
        }
    }

    /// The place that is asked.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.authenticator.endpoint()
    }

    /// Whether requests bring a proof, whatever becomes of it.
    pub(crate) fn proves(&self) -> bool {
        self.authenticator.proves()
    }

    /// The credential that we were let in for, if one was wanted.
    pub(crate) fn let_in_for(&self) -> Option<&Credential> {
        self.authenticator.let_in_for()
    }

    /// The challenge that the registry let us in by, as text; `None` if it wanted no proof.
    pub(crate) fn challenge(&self) -> Option<&str> {
        self.authenticator.challenge()
    }

    /// Has the first request bring the proof that a challenge of lately demanded.
    pub(crate) fn anticipate(&mut self, challenge: String) {
        self.authenticator.anticipate(challenge);
    }

    /// Fetches a manifest or index by tag or digest.
    pub(crate) fn manifest(&mut self, key: &str) -> Result<Manifest, Error> {
        let response = self.ask(self.manifest_exchange(key), MANIFEST_LIMIT)?;
        Ok(Manifest {
            content_type: response.media_type(),
            bytes: response.body,
        })
    }

    /// Asks for the digest of a manifest or index, and so whether it is there for us.
    ///
    /// By HEAD; a registry that refuses that is asked by GET before it is believed. `None` when the registry has it but says no digest.
    pub(crate) fn manifest_digest(&mut self, key: &str) -> Result<Option<Digest>, Error> {
        match self.ask(self.manifest_exchange(key).head(), MANIFEST_LIMIT) {
            Ok(response) => {
                let digest = response.header(DIGEST_HEADER);
                Ok(digest.and_then(|digest| digest.parse().ok()))
            }
            Err(error) if is_of_head(&error) => {
                let bytes = self.manifest(key)?.bytes;
                let text = without_signatures(&bytes);
                Ok(text.ok().map(|text| Digest::sha256(&text)))
            }
            Err(error) => Err(error),
        }
    }

    /// Fetches a small blob into memory.
    pub(crate) fn small_blob(&mut self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        Ok(self.ask(self.blob(digest), limit)?.body)
    }

    /// Asks how many bytes a blob has, where nothing declares it: `None` where nobody tells.
    ///
    /// Of the blob itself no more is waited for than the head of its answer.
    pub(crate) fn told_blob_size(&mut self, digest: &Digest) -> Result<Option<u64>, Error> {
        let told = match self.size_by_head(digest)? {
            Some(size) => Some(size),
            None => self.ask(self.blob(digest).size(), 0)?.content_length(),
        };
        Ok(told.filter(|size| *size > 0))
    }

    /// Asks how many bytes a blob has, where nothing declares it.
    ///
    /// Who does not tell is asked for the blob, which is counted if need be, up to one byte more
    /// than `most`.
    pub(crate) fn blob_size(&mut self, digest: &Digest, most: u64) -> Result<u64, Error> {
        match self.size_by_head(digest)? {
            Some(size) => Ok(size),
            None => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Ok(self.ask(self.blob(digest).size(), most)?.counted)
            }
        }
    }

    /// What HEAD tells of a blob's size: `None` where it is refused, or tells no number.
    fn size_by_head(&mut self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.ask(self.blob(digest).head(), 0) {
            Ok(response) => Ok(response.content_length().filter(|size| *size > 0)),
            Err(error) if is_of_head(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The question for a blob, to be sent by whoever streams it.
    pub(crate) fn blob(&self, digest: &Digest) -> Exchange {
        Exchange::new(self.endpoint().url("blobs", &digest.to_string()), &[])
    }

    fn manifest_exchange(&self, key: &str) -> Exchange {
        let url = self.endpoint().url("manifests", key);
        Exchange::new(url, media_type::ACCEPTED_MANIFESTS)
    }

    /// Sends a question through redirects and challenges to its answer.
    pub(super) fn ask(&mut self, mut exchange: Exchange, limit: usize) -> Result<Response, Error> {
        let mut request = exchange.request(self);
        loop {
            let response = match self.endpoint().role() {
                // Whoever is asked next may answer at once.
                Role::Mirror => self.client.fetch_once(&request, limit)?,
                Role::Registry => self.client.fetch(&request, limit)?,
            };
            match exchange.advance(self, &response)? {
                Step::Done => return Ok(response),
                Step::Again(next) => request = next,
            }
        }
    }

    /// An answer that may be another one later, as an error.
    pub(crate) fn refusal(&self, response: &Response) -> Error {
        Error::Status {
            url: (&response.url).into(),
            status: response.status,
            said: error_body::said(response),
        }
    }

    /// Turns every status but 200 into an error.
    pub(super) fn check_status(&self, response: &Response) -> Result<(), Error> {
        let url = (&response.url).into();
        let said = || error_body::said(response);
        match response.status {
            200 => Ok(()),
            404 => Err(Error::NotFound { url, said: said() }),
            403 => Err(Error::Forbidden {
                url,
                who: self.authenticator.who(),
                said: said(),
            }),
            status => Err(Error::Status {
                url,
                status,
                said: said(),
            }),
        }
    }
}

/// Whether a refusal may be of HEAD alone: some registries answer it so, and GET otherwise.
fn is_of_head(error: &Error) -> bool {
    let status = match error {
        Error::NotFound { .. } | Error::Forbidden { .. } => return true,
        Error::Status { status, .. } => *status,
        _ => return false,
    };
    matches!(status, 400 | 405)
}
