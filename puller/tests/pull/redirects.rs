//! Redirects: where they may lead, and that no credential goes along.

use test_support::FakeRegistry;
use test_support::fake_registry::Fault;
use ucr_images::ErrorKind;

use crate::bench::{Bench, assert_contains, bulky, image};

const SECRET: &str = "open-sesame-7f3a";

/// A registry with a password, and a server of blobs on another port.
struct Elsewhere {
    bench: Bench,
    other: FakeRegistry,
    layer: String,
}

fn elsewhere() -> Elsewhere {
    let image = image([bulky("f", 5000)]);
    let bench = Bench::serving(&image);
    bench.registry.require_basic("alice", SECRET);
    let other = FakeRegistry::https(&bench.ca);
    other.put("app", "1", &image);
    Elsewhere {
        bench,
        other,
        layer: format!("/blobs/{}", image.layers[0].digest),
    }
}

fn authorized(registry: &FakeRegistry) -> usize {
    let all = registry.requests("");
    all.iter()
        .filter(|one| one.request.header("authorization").is_some())
        .count()
}

#[test]
fn s71_a_blob_elsewhere_is_fetched_without_the_credential() {
    for status in [301, 302, 303, 307, 308] {
        let Elsewhere { bench, other, .. } = elsewhere();
        let base = other.url("");
        bench.registry.respond("/blobs/", move |request| {
            test_support::fake_registry::Response::new(status, "text/plain", "elsewhere").header(
                "Location",
                &format!("{base}{}?X-Signature=abc", request.target),
            )
        });
        bench.pull_as("alice", SECRET);
        assert_eq!(
            (other.count("/blobs/"), authorized(&other)),
            (2, 0),
            "{status}"
        );
    }
}

#[test]
fn s71_a_manifest_elsewhere_is_fetched_without_the_credential() {
    let Elsewhere { bench, other, .. } = elsewhere();
    bench
        .registry
        .fault("/manifests/", Fault::RedirectToBase(other.url("")));
    bench.pull_as("alice", SECRET);
    assert_eq!((other.count("/manifests/"), authorized(&other)), (1, 0));
}

#[test]
fn s71_who_is_sent_away_and_back_comes_without_the_credential() {
    let Elsewhere {
        bench,
        other,
        layer,
    } = elsewhere();
    let away = Fault::RedirectToBase(other.url(""));
    bench.registry.fault_times(&layer, away, 1);
    other.fault("/blobs/", Fault::RedirectToBase(bench.registry.url("")));
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_eq!(failed.kind, ErrorKind::Registry, "{}", failed.text);
    let seen = bench.registry.requests(&layer);
    let last = seen.last().unwrap();
    assert_eq!(
        (last.status, last.request.header("authorization")),
        (401, None)
    );
}

#[test]
fn s71_another_registry_that_asks_for_a_proof_gets_none() {
    let Elsewhere {
        bench,
        other,
        layer,
    } = elsewhere();
    other.require_basic("alice", SECRET);
    bench
        .registry
        .fault(&layer, Fault::RedirectToBase(other.url("")));
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_contains(&failed.text, "HTTP 401");
    assert_eq!(authorized(&other), 0);
    bench.assert_heals(&bench.request_as("alice", SECRET));
}

#[test]
fn p38_a_relative_redirect_keeps_the_credential() {
    let Elsewhere { bench, layer, .. } = elsewhere();
    let target = format!("/v2/app{layer}?again");
    bench
        .registry
        .fault_times(&layer, Fault::Redirect(307, target), 1);
    bench.pull_as("alice", SECRET);
    assert_eq!(bench.registry.count("?again"), 1);
}

#[test]
fn p38_only_https_is_followed_and_the_signature_of_a_url_not_shown() {
    let plain = FakeRegistry::http();
    let targets = [
        plain.url("/x?X-Signature=secret"),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "gopher://127.0.0.1/x".to_owned(),
    ];
    for target in targets {
        for pattern in ["/manifests/", "/blobs/"] {
            let Elsewhere { bench, .. } = elsewhere();
            bench
                .registry
                .fault(pattern, Fault::Redirect(307, target.clone()));
            let request = bench.request_as("alice", SECRET);
            let failed = bench.fail_with(&request);
            assert_eq!(failed.kind, ErrorKind::Refused);
            assert_contains(&failed.text, "which is not https");
            assert!(!failed.text.contains("Signature"), "{}", failed.text);
            bench.assert_heals(&request);
        }
    }
    assert_eq!(plain.count(""), 0);
}

#[test]
fn p38_nowhere_and_loops_are_given_up() {
    let Elsewhere { bench, layer, .. } = elsewhere();
    for target in ["", "https://", "https://[::1"] {
        bench.registry.heal();
        bench
            .registry
            .fault(&layer, Fault::Redirect(302, target.to_owned()));
        let failed = bench.fail_with(&bench.request_as("alice", SECRET));
        assert_contains(&failed.text, "redirects to nowhere");
    }
    bench.registry.heal();
    let before = bench.registry.count(&layer);
    bench
        .registry
        .fault(&layer, Fault::RedirectToBase(bench.registry.url("")));
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_contains(&failed.text, "redirects more than 10 times");
    assert_eq!(bench.registry.count(&layer) - before, 11);
    bench.assert_heals(&bench.request_as("alice", SECRET));
}

#[test]
fn p38_ten_redirects_are_followed() {
    let Elsewhere { bench, layer, .. } = elsewhere();
    let around = Fault::RedirectToBase(bench.registry.url(""));
    bench.registry.fault_times(&layer, around, 10);
    bench.pull_as("alice", SECRET);
}

#[test]
fn s76_a_redirect_to_a_server_that_is_not_trusted_fails() {
    let Elsewhere { bench, layer, .. } = elsewhere();
    let stranger = FakeRegistry::https(&test_support::TestCa::new("unknown"));
    bench
        .registry
        .fault(&layer, Fault::RedirectToBase(stranger.url("")));
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_eq!(failed.kind, ErrorKind::Untrusted);
    assert_eq!(failed.untrusted_server(), Some(stranger.host()));
    assert_eq!(stranger.count(""), 0);
}
