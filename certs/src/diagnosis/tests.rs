use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::crt::Input;
use crate::policy::{TrustPlaces, TrustPolicy};
use crate::testing::{Workshop, add};
use crate::trust_store::{Scope, TrustStore};

type Made = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn root(name: &str) -> Made {
    self_signed(params(name, IsCa::Ca(BasicConstraints::Unconstrained)))
}

fn self_signed(params: CertificateParams) -> Made {
    Made::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(params: CertificateParams, issuer: &Made) -> Made {
    Made::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn intermediate(name: &str, issuer: &Made) -> Made {
    issue(
        params(name, IsCa::Ca(BasicConstraints::Unconstrained)),
        issuer,
    )
}

fn server(issuer: &Made) -> Made {
    issue(params("registry.example", IsCa::ExplicitNoCa), issuer)
}

fn presented(chain: &[&Made]) -> Presented {
    let chain: Vec<CertificateDer<'static>> = chain.iter().map(|made| made.der().clone()).collect();
    Presented::from_der(&chain).unwrap()
}

fn bundle(trusted: &Made) -> TrustBundle {
    let workshop = Workshop::new();
    let store = TrustStore::new(workshop.path("certs"));
    let input = Input::new("trusted", trusted.pem().into_bytes());
    add(&store, &[input], Scope::AllRegistries);
    let places = TrustPlaces {
        stores: vec![store],
        ..TrustPlaces::default()
    };
    TrustPolicy::load(&places).unwrap().for_all()
}

/// 2030-01-01.
const NOW: Timestamp = Timestamp::from_unix(1_893_456_000);

fn found(chain: &[&Made], trusted: &Made) -> Diagnosis {
    judged(chain, trusted).unwrap_err()
}

fn judged(chain: &[&Made], trusted: &Made) -> Result<Accepted, Diagnosis> {
    judge(&presented(chain), &bundle(trusted), "registry.example", NOW)
}

fn anchor(chain: &[&Made], trusted: &Made) -> String {
    let accepted = judged(chain, trusted).unwrap();
    accepted.anchor().facts().subject.clone()
}

#[test]
fn a_self_signed_server_that_is_not_trusted() {
    let own = self_signed(params("registry.example", IsCa::NoCa));
    let diagnosis = found(&[&own], &root("other"));
    let Diagnosis::SelfSigned { certificate } = &diagnosis else {
        panic!("{diagnosis:?}");
    };
    assert_eq!(certificate.der(), own.der());
    let text = diagnosis.to_string();
    assert!(
        text.starts_with("The server's certificate (CN=registry.example, sha256 ")
            && text.ends_with(") signed itself and is not trusted."),
        "{text}"
    );
    assert_eq!(anchor(&[&own], &own), "CN=registry.example");
}

#[test]
fn an_unknown_issuer_that_was_not_sent() {
    let ca = root("Private CA");
    let diagnosis = found(&[&server(&ca)], &root("other"));
    assert_eq!(
        diagnosis.to_string(),
        "CN=registry.example is signed by CN=Private CA, which is not trusted. \
         The server did not send the certificate of CN=Private CA, which it should unless that \
         is a root."
    );
}

#[test]
fn an_unknown_issuer_that_was_sent_even_twice() {
    let ca = root("Private CA");
    let between = intermediate("Between", &ca);
    let diagnosis = found(&[&server(&between), &between, &ca, &ca], &root("other"));
    let Diagnosis::IssuerUnknown {
        subject,
        issuer,
        sent: Some(sent),
    } = diagnosis
    else {
        panic!("{diagnosis:?}");
    };
    assert_eq!(
        (subject.as_str(), issuer.as_str()),
        ("CN=Between", "CN=Private CA")
    );
    assert_eq!(sent.der(), ca.der());
}

#[test]
fn an_intermediate_that_is_missing_among_others() {
    let ca = root("Private CA");
    let between = intermediate("Between", &ca);
    let unrelated = intermediate("Unrelated", &ca);
    let diagnosis = found(&[&server(&between), &unrelated], &ca);
    assert!(
        matches!(&diagnosis, Diagnosis::IntermediateMissing { issuer, .. } if issuer == "CN=Between"),
        "{diagnosis:?}"
    );
    let accepted = judged(&[&server(&between), &between], &ca).unwrap();
    assert_eq!(accepted.anchor().facts().subject, "CN=Private CA");
    assert_eq!(accepted.path.len(), 3);
}

#[test]
fn a_trusted_intermediate_is_enough() {
    let between = intermediate("Between", &root("Private CA"));
    assert_eq!(anchor(&[&server(&between)], &between), "CN=Between");
}

#[test]
fn a_ca_that_was_made_anew_under_its_old_name() {
    let (old, new) = (root("Private CA"), root("Private CA"));
    for chain in [&[&server(&new)][..], &[&server(&new), &new]] {
        let diagnosis = found(chain, &old);
        let Diagnosis::OtherKey { issuer, known, .. } = diagnosis else {
            panic!("{diagnosis:?}");
        };
        assert_eq!(issuer, "CN=Private CA");
        assert_eq!(known, Fingerprint::of(old.der()));
    }
}

#[test]
fn an_issuer_that_is_no_ca() {
    let ca = self_signed(params("Not a CA", IsCa::ExplicitNoCa));
    let leaf = server(&ca);
    assert_eq!(
        found(&[&leaf], &ca).to_string(),
        "CN=Not a CA signed a certificate of the chain, but is not a CA."
    );
}

#[test]
fn certificates_out_of_time() {
    let ca = root("Private CA");
    let mut old = params("registry.example", IsCa::ExplicitNoCa);
    old.not_after = date_time_ymd(2021, 1, 1);
    let mut new = params("registry.example", IsCa::ExplicitNoCa);
    new.not_before = date_time_ymd(2089, 1, 1);
    assert_eq!(
        found(&[&issue(old, &ca)], &ca).to_string(),
        "The certificate of CN=registry.example expired on 2021-01-01T00:00:00Z; \
         it is 2030-01-01T00:00:00Z here."
    );
    assert!(matches!(
        found(&[&issue(new, &ca)], &ca),
        Diagnosis::NotYetValid { .. }
    ));
}

#[test]
fn an_expired_root_counts_although_it_is_trusted() {
    let mut expired = params("Old CA", IsCa::Ca(BasicConstraints::Unconstrained));
    expired.not_after = date_time_ymd(2021, 1, 1);
    let ca = self_signed(expired);
    assert!(matches!(
        found(&[&server(&ca)], &ca),
        Diagnosis::Expired { subject, .. } if subject == "CN=Old CA"
    ));
}

#[test]
fn a_certificate_for_another_host_lists_its_names() {
    let ca = root("Private CA");
    let mut named = params("registry.example", IsCa::ExplicitNoCa);
    let names = ["a.example", "*.b.example", "10.0.0.1"].map(str::to_owned);
    named.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    let leaf = issue(named, &ca);
    // The common name does not count when there are others.
    assert_eq!(
        found(&[&leaf], &ca).to_string(),
        "The server's certificate is not for registry.example, \
         only for DNS:a.example, DNS:*.b.example, IP:10.0.0.1."
    );
    for host in ["a.example", "x.b.example", "10.0.0.1"] {
        judge(&presented(&[&leaf]), &bundle(&ca), host, NOW).unwrap();
    }
}

#[test]
fn p8_a_name_that_is_wrong_is_told_first_and_what_else_is_wrong_besides() {
    let own = self_signed(params("other.example", IsCa::NoCa));
    let diagnosis = found(&[&own], &root("unrelated"));
    let Diagnosis::WrongName { besides, .. } = &diagnosis else {
        panic!("{diagnosis:?}");
    };
    assert_eq!(besides.as_ref().unwrap().code(), "self-signed");
    let text = diagnosis.to_string();
    let told = "is not for registry.example, only for CN:other.example. Besides: The server's";
    assert!(text.contains(told), "{text}");
}
