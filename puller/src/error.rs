//! The one error that leaves this crate, and what kind of trouble it is.

mod phase;
mod place;

pub use phase::Phase;

use std::fmt;

use place::Place;
use ucr_images::{Digest, ErrorKind, archive, image};

use crate::budget::{Exceeded, Limit};
use crate::http;
use crate::local;
use crate::pull::{LayerError, PullError};
use crate::registry;

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
    pub(crate) fn new(name: &dyn fmt::Display, source: PullError) -> Self {
        Self {
            what: "cannot pull",
            reference: name.to_string(),
            source: Box::new(source),
        }
    }

    /// Why somebody does not get an image out of the store.
    pub(crate) fn of_access(reference: &ucr_images::Reference, source: PullError) -> Self {
        Self {
            what: "the store has, but may not give away,",
            ..Self::new(reference, source)
        }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.source {
            PullError::Registry(error) => error.kind(),
            PullError::Image(error) => image_kind(error),
            PullError::Local(error) => local_kind(error),
            PullError::ManifestDigest { .. }
            | PullError::ConfigDigest { .. }
            | PullError::ConfigSize { .. } => ErrorKind::Integrity,
            PullError::Http(error) => http_kind(error),
            PullError::Store(error) => error.kind(),
            PullError::Budget(exceeded) => budget_kind(exceeded),
            PullError::Layer { source, .. } => layer_kind(source),
            PullError::Deadline | PullError::WaitedTooLong { .. } => ErrorKind::Deadline,
            PullError::Vanished => ErrorKind::System,
        }
    }

    /// The name of its kind for programs, which stays the same from version to version.
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }

    /// Whether the same pull may succeed later, or on another machine.
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// What the pull was at.
    pub fn phase(&self) -> Phase {
        match self.kind() {
            ErrorKind::CredentialMissing
            | ErrorKind::CredentialRejected
            | ErrorKind::CredentialUnreadable => Phase::Auth,
            ErrorKind::Untrusted | ErrorKind::Tls => Phase::Tls,
            ErrorKind::Integrity => Phase::Verify,
            ErrorKind::DiskFull => Phase::Store,
            _ => phase_of(&self.source),
        }
    }

    /// The HTTP status that it failed with, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.place().status
    }

    /// Host, and port if it is another than the usual, where it failed.
    pub fn host(&self) -> Option<String> {
        self.place().host
    }

    /// The URL that failed, without a query: that may be a signature.
    pub fn url(&self) -> Option<String> {
        self.place().url
    }

    /// The layer that failed, as the registry has it.
    pub fn layer(&self) -> Option<&Digest> {
        match &*self.source {
            PullError::Layer { digest, .. } | PullError::WaitedTooLong { digest, .. } => {
                Some(digest)
            }
            _ => None,
        }
    }

    /// Whether the image was refused for a layer that its registry does not serve.
    pub fn is_of_foreign_layer(&self) -> bool {
        let foreign = |error: &_| matches!(error, image::Error::ForeignLayer { .. });
        matches!(&*self.source, PullError::Image(error) if foreign(error))
    }

    /// The limit that would have to be another for the image to be pulled.
    pub fn limit(&self) -> Option<Limit> {
        match &*self.source {
            PullError::Budget(exceeded) => exceeded.limit(),
            PullError::Layer { source, .. } => match source.of_place() {
                LayerError::Budget(exceeded) => exceeded.limit(),
                _ => None,
            },
            _ => None,
        }
    }

    fn place(&self) -> Place {
        match (self.registry(), self.http()) {
            (Some(error), _) => Place::of_registry(error),
            (None, Some(error)) => Place::of_http(error),
            (None, None) => Place::default(),
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
            PullError::Layer { source, .. } => match source.of_place() {
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
            PullError::Layer { source, .. } => match source.of_place() {
                LayerError::Registry(error) => error,
                _ => return None,
            },
            _ => return None,
        };
        Some(error.of_registry())
    }
}

fn phase_of(error: &PullError) -> Phase {
    match error {
        PullError::Store(_) | PullError::Vanished => Phase::Store,
        PullError::Deadline | PullError::WaitedTooLong { .. } => Phase::Download,
        PullError::Layer { source, .. } => match source.of_place() {
            LayerError::Archive(_)
            | LayerError::Budget(_)
            | LayerError::Prepare(_)
            | LayerError::Thread(_) => Phase::Unpack,
            LayerError::Store(_) | LayerError::Spool(_) => Phase::Store,
            _ => Phase::Download,
        },
        _ => Phase::Resolve,
    }
}

