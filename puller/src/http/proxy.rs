//! The proxy between us and the hosts, and the hosts that are reached without it.

use std::fmt;
use std::path::Path;

use curl::easy::{Easy2, SslVersion};
use percent_encoding::percent_decode_str;
use ucr_images::{Login, Secret};
use url::Url;

use super::error::Error;
use super::no_proxy::Exceptions;
use super::trust::{HostTrust, TrustPolicy, Verification};

/// The port of SOCKS servers (RFC 1928, section 3).
const SOCKS_PORT: u16 = 1080;
/// What ends user, password, host and port in a URL (RFC 3986, section 3.2), and the
/// backslash, which the URL Standard takes for a slash.
const ENDS_AUTHORITY: [char; 4] = ['/', '\\', '?', '#'];
/// What to do about one of them: most likely it is part of a password.
const NOT_ESCAPED: &str = "nothing may follow the port, \
     and a /, \\, ? or # in the password must be written as %2F, %5C, %3F or %23";

/// Which proxy connections go through, if any.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    exceptions: Exceptions,
}

/// One proxy.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    kind: ProxyKind,
    host: String,
    port: u16,
    /// With user and password, if it wants them; libcurl sends them in CONNECT alone.
    url: Secret,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// CONNECT, in clear up to the tunnel.
    Http,
    /// CONNECT within TLS, the tunnel too.
    Https,
    /// SOCKS 5, names resolved here.
    Socks5,
    /// SOCKS 5, names resolved there.
    Socks5h,
}

/// A proxy for people: scheme, host and port, never user or password.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownProxy(String);

/// A variable that names no proxy. Its value may hold a password and is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It is a URL of another kind.
    #[error(
        "${variable} names a proxy of the kind {scheme:?}: http, https, socks5 or socks5h, please"
    )]
    Scheme {
        /// The variable.
        variable: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// It is no URL with a host.
    #[error("${variable} is not [http://][USER:PASSWORD@]HOST[:PORT]: {why}")]
    Malformed {
        /// The variable.
        variable: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Proxies {
    /// Takes the proxy that `variable` names, for all hosts that `no_proxy` does not except.
    ///
    /// Without a scheme it is http, without a port the scheme's own. Exceptions
    /// are hosts, domains, addresses and networks (CIDR) between commas or
    /// spaces, or `*` for all; one that ends in `:PORT` is for that port alone.
    ///
    /// # Errors
    /// A value that is no URL of an http, https, socks5 or socks5h proxy.
    pub fn parse(variable: &str, value: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        Ok(Self {
            proxy: Some(Proxy::parse(variable, value.trim())?),
            exceptions: Exceptions::parse(no_proxy),
        })
    }

    /// The proxy on the way to `url`.
    pub(super) fn to(&self, url: &Url) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        let direct = self.exceptions.match_url(url);
        (!direct).then_some(proxy)
    }
}

impl Proxy {
    fn parse(variable: &str, value: &str) -> Result<Self, ProxyError> {
        let malformed = |why| ProxyError::Malformed {
            variable: variable.to_owned(),
            why,
        };
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        // Where there is no scheme in front, a password may hold "://".
        if !scheme.chars().all(is_of_scheme) || has_more_than_authority(rest) {
            return Err(malformed(NOT_ESCAPED));
        }
        let kind = ProxyKind::parse(scheme).ok_or_else(|| ProxyError::Scheme {
            variable: variable.to_owned(),
            scheme: scheme.chars().take(20).collect(),
        })?;
        let url = Url::parse(&format!("{}://{rest}", kind.scheme()))
            .map_err(|_why| malformed("it cannot be read as a URL"))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host
            .ok_or_else(|| malformed("there is no host"))?
            .to_owned();
        let port = url.port_or_known_default().unwrap_or(SOCKS_PORT);
        let user_information = match (url.username(), url.password()) {
            ("", None) => String::new(),
            (user, None) => format!("{user}@"),
            (user, Some(password)) => format!("{user}:{password}@"),
        };
        let scheme = kind.scheme();
        Ok(Self {
            kind,
            port,
            // The port always: libcurl's own for http proxies is 1080.
            url: Secret::new(format!("{scheme}://{user_information}{host}:{port}")),
            host,
        })
    }

    /// How it is spoken to.
    pub(super) fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its name or address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Who to be there, if it wants to know.
    pub(super) fn credential(&self) -> Option<Login> {
        let url = Url::parse(self.url.expose()).ok()?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let principal = Some(url.username()).filter(|user| !user.is_empty())?;
        Some(Login {
            principal: decoded(principal),
            secret: Secret::new(decoded(url.password().unwrap_or_default())),
        })
    }

    /// What people are told of it.
    pub(super) fn shown(&self) -> ShownProxy {
        let scheme = self.kind.scheme();
        ShownProxy(format!("{scheme}://{}:{}", self.host, self.port))
    }

    /// Text of libcurl's in which the proxy's URL, if it is there, shows no password.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(self.url.expose(), &self.shown().0)
    }

    /// Makes a handle go through this proxy.
    ///
    /// # Errors
    /// When the proxy is spoken to by TLS and nobody is trusted for it.
    pub(super) fn apply<H>(
        &self,
        easy: &mut Easy2<H>,
        trust: &dyn TrustPolicy,
        empty_ca_path: &Path,
    ) -> Result<(), Error> {
        easy.proxy(self.url.expose()).map_err(Error::Setup)?;
        if self.kind != ProxyKind::Https {
            return Ok(());
        }
        let trust = trust.for_host(&self.host, self.port);
        let peer = format!("{}:{}", self.host, self.port);
        trust.check(&peer, Verification::Full)?;
        verify(easy, &trust, empty_ca_path).map_err(Error::Setup)
    }
}

