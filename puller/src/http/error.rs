//! How a transfer can fail, in terms of what a person can do about it.

use std::fmt;

use curl::Error as CurlError;
use url::Url;

use super::proxy::ShownProxy;
use super::request::ShownUrl;

/// A request that got no answer, or an answer that nobody may use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given is no name and no address.
    #[error("\"{}\" is no host", host.escape_default())]
    Host {
        /// What was given.
        host: String,
        /// Why not.
        source: url::ParseError,
    },
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
    /// The proxy cannot be reached, or does not let us through.
    #[error("the proxy {proxy} does not lead to {host}: {detail}")]
    Proxy {
        /// The proxy.
        proxy: ShownProxy,
        /// Host and port that were to be reached.
        host: String,
        /// What the network or the proxy said.
        detail: String,
    },
    /// The certificate is not one that we trust for that host.
    #[error("the certificate of {untrusted} is not trusted: {detail}")]
    Untrusted {
        /// Whose certificate it is.
        untrusted: Untrusted,
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
    /// The server ended the HTTP/2 stream or the connection while it still had to answer.
    #[error("{url} was interrupted: {detail}")]
    Interrupted {
        /// What was asked for.
        url: ShownUrl,
        /// How.
        detail: String,
    },
    /// A failure would pass, but not in time.
    #[error("{url} failed ({why}), and asking again in {wait:.0?} would be past the deadline")]
    TooLate {
        /// What was asked for.
        url: ShownUrl,
        /// What happened.
        why: String,
        /// How long would have to be waited.
        wait: std::time::Duration,
    },
    /// There was no time left.
    #[error("{url} was not done before the deadline")]
    Deadline {
        /// What was asked for.
        url: ShownUrl,
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

/// Who is not trusted, and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// Whether it is the server that was asked, or the proxy on the way.
    pub peer: Peer,
    /// Its name or address, IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The proxy through which it was reached, and must be for a second look.
    pub via: Option<ShownProxy>,
}

/// Who may be at the other end of a TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The server that was asked.
    Server,
    /// The proxy, before it led anywhere.
    Proxy,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.peer == Peer::Proxy {
            f.write_str("the proxy ")?;
        }
        write!(f, "{}:{}", self.host, self.port)?;
        match &self.via {
            Some(proxy) => write!(f, " (through the proxy {proxy})"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// The proxy on the way, where the error is known to have come through or from one.
    pub fn via(&self) -> Option<&ShownProxy> {
        match self {
            Self::Untrusted { untrusted, .. } => untrusted.via.as_ref(),
            Self::Proxy { proxy, .. } => Some(proxy),
            _ => None,
        }
    }

    /// Whose certificate was refused, for a closer look at it.
    pub fn untrusted(&self) -> Option<&Untrusted> {
        match self {
            Self::Untrusted { untrusted, .. } => Some(untrusted),
            _ => None,
        }
    }
}

/// Host and port of a URL, the port also where it is the scheme's own.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}
