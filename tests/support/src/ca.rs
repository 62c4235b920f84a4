//! A certificate authority for one test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 to 2090.
    Now,
    /// It ended in 2021.
    Expired,
    /// It begins in 2090.
    NotYet,
}

impl Validity {
    fn apply(self, params: &mut CertificateParams) {
        let (from, to) = match self {
            Self::Now => (2020, 2090),
            Self::Expired => (2020, 2021),
            Self::NotYet => (2090, 2091),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
    }
}

/// A self-signed CA.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, as PEM; those of intermediate CAs may follow.
    pub certificate: String,
    /// The key, as PEM.
    pub key: String,
}

impl TestCa {
    /// Makes a CA of this name.
    pub fn new(common_name: &str) -> Self {
        Self::with_validity(common_name, Validity::Now)
    }

    /// Makes a CA that may be expired.
    pub fn with_validity(common_name: &str, validity: Validity) -> Self {
        let params = authority(common_name, validity);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// Makes a CA of this name whose certificate is signed by this one.
    pub fn intermediate(&self, common_name: &str) -> Self {
        let params = authority(common_name, Validity::Now);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap(),
        }
    }

    /// The CA's certificate as PEM, for a CAfile.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The CA's certificate as DER, as operators get it as `ca.crt`.
    pub fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Issues a server certificate for names and addresses.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with_validity(names, Validity::Now)
    }

    /// Issues a server certificate that may be expired.
    pub fn issue_with_validity(&self, names: &[&str], validity: Validity) -> Issued {
        let mut params = leaf(names, ExtendedKeyUsagePurpose::ServerAuth);
        validity.apply(&mut params);
        self.sign(&params)
    }

    /// Issues a client certificate for a name.
    pub fn issue_client(&self, name: &str) -> Issued {
        let mut params = leaf(&[name], ExtendedKeyUsagePurpose::ClientAuth);
        Validity::Now.apply(&mut params);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn authority(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity.apply(&mut params);
    params
}

fn leaf(names: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![usage];
    params
}

impl std::fmt::Debug for TestCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

impl Issued {
    /// The settings of a TLS server that presents this certificate and speaks HTTP/1.1.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ca_is_another_and_issues_usable_certificates() {
        let (one, two) = (TestCa::new("same"), TestCa::new("same"));
        assert_ne!(one.der(), two.der());
        assert!(one.pem().starts_with("-----BEGIN CERTIFICATE-----"));
        one.issue(&["localhost", "127.0.0.1"]).server_config();
        two.issue_with_validity(&["localhost"], Validity::Expired)
            .server_config();
    }
}