impl registry::Error {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self.of_registry() {
            Self::Http(error) => http_kind(error),
            Self::Credentials(_) => ErrorKind::CredentialUnreadable,
            Self::CredentialMissing { .. } => ErrorKind::CredentialMissing,
            Self::CredentialRejected { .. }
            | Self::CredentialUnfit { .. }
            | Self::Forbidden { .. } => ErrorKind::CredentialRejected,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Blocked { .. } => ErrorKind::Blocked,
            Self::RealmRefused { .. }
            | Self::Host { .. }
            | Self::Url { .. }
            | Self::NotPlain { .. }
            | Self::SentInside { .. }
            | Self::PlainCredential { .. }
            | Self::Version1 { .. } => ErrorKind::Refused,
            Self::Status { status: 429, .. } => ErrorKind::RateLimited,
            Self::Status { status, .. } if http::status_may_pass(*status) => ErrorKind::Unavailable,
            Self::ChallengeUnknown { .. }
            | Self::OtherContent { .. }
            | Self::Everywhere { .. }
            | Self::TokenMissing { .. }
            | Self::Status { .. } => ErrorKind::Registry,
        }
    }
}

fn image_kind(error: &image::Error) -> ErrorKind {
    match error {
        image::Error::NoSuchPlatform { .. } => ErrorKind::Platform,
        image::Error::EntrySize { .. } => ErrorKind::Integrity,
        _ => ErrorKind::Refused,
    }
}

fn local_kind(error: &local::Error) -> ErrorKind {
    match error {
        local::Error::Open { .. }
        | local::Error::Missing { .. }
        | local::Error::NoSuchImage { .. } => ErrorKind::NotFound,
        local::Error::Digest { .. } | local::Error::Size { .. } => ErrorKind::Integrity,
        local::Error::Image(error) => image_kind(error),
        local::Error::Spool(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        local::Error::Spool(_)
        | local::Error::Stdin(_)
        | local::Error::Read(_)
        | local::Error::File { .. } => ErrorKind::System,
        _ => ErrorKind::Refused,
    }
}

/// What kind of trouble a request had.
pub(crate) fn http_kind(error: &http::Error) -> ErrorKind {
    match error {
        http::Error::Untrusted { .. } | http::Error::NothingTrusted { .. } => ErrorKind::Untrusted,
        http::Error::Tls { .. }
        | http::Error::ClientCertificate { .. }
        | http::Error::ClientCertificateWanted { .. } => ErrorKind::Tls,
        http::Error::Host { .. }
        | http::Error::TooLarge { .. }
        | http::Error::RedirectNowhere { .. }
        | http::Error::RedirectInsecure { .. }
        | http::Error::TooManyRedirects { .. } => ErrorKind::Refused,
        http::Error::Setup(_) | http::Error::Multi(_) => ErrorKind::System,
        http::Error::Protocol { .. } => ErrorKind::Registry,
        http::Error::Proxy { .. } => ErrorKind::Proxy,
        http::Error::TimedOut { .. } => ErrorKind::Timeout,
        http::Error::Deadline { .. } | http::Error::TooLate { .. } => ErrorKind::Deadline,
        _ => ErrorKind::Network,
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
        LayerError::Outside { source, .. } => layer_kind(source),
        LayerError::Size { .. } | LayerError::Digest { .. } | LayerError::DiffId { .. } => {
            ErrorKind::Integrity
        }
        LayerError::Registry(error) => error.kind(),
        LayerError::Http(error) => http_kind(error),
        LayerError::Local(error) => local_kind(error),
        LayerError::Budget(exceeded) => budget_kind(exceeded),
        LayerError::Store(error) => error.kind(),
        LayerError::Archive(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Archive(
            archive::Error::Unpack { .. } | archive::Error::Index(_) | archive::Error::Finish(_),
        ) => ErrorKind::System,
        LayerError::Archive(_) => ErrorKind::Refused,
        LayerError::TooLate { .. } => ErrorKind::Deadline,
        LayerError::Parts => ErrorKind::Registry,
        LayerError::Spool(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Spool(_) => ErrorKind::System,
        LayerError::Prepare(error) if error.is_out_of_space() => ErrorKind::DiskFull,
        LayerError::Prepare(_) | LayerError::Thread(_) => ErrorKind::System,
    }
}
