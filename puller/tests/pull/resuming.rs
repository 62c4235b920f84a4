//! What has come of a layer is not fetched again: after a failure, by another process, in parts.

use std::sync::Arc;
use std::time::Duration;

use test_support::Image;
use test_support::fake_registry::{Fault, Framing, Request, Response};
use ucr_images::{Deadline, ErrorKind, StoredImage};
use ucr_puller::http::{Patience, Ranges, Settings};

use crate::bench::{Bench, Failed, assert_contains, bulky, image, names};

fn one() -> Image {
    image([bulky("a", 900_000)])
}

fn blob(image: &Image) -> String {
    format!("/blobs/{}", image.layers[0].digest)
}

fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn patient(settings: &mut Settings) {
    settings.patience = Patience {
        retries: 3,
        first_delay: std::time::Duration::from_millis(1),
        ..Patience::default()
    };
}

fn in_parts(settings: &mut Settings) {
    patient(settings);
    settings.ranges = Ranges::Always(100_000);
}

#[track_caller]
fn pull(bench: &Bench, change: impl FnOnce(&mut Settings)) -> StoredImage {
    let pulled = bench.pull_changed(&bench.request("app:1"), change, &());
    pulled.unwrap_or_else(|failed| panic!("{}", failed.text))
}

/// The first byte that each request for the blob asked for, and the answer's status.
fn asked(bench: &Bench, blob: &str) -> Vec<(u64, u16)> {
    let requests = bench.registry.requests(blob);
    let first = |headers: &[(String, String)]| {
        let range = headers.iter().find(|(key, _)| key == "range");
        range.map_or(0, |(_, value)| {
            let value = value.strip_prefix("bytes=").unwrap();
            value.split('-').next().unwrap().parse().unwrap()
        })
    };
    requests
        .iter()
        .map(|recorded| (first(&recorded.request.headers), recorded.status))
        .collect()
}

/// A bench where a pull has broken off after most of the layer.
fn broken_off() -> (Bench, Image) {
    let image = one();
    let bench = Bench::serving(&image);
    bench
        .registry
        .fault(&blob(&image), Fault::Truncate(700_000));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
    assert_eq!(names(&bench.store_path().join("partial")).len(), 1);
    bench.registry.heal();
    (bench, image)
}

fn partial(bench: &Bench) -> std::path::PathBuf {
    let partial = bench.store_path().join("partial");
    partial.join(&names(&partial)[0])
}

