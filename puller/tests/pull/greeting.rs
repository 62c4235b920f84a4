//! Greeting a server: whatever it answers is an answer, and what does not come about an error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use test_support::fake_registry::{Ending, Fault, Framing, Response, TokenField};
use test_support::{ClientAuth, FakeRegistry, TestCa, TestProxy};
use ucr_puller::http::{Error, Greeting, Patience, Proxies, Ranges, Settings, greet};

use crate::policy::Policy;

pub(crate) fn settings(pem: &str) -> Settings {
    Settings {
        trust: Arc::new(Policy::of(pem)),
        proxies: Proxies::default(),
        empty_ca_path: Path::new("/nonexistent").to_owned(),
        user_agent: "ucr-test".to_owned(),
        connect_timeout: Duration::from_secs(30),
        patience: Patience::none(),
        ranges: Ranges::Never,
    }
}

fn port(registry: &FakeRegistry) -> u16 {
    registry.address().port()
}

fn try_greet(registry: &FakeRegistry, pem: &str) -> Result<Greeting, Error> {
    greet(&settings(pem), "127.0.0.1", port(registry))
}

#[test]
fn any_status_is_an_answer_and_nothing_is_followed() {
    let ca = TestCa::new("greeting");
    let other = FakeRegistry::https(&ca);
    for status in [200, 204, 307, 401, 403, 404, 500, 503] {
        let registry = FakeRegistry::https(&ca);
        let location = other.url("/v2/");
        registry.respond("GET /v2/", move |_| {
            Response::new(status, "text/plain", "x").header("Location", &location)
        });
        let greeting = try_greet(&registry, &ca.pem()).unwrap();
        let expected = Greeting {
            status,
            docker_api: false,
            json: false,
            challenges: Vec::new(),
            via: None,
        };
        assert_eq!(greeting, expected);
        assert_eq!((registry.count("GET /v2/"), registry.count("")), (1, 1));
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_registry_that_wants_a_proof_is_greeted_without_one() {
    let ca = TestCa::new("greeting");
    let registry = FakeRegistry::https(&ca);
    registry.require_bearer(None, TokenField::Token);
    assert_eq!(try_greet(&registry, &ca.pem()).unwrap().status, 401);
    let asked = registry.requests("");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].request.header("authorization"), None);
}

#[test]
fn a_registry_may_say_that_it_is_one() {
    let ca = TestCa::new("greeting");
    let registry = FakeRegistry::https(&ca);
    let said = |name: &str| Response::new(200, "text/plain", "{}").header(name, "registry/2.0");
    registry.respond("GET /v2/", move |_| said("Docker-Distribution-Api-Version"));
    assert!(try_greet(&registry, &ca.pem()).unwrap().docker_api);
}

#[test]
fn a_body_too_long_or_cut_off_changes_nothing() {
    let ca = TestCa::new("greeting");
    let registry = FakeRegistry::https(&ca);
    registry.fault_times("GET /v2/", Fault::Huge(64 << 20), 1);
    assert_eq!(try_greet(&registry, &ca.pem()).unwrap().status, 200);
    registry.respond("GET /v2/", |_| Response {
        framing: Framing::Claimed(1000),
        ending: Ending::Cut,
        ..Response::new(200, "text/plain", "short")
    });
    assert_eq!(try_greet(&registry, &ca.pem()).unwrap().status, 200);
}

#[test]
fn trouble_with_tls_is_an_error() {
    let ca = TestCa::new("greeting");
    let registry = FakeRegistry::https(&ca);
    let error = try_greet(&registry, &TestCa::new("another").pem()).unwrap_err();
    assert_eq!(error.untrusted().unwrap().port, port(&registry));
    let plain = FakeRegistry::http();
    let error = try_greet(&plain, &ca.pem()).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let issued = ca.issue(&["127.0.0.1"]);
    let asking = FakeRegistry::with_tls(issued.server_config_asking(&ca, ClientAuth::Required));
    let error = try_greet(&asking, &ca.pem()).unwrap_err();
    assert!(
        matches!(error, Error::ClientCertificateWanted { .. }),
        "{error}"
    );
}

#[test]
fn what_is_no_host_is_not_greeted() {
    for host in [
        "",
        "a b",
        "u@r.example",
        "r.example/x",
        "r.example?",
        "[::1",
        "::1",
    ] {
        let error = greet(&settings("x"), host, 443).unwrap_err();
        assert!(matches!(error, Error::Host { .. }), "{host}: {error}");
    }
}

#[test]
fn p27_the_proxy_on_the_way_is_told() {
    let ca = TestCa::new("greeting");
    let registry = FakeRegistry::https(&ca);
    let proxy = TestProxy::http();
    for (no_proxy, via) in [("", Some(proxy.url())), ("127.0.0.1", None)] {
        let settings = Settings {
            proxies: Proxies::parse("https_proxy", &proxy.url(), no_proxy).unwrap(),
            ..settings(&ca.pem())
        };
        let greeting = greet(&settings, "127.0.0.1", port(&registry)).unwrap();
        assert_eq!(greeting.via.map(|proxy| proxy.to_string()), via);
    }
    assert_eq!(proxy.connections(), 1);
}
