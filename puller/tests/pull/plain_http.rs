//! Registries that are spoken to in clear: by explicit name only, and never with a credential.

use test_support::fake_registry::{Fault, TokenField};
use test_support::{FakeRegistry, Image};
use ucr_images::{ErrorKind, Registries};
use ucr_puller::Request;

use crate::bench::{Bench, assert_contains, image, layer};

fn small() -> Image {
    image([layer().file("f", "x").build()])
}

/// A registry in clear with the image, and a bench beside it that speaks TLS.
fn plain() -> (Bench, FakeRegistry) {
    let bench = Bench::serving(&small());
    let plain = FakeRegistry::http();
    plain.put("app", "1", &small());
    (bench, plain)
}

/// A pull from the registry in clear, where `named` ones may be spoken to so.
fn request(bench: &Bench, plain: &FakeRegistry, named: &[&FakeRegistry]) -> Request {
    let mut registries = Registries::default();
    for registry in named {
        registries.speak_plainly_to(&registry.host().parse().unwrap());
    }
    Request {
        reference: format!("{}/app:1", plain.host()).parse().unwrap(),
        registries,
        ..bench.request_as("alice", "x")
    }
}

#[test]
fn s75_a_registry_in_clear_is_pulled_from_by_name_only() {
    let (bench, plain) = plain();
    let unnamed = bench.fail_with(&request(&bench, &plain, &[]));
    assert_eq!(unnamed.kind, ErrorKind::Tls);
    assert_eq!(plain.count(""), 0);
    let request = request(&bench, &plain, &[&plain]);
    bench.pull_with(&request, &()).unwrap();
}

#[test]
fn p36_no_proof_is_sent_in_clear() {
    let (bench, plain) = plain();
    let request = request(&bench, &plain, &[&plain]);
    plain.require_basic("alice", "x");
    let failed = bench.fail_with(&request);
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(
        &failed.text,
        "wants a credential over plain HTTP, where it is never sent",
    );
    plain.require_bearer(None, TokenField::Token);
    bench.fail_with(&request);
    let all = plain.requests("");
    assert!(
        all.iter()
            .all(|one| one.request.header("authorization").is_none())
    );
    assert_eq!(plain.count("/token"), 0);
}

#[test]
fn p38_from_clear_to_tls_is_followed_and_never_back() {
    let (bench, plain) = plain();
    let named = request(&bench, &plain, &[&plain]);
    plain.fault("/blobs/", Fault::RedirectToBase(bench.registry.url("")));
    bench.pull_with(&named, &()).unwrap();

    let other = Bench::serving(&image([layer().file("g", "y").build()]));
    let other_request = Request {
        registries: named.registries,
        ..other.request("app:1")
    };
    other
        .registry
        .fault("/blobs/", Fault::RedirectToBase(plain.url("")));
    let failed = other.fail_with(&other_request);
    assert_contains(&failed.text, "which is not https");
}

#[test]
fn p38_from_clear_to_clear_is_followed_to_named_hosts_only() {
    let (bench, plain) = plain();
    let second = FakeRegistry::http();
    second.put("app", "1", &small());
    plain.fault("/blobs/", Fault::RedirectToBase(second.url("")));
    let failed = bench.fail_with(&request(&bench, &plain, &[&plain]));
    assert_contains(&failed.text, "does not name its host as plain-http");
    assert_eq!(second.count(""), 0);
    let both = request(&bench, &plain, &[&plain, &second]);
    bench.pull_with(&both, &()).unwrap();
    assert!(second.count("/blobs/") > 0);
}
