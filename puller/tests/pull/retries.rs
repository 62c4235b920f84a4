//! What passes is put up with: repeated, within limits, and told.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use test_support::fake_registry::{Fault, Framing};
use test_support::{BlackHole, Image};
use ucr_images::{Deadline, ErrorKind};
use ucr_puller::http::{Patience, Settings};
use ucr_puller::{Event, Progress};

use crate::bench::{Bench, Failed, assert_contains, bulky, image};

/// Repeats often, and soon.
pub(crate) fn patient(settings: &mut Settings) {
    settings.patience = Patience {
        retries: 3,
        first_delay: Duration::from_millis(1),
        ..Patience::default()
    };
}

/// Remembers what was told of repetitions.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Retrying(retrying) => format!(
                "{}: {} ({} of {})",
                retrying.what, retrying.why, retrying.attempt, retrying.of
            ),
            Event::LayerResumed { from, .. } => format!("resumed {from}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Told {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn two() -> Image {
    image([bulky("a", 3000), bulky("b", 600_000)])
}

fn large(image: &Image) -> String {
    format!("/blobs/{}", image.layers[1].digest)
}

/// The `Range` fields of all requests for a blob.
fn ranges(bench: &Bench, blob: &str) -> Vec<Option<String>> {
    let requests = bench.registry.requests(blob);
    let range = |name: &str, headers: &[(String, String)]| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    requests
        .iter()
        .map(|recorded| range("range", &recorded.request.headers))
        .collect()
}

/// Pulls patiently with a fault at the large layer's first request; returns the ranges asked for.
#[track_caller]
fn survives(fault: Fault) -> Vec<Option<String>> {
    let image = two();
    let bench = Bench::serving(&image);
    bench.registry.fault_times(&large(&image), fault, 1);
    let pulled = bench.pull_changed(&bench.request("app:1"), patient, &());
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
    let ranges = ranges(&bench, &large(&image));
    bench.assert_heals(&bench.request("app:1"));
    ranges
}

#[test]
fn p50_p55_a_transfer_that_breaks_goes_on_where_it_broke() {
    for fault in [Fault::Truncate(400_000), Fault::ResetAfter(400_000)] {
        let ranges = survives(fault);
        assert_eq!(ranges.len(), 2, "{ranges:?}");
        assert_eq!(ranges[0], None);
        assert!(ranges[1].is_some(), "{ranges:?}");
    }
}

#[test]
fn p52_a_body_that_ends_early_without_a_length_goes_on() {
    let image = two();
    let bench = Bench::serving(&image);
    let short = image.layers[1].bytes[..300_000].to_vec();
    bench.registry.fault_times(
        &large(&image),
        Fault::Respond(std::sync::Arc::new(move |_| {
            let mut response = test_support::fake_registry::Response::new(
                200,
                "application/octet-stream",
                short.clone(),
            );
            response.framing = Framing::Close;
            response.ending = test_support::fake_registry::Ending::Close;
            response
        })),
        1,
    );
    let pulled = bench.pull_changed(&bench.request("app:1"), patient, &());
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
    let ranges = ranges(&bench, &large(&image));
    assert_eq!(ranges, [None, Some("bytes=300000-".to_owned())]);
}

#[test]
fn p54_p55_a_reset_before_the_first_byte_is_repeated() {
    assert_eq!(survives(Fault::Reset), [None, None]);
}

#[test]
fn p63_what_passes_is_repeated_for_layers_and_documents() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        assert_eq!(survives(Fault::Status(status)), [None, None], "{status}");
        let image = two();
        let bench = Bench::serving(&image);
        bench
            .registry
            .fault_times("/manifests/", Fault::Status(status), 2);
        let told = Told::default();
        let pulled = bench.pull_changed(&bench.request("app:1"), patient, &told);
        pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
        let line = format!("{}: HTTP status {status} (2 of 3)", bench.registry.host());
        assert_eq!(told.lines()[1], line);
    }
}

