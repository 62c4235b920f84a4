//! A TLS handshake for diagnosis only: it takes down the certificates that a
//! server presents, then refuses them.
//!
//! libcurl says that it refused a server, but not what the server presented.
//! Because the handshake never completes, nothing that was fetched this way can
//! be mistaken for an answer, and no byte of a request is ever sent.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};

use crate::crt::Certificate;
use crate::x509::DerFlaw;

/// OpenSSL accepts no longer chain by default: 100 for verification, and in
/// practice nobody sends more than five.
const LONGEST_CHAIN: usize = 16;
/// rustls limits one handshake message to 64 KiB; this limits all of them.
const MOST_BYTES: usize = 256 << 10;

/// The certificates that a server presented, none of them verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    chain: Vec<Certificate>,
}

impl Presented {
    /// The server's own certificate.
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// All certificates in the order they came: the server's own first, at most 16.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
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
        Ok(Self { chain })
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
/// SNI when it is a name. The connection is direct: after a failure through a
/// proxy there is nothing to learn here. `timeout` limits connecting to all
/// addresses and the handshake together, but not the resolver.
///
/// # Errors
///
/// [`ProbeError`] when no chain came.
pub fn probe(host: &str, port: u16, timeout: Duration) -> Result<Presented, ProbeError> {
    let deadline = Deadline::after(timeout);
    let host = bare_host(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|source| ProbeError::InvalidHost {
        host: host.to_owned(),
        source,
    })?;
    let (stream, address) = connect(host, port, deadline)?;
    let witness = Arc::new(Witness::default());
    let mut connection = client(name, witness.clone()).map_err(ProbeError::Setup)?;
    let mut stream = BoundedStream {
        stream,
        deadline,
        left: MOST_BYTES,
    };
    // It always fails, at the latest when the witness refuses.
    let outcome = connection.complete_io(&mut stream);
    // The alert goes out, so that the server's log does not say "unexpected end".
    while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
    match (witness.chain.get(), outcome) {
        (Some(chain), _) => Presented::from_der(chain),
        (None, Err(source)) => Err(ProbeError::Handshake { address, source }),
        (None, Ok(_)) => Err(ProbeError::NoCertificate),
    }
}

/// Takes the brackets from an IPv6 address of a URL.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn connect(
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(TcpStream, SocketAddr), ProbeError> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|source| ProbeError::Resolve {
            host: host.to_owned(),
            source,
        })?;
    let mut failure = ProbeError::NoAddress {
        host: host.to_owned(),
    };
    for address in addresses {
        let connected = deadline
            .left()
            .and_then(|left| TcpStream::connect_timeout(&address, left));
        match connected {
            Ok(stream) => return Ok((stream, address)),
            Err(source) => failure = ProbeError::Connect { address, source },
        }
    }
    Err(failure)
}

fn client(
    name: ServerName<'static>,
    witness: Arc<Witness>,
) -> Result<ClientConnection, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    // What libcurl offers; some servers choose their certificate by it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    ClientConnection::new(Arc::new(config), name)
}

/// Takes down the chain and refuses it, whatever it is.
#[derive(Default)]
struct Witness {
    chain: OnceLock<Vec<CertificateDer<'static>>>,
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

fn refusal() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// The moment when the probe gives up.
#[derive(Debug, Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    /// A timeout too long for the clock is none.
    fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    fn left(self) -> io::Result<Duration> {
        let Some(moment) = self.0 else {
            return Ok(Duration::MAX);
        };
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }
}

/// A connection that ends at a moment, however slowly bytes drip in, and after
/// an amount, however fast.
struct BoundedStream {
    stream: TcpStream,
    deadline: Deadline,
    left: usize,
}

impl io::Read for BoundedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the server sent too much"));
        }
        let wanted = buffer.len().min(self.left);
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        let count = self.stream.read(&mut buffer[..wanted]).map_err(timed_out)?;
        self.left -= count;
        Ok(count)
    }
}

impl io::Write for BoundedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        self.stream.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's timeout comes as `EAGAIN` (socket(7), `SO_RCVTIMEO`), which rustls
/// would take for a non-blocking socket.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::ErrorKind::TimedOut.into()
    } else {
        error
    }
}

#[cfg(test)]
mod tests;
