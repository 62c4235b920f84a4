//! Trust of one host is not trust of another: manifests, blobs, tokens and redirects.

use test_support::fake_registry::{Fault, TokenField};
use test_support::{FakeRegistry, Image, TestCa};
use ucr_images::ErrorKind;

use crate::bench::{Bench, Failed, assert_contains, image, layer};
use crate::policy::{Policy, trusting};

fn small() -> Image {
    image([layer().file("f", "x").build()])
}

/// A registry that sends its askers on to a server of another CA.
struct Split {
    bench: Bench,
    other: FakeRegistry,
    other_ca: TestCa,
}

impl Split {
    /// The blobs are elsewhere.
    fn blobs() -> Self {
        let split = Self::new();
        let away = Fault::RedirectToBase(split.other.url(""));
        split.bench.registry.fault("/blobs/", away);
        split
    }

    /// The token server is elsewhere.
    fn tokens() -> Self {
        let split = Self::new();
        let realm = split.other.url("/token");
        split.bench.registry.require_bearer_from(&realm);
        split
    }

    fn new() -> Self {
        let bench = Bench::serving(&small());
        let other_ca = TestCa::new("other");
        let other = FakeRegistry::https(&other_ca);
        other.put("app", "1", &small());
        other.issue_tokens(None, TokenField::Token);
        Self {
            bench,
            other,
            other_ca,
        }
    }

    fn pull_by(&self, policy: Policy) -> Result<(), Failed> {
        self.bench.pull_by(policy, &self.bench.request("app:1"))
    }

    /// Both trusted, each by its own CA.
    fn each_by_its_own(&self) -> Policy {
        Policy::of("")
            .with(&self.bench.registry.host(), trusting(&self.bench.ca.pem()))
            .with(&self.other.host(), trusting(&self.other_ca.pem()))
    }

    /// Both trusted by both CAs, but each only at the other's address.
    fn each_by_the_others(&self) -> Policy {
        Policy::of("")
            .with(&self.bench.registry.host(), trusting(&self.other_ca.pem()))
            .with(&self.other.host(), trusting(&self.bench.ca.pem()))
    }
}

#[test]
fn s76_each_host_is_trusted_by_its_own_certificates() {
    for split in [Split::blobs(), Split::tokens()] {
        split.pull_by(split.each_by_its_own()).unwrap();
        assert_ne!(split.other.count(""), 0);
    }
}

#[test]
fn s76_a_ca_of_one_host_does_not_count_for_another() {
    for split in [Split::blobs(), Split::tokens()] {
        let policy = Policy::of(&split.bench.ca.pem());
        let failed = split.pull_by(policy).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Untrusted);
        let untrusted = failed.untrusted_server();
        assert_eq!(untrusted, Some(split.other.host()));
        let failed = split.pull_by(split.each_by_the_others()).unwrap_err();
        let untrusted = failed.untrusted_server();
        assert_eq!(untrusted, Some(split.bench.registry.host()));
        assert_eq!(split.other.count(""), 0);
    }
}

#[test]
fn a_host_that_nothing_is_trusted_for_is_named() {
    let split = Split::blobs();
    let trusted = trusting(&split.bench.ca.pem());
    let policy = Policy::of("").with(&split.bench.registry.host(), trusted);
    let failed = split.pull_by(policy).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Untrusted);
    let said = format!("authority to trust for {}", split.other.host());
    assert_contains(&failed.text, &said);
    assert_eq!(split.other.connections(), 0);
}
