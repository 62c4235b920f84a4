//! What has come of a layer is not fetched again: after a failure, by another process, in parts.

use test_support::Image;
use test_support::fake_registry::Fault;
use ucr_puller::http::{Patience, Ranges, Settings};
use ucr_puller::{ErrorKind, StoredImage};

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

fn in_halves(settings: &mut Settings) {
    patient(settings);
    settings.ranges = Ranges::Always(400_000);
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

#[test]
fn p63_parts_end_where_a_server_has_enough() {
    let image = one();
    let bench = Bench::serving(&image);
    // Whichever of the two is first: the other one brings all, or each its part.
    let enough = Fault::RetryAfter(429, 0);
    bench.registry.fault_times(&blob(&image), enough, 1);
    pull(&bench, in_halves);
    let asked = asked(&bench, &blob(&image));
    assert!(asked.len() <= 3, "{asked:?}");
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p59_parts_end_where_a_server_sends_wrong_ones() {
    for fault in [Fault::IgnoreRange, Fault::WrongRange] {
        let image = one();
        let bench = Bench::serving(&image);
        bench.registry.fault(&blob(&image), fault);
        pull(&bench, in_parts);
        bench.assert_heals(&bench.request("app:1"));
    }
}
