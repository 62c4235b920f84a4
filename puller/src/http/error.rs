//! How a transfer can fail, in terms of what a person can do about it.

use curl::Error as CurlError;
use url::Url;

use super::request::ShownUrl;

/// A request that got no answer, or an answer that nobody may use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name has no address.
    #[error("cannot find the host {host}: {detail}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// Nobody answers there.
    #[error("cannot connect to {host}: {detail}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the network said.
        detail: String,
    },
    /// The server's certificate is not one that we trust for that host.
    #[error("the certificate of {host} is not trusted: {detail}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What the verification said.
        detail: String,
    },
    /// There is no certificate to trust, so there is nobody to talk to.
    #[error("there is no certificate of an authority to trust for {host}")]
    NothingTrusted {
        /// Host and port.
        host: String,
    },
    /// There is no TLS session for another reason than trust.
    #[error("no TLS session with {host}: {detail}")]
    Tls {
        /// Host and port.
        host: String,
        /// What libcurl and OpenSSL said.
        detail: String,
    },
    /// OpenSSL can make nothing of our client certificate, or of its key.
    #[error("the client certificate for {host} cannot be used: {detail}")]
    ClientCertificate {
        /// Host and port that it is for.
        host: String,
        /// What libcurl and OpenSSL said.
        detail: String,
    },
    /// The server demands a client certificate, and got none or one that it refuses.
    #[error("{host} wants a client certificate that it accepts: {detail}")]
    ClientCertificateWanted {
        /// Host and port.
        host: String,
        /// The server's alert, as OpenSSL tells it.
        detail: String,
    },
    /// Nothing, or next to nothing, came for too long.
    #[error("{url} timed out: {detail}")]
    TimedOut {
        /// What was asked for.
        url: ShownUrl,
        /// What was waited for.
        detail: String,
    },
    /// The connection broke, or the answer ended early.
    #[error("the transfer of {url} broke off: {detail}")]
    Broken {
        /// What was asked for.
        url: ShownUrl,
        /// How.
        detail: String,
    },
    /// What answers there does not speak HTTP as it should.
    #[error("{url} answered in no way that HTTP allows: {detail}")]
    Protocol {
        /// What was asked for.
        url: ShownUrl,
        /// What is wrong.
        detail: String,
    },
    /// The answer is larger than any such answer may be.
    #[error("{url} answered with more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: ShownUrl,
        /// The most that is taken.
        limit: usize,
    },
    /// A redirect that says no place to go.
    #[error("{from} redirects to nowhere")]
    RedirectNowhere {
        /// Who said so.
        from: ShownUrl,
    },
    /// A redirect away from https.
    #[error("{from} redirects to {to}, which is not https")]
    RedirectInsecure {
        /// Who said so.
        from: ShownUrl,
        /// Where to.
        to: ShownUrl,
    },
    /// One redirect after the other.
    #[error("{from} redirects more than {limit} times")]
    TooManyRedirects {
        /// Where it began.
        from: ShownUrl,
        /// How many are followed.
        limit: u32,
    },
    /// Whoever was to take the body did not want the rest of it.
    #[error("nobody took the rest of the answer")]
    Abandoned,
    /// libcurl could not be set up.
    #[error("cannot set up libcurl")]
    Setup(#[source] CurlError),
    /// libcurl's set of transfers failed as a whole.
    #[error("libcurl's transfers failed")]
    Multi(#[source] curl::MultiError),
}

impl Error {
    /// Host and port of a server whose certificate was refused, for a closer look at it.
    pub fn untrusted_host(&self) -> Option<&str> {
        match self {
            Self::Untrusted { host, .. } => Some(host),
            _ => None,
        }
    }

    /// Tells what libcurl reported about a request for `url`.
    pub(super) fn from_curl(error: &CurlError, url: &Url) -> Self {
        let detail = error
            .extra_description()
            .unwrap_or(error.description())
            .to_owned();
        let host = host_and_port(url);
        if error.is_couldnt_resolve_host() {
            Self::Resolve {
                host: url.host_str().unwrap_or_default().to_owned(),
                detail,
            }
        } else if error.is_couldnt_connect() {
            Self::Connect { host, detail }
        } else if error.is_peer_failed_verification() || error.is_ssl_cacert() {
            Self::Untrusted { host, detail }
        } else if is_unusable_identity(error, &detail) {
            Self::ClientCertificate { host, detail }
        } else if is_about_our_certificate(&detail) {
            Self::ClientCertificateWanted { host, detail }
        } else if error.is_ssl_connect_error()
            || error.is_ssl_cacert_badfile()
            || error.is_ssl_cipher()
        {
            Self::Tls { host, detail }
        } else if error.is_operation_timedout() {
            Self::TimedOut {
                url: url.into(),
                detail,
            }
        } else if error.is_partial_file()
            || error.is_recv_error()
            || error.is_send_error()
            || error.is_got_nothing()
        {
            Self::Broken {
                url: url.into(),
                detail,
            }
        } else {
            Self::Protocol {
                url: url.into(),
                detail,
            }
        }
    }
}

/// Whether our client certificate or its key is what could not be loaded.
///
/// A key that OpenSSL cannot read, or of another certificate, is a bad argument to libcurl.
fn is_unusable_identity(error: &CurlError, detail: &str) -> bool {
    error.is_ssl_certproblem()
        || (error.is_bad_function_argument() && detail.contains("private key"))
}

/// Whether OpenSSL tells of an alert by which a server refuses its client.
///
/// With TLS 1.3 it comes when the client is done with the handshake, as an
/// error of any kind (RFC 8446, section 4.4.2.4 and appendix E.1.1).
fn is_about_our_certificate(detail: &str) -> bool {
    const ALERTS: [&str; 7] = [
        "certificate required",
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
    ];
    ALERTS
        .iter()
        .any(|alert| detail.contains(&format!("alert {alert}")))
}

/// Host and port of a URL, the port also where it is the scheme's own.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}
