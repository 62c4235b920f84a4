//! OpenSSL's verdict over a chain that a server presented, asked for as libcurl
//! asks for it, so that the reason given is the reason there was.

use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult};

use crate::bundle::TrustBundle;
use crate::crt::Certificate;
use crate::fingerprint::Fingerprint;
use crate::x509::Timestamp;

/// What the OpenSSL that libcurl is linked with takes for a connection unless told
/// otherwise: RSA of 2048 bits, no SHA-1 (SSL_CTX_get_security_level(3), since 3.2).
const SECURITY_LEVEL: i32 = 2;

/// What OpenSSL says of a chain.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It leads to a trusted certificate: the server's own first, that one last.
    Accepted(Vec<Fingerprint>),
    /// It does not, and why.
    Refused(Refusal),
}

/// Why OpenSSL refuses a chain.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Its number, `X509_V_ERR_…` of x509_vfy.h.
    pub(crate) code: i32,
    /// Its words.
    pub(crate) reason: &'static str,
    /// The certificate that it stumbled over.
    pub(crate) at: Fingerprint,
    /// The path as far as it was built, the server's own certificate first.
    pub(crate) path: Vec<Fingerprint>,
}

/// Verifies a chain, the server's own certificate first, against what is trusted.
///
/// # Errors
/// When OpenSSL cannot even begin.
pub(crate) fn verify(
    chain: &[Certificate],
    bundle: &TrustBundle,
    now: Timestamp,
) -> Result<Verdict, ErrorStack> {
    debug_assert!(ucr_sys_openssl::is_unconfigured());
    let store = store(bundle, now)?;
    let leaf = parse(&chain[0])?;
    let mut sent = Stack::new()?;
    for certificate in &chain[1..] {
        sent.push(parse(certificate)?)?;
    }
    X509StoreContext::new()?.init(&store, &leaf, &sent, |context| {
        let accepted = context.verify_cert()?;
        let built = context.chain().into_iter().flatten();
        let path: Vec<Fingerprint> = built.map(fingerprint).collect::<Result<_, _>>()?;
        if accepted && context.error() == X509VerifyResult::OK {
            return Ok(Verdict::Accepted(path));
        }
        let at = context
            .current_cert()
            .map_or_else(|| Ok(chain[0].fingerprint()), fingerprint)?;
        Ok(Verdict::Refused(Refusal {
            code: context.error().as_raw(),
            reason: context.error().error_string(),
            at,
            path,
        }))
    })
}

fn store(bundle: &TrustBundle, now: Timestamp) -> Result<X509Store, ErrorStack> {
    let mut param = X509VerifyParam::new()?;
    // libcurl: any trusted certificate ends a chain, and is looked for first.
    param.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST)?;
    param.set_purpose(X509PurposeId::SSL_SERVER)?;
    param.set_auth_level(SECURITY_LEVEL);
    param.set_time(now.as_unix());
    let mut builder = X509StoreBuilder::new()?;
    builder.set_param(&param)?;
    for anchor in bundle.anchors() {
        builder.add_cert(parse(&anchor.certificate)?)?;
    }
    Ok(builder.build())
}

/// Whether the key of `issuer` made the signature of `signed`.
pub(crate) fn signed_by(signed: &Certificate, issuer: &Certificate) -> bool {
    let verify = || parse(signed)?.verify(&*parse(issuer)?.public_key()?);
    verify().unwrap_or(false)
}

fn parse(certificate: &Certificate) -> Result<X509, ErrorStack> {
    X509::from_der(certificate.der())
}

fn fingerprint(x509: &X509Ref) -> Result<Fingerprint, ErrorStack> {
    Ok(Fingerprint::of(&x509.to_der()?))
}
