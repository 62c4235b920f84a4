//! Images that take more than they may, or than there is: refused early, with nothing left.

use serde_json::json;
use test_support::fake_registry::Response;
use test_support::{Compression, Entry, FakeRegistry, Image, ImageBuilder, Layer, sha256_digest};
use ucr_images::ErrorKind;
use ucr_puller::{Budget, Limit, Request};

use crate::bench::{Bench, Failed, assert_contains, bulky, image, layer, names};

const MIB: usize = 1 << 20;

fn within(budget: Budget, request: Request) -> Request {
    Request { budget, ..request }
}

/// Pulls, which must fail at this limit.
#[track_caller]
fn fail_at(bench: &Bench, limit: Limit, budget: Budget) -> Failed {
    let failed = bench.fail_with(&within(budget, bench.request("app:1")));
    assert_eq!(failed.kind, ErrorKind::Budget, "{}", failed.text);
    assert_eq!(failed.error.limit(), Some(limit), "{}", failed.text);
    failed
}

/// The same, and checks that not even what came of the layer is kept.
#[track_caller]
fn bomb_fails_at(bench: &Bench, limit: Limit, budget: Budget) -> Failed {
    let failed = fail_at(bench, limit, budget);
    assert_eq!(names(&bench.store_path().join("partial")), [""; 0]);
    failed
}

/// A bench with an image of one layer, which is whatever these bytes become.
fn serving_blob(bytes: Vec<u8>) -> (Bench, String) {
    let digest = sha256_digest(&bytes);
    let (size, named) = (bytes.len(), digest.clone());
    let image = ImageBuilder::new()
        .layer(layer().file("f", "x").build())
        .edit_manifest(move |manifest| {
            manifest["layers"][0]["digest"] = json!(named);
            manifest["layers"][0]["size"] = json!(size);
        })
        .build();
    let bench = Bench::serving(&image);
    bench.registry.put_blob("app", &digest, bytes);
    (bench, digest)
}

/// One part that is sent `times` times, behind a part that comes first.
fn repeated(first: &[u8], part: &[u8], times: usize, compression: Compression) -> Vec<u8> {
    let compress = |bytes: &[u8]| {
        Layer::from_bytes(bytes.to_vec())
            .compress(compression)
            .bytes
    };
    let mut bytes = compress(first);
    let part = compress(part);
    for _ in 0..times {
        bytes.extend(&part);
    }
    bytes
}

/// Ten gibibytes of zeros, as members or frames of 16 MiB.
fn zeros(compression: Compression) -> Vec<u8> {
    let header = Entry::file("zeros", "").claim_size(10 << 30).to_bytes();
    repeated(&header, &vec![0; 16 * MIB], 640, compression)
}

#[test]
fn l108_a_bomb_ends_at_the_ratio_while_it_is_still_being_sent() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bomb = zeros(compression);
        let held = bomb.len() / 2;
        let (bench, digest) = serving_blob(bomb);
        // The rest never comes, and is not waited for.
        let _gate = bench.registry.gate(&digest, held);
        let budget = Budget {
            max_ratio: 50,
            ratio_from: 8 << 20,
            ..Budget::default()
        };
        let failed = bomb_fails_at(&bench, Limit::Ratio, budget);
        assert_contains(&failed.text, &format!("layer {digest}"));
        assert_contains(&failed.text, "no more than 50 times as much is allowed");
    }
}

#[test]
fn l108_a_bomb_ends_at_the_most_that_it_may_become() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (bench, _digest) = serving_blob(zeros(compression));
        let budget = Budget {
            max_unpacked: Some(32 << 20),
            ..Budget::default()
        };
        let failed = bomb_fails_at(&bench, Limit::Unpacked, budget);
        assert_contains(&failed.text, "than the 32.0 MiB that are allowed");
    }
}

#[test]
fn l108_what_stands_behind_the_archive_counts_as_well() {
    let archive = layer().file("f", "x").build();
    let bomb = repeated(&archive.bytes, &vec![0; 16 * MIB], 640, Compression::Zstd);
    let (bench, _digest) = serving_blob(bomb);
    let budget = Budget {
        max_unpacked: Some(32 << 20),
        ..Budget::default()
    };
    bomb_fails_at(&bench, Limit::Unpacked, budget);
}

#[test]
fn l109_a_million_empty_files_end_at_the_most_that_are_allowed() {
    // The names repeat behind the limit only: what stands there is not read.
    let files: Vec<u8> = (0..2000)
        .flat_map(|n| Entry::file(format!("f{n}"), "").to_bytes())
        .collect();
    let (bench, _digest) = serving_blob(repeated(b"", &files, 500, Compression::Zstd));
    let budget = Budget {
        max_files: Some(1500),
        ..Budget::default()
    };
    let failed = bomb_fails_at(&bench, Limit::Files, budget);
    assert_contains(&failed.text, "than the 1500 that are allowed");
}