/// Whether it may stand in a scheme (RFC 3986, section 3.1).
fn is_of_scheme(character: char) -> bool {
    character.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&character)
}

/// Whether anything but one slash stands behind user, password, host and port.
fn has_more_than_authority(rest: &str) -> bool {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    authority.contains(ENDS_AUTHORITY)
}

/// A proxy's certificate is always looked at: what leave a host has is not for the way to it.
fn verify<H>(
    easy: &mut Easy2<H>,
    trust: &HostTrust,
    empty_ca_path: &Path,
) -> Result<(), curl::Error> {
    easy.proxy_ssl_verify_peer(true)?;
    easy.proxy_ssl_verify_host(true)?;
    easy.proxy_ssl_min_max_version(SslVersion::Tlsv12, SslVersion::Default)?;
    easy.proxy_ssl_cainfo_blob(&trust.trusted_pem)?;
    easy.proxy_capath(empty_ca_path)?;
    if let Some(identity) = &trust.identity {
        easy.proxy_sslcert_type("PEM")?;
        easy.proxy_sslcert_blob(identity.chain_pem.as_bytes())?;
        easy.proxy_sslkey_type("PEM")?;
        easy.proxy_sslkey_blob(identity.key_pem.expose().as_bytes())?;
    }
    Ok(())
}

impl ProxyKind {
    fn parse(scheme: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|kind| kind.scheme().eq_ignore_ascii_case(scheme))
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }
}

impl fmt::Display for ShownProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShownProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Proxy, ProxyError> {
        Proxy::parse("https_proxy", value)
    }

    #[test]
    fn p27_a_proxy_is_a_url_or_a_host_and_port() {
        for (value, given, shown) in [
            ("proxy:3128", "http://proxy:3128", "http://proxy:3128"),
            (
                "Proxy.Example",
                "http://proxy.example:80",
                "http://proxy.example:80",
            ),
            ("HTTPS://p/", "https://p:443", "https://p:443"),
            (
                "http://[::1]:8080",
                "http://[::1]:8080",
                "http://[::1]:8080",
            ),
            ("socks5h://p", "socks5h://p:1080", "socks5h://p:1080"),
            ("socks5://u@p:80", "socks5://u@p:80", "socks5://p:80"),
            ("http://u:p%40ss@p:1", "http://u:p%40ss@p:1", "http://p:1"),
            ("u:p@ss@p:1", "http://u:p%40ss@p:1", "http://p:1"),
        ] {
            let proxy = parse(value).unwrap();
            assert_eq!(proxy.url.expose(), given, "{value}");
            assert_eq!(proxy.shown().to_string(), shown, "{value}");
        }
    }

    #[test]
    fn p27_what_is_no_proxy_is_refused_by_variable_and_without_its_secret() {
        for value in [
            "",
            "http://",
            "socks5://",
            "http://u:wonderland@",
            "http://u:wonderland@[::1",
            "http://u:wonderland@p:99999",
            "socks4://u:wonderland@p",
            "ftp://p",
            "file:///u:wonderland",
        ] {
            let said = parse(value).unwrap_err().to_string();
            assert!(said.starts_with("$https_proxy"), "{said}");
            assert!(!said.contains("wonderland"), "{said}");
        }
        let said = parse("gopher+x://p").unwrap_err().to_string();
        assert!(said.contains("\"gopher+x\""), "{said}");
    }

    #[test]
    fn s48_a_password_that_ends_a_url_is_neither_shown_nor_taken_for_a_host() {
        for value in [
            "alice:s3cr://et@proxy",
            "s3cr@x://et@proxy",
            "http://alice:s3cr://et@proxy",
            "http://alice:12/s3cr@proxy",
            "alice:12/s3cr@proxy",
            "alice:12/s3cr@proxy/..",
            "https://alice:12?s3cr@proxy",
            "socks5h://alice:12#s3cr@proxy",
            r"http://CORP\alice:s3cr@proxy",
            "http://proxy/s3cr",
            "http://proxy/?s3cr",
            "http://proxy//",
        ] {
            let error = parse(value).unwrap_err();
            assert!(matches!(error, ProxyError::Malformed { .. }), "{error}");
            let said = format!("{error} {error:?}");
            assert!(said.contains("%2F, %5C, %3F or %23"), "{said}");
            for secret in ["s3cr", "et@", "alice", "12"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
        let escaped = parse("http://CORP%5Calice:1%2F2%3F3%23@proxy/").unwrap();
        assert_eq!(escaped.shown().to_string(), "http://proxy:80");
        let credential = escaped.credential().unwrap();
        assert_eq!(credential.principal, r"CORP\alice");
        assert_eq!(credential.secret.expose(), "1/2?3#");
    }

    #[test]
    fn s48_the_password_of_a_proxy_shows_nowhere_it_is_formatted() {
        let proxies = Proxies::parse("ALL_PROXY", "http://u:wonderland@p:1", "").unwrap();
        assert!(!format!("{proxies:?}").contains("wonderland"));
        let proxy = proxies.proxy.unwrap();
        assert!(!format!("{proxy:?} {} {:?}", proxy.shown(), proxy.shown()).contains("wonderland"));
        assert_eq!(
            proxy.redact("no 'http://u:wonderland@p:1' here"),
            "no 'http://p:1' here"
        );
    }
}
