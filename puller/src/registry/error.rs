//! How talking to a registry can fail.

use crate::http::{self, ShownUrl};

/// A registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was no usable answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// What the reference names as registry is no host.
    #[error("\"{}\" is no host of a registry", host.escape_default())]
    Host {
        /// What it names.
        host: String,
        /// Why not.
        source: url::ParseError,
    },
    /// It wants a proof, and none was given.
    #[error("{host} wants a credential ({said})")]
    CredentialMissing {
        /// Who asks for it.
        host: String,
        /// Its words.
        said: String,
    },
    /// The proof that was given is not accepted.
    #[error("{host} rejects the credential of principal \"{principal}\" ({said})")]
    CredentialRejected {
        /// Who rejects it.
        host: String,
        /// Whose it is.
        principal: String,
        /// Its words.
        said: String,
    },
    /// A 401 without a challenge that `ucr` can meet.
    #[error("{host} asks for a proof of a kind that ucr does not know ({said})")]
    ChallengeUnknown {
        /// Who asks.
        host: String,
        /// Its words.
        said: String,
    },
    /// The registry sends credentials to a place it has no business naming.
    #[error(
        "{host} sends its token requests to {realm}, which may not see a credential for {host}: {why}"
    )]
    RealmRefused {
        /// The registry.
        host: String,
        /// The token server it names.
        realm: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A token server's answer holds no token.
    #[error("{url} answered without a token")]
    TokenMissing {
        /// The token server.
        url: ShownUrl,
    },
    /// There is no such thing.
    #[error("{url} does not exist ({said})")]
    NotFound {
        /// What was asked for.
        url: ShownUrl,
        /// The registry's words.
        said: String,
    },
    /// The credential is good, but not for this.
    #[error("{url} is forbidden for {who} ({said})")]
    Forbidden {
        /// What was asked for.
        url: ShownUrl,
        /// As whom.
        who: String,
        /// The registry's words.
        said: String,
    },
    /// Any other refusal.
    #[error("{url} failed ({said})")]
    Status {
        /// What was asked for.
        url: ShownUrl,
        /// The HTTP status.
        status: u16,
        /// The registry's words.
        said: String,
    },
}