#[test]
fn the_layers_of_an_image_share_its_limits() {
    let image = image([
        bulky("a", 100_000),
        bulky("b", 100_000),
        bulky("c", 100_000),
    ]);
    let budget = |files, bytes| Budget {
        max_files: Some(files),
        max_unpacked: Some(bytes),
        ..Budget::default()
    };
    fail_at(&Bench::serving(&image), Limit::Files, budget(2, 1 << 20));
    fail_at(&Bench::serving(&image), Limit::Unpacked, budget(3, 250_000));
    let bench = Bench::serving(&image);
    let enough = within(budget(3, 320_000), bench.request("app:1"));
    bench.pull_with(&enough, &()).unwrap();
}

/// Checks that nothing but documents was fetched.
#[track_caller]
fn assert_no_layer_fetched(bench: &Bench, image: &Image) {
    for layer in &image.layers {
        assert_eq!(bench.registry.count(&layer.digest), 0);
    }
}

#[test]
fn more_bytes_than_allowed_are_refused_before_the_first_of_them() {
    let (shared, own) = (bulky("a", 300_000), bulky("b", 10_000));
    let first = image([shared.clone()]);
    let both = image([shared, own]);
    let budget = Budget {
        max_bytes: Some(100_000),
        ..Budget::default()
    };
    let bench = Bench::serving(&both);
    let failed = fail_at(&bench, Limit::Bytes, budget.clone());
    assert_contains(&failed.text, "where 97.6 KiB are allowed");
    assert_no_layer_fetched(&bench, &both);
    // What is here already is not fetched, and does not count.
    bench.registry.put("base", "1", &first);
    bench.pull("base:1");
    let request = within(budget, bench.request("app:1"));
    bench.pull_with(&request, &()).unwrap();
}

#[test]
fn l112_more_layers_than_allowed_are_refused_before_anything_is_fetched() {
    let image = image([bulky("a", 100), bulky("b", 100), bulky("c", 100)]);
    let bench = Bench::serving(&image);
    let budget = Budget {
        max_layers: 2,
        ..Budget::default()
    };
    let failed = fail_at(&bench, Limit::Layers, budget);
    assert_contains(&failed.text, "the image has 3 layers, where 2 are allowed");
    assert_eq!(bench.registry.count("/blobs/"), 0);
}

#[test]
fn p76_an_image_that_no_disk_can_hold_is_refused_before_its_first_byte() {
    for sizes in [[1_u64 << 50, 1000], [u64::MAX >> 1, u64::MAX >> 1]] {
        let image = ImageBuilder::new()
            .layer(bulky("a", 1000))
            .layer(bulky("b", 1000))
            .edit_manifest(move |manifest| {
                for (n, size) in sizes.into_iter().enumerate() {
                    manifest["layers"][n]["size"] = json!(size);
                }
            })
            .build();
        let bench = Bench::serving(&image);
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::DiskFull, "{}", failed.text);
        assert_contains(&failed.text, "the image takes at least ");
        assert_contains(&failed.text, &bench.store_path().display().to_string());
        assert_no_layer_fetched(&bench, &image);
    }
}

#[test]
fn s80_a_token_beyond_a_mebibyte_is_refused() {
    let bench = Bench::serving(&image([layer().file("f", "x").build()]));
    let tokens = FakeRegistry::https(&bench.ca);
    tokens.respond("/token", |_| {
        Response::new(200, "application/json", vec![b' '; 100 << 20])
    });
    bench.registry.require_bearer_from(&tokens.url("/token"));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused, "{}", failed.text);
    assert_contains(&failed.text, "more than 1048576 bytes");
}

#[test]
fn s80_a_configuration_nested_a_million_deep_is_refused() {
    let nested = "[".repeat(1_000_000).into_bytes();
    let digest = sha256_digest(&nested);
    let (size, named) = (nested.len(), digest.clone());
    let image = ImageBuilder::new()
        .layer(layer().file("f", "x").build())
        .edit_manifest(move |manifest| {
            manifest["config"]["digest"] = json!(named);
            manifest["config"]["size"] = json!(size);
        })
        .build();
    let bench = Bench::serving(&image);
    bench.registry.put_blob("app", &digest, nested);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused, "{}", failed.text);
    assert_no_layer_fetched(&bench, &image);
}
