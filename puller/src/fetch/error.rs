//! Why a file is not there.

use std::io;
use std::path::PathBuf;

use ucr_images::ErrorKind;
use ucr_images::archive::extract;

use crate::error::http_kind;
use crate::http::{self, ShownUrl, status_may_pass};

/// A file that was not fetched. The chain of sources tells the whole story.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {from}")]
pub struct Error {
    from: String,
    #[source]
    source: Box<Failure>,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It is of a kind that nobody here fetches.
    #[error(
        "{scheme}:// is not spoken: files come by http, https, or from this machine (file://, or \
         a path)"
    )]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// A path from nowhere.
    #[error("a path on this machine begins with a slash")]
    Relative,
    /// A byte that no path and no URL has.
    #[error("it has a NUL in it")]
    Nul,
    /// It says of itself that it is a URL, and is none.
    #[error("it is no URL")]
    Url(#[source] url::ParseError),
    /// Nothing says what it is to be called.
    #[error("it has no name at its end, and none is given for it")]
    NoName,
    /// A name that leads out of the sandbox, or to it.
    #[error("{output:?} is no name of a file below the sandbox")]
    Output {
        /// The name.
        output: PathBuf,
    },
    /// A file of this machine that the task's user may not have, or that is none.
    #[error("the task's user cannot have {path:?}")]
    Local {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// The request failed.
    #[error(transparent)]
    Http(http::Error),
    /// The server has no such file, or does not give it.
    #[error("{url} answered with HTTP status {status}")]
    Status {
        /// Who answered.
        url: ShownUrl,
        /// What.
        status: u16,
    },
    /// It has more bytes than it may.
    #[error("it has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// How many are allowed.
        limit: u64,
    },
    /// It cannot be read any further.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// The disk did not take it.
    #[error("cannot write it")]
    Write(#[source] io::Error),
    /// It cannot be put into its place.
    #[error("cannot put it into the sandbox")]
    Place(#[source] extract::Error),
    /// It cannot be unpacked.
    #[error("cannot unpack it")]
    Unpack(#[source] extract::Error),
    /// The cache cannot be used.
    #[error("cannot use the cache of fetched files")]
    Cache(#[source] ucr_sys::Error),
    /// Another process fetches it, and was not done in time.
    #[error("another process that fetches it was not done before the deadline")]
    WaitedTooLong,
    /// The server says that a copy is as it was of which there is none.
    #[error("it answered that nothing has changed, and was not asked whether it has")]
    Vanished,
}

/// What a sandbox does not take.
impl From<extract::Error> for Failure {
    fn from(error: extract::Error) -> Self {
        Self::Place(error)
    }
}

impl Error {
    pub(super) fn new(from: &str, source: Failure) -> Self {
        Self {
            from: from.to_owned(),
            source: Box::new(source),
        }
    }

    /// What failed.
    pub fn failure(&self) -> &Failure {
        &self.source
    }

    /// Where it was to come from, for people.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The failed request behind the error, if there is one.
    pub fn http(&self) -> Option<&http::Error> {
        match &*self.source {
            Failure::Http(error) => Some(error),
            _ => None,
        }
    }

    /// The HTTP status that it failed with, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match &*self.source {
            Failure::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.source {
            Failure::Scheme { .. }
            | Failure::Relative
            | Failure::Nul
            | Failure::Url(_)
            | Failure::NoName
            | Failure::Output { .. } => ErrorKind::Refused,
            Failure::Local { source, .. } if source.is_not_found() => ErrorKind::NotFound,
            Failure::Local { .. } => ErrorKind::Refused,
            Failure::Http(error) => http_kind(error),
            Failure::Status { status, .. } => status_kind(*status),
            Failure::TooLarge { .. } => ErrorKind::Budget,
            Failure::Place(error) | Failure::Unpack(error) => error.kind(),
            Failure::Read(error) if error.kind() == io::ErrorKind::TimedOut => ErrorKind::Deadline,
            Failure::Write(error) if is_out_of_space(error) => ErrorKind::DiskFull,
            Failure::Cache(error) if error.is_out_of_space() => ErrorKind::DiskFull,
            Failure::Read(_) | Failure::Write(_) | Failure::Cache(_) => ErrorKind::System,
            Failure::WaitedTooLong => ErrorKind::Deadline,
            Failure::Vanished => ErrorKind::Registry,
        }
    }
}

fn status_kind(status: u16) -> ErrorKind {
    match status {
        401 | 407 => ErrorKind::CredentialMissing,
        403 => ErrorKind::CredentialRejected,
        404 | 410 => ErrorKind::NotFound,
        429 => ErrorKind::RateLimited,
        _ if status_may_pass(status) => ErrorKind::Unavailable,
        _ => ErrorKind::Registry,
    }
}

fn is_out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
