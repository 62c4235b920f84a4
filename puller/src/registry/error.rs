//! How talking to a registry can fail.

use ucr_images::RegistryHostError;

use super::route::PassedOver;
use crate::http::{self, ShownUrl};

/// A registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There was no usable answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The places where credentials are could not be looked at.
    #[error(transparent)]
    Credentials(#[from] ucr_credentials::Error),
    /// What the reference names as registry is no host.
    #[error("the image names no host of a registry")]
    Host {
        /// Why not.
        source: RegistryHostError,
    },
    /// The registry's host cannot stand in a URL.
    #[error("there is no URL of the registry {host}")]
    Url {
        /// The host.
        host: String,
        /// Why not.
        source: url::ParseError,
    },
    /// The configuration says that this host may not be talked to.
    #[error("{host} is blocked by the configuration")]
    Blocked {
        /// The host.
        host: String,
    },
    /// A place is in clear, and is not named as one that may be.
    #[error("{url} is not https, and the configuration does not name its host as plain-http")]
    NotPlain {
        /// The place.
        url: ShownUrl,
    },
    /// A place that a manifest named sends on to where it has no business.
    #[error("{url} sends on to {to}, an address inside this network")]
    SentInside {
        /// What the manifest named.
        url: ShownUrl,
        /// Where it leads.
        to: ShownUrl,
    },
    /// A registry wants a credential where everybody on the way would see it.
    #[error("{host} wants a credential over plain HTTP, where it is never sent ({said})")]
    PlainCredential {
        /// Who asks for it.
        host: String,
        /// Its words.
        said: String,
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
    #[error("{host} rejects the credential of {who} ({said})")]
    CredentialRejected {
        /// Who rejects it.
        host: String,
        /// Whose it is, and where it was found.
        who: String,
        /// Its words.
        said: String,
    },
    /// The credential is of a kind that the registry does not ask for.
    #[error("{host} wants a user and a password, and there is only {who}")]
    CredentialUnfit {
        /// Who asks.
        host: String,
        /// What there is, and where it was found.
        who: String,
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
        /// The token server, where naming it in the configuration would allow it.
        server: Option<String>,
    },
    /// A token server's answer holds no token.
    #[error("{url} answered without a token")]
    TokenMissing {
        /// The token server.
        url: ShownUrl,
    },
    /// It is of before 2015, when manifests had no digests.
    #[error("{host} speaks the registry protocol v1 only, which is not supported ({said})")]
    Version1 {
        /// The registry.
        host: String,
        /// Its words.
        said: String,
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
    #[error("{url} is forbidden for {} ({said})", .who.as_deref().unwrap_or("anonymous"))]
    Forbidden {
        /// What was asked for.
        url: ShownUrl,
        /// As whom, where anybody was named.
        who: Option<String>,
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
    /// A mirror has something else under that name.
    #[error("{endpoint} sent something else than what was asked for")]
    OtherContent {
        /// The mirror.
        endpoint: String,
    },
    /// Neither the mirrors nor the registry itself gave it.
    #[error("{}", PassedOver::list(.mirrors))]
    Everywhere {
        /// The mirrors, and what became of each.
        mirrors: Vec<PassedOver>,
        /// What became of the registry itself.
        source: Box<Self>,
    },
}

impl Error {
    /// What the registry itself did, whatever its mirrors did before.
    pub fn of_registry(&self) -> &Self {
        match self {
            Self::Everywhere { source, .. } => source.of_registry(),
            error => error,
        }
    }

    /// Whether nobody answered, or nobody who can be trusted: the next question would fare no better.
    pub(super) fn is_of_connection(&self) -> bool {
        use http::Error::{
            ClientCertificate, ClientCertificateWanted, Connect, NothingTrusted, Proxy, Resolve,
            TimedOut, Tls, Untrusted,
        };
        let Self::Http(error) = self else {
            return false;
        };
        matches!(
            error,
            ClientCertificate { .. }
                | ClientCertificateWanted { .. }
                | Connect { .. }
                | NothingTrusted { .. }
                | Proxy { .. }
                | Resolve { .. }
                | TimedOut { .. }
                | Tls { .. }
                | Untrusted { .. }
        )
    }

    /// Whether it was refused to nobody in particular.
    pub fn is_of_anonymous(&self) -> bool {
        matches!(self.of_registry(), Self::Forbidden { who: None, .. })
    }

    /// What to try.
    pub fn hint(&self) -> Option<String> {
        match self.of_registry() {
            Self::RealmRefused {
                host,
                server: Some(server),
                ..
            } => Some(format!(
                "under [registry.\"{host}\"] in the configuration, if that server may see it: \
                 token-realms = [\"{server}\"]"
            )),
            Self::Version1 { .. } => Some(
                "docker save -o FILE IMAGE, with a docker that still pulls it, and \
                 docker-archive:FILE in place of the name here"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