#[test]
fn p63_a_server_that_says_when_is_asked_then() {
    let image = two();
    let bench = Bench::serving(&image);
    bench
        .registry
        .fault_times(&large(&image), Fault::RetryAfter(429, 1), 1);
    let start = Instant::now();
    let pulled = bench.pull_changed(&bench.request("app:1"), patient, &());
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

fn fails(fault: Fault, pattern: &str, change: impl FnOnce(&mut Settings)) -> (Bench, Failed) {
    let image = two();
    let bench = Bench::serving(&image);
    bench.registry.fault(pattern, fault);
    let failed = bench
        .pull_changed(&bench.request("app:1"), change, &())
        .unwrap_err();
    bench.assert_nothing_left();
    (bench, failed)
}

#[test]
fn p63_what_does_not_pass_ends_after_as_many_repetitions_as_allowed() {
    let (bench, failed) = fails(Fault::Status(503), "/blobs/", patient);
    assert_eq!(failed.kind, ErrorKind::Unavailable, "{}", failed.text);
    let config_and_repetitions = 4;
    assert_eq!(bench.registry.count("/blobs/"), config_and_repetitions);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p62_a_refusal_is_not_repeated() {
    for status in [400, 404, 405, 410, 451, 501] {
        let (bench, _) = fails(Fault::Status(status), "/manifests/", patient);
        assert_eq!(bench.registry.count("/manifests/"), 1, "{status}");
    }
}

#[test]
fn p63_a_wait_past_the_deadline_is_not_begun() {
    let start = Instant::now();
    for pattern in ["/manifests/", "/blobs/"] {
        let (_, failed) = fails(Fault::RetryAfter(503, 3600), pattern, |settings| {
            patient(settings);
            settings.patience.deadline = Deadline::within(Duration::from_secs(600));
        });
        assert_contains(&failed.text, "would be past the deadline");
        assert_contains(&failed.text, "503");
    }
    assert!(start.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_pull_ends_at_its_deadline_whatever_holds_it_up() {
    let image = two();
    let bench = Bench::serving(&image);
    let gate = bench.registry.gate(&large(&image), 1000);
    let failed = bench
        .pull_changed(
            &bench.request("app:1"),
            |settings| {
                patient(settings);
                settings.patience.deadline = Deadline::within(Duration::from_millis(400));
            },
            &(),
        )
        .unwrap_err();
    assert_contains(&failed.text, "deadline");
    gate.release();
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p64_a_registry_that_is_gone_in_mid_pull_is_asked_as_often_as_others() {
    let image = two();
    let bench = Bench::serving(&image);
    let elsewhere = Fault::Redirect(307, "https://127.0.0.1:1/".to_owned());
    bench.registry.fault(&large(&image), elsewhere);
    let told = Told::default();
    let request = bench.request("app:1");
    let failed = bench.pull_changed(&request, patient, &told).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
    let lines = told.lines();
    assert!(lines.last().unwrap().ends_with("(3 of 3)"), "{lines:?}");
}

#[test]
fn p56_a_transfer_that_is_too_slow_is_given_up_and_gone_on_with() {
    let image = two();
    let bench = Bench::serving(&image);
    let gate = bench.registry.gate(&large(&image), 262_144);
    let told = Told::default();
    let pulled = std::thread::scope(|scope| {
        let pulled = scope.spawn(|| {
            bench.pull_changed(
                &bench.request("app:1"),
                |settings| {
                    patient(settings);
                    settings.patience.stalled_after = Duration::from_secs(1);
                },
                &told,
            )
        });
        bench.registry.wait_for(&large(&image), 2);
        gate.release();
        pulled.join().unwrap()
    });
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
    assert_contains(&told.lines()[0], "timed out");
}

#[test]
fn p53_framing_is_never_trusted_over_size_and_digest() {
    for framing in [Framing::ChunkedUnterminated, Framing::ChunkedBroken] {
        let asked = survives(Fault::Framing(framing));
        assert!(!asked.is_empty(), "{framing:?}");
    }
}

#[test]
fn p64_nobody_there_is_told_soon_and_as_what_it_is() {
    let bench = Bench::new();
    let told = Told::default();
    for (name, kind) in [
        ("127.0.0.1:1/app:1", "connect"),
        ("no.such.invalid/app:1", "find"),
    ] {
        let request = ucr_puller::Request {
            reference: name.parse().unwrap(),
            ..bench.request("app:1")
        };
        let failed = bench.pull_changed(&request, patient, &told).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
        assert_contains(&failed.text, &format!("cannot {kind}"));
    }
    // Twice each: what is not there now will hardly be in a moment.
    assert_eq!(told.lines().len(), 4, "{:?}", told.lines());
}

#[test]
fn p57_a_flood_of_header_fields_ends_the_transfer() {
    let image = two();
    let bench = Bench::serving(&image);
    let flood = "x".repeat(120_000);
    bench
        .registry
        .fault("/manifests/", Fault::Header("X-Flood".to_owned(), flood));
    let failed = bench
        .pull_changed(&bench.request("app:1"), patient, &())
        .unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Registry, "{}", failed.text);
    assert_eq!(bench.registry.count("/manifests/"), 1);
}

#[test]
fn p64_a_host_that_swallows_everything_is_given_up() {
    let bench = Bench::new();
    let hole = BlackHole::open((Ipv4Addr::LOCALHOST, 0).into());
    let request = ucr_puller::Request {
        reference: format!("{}/app:1", hole.address()).parse().unwrap(),
        ..bench.request("app:1")
    };
    let impatient = |settings: &mut Settings| {
        settings.patience.retries = 1;
        settings.connect_timeout = Duration::from_secs(1);
    };
    let told = Told::default();
    let failed = bench.pull_changed(&request, impatient, &told).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Timeout, "{}", failed.text);
    assert_contains(&failed.text, "timed out");
    assert_contains(&failed.text, &hole.address().to_string());
    assert_eq!(told.lines().len(), 1, "{:?}", told.lines());
}

#[test]
fn p64_one_address_that_swallows_everything_does_not_hold_up_the_other() {
    let bench = Bench::serving(&two());
    let port = bench.registry.address().port();
    // libcurl knows itself that localhost is ::1, and asked first there, and 127.0.0.1.
    let hole = BlackHole::open((Ipv6Addr::LOCALHOST, port).into());
    let request = ucr_puller::Request {
        reference: format!("localhost:{port}/app:1").parse().unwrap(),
        ..bench.request("app:1")
    };
    let patience = Duration::from_secs(60);
    let start = Instant::now();
    let pulled = bench.pull_changed(
        &request,
        |settings| settings.connect_timeout = patience,
        &(),
    );
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text));
    // One after the other, they would each have half of the time.
    assert!(start.elapsed() < patience / 2);
    assert!(hole.has_swallowed());
}
