//! Certificates of every kind, good and odd, and servers that present them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use test_support::{FakeRegistry, Issued};

use crate::env::Home;

/// A certificate and its key; it signs whatever it is asked to, CA or not.
pub(crate) type Made = CertifiedIssuer<'static, KeyPair>;

/// What is different about a certificate.
pub(crate) type Change = fn(&mut CertificateParams);

/// A CA that signed itself.
pub(crate) fn root(name: &str) -> Made {
    root_but(name, |_| {})
}

/// The same with a change.
pub(crate) fn root_but(name: &str, change: Change) -> Made {
    let mut params = authority(name);
    change(&mut params);
    Made::self_signed(params, key()).unwrap()
}

/// A CA that `issuer` signed.
pub(crate) fn intermediate(name: &str, issuer: &Made) -> Made {
    Made::signed_by(authority(name), key(), issuer).unwrap()
}

/// Another certificate for the name and key of `root`, by another issuer.
pub(crate) fn signed_across(root: &Made, name: &str, issuer: &Made) -> Made {
    let key = KeyPair::from_pem(&root.key().serialize_pem()).unwrap();
    Made::signed_by(authority(name), key, issuer).unwrap()
}

/// A certificate for a server at 127.0.0.1.
pub(crate) fn server(issuer: &Made) -> Made {
    server_but(issuer, |_| {})
}

/// The same with a change.
pub(crate) fn server_but(issuer: &Made, change: Change) -> Made {
    let mut params = leaf();
    change(&mut params);
    Made::signed_by(params, key(), issuer).unwrap()
}

/// A certificate for a server at 127.0.0.1 that signed itself.
pub(crate) fn self_signed() -> Made {
    Made::self_signed(leaf(), key()).unwrap()
}

/// A registry whose authority is in the file `ca.pem` of a home.
pub(crate) fn trusted_registry(home: &Home) -> FakeRegistry {
    let root = root("Example Corp CA");
    home.write("ca.pem", root.pem());
    presenting(&[&server(&root)])
}

/// Makes a certificate be for a DNS name and for nothing else.
pub(crate) fn only_for(params: &mut CertificateParams, name: &str) {
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
}

/// Ends the validity of a certificate in 2021.
pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2021, 1, 1);
}

/// Lets the validity of a certificate begin in 2089.
pub(crate) fn of_the_future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2089, 1, 1);
}

/// What a server with this chain, its own certificate first, needs.
pub(crate) fn issued(chain: &[&Made]) -> Issued {
    Issued {
        certificate: pem(chain),
        key: chain[0].key().serialize_pem(),
    }
}

/// A registry that presents this chain, its own certificate first.
pub(crate) fn presenting(chain: &[&Made]) -> FakeRegistry {
    FakeRegistry::with_tls(issued(chain).server_config())
}

/// Certificates one after the other.
pub(crate) fn pem(certificates: &[&Made]) -> String {
    certificates.iter().map(|made| made.pem()).collect()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn named(name: &str, params: CertificateParams) -> CertificateParams {
    let mut params = params;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf() -> CertificateParams {
    let names = vec!["127.0.0.1".to_owned()];
    let mut params = named("registry", CertificateParams::new(names).unwrap());
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
