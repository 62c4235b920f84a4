//! Client certificates: shown where they are meant to be, and said to be what is wrong.

use test_support::{ClientAuth, FakeRegistry, Issued, TestCa};
use ucr_images::{ErrorKind, Secret};
use ucr_puller::http::{HostTrust, Identity};

use crate::bench::{Bench, Failed, assert_contains, image, layer};
use crate::policy::{Policy, trusting};

/// A registry that asks for certificates of `clients`.
struct Asking {
    bench: Bench,
    clients: TestCa,
}

fn asking(auth: ClientAuth) -> Asking {
    let image = image([layer().file("f", "x").build()]);
    let mut bench = Bench::new();
    let clients = TestCa::new("clients");
    let issued = bench.ca.issue(&["127.0.0.1"]);
    bench.registry = FakeRegistry::with_tls(issued.server_config_asking(&clients, auth));
    bench.registry.put("app", "1", &image);
    Asking { bench, clients }
}

fn identity(issued: &Issued) -> Identity {
    Identity {
        chain_pem: issued.certificate.clone(),
        key_pem: Secret::new(&issued.key),
    }
}

impl Asking {
    fn pull_as(&self, identity: Option<Identity>) -> Result<(), Failed> {
        let trust = HostTrust {
            identity,
            ..trusting(&self.bench.ca.pem())
        };
        let policy = Policy::of(&self.bench.ca.pem()).with(&self.bench.registry.host(), trust);
        self.bench.pull_by(policy, &self.bench.request("app:1"))
    }
}

#[test]
fn p26_a_certificate_that_is_only_asked_for_may_be_missing() {
    asking(ClientAuth::Requested).pull_as(None).unwrap();
}

#[test]
fn p26_a_certificate_that_is_demanded_is_shown() {
    let asking = asking(ClientAuth::Required);
    let client = asking.clients.issue_client("agent");
    asking.pull_as(Some(identity(&client))).unwrap();
}

#[test]
fn p26_a_missing_and_a_strange_certificate_are_said_to_be_the_trouble() {
    let asking = asking(ClientAuth::Required);
    let stranger = TestCa::new("strangers").issue_client("agent");
    for shown in [None, Some(identity(&stranger))] {
        let failed = asking.pull_as(shown).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Tls, "{}", failed.text);
        let said = format!(
            "{} wants a client certificate",
            asking.bench.registry.host()
        );
        assert_contains(&failed.text, &said);
    }
    assert_eq!(asking.bench.registry.count(""), 0);
}

#[test]
fn p26_a_pair_that_is_none_is_said_to_be_the_trouble() {
    let asking = asking(ClientAuth::Required);
    let [one, two] = ["one", "two"].map(|name| asking.clients.issue_client(name));
    let pairs = [
        (&one.certificate, &two.key),
        (&one.certificate, &"no key\n".to_owned()),
        (&one.certificate, &String::new()),
        (&one.key, &one.key),
        (&String::new(), &one.key),
    ];
    for (certificate, key) in pairs {
        let unusable = Identity {
            chain_pem: certificate.clone(),
            key_pem: Secret::new(key),
        };
        let failed = asking.pull_as(Some(unusable)).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Tls, "{}", failed.text);
        let said = format!("certificate for {} cannot be", asking.bench.registry.host());
        assert_contains(&failed.text, &said);
    }
    assert_eq!(asking.bench.registry.count(""), 0);
}

#[test]
fn p26_a_certificate_for_one_host_is_not_shown_to_another() {
    let registry = asking(ClientAuth::Required);
    let other = registry.bench.ca.issue(&["127.0.0.1"]);
    let other = other.server_config_asking(&registry.clients, ClientAuth::Required);
    let other = FakeRegistry::with_tls(other);
    let away = test_support::fake_registry::Fault::RedirectToBase(other.url(""));
    registry.bench.registry.fault("/blobs/", away);
    let client = registry.clients.issue_client("agent");
    let failed = registry.pull_as(Some(identity(&client))).unwrap_err();
    assert_contains(&failed.text, &format!("{} wants a client", other.host()));
    assert_eq!(other.count(""), 0);
}
