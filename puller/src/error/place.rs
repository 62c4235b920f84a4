//! Where something failed: the host, the URL, and the status that came from there.

use url::Url;

use crate::http::{self, ShownUrl};
use crate::registry;

/// Where a request failed, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: Option<String>,
    pub(super) url: Option<String>,
    pub(super) status: Option<u16>,
}

impl Place {
    pub(super) fn of_registry(error: &registry::Error) -> Self {
        use registry::Error;
        match error.of_registry() {
            Error::Http(error) => Self::of_http(error),
            Error::Url { host, .. }
            | Error::Blocked { host }
            | Error::PlainCredential { host, .. }
            | Error::CredentialUnfit { host, .. }
            | Error::Version1 { host, .. }
            | Error::RealmRefused { host, .. } => Self::host(host),
            Error::CredentialMissing { host, .. }
            | Error::CredentialRejected { host, .. }
            | Error::ChallengeUnknown { host, .. } => Self::host(host).with(401),
            Error::NotFound { url, .. } => Self::url(url).with(404),
            Error::Forbidden { url, .. } => Self::url(url).with(403),
            Error::Status { url, status, .. } => Self::url(url).with(*status),
            Error::NotPlain { url }
            | Error::SentInside { url, .. }
            | Error::TokenMissing { url } => Self::url(url),
            Error::Credentials(_)
            | Error::Host { .. }
            | Error::OtherContent { .. }
            | Error::Everywhere { .. } => Self::default(),
        }
    }

    pub(super) fn of_http(error: &http::Error) -> Self {
        use http::Error;
        match error {
            Error::Host { host, .. }
            | Error::Resolve { host, .. }
            | Error::Connect { host, .. }
            | Error::Proxy { host, .. }
            | Error::NothingTrusted { host }
            | Error::Tls { host, .. }
            | Error::ClientCertificate { host, .. }
            | Error::ClientCertificateWanted { host, .. } => Self::host(host),
            Error::Untrusted { untrusted, .. } => {
                Self::host(&format!("{}:{}", untrusted.host, untrusted.port))
            }
            Error::TimedOut { url, .. }
            | Error::Broken { url, .. }
            | Error::Protocol { url, .. }
            | Error::TooLarge { url, .. }
            | Error::Interrupted { url, .. }
            | Error::TooLate { url, .. }
            | Error::Deadline { url } => Self::url(url),
            Error::RedirectNowhere { from }
            | Error::RedirectInsecure { from, .. }
            | Error::TooManyRedirects { from, .. } => Self::url(from),
            Error::Abandoned | Error::Setup(_) | Error::Multi(_) => Self::default(),
        }
    }

    fn host(host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..Self::default()
        }
    }

    fn url(url: &ShownUrl) -> Self {
        let shown = url.to_string();
        let shown = shown.trim_end_matches("?…");
        let host = Url::parse(shown).ok().and_then(|url| {
            let host = url.host_str()?;
            Some(match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            })
        });
        Self {
            host,
            url: Some(shown.to_owned()),
            status: None,
        }
    }

    fn with(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, status: u16) -> Place {
        let url = (&Url::parse(url).unwrap()).into();
        let said = String::new();
        Place::of_registry(&registry::Error::Status { url, status, said })
    }

    #[test]
    fn p40_a_signed_query_is_not_part_of_the_place() {
        let signed = place("https://s3.example:8443/b/x?X-Amz-Signature=abc", 503);
        assert_eq!(signed.url.as_deref(), Some("https://s3.example:8443/b/x"));
        assert_eq!(signed.host.as_deref(), Some("s3.example:8443"));
        assert_eq!(signed.status, Some(503));
        let usual = place("https://r.example/v2/", 500);
        assert_eq!(usual.host.as_deref(), Some("r.example"));
    }
}
