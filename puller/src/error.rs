//! The one error that leaves this crate, and what kind of trouble it is.

use crate::archive;
use crate::budget::{Exceeded, Limit};
use crate::http;
use crate::image;
use crate::pull::{LayerError, PullError};
use crate::registry;
use crate::store;

/// What kind of trouble an [`Error`] is, for whoever decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry cannot be reached, or the connection broke.
    Network,
    /// The proxy cannot be reached, or does not let us through.
    Proxy,
    /// The server cannot be trusted, or TLS does not come about.
    Tls,
    /// A credential is missing.
    CredentialMissing,
    /// A credential is not accepted, or not for this.
    CredentialRejected,
    /// There is no such image.
    NotFound,
    /// There is no such image for the platform.
    Platform,
    /// What came is not what was promised: size, digest or diff ID.
    Integrity,
    /// What came is hostile, broken or not supported.
    Refused,
    /// The registry failed.
    Registry,
    /// The image takes more than it may.
    Budget,
    /// The disk is full, or would be.
    DiskFull,
    /// The store or the system failed.
    System,
}

/// Why a pull failed. The chain of sources tells the whole story.
#[derive(Debug, thiserror::Error)]
#[error("{what} {reference}")]
pub struct Error {
    what: &'static str,
    reference: String,
    #[source]
    source: Box<PullError>,
}

impl Error {
    pub(crate) fn new(reference: &crate::Reference, source: PullError) -> Self {
        Self {
            what: "cannot pull",
            reference: reference.to_string(),
            source: Box::new(source),
        }
    }

    /// Why somebody does not get an image out of the store.
    pub(crate) fn of_access(reference: &crate::Reference, source: PullError) -> Self {
        Self {
            what: "the store has, but may not give away,",
            ..Self::new(reference, source)
        }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.source {
            PullError::Registry(error) => registry_kind(error),
            PullError::Image(image::Error::NoSuchPlatform { .. }) => ErrorKind::Platform,
            PullError::Image(_) => ErrorKind::Refused,
            PullError::ManifestDigest { .. }
            | PullError::ConfigDigest { .. }
            | PullError::ConfigSize { .. } => ErrorKind::Integrity,
            PullError::NestedIndex => ErrorKind::Refused,
            PullError::Http(error) => http_kind(error),
            PullError::Store(error) => store_kind(error),
            PullError::Budget(exceeded) => budget_kind(exceeded),
            PullError::Layer { source, .. } => layer_kind(source),
            PullError::Deadline | PullError::WaitedTooLong { .. } => ErrorKind::Network,
            PullError::Vanished => ErrorKind::System,
        }
    }

    /// The limit that would have to be another for the image to be pulled.
    pub fn limit(&self) -> Option<Limit> {
        match &*self.source {
            PullError::Budget(exceeded) => exceeded.limit(),
            PullError::Layer { source, .. } => match &**source {
                LayerError::Budget(exceeded) => exceeded.limit(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whose certificate was refused, for a closer look at it.
    pub fn untrusted(&self) -> Option<&http::Untrusted> {
        self.http()?.untrusted()
    }

    /// The failed request behind the error, if there is one.
    pub fn http(&self) -> Option<&http::Error> {
        if let Some(registry::Error::Http(error)) = self.registry() {
            return Some(error);
        }
        match &*self.source {
            PullError::Http(error) => Some(error),
            PullError::Layer { source, .. } => match &**source {
                LayerError::Http(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the registry itself did, if that is what failed.
    pub fn registry(&self) -> Option<&registry::Error> {
        let error = match &*self.source {
            PullError::Registry(error) => error,
            PullError::Layer { source, .. } => match &**source {
                LayerError::Registry(error) => error,
                _ => return None,
            },
            _ => return None,
        };
        Some(error.of_registry())
    }
}

fn registry_kind(error: &registry::Error) -> ErrorKind {
    match error.of_registry() {
        registry::Error::Http(error) => http_kind(error),
        registry::Error::Credentials(_) => ErrorKind::System,
        registry::Error::CredentialMissing { .. } => ErrorKind::CredentialMissing,
        registry::Error::CredentialRejected { .. }
        | registry::Error::CredentialUnfit { .. }
        | registry::Error::Forbidden { .. } => ErrorKind::CredentialRejected,
        registry::Error::NotFound { .. } => ErrorKind::NotFound,
        registry::Error::RealmRefused { .. }
        | registry::Error::Host { .. }
        | registry::Error::Url { .. }
        | registry::Error::Blocked { .. }
        | registry::Error::NotPlain { .. }
        | registry::Error::PlainCredential { .. } => ErrorKind::Refused,
        registry::Error::ChallengeUnknown { .. }
        | registry::Error::OtherContent { .. }
        | registry::Error::Everywhere { .. }
        | registry::Error::TokenMissing { .. }
        | registry::Error::Status { .. } => ErrorKind::Registry,
    }
}

fn http_kind(error: &http::Error) -> ErrorKind {
    match error {
        http::Error::Untrusted { .. }
        | http::Error::Tls { .. }
        | http::Error::ClientCertificate { .. }
        | http::Error::ClientCertificateWanted { .. }
        | http::Error::NothingTrusted { .. } => ErrorKind::Tls,
        http::Error::Host { .. }
        | http::Error::TooLarge { .. }
        | http::Error::RedirectNowhere { .. }
        | http::Error::RedirectInsecure { .. }
        | http::Error::TooManyRedirects { .. } => ErrorKind::Refused,
        http::Error::Setup(_) | http::Error::Multi(_) => ErrorKind::System,
        http::Error::Protocol { .. } => ErrorKind::Registry,
        http::Error::Proxy { .. } => ErrorKind::Proxy,
        _ => ErrorKind::Network,
    }
}

fn store_kind(error: &store::Error) -> ErrorKind {
    match error {
        store::Error::Unmergeable { .. } => ErrorKind::Refused,
        error if error.is_out_of_space() => ErrorKind::DiskFull,
        _ => ErrorKind::System,
    }
}

fn budget_kind(exceeded: &Exceeded) -> ErrorKind {
    match exceeded.limit() {
        Some(_) => ErrorKind::Budget,
        None => ErrorKind::DiskFull,
    }
}

fn layer_kind(error: &LayerError) -> ErrorKind {
    match error {
        LayerError::Size { .. } | LayerError::Digest { .. } | LayerError::DiffId { .. } => {
            ErrorKind::Integrity
        }
        LayerError::Registry(error) => registry_kind(error),
        LayerError::Http(error) => http_kind(error),
        LayerError::Budget(exceeded) => budget_kind(exceeded),
        LayerError::Store(error) => store_kind(error),
        LayerError::Archive(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Archive(
            archive::Error::Unpack { .. } | archive::Error::Index(_) | archive::Error::Finish(_),
        ) => ErrorKind::System,
        LayerError::Archive(_) => ErrorKind::Refused,
        LayerError::TooLate { .. } => ErrorKind::Network,
        LayerError::Parts => ErrorKind::Registry,
        LayerError::Spool(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Spool(_) => ErrorKind::System,
        LayerError::Prepare(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Prepare(_) | LayerError::Thread(_) => ErrorKind::System,
    }
}
