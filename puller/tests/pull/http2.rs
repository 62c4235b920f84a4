//! HTTP/2, which documents and tokens come over, and what goes wrong with its streams.

use std::time::Duration;

use test_support::fake_registry::{Ending, Fault, Response, TokenField};
use test_support::{FakeRegistry, Image, TestCa};
use ucr_images::ErrorKind;
use ucr_puller::http::Settings;
use ucr_puller::{Event, Progress};

use crate::bench::{Bench, assert_contains, bulky, image};
use crate::retries::{Told, patient};

const MANIFEST: &str = "GET /v2/app/manifests/";
const TOKEN: &str = "GET /token";

/// A bench whose registry wants tokens, and speaks HTTP/2 where it can.
fn serving(image: &Image) -> Bench {
    let ca = TestCa::new("bench");
    let registry = FakeRegistry::http2(&ca);
    registry.put("app", "1", image);
    registry.require_bearer(None, TokenField::Token);
    Bench {
        temp: tempfile::tempdir().unwrap(),
        ca,
        registry,
    }
}

fn one() -> Image {
    image([bulky("a", 100_000)])
}

/// Ends the connection for this stream and all others, instead of an answer.
fn go_away() -> Fault {
    Fault::Respond(std::sync::Arc::new(|_| Response {
        ending: Ending::Cut,
        ..Response::new(0, "", "")
    }))
}

#[test]
fn p65_documents_and_tokens_come_over_http2_and_layers_over_http1() {
    let image = one();
    let bench = serving(&image);
    bench.pull("app:1");
    let over_http2 = |pattern: &str| -> Vec<bool> {
        let requests = bench.registry.requests(pattern);
        let has_authority = |seen: &test_support::fake_registry::Recorded| {
            seen.request.header(":authority").is_some()
        };
        requests.iter().map(has_authority).collect()
    };
    let layer = format!("/blobs/{}", image.layers[0].digest);
    let config = format!("/blobs/{}", image.config.digest);
    for pattern in ["/manifests/", TOKEN, &config] {
        let seen = over_http2(pattern);
        assert!(
            !seen.is_empty() && !seen.contains(&false),
            "{pattern}: {seen:?}"
        );
    }
    assert_eq!(over_http2(&layer), [false]);
}

#[test]
fn p65_what_is_interrupted_is_asked_for_again() {
    let faults = [
        ("RST_STREAM", Fault::Reset),
        ("RST_STREAM in the body", Fault::ResetAfter(10)),
        ("GOAWAY", go_away()),
        ("GOAWAY in the body", Fault::Truncate(10)),
    ];
    for (name, fault) in faults {
        for pattern in [MANIFEST, TOKEN] {
            let bench = serving(&one());
            bench.registry.fault_times(pattern, fault.clone(), 2);
            let told = Told::default();
            let pulled = bench.pull_changed(&bench.request("app:1"), patient, &told);
            pulled.unwrap_or_else(|failed| panic!("{name}, {pattern}: {}", failed.text));
            assert_eq!(
                told.lines().len(),
                2,
                "{name}, {pattern}: {:?}",
                told.lines()
            );
            bench.registry.require_nothing();
            bench.assert_heals(&bench.request("app:1"));
        }
    }
}

#[test]
fn p65_what_is_always_interrupted_is_one_clear_error() {
    for fault in [Fault::Reset, go_away()] {
        let bench = serving(&one());
        bench.registry.fault(MANIFEST, fault);
        let told = Told::default();
        let failed = bench.pull_changed(&bench.request("app:1"), patient, &told);
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
        assert_contains(&failed.text, &bench.registry.host());
        assert_eq!(told.lines().len(), 3, "{:?}", told.lines());
        // libcurl itself asks once more where it used a connection from before.
        let asked = bench.registry.count(MANIFEST);
        assert!((4..=5).contains(&asked), "{asked}");
        bench.assert_nothing_left();
        bench.assert_heals(&bench.request("app:1"));
    }
}

/// Takes all faults back when a request is about to be repeated.
struct Heal<'a>(&'a Bench, Told);

impl Progress for Heal<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Retrying(_)) {
            self.0.registry.heal();
        }
        self.1.event(event);
    }
}

#[test]
fn p65_a_stream_that_stalls_is_asked_for_again_on_a_new_connection() {
    for pattern in [MANIFEST, TOKEN] {
        let bench = serving(&one());
        // While it waits there, the server does nothing else with the connection.
        let _gate = bench.registry.gate(pattern, 10);
        let told = Heal(&bench, Told::default());
        let impatient = |settings: &mut Settings| {
            patient(settings);
            settings.patience.stalled_after = Duration::from_secs(1);
        };
        let pulled = bench.pull_changed(&bench.request("app:1"), impatient, &told);
        pulled.unwrap_or_else(|failed| panic!("{pattern}: {}", failed.text));
        let lines = told.1.lines();
        assert_eq!(lines.len(), 1, "{pattern}: {lines:?}");
        assert_contains(&lines[0], "timed out");
    }
}
