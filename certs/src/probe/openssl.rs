//! The look of last resort: some servers speak with OpenSSL and not with rustls,
//! which has no P-521, no CBC and no RSA key exchange.
//!
//! It takes down the chain without verifying it, and nothing is ever sent over it.

use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError, Ssl, SslContext, SslMethod, SslRef, SslVerifyMode, SslVersion};
use rustls_pki_types::CertificateDer;

use super::ALPN;
use super::connection::BoundedStream;

/// What OpenSSL saw of a server.
pub(super) struct Look {
    /// The certificates, the server's own first; perhaps none.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The version of TLS.
    pub(super) protocol: Option<&'static str>,
}

/// Shakes hands with a server called `name`, which is sent as SNI unless it is an address.
///
/// # Errors
/// When OpenSSL cannot be set up; a handshake that fails is a look that saw less.
pub(super) fn look(name: &str, stream: BoundedStream) -> Result<Look, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    // Nothing depends on it: the chain is judged afterwards.
    context.set_verify(SslVerifyMode::NONE);
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_alpn_protos(&[&[8], ALPN].concat())?;
    let mut ssl = Ssl::new(&context.build())?;
    if name.parse::<std::net::IpAddr>().is_err() {
        ssl.set_hostname(name)?;
    }
    match ssl.connect(stream) {
        Ok(stream) => seen(stream.ssl()),
        Err(HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream)) => {
            seen(stream.ssl())
        }
        Err(HandshakeError::SetupFailure(error)) => Err(error),
    }
}

fn seen(ssl: &SslRef) -> Result<Look, ErrorStack> {
    let chain = ssl.peer_cert_chain().into_iter().flatten();
    let chain = chain.map(|x509| x509.to_der().map(CertificateDer::from));
    Ok(Look {
        chain: chain.collect::<Result<_, _>>()?,
        protocol: match ssl.version_str() {
            "TLSv1.2" => Some("TLS 1.2"),
            "TLSv1.3" => Some("TLS 1.3"),
            _ => None,
        },
    })
}
