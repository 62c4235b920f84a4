//! Whom a connection trusts, and what it proves of itself: decided for each host and port.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use curl::easy::{Easy2, SslVersion};
use ucr_images::Secret;
use url::Url;

use super::authorities::Authorities;
use super::error::{Error, host_and_port};
use super::request::Identify;

/// What connections to one host and port are made with.
#[derive(Clone)]
pub struct HostTrust {
    /// The certificates to trust, PEM, and no others.
    pub trusted_pem: Arc<[u8]>,
    /// The client certificate, where one is to be shown.
    pub identity: Option<Identity>,
    /// Whether the server must be one that is trusted.
    pub verification: Verification,
}

/// A client certificate, shown to a server that asks for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those that lead to its authority, PEM.
    pub chain_pem: String,
    /// The private key of the first certificate, PEM, without a passphrase.
    pub key_pem: Secret,
}

/// Whether the certificate of a server is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It must be trusted, and be for the host.
    Full,
    /// Any will do; the connection is still TLS, and may be anybody's.
    Off,
}

/// Tells for each host what connections to it are made with.
///
/// It cannot fail: whoever implements it has reported what is missing or damaged before.
pub trait TrustPolicy: fmt::Debug + Send + Sync {
    /// What counts for `host`, as a URL has it (lower case, IPv6 in brackets), and `port`.
    fn for_host(&self, host: &str, port: u16) -> Arc<HostTrust>;
}

impl HostTrust {
    /// What `policy` says for the host and port of `url`.
    ///
    /// # Errors
    /// When libcurl cannot be given it.
    pub(super) fn for_url(policy: &dyn TrustPolicy, url: &Url) -> Result<Arc<Self>, Error> {
        let host = url.host_str().unwrap_or_default();
        let trust = policy.for_host(host, url.port_or_known_default().unwrap_or_default());
        // Who is spoken to in clear is not asked for a certificate.
        if url.scheme() == "https" {
            trust.check(&host_and_port(url), trust.verification)?;
        }
        Ok(trust)
    }

    /// Looks for what is empty, which libcurl would call a bad argument.
    ///
    /// # Errors
    /// When nobody is trusted, so that there is nobody to talk to, or the client
    /// certificate is none.
    pub(super) fn check(&self, host: &str, verification: Verification) -> Result<(), Error> {
        let host = host.to_owned();
        if self.trusted_pem.is_empty() && verification == Verification::Full {
            return Err(Error::NothingTrusted { host });
        }
        if self.identity.as_ref().is_some_and(Identity::is_empty) {
            let detail = "the certificate or its key is empty".to_owned();
            return Err(Error::ClientCertificate { host, detail });
        }
        Ok(())
    }

    /// Makes a handle trust this and nothing else.
    pub(super) fn apply<H>(
        &self,
        easy: &mut Easy2<H>,
        (authorities, empty_ca_path): (&Authorities, &Path),
        identify: Identify,
    ) -> Result<(), curl::Error> {
        let verify = self.verification == Verification::Full;
        easy.ssl_verify_peer(verify)?;
        easy.ssl_verify_host(verify)?;
        easy.ssl_min_max_version(SslVersion::Tlsv12, SslVersion::Default)?;
        // The curl crate takes a CApath from SSL_CERT_DIR or the distribution: replaced here.
        easy.capath(empty_ca_path)?;
        if !self.trusted_pem.is_empty() {
            match authorities.path_of(&self.trusted_pem) {
                Some(path) => {
                    easy.cainfo(path)?;
                    ucr_sys_curl::forget_ca_path(easy)?;
                }
                None => easy.ssl_cainfo_blob(&self.trusted_pem)?,
            }
        }
        let shown = self.identity.as_ref();
        if let Some(identity) = shown.filter(|_| identify == Identify::IfAsked) {
            easy.ssl_cert_type("PEM")?;
            easy.ssl_cert_blob(identity.chain_pem.as_bytes())?;
            easy.ssl_key_type("PEM")?;
            easy.ssl_key_blob(identity.key_pem.expose().as_bytes())?;
        }
        Ok(())
    }
}

impl Identity {
    fn is_empty(&self) -> bool {
        self.chain_pem.is_empty() || self.key_pem.expose().is_empty()
    }
}

impl fmt::Debug for HostTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTrust")
            .field(
                "trusted_pem",
                &format_args!("{} bytes", self.trusted_pem.len()),
            )
            .field("identity", &self.identity)
            .field("verification", &self.verification)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s48_a_private_key_shows_nowhere_it_is_formatted() {
        let trust = HostTrust {
            trusted_pem: Arc::from(*b"pem"),
            identity: Some(Identity {
                chain_pem: "chain".to_owned(),
                key_pem: Secret::new("wonderland"),
            }),
            verification: Verification::Full,
        };
        assert!(!format!("{trust:?}").contains("wonderland"));
    }
}
