//! What an error of libcurl's means, by the way that a request took and how far it came.

use std::time::Duration;

use curl::Error as CurlError;
use curl::easy::Easy2;
use url::Url;

use super::error::{Error, Peer, Untrusted, host_and_port};
use super::proxy::{Proxy, ProxyKind};

/// libcurl's CURLE_PROXY: a handshake with a SOCKS proxy failed (libcurl-errors(3)).
const CURLE_PROXY: u32 = 97;
/// libcurl's CURLE_HTTP2_STREAM: an HTTP/2 stream was reset.
const CURLE_HTTP2_STREAM: u32 = 92;

/// A request that failed.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    url: &'a Url,
    proxy: Option<&'a Proxy>,
    reached: Peer,
    /// Whether the deadline has passed.
    is_late: bool,
}

impl<'a> Attempt<'a> {
    /// What a handle knows about its failed request for `url` through `proxy`.
    pub(super) fn of<H>(easy: &Easy2<H>, url: &'a Url, proxy: Option<&'a Proxy>) -> Self {
        let tunnels = |proxy: &Proxy| matches!(proxy.kind(), ProxyKind::Http | ProxyKind::Https);
        let reached = if proxy.is_some_and(tunnels) && !has_tunnel(easy) {
            Peer::Proxy
        } else {
            Peer::Server
        };
        Self {
            url,
            proxy,
            reached,
            is_late: false,
        }
    }

    /// Takes note of how much time was left.
    pub(super) fn left(mut self, left: Option<Duration>) -> Self {
        self.is_late = left.is_some_and(|left| left.is_zero());
        self
    }

    /// The error in terms of what a person can do about it.
    pub(super) fn explain(&self, error: &CurlError) -> Error {
        let said = error.extra_description().unwrap_or(error.description());
        match self.proxy {
            None => self.of_server(error, said.to_owned()),
            Some(proxy) if self.is_of_proxy(error) => {
                self.of_proxy(proxy, error, proxy.redact(said))
            }
            Some(proxy) => self.of_server(error, proxy.redact(said)),
        }
    }

    fn is_of_proxy(&self, error: &CurlError) -> bool {
        self.reached == Peer::Proxy
            || error.is_couldnt_resolve_proxy()
            || error.is_couldnt_connect()
            || error.code() == CURLE_PROXY
    }

    fn of_proxy(&self, proxy: &Proxy, error: &CurlError, detail: String) -> Error {
        if is_distrust(error) {
            let untrusted = Untrusted {
                peer: Peer::Proxy,
                host: proxy.host().to_owned(),
                port: proxy.port(),
                via: None,
            };
            return Error::Untrusted { untrusted, detail };
        }
        Error::Proxy {
            proxy: proxy.shown(),
            host: host_and_port(self.url),
            detail,
        }
    }

    fn of_server(&self, error: &CurlError, detail: String) -> Error {
        let host = host_and_port(self.url);
        if error.is_couldnt_resolve_host() {
            let host = self.url.host_str().unwrap_or_default().to_owned();
            Error::Resolve { host, detail }
        } else if error.is_couldnt_connect() {
            Error::Connect { host, detail }
        } else if is_distrust(error) {
            let untrusted = Untrusted {
                peer: Peer::Server,
                host: self.url.host_str().unwrap_or_default().to_owned(),
                port: self.url.port_or_known_default().unwrap_or_default(),
                via: self.proxy.map(Proxy::shown),
            };
            Error::Untrusted { untrusted, detail }
        } else if is_unusable_identity(error, &detail) {
            Error::ClientCertificate { host, detail }
        } else if is_about_our_certificate(&detail) {
            Error::ClientCertificateWanted { host, detail }
        } else if error.is_ssl_connect_error()
            || error.is_ssl_cacert_badfile()
            || error.is_ssl_cipher()
        {
            Error::Tls { host, detail }
        } else {
            self.of_transfer(error, detail)
        }
    }

    fn of_transfer(&self, error: &CurlError, detail: String) -> Error {
        let url = self.url.into();
        if error.is_http2_error() || error.code() == CURLE_HTTP2_STREAM {
            Error::Interrupted { url, detail }
        } else if error.is_operation_timedout() && self.is_late {
            Error::Deadline { url }
        } else if error.is_operation_timedout() {
            Error::TimedOut { url, detail }
        } else if is_flood_of_fields(&detail) {
            Error::Protocol { url, detail }
        } else if error.is_partial_file()
            || error.is_recv_error()
            || error.is_send_error()
            || error.is_got_nothing()
        {
            Error::Broken { url, detail }
        } else {
            Error::Protocol { url, detail }
        }
    }
}

/// Whether the proxy has let the request through, now or for one before it on the connection.
fn has_tunnel<H>(easy: &Easy2<H>) -> bool {
    match easy.http_connectcode() {
        Ok(status @ 1..) => (200..300).contains(&status),
        // Nothing was connected, and yet something asked: the connection was there before.
        _ => easy.num_connects() == Ok(0) && easy.request_size().is_ok_and(|bytes| bytes > 0),
    }
}

fn is_distrust(error: &CurlError) -> bool {
    error.is_peer_failed_verification() || error.is_ssl_cacert()
}

/// Whether our client certificate or its key is what could not be loaded.
///
/// A key that OpenSSL cannot read, or of another certificate, is a bad argument to libcurl.
fn is_unusable_identity(error: &CurlError, detail: &str) -> bool {
    error.is_ssl_certproblem()
        || (error.is_bad_function_argument() && detail.contains("private key"))
}

/// Whether libcurl has ended a head that did not end: an error of receiving to it, which would not
/// be another one the next time.
fn is_flood_of_fields(detail: &str) -> bool {
    detail.starts_with("Too large response headers")
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
