//! A TLS handshake for diagnosis only: it takes down the certificates that a
//! server presents, then refuses them.
//!
//! libcurl says that it refused a server, but not what the server presented.
//! Because the handshake never completes, nothing that was fetched this way can
//! be mistaken for an answer, and no byte of a request is ever sent.

mod connection;
mod openssl;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};

use self::connection::Deadline;
use crate::crt::Certificate;
use crate::x509::DerFlaw;

/// OpenSSL builds no longer chain (X509_VERIFY_PARAM_set_depth(3)), but finds its way
/// among all that were sent: to judge as it does, nothing less will do.
const LONGEST_CHAIN: usize = 100;

/// What is offered for the time after the handshake, as libcurl does.
const ALPN: &[u8] = b"http/1.1";

/// The certificates that a server presented, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    chain: Vec<Certificate>,
    protocol: Option<&'static str>,
    asks_for_client: Option<bool>,
    unspeakable: bool,
}

/// How to come to a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// Straight.
    Direct,
    /// By way of an HTTP proxy and its CONNECT (RFC 9110, section 9.3.6).
    Proxy {
        /// The proxy's name or address.
        host: &'a str,
        /// The proxy's port.
        port: u16,
        /// The value of `Proxy-Authorization`, a secret, if it wants one.
        authorization: Option<&'a str>,
    },
}

impl Presented {
    /// The server's own certificate.
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// All certificates in the order they came: the server's own first, at most 100.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The version of TLS that the server chose.
    pub fn protocol(&self) -> Option<&'static str> {
        self.protocol
    }

    /// Whether the server asked for a client certificate, be it required or not; `None` when
    /// that was not seen.
    pub fn asks_for_client_certificate(&self) -> Option<bool> {
        self.asks_for_client
    }

    /// Whether rustls and the server have no way to speak with each other.
    pub fn is_unspeakable_for_rustls(&self) -> bool {
        self.unspeakable
    }

    pub(crate) fn from_der(chain: &[CertificateDer<'static>]) -> Result<Self, ProbeError> {
        if chain.is_empty() {
            return Err(ProbeError::NoCertificate);
        }
        let parse = |(index, der): (usize, &CertificateDer<'static>)| {
            Certificate::from_der(der.clone()).map_err(|source| ProbeError::Unreadable {
                position: index + 1,
                source,
            })
        };
        let chain = chain
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            chain,
            protocol: None,
            asks_for_client: None,
            unspeakable: false,
        })
    }
}

/// Why the certificates of a server are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The host is neither an address nor a name that TLS knows.
    #[error("{host:?} is not a host name")]
    InvalidHost {
        /// What was given.
        host: String,
        /// Why it is none.
        source: InvalidDnsNameError,
    },
    /// The name could not be resolved.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// No address of the host could be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why that one failed.
        source: io::Error,
    },
    /// A proxy was asked for a tunnel and gave none.
    #[error("the proxy {proxy} opens no tunnel: {answer}")]
    Tunnel {
        /// The proxy.
        proxy: String,
        /// The first line of its answer.
        answer: String,
    },
    /// rustls could not be set up.
    #[error("cannot set up a TLS client")]
    Setup(#[source] rustls::Error),
    /// The handshake failed before the server presented a certificate.
    #[error("the TLS handshake with {address} failed before it presented a certificate")]
    Handshake {
        /// Whom it was made with.
        address: SocketAddr,
        /// What ended it.
        source: io::Error,
    },
    /// The server presented an empty chain.
    #[error("the server presented no certificate")]
    NoCertificate,
    /// The server presented something that is no certificate.
    #[error("certificate {position} of those that the server presented cannot be read")]
    Unreadable {
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        source: DerFlaw,
    },
}

/// Connects to a server and returns the certificates that it presents.
///
/// `host` is a name or an address, IPv6 with or without brackets; it is sent as
/// SNI when it is a name. `timeout` limits connecting to all addresses and the
/// handshake together, but not the resolver.
///
/// # Errors
///
/// [`ProbeError`] when no chain came.
pub fn probe(
    host: &str,
    port: u16,
    route: Route<'_>,
    timeout: Duration,
) -> Result<Presented, ProbeError> {
    let deadline = Deadline::after(timeout);
    let host = bare_host(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|source| ProbeError::InvalidHost {
        host: host.to_owned(),
        source,
    })?;
    let (mut stream, address) = route.connect(host, port, deadline)?;
    let witness = Arc::new(Witness::default());
    let mut connection = client(name, &witness).map_err(ProbeError::Setup)?;
    // It always fails, at the latest when the witness refuses.
    let outcome = connection.complete_io(&mut stream);
    // The alert goes out, so that the server's log does not say "unexpected end".
    while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
    match (witness.chain.get(), outcome) {
        (Some(chain), _) => Ok(Presented {
            protocol: connection.protocol_version().and_then(protocol_name),
            asks_for_client: Some(witness.was_asked.load(Ordering::Relaxed)),
            ..Presented::from_der(chain)?
        }),
        (None, Err(source)) => {
            // A connection that only broke says nothing of what the two can speak.
            let unspeakable = source.kind() == io::ErrorKind::InvalidData;
            let looked = look_otherwise(host, port, route, deadline);
            let refused = || ProbeError::Handshake { address, source };
            Ok(Presented {
                unspeakable,
                ..looked.ok_or_else(refused)?
            })
        }
        (None, Ok(_)) => Err(ProbeError::NoCertificate),
    }
}

/// Looks with OpenSSL at a server that did not come to terms with rustls.
fn look_otherwise(
    host: &str,
    port: u16,
    route: Route<'_>,
    deadline: Deadline,
) -> Option<Presented> {
    let (stream, _) = route.connect(host, port, deadline).ok()?;
    let mut look = openssl::look(host, stream).ok()?;
    look.chain.truncate(LONGEST_CHAIN);
    Some(Presented {
        protocol: look.protocol,
        ..Presented::from_der(&look.chain).ok()?
    })
}

fn protocol_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
        _ => None,
    }
}

/// Takes the brackets from an IPv6 address of a URL.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn client(
    name: ServerName<'static>,
    witness: &Arc<Witness>,
) -> Result<ClientConnection, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_client_cert_resolver(witness.clone());
    // What libcurl offers; some servers choose their certificate by it.
    config.alpn_protocols = vec![ALPN.to_vec()];
    ClientConnection::new(Arc::new(config), name)
}

/// Takes down the chain and refuses it, whatever it is.
#[derive(Default)]
struct Witness {
    chain: OnceLock<Vec<CertificateDer<'static>>>,
    was_asked: AtomicBool,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.chain.get_or_init(|| {
            std::iter::once(end_entity)
                .chain(intermediates)
                .take(LONGEST_CHAIN)
                .map(|der| der.clone().into_owned())
                .collect()
        });
        Err(refusal())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refusal())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refusal())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let CryptoProvider {
            signature_verification_algorithms,
            ..
        } = rustls::crypto::ring::default_provider();
        signature_verification_algorithms.supported_schemes()
    }
}

/// Has no certificate to show, but notes that one was asked for.
impl ResolvesClientCert for Witness {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn refusal() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

#[cfg(test)]
mod tests;