#[test]
fn c24_the_next_pull_fetches_only_what_is_missing() {
    let (bench, image) = broken_off();
    pull(&bench, |_| ());
    assert_eq!(asked(&bench, &blob(&image)), [(0, 200), (700_000, 206)]);
    assert_eq!(names(&bench.store_path().join("partial")), [""; 0]);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p60_what_a_crash_made_garbage_of_is_fetched_again_once() {
    let (bench, image) = broken_off();
    let part = partial(&bench).join("0");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[1000..2000].fill(0);
    overwrite(&part, &bytes);
    pull(&bench, |_| ());
    let expected = [(0, 200), (700_000, 206), (0, 200)];
    assert_eq!(asked(&bench, &blob(&image)), expected);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p61_a_blob_that_changed_in_between_is_refused() {
    let (bench, image) = broken_off();
    let mut other = image.layers[0].bytes.clone();
    other.iter_mut().for_each(|byte| *byte ^= 1);
    let digest = image.layers[0].digest.clone();
    bench.registry.put_blob("app", &digest, other);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
    assert_eq!(names(&bench.store_path().join("partial")), [""; 0]);
    bench
        .registry
        .put_blob("app", &digest, image.layers[0].bytes.clone());
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p59_a_server_without_parts_sends_the_whole_and_the_front_is_passed_over() {
    let (bench, image) = broken_off();
    bench.registry.fault(&blob(&image), Fault::IgnoreRange);
    pull(&bench, |_| ());
    assert_eq!(asked(&bench, &blob(&image)), [(0, 200), (700_000, 200)]);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p59_another_part_than_asked_for_is_not_taken() {
    let (bench, image) = broken_off();
    bench
        .registry
        .fault_times(&blob(&image), Fault::WrongRange, 1);
    pull(&bench, |_| ());
    let expected = [(0, 200), (700_000, 206), (0, 200)];
    assert_eq!(asked(&bench, &blob(&image)), expected);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p59_a_part_that_cannot_be_had_is_asked_for_as_the_whole() {
    let (bench, image) = broken_off();
    bench
        .registry
        .fault_times(&blob(&image), Fault::Status(416), 1);
    pull(&bench, |_| ());
    let expected = [(0, 200), (700_000, 416), (0, 200)];
    assert_eq!(asked(&bench, &blob(&image)), expected);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn a_server_that_never_sends_what_is_asked_for_is_given_up() {
    let (bench, image) = broken_off();
    bench.registry.fault(&blob(&image), Fault::Status(416));
    let Failed { kind, text, .. } = bench.fail("app:1");
    assert_eq!(kind, ErrorKind::Registry, "{text}");
    assert_contains(&text, "the whole is not sent");
}

#[test]
fn s71_the_front_of_another_registrys_blob_is_not_completed_here() {
    let (bench, image) = broken_off();
    let other = Bench::serving(&image);
    let store = bench.store();
    let request = other.request("app:1");
    ucr_puller::pull(&store, other.settings(&store), &request, &()).unwrap();
    assert_eq!(asked(&other, &blob(&image)), [(0, 200)]);
}

#[test]
fn a_blob_that_is_all_there_is_still_asked_for() {
    let (bench, image) = broken_off();
    overwrite(&partial(&bench).join("0"), &image.layers[0].bytes);
    pull(&bench, |_| ());
    let size = image.layers[0].bytes.len() as u64;
    assert_eq!(asked(&bench, &blob(&image)), [(0, 200), (size - 1, 206)]);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn a_large_layer_comes_in_parts_at_once() {
    let image = one();
    let bench = Bench::serving(&image);
    // Whoever asks first gets no further until others have asked too.
    let gate = bench.registry.gate(&blob(&image), 140_000);
    std::thread::scope(|scope| {
        let pulled = scope.spawn(|| pull(&bench, in_parts));
        bench.registry.wait_for(&blob(&image), 2);
        gate.release();
        pulled.join().unwrap();
    });
    let asked = asked(&bench, &blob(&image));
    assert!(asked.len() >= 2, "{asked:?}");
    assert!(
        asked
            .iter()
            .any(|(first, status)| *first > 0 && *status == 206),
        "{asked:?}"
    );
    bench.assert_heals(&bench.request("app:1"));
}

/// As many requests as there are at once, and two for what follows; without an end there would be
/// hundreds.
const MOST: usize = 6 + 2;

/// What is asked of a server that begins the whole of a layer, goes no further, and answers so
/// to who asks for a part of it meanwhile, until the pull's deadline.
fn asked_beside_the_whole(to_parts: impl Fn(&[u8]) -> Response + Send + Sync + 'static) -> usize {
    let image = image([bulky("a", 6_000_000)]);
    let bench = Bench::serving(&image);
    let bytes = image.layers[0].bytes.clone();
    let answer = move |request: &Request| match request.header("range") {
        Some(_) => to_parts(&bytes),
        None => Response {
            framing: Framing::Claimed(bytes.len()),
            ..Response::new(200, "application/octet-stream", &bytes[..140_000])
        },
    };
    let answer = Fault::Respond(Arc::new(answer));
    bench.registry.fault(&blob(&image), answer);
    let hurried = |settings: &mut Settings| {
        in_parts(settings);
        settings.patience.retries = 1000;
        settings.patience.deadline = Deadline::within(Duration::from_secs(2));
    };
    let request = bench.request("app:1");
    let failed = bench.pull_changed(&request, hurried, &()).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Deadline, "{}", failed.text);
    let asked = asked(&bench, &blob(&image));
    assert!(asked.iter().any(|(first, _)| *first > 0), "{asked:?}");
    bench.registry.heal();
    bench.assert_heals(&request);
    asked.len()
}

#[test]
fn p63_parts_end_where_a_server_has_enough() {
    let enough =
        |_: &[u8]| Response::error(429, "TOOMANYREQUESTS", "one by one").header("Retry-After", "0");
    let asked = asked_beside_the_whole(enough);
    assert!(asked <= MOST, "{asked}");
}

#[test]
fn p59_parts_end_where_a_server_sends_wrong_ones() {
    let wrong = |bytes: &[u8]| {
        let range = format!("bytes 0-999/{}", bytes.len());
        let part = Response::new(206, "application/octet-stream", &bytes[..1000]);
        part.header("Content-Range", &range)
    };
    assert!(asked_beside_the_whole(wrong) <= MOST);
    let whole = one();
    let bench = Bench::serving(&whole);
    bench.registry.fault(&blob(&whole), Fault::IgnoreRange);
    pull(&bench, in_parts);
    bench.assert_heals(&bench.request("app:1"));
}

/// Status 206 with these fields and this body.
fn partial_content(fields: &str, body: &[u8]) -> Fault {
    let mut bytes = format!("HTTP/1.1 206 Partial Content\r\n{fields}Connection: close\r\n\r\n");
    let length = format!("Content-Length: {}\r\n", body.len());
    bytes.insert_str(bytes.find("Connection").unwrap(), &length);
    Fault::Raw([bytes.as_bytes(), body].concat())
}

#[test]
fn p59_a_part_that_is_not_told_as_one_is_not_taken() {
    let whole = one();
    let size = whole.layers[0].bytes.len();
    let rest = &whole.layers[0].bytes[700_000..];
    let last = size - 1;
    let head = format!("--b\r\nContent-Range: bytes 700000-{last}/{size}\r\n\r\n");
    let several = [head.as_bytes(), rest, b"\r\n--b--\r\n"];
    for fault in [
        partial_content("", rest),
        partial_content("Content-Range: bytes 700000\r\n", rest),
        partial_content(
            "Content-Type: multipart/byteranges; boundary=b\r\n",
            &several.concat(),
        ),
    ] {
        let (bench, image) = broken_off();
        bench.registry.fault_times(&blob(&image), fault, 1);
        pull(&bench, |_| ());
        let starts: Vec<_> = asked(&bench, &blob(&image))
            .iter()
            .map(|one| one.0)
            .collect();
        assert_eq!(starts, [0, 700_000, 0]);
        bench.assert_heals(&bench.request("app:1"));
    }
}

#[test]
fn p59_parts_end_where_the_whole_is_not_made_of_them() {
    let image = one();
    let bench = Bench::serving(&image);
    // They say to be what was asked for, and are not.
    bench.registry.fault(&blob(&image), Fault::WrongRange);
    pull(&bench, in_parts);
    let asked = asked(&bench, &blob(&image));
    let wholes = asked.iter().filter(|(_, status)| *status == 200).count();
    assert_eq!((wholes, asked.last()), (2, Some(&(0, 200))), "{asked:?}");
    bench.assert_heals(&bench.request("app:1"));
}
