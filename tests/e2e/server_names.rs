//! The name of a server, however it is written: which certificate it is shown,
//! and whether that is for it.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use test_support::{FakeRegistry, Issued, need_root};

use crate::env::Home;
use crate::images;
use crate::made;
use crate::verdict::verdict_at;

/// A server of two names, told apart by SNI.
#[derive(Debug)]
struct TwoHosts {
    localhost: Arc<CertifiedKey>,
    other: Arc<CertifiedKey>,
}

impl ResolvesServerCert for TwoHosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(match hello.server_name() {
            Some("localhost") => self.localhost.clone(),
            _ => self.other.clone(),
        })
    }
}

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
}

/// A registry that shows the right certificate only to who asks for `localhost`.
fn two_hosts(home: &Home) -> FakeRegistry {
    let root = made::root("Root");
    home.write("ca.pem", root.pem());
    let for_name = |change| certified(&made::issued(&[&made::server_but(&root, change)]));
    let hosts = TwoHosts {
        localhost: for_name(|it| made::only_for(it, "LocalHost")),
        other: for_name(|it| made::only_for(it, "other.example")),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(hosts));
    FakeRegistry::with_tls(Arc::new(config))
}

#[test]
fn p24_a_name_is_the_same_in_any_case_and_with_a_dot() {
    need_root!();
    let home = Home::new();
    let registry = two_hosts(&home);
    registry.put("team/app", "1", &images::file("x", "y"));
    let port = registry.address().port();
    for name in ["localhost", "LOCALHOST", "localhost.", "LocalHost."] {
        verdict_at(&home, &format!("{name}:{port}"), "ca.pem")
            .accepted()
            .rustls_agrees();
    }
    for name in ["localhost", "LOCALHOST"] {
        let image = format!("{name}:{port}/team/app:1");
        home.ucr(&["pull", "-q", "--cafile", "ca.pem", &image]).ok();
    }
}

#[test]
fn p24_without_a_name_the_server_shows_another_certificate() {
    let home = Home::new();
    let registry = two_hosts(&home);
    // SNI knows no addresses (RFC 6066, section 3).
    verdict_at(&home, &registry.host(), "ca.pem")
        .refused("wrong-name")
        .because(&["not for 127.0.0.1, only for DNS:other.example"])
        .rustls_objects("not valid for name");
}

#[test]
fn p24_a_name_that_is_not_ascii_is_refused_before_it_is_looked_up() {
    let home = Home::new();
    for name in ["bücher.example", "registry.example..", "a b", "*.example"] {
        let refused = home.ucr(&["certs", "check", name]).ended(2);
        refused.said(&["is not HOST or HOST:PORT"]);
    }
}
