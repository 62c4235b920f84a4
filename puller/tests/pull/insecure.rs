//! One host whose certificate nobody looks at: what that changes, and what it does not.

use test_support::fake_registry::{Fault, TokenField};
use test_support::{FakeRegistry, TestCa, Validity};
use ucr_images::ErrorKind;
use ucr_puller::http::{HostTrust, Verification};

use crate::bench::{Bench, Failed, image, layer};
use crate::policy::{Policy, trusting};

/// A registry with a certificate of an unknown CA, for another name, and expired.
fn dubious() -> Bench {
    let mut bench = Bench::new();
    let strangers = TestCa::new("strangers");
    let issued = strangers.issue_with_validity(&["elsewhere.example"], Validity::Expired);
    bench.registry = FakeRegistry::with_tls(issued.server_config());
    bench
        .registry
        .put("app", "1", &image([layer().file("f", "x").build()]));
    bench
}

fn unverified(pem: &str) -> HostTrust {
    HostTrust {
        verification: Verification::Off,
        ..trusting(pem)
    }
}

/// Pulls, looking at every certificate but the registry's.
fn pull(bench: &Bench) -> Result<(), Failed> {
    let policy = Policy::of(&bench.ca.pem()).with(&bench.registry.host(), unverified(""));
    bench.pull_by(policy, &bench.request("app:1"))
}

#[test]
fn an_unverified_registry_is_pulled_from_with_and_without_certificates_to_trust() {
    let bench = dubious();
    pull(&bench).unwrap();
    let bench = dubious();
    let trust = unverified(&bench.ca.pem());
    let policy = Policy::of("").with(&bench.registry.host(), trust);
    bench.pull_by(policy, &bench.request("app:1")).unwrap();
}

#[test]
fn s76_an_unverified_hosts_redirect_and_token_server_are_verified() {
    for pattern in ["/blobs/", "/manifests/", "/token"] {
        let bench = dubious();
        let other = FakeRegistry::https(&TestCa::new("unknown"));
        other.issue_tokens(None, TokenField::Token);
        let away = Fault::RedirectToBase(other.url(""));
        match pattern {
            "/token" => bench.registry.require_bearer_from(&other.url("/token")),
            pattern => bench.registry.fault(pattern, away),
        }
        let failed = pull(&bench).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Untrusted, "{}", failed.text);
        let untrusted = failed.untrusted_server();
        assert_eq!(untrusted, Some(other.host()), "{pattern}");
        assert_eq!(other.count(""), 0);
    }
}

#[test]
fn s76_another_port_of_an_unverified_host_is_verified() {
    let (bench, other) = (dubious(), dubious());
    let policy = Policy::of(&bench.ca.pem()).with(&bench.registry.host(), unverified(""));
    let failed = bench.pull_by(policy, &other.request("app:1")).unwrap_err();
    let untrusted = failed.untrusted_server();
    assert_eq!(untrusted, Some(other.registry.host()));
}

#[test]
fn s75_an_unverified_registry_is_not_spoken_to_in_clear() {
    let mut bench = dubious();
    bench.registry = FakeRegistry::http();
    let failed = pull(&bench).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Tls, "{}", failed.text);
    assert_eq!(bench.registry.count(""), 0);
}
