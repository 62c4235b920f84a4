//! Images of Docker's schema 1, which say neither sizes nor diff IDs.

use std::sync::mpsc::{self, Sender};
use std::thread;

use serde_json::{Value, json};
use test_support::fake_registry::{Fault, Framing};
use test_support::{
    Compression, ImageBuilder, Layer, Schema1Builder, Schema1Image, Stored, sha256_digest,
};
use ucr_images::store::Depth;
use ucr_images::{ErrorKind, StoredImage};
use ucr_puller::http::{Patience, Settings};
use ucr_puller::{Budget, Event, Exceeded, Kept, Limit, Progress, Request, Survey, survey};

use crate::bench::{Bench, assert_contains, bulky, chain, image, layer, names};

fn lower() -> Layer {
    bulky("lower", 300_000)
}

fn upper() -> Layer {
    layer().file("upper", "u").build()
}

fn two() -> Schema1Builder {
    let builder = Schema1Builder::new("app", "1").layer(&lower());
    builder.layer(&upper()).cmd(&["true"])
}

fn serving(image: &Schema1Image) -> Bench {
    let bench = Bench::new();
    bench.registry.put_schema1("app", "1", image);
    bench
}

fn get(image: &Schema1Image, layer: usize) -> String {
    format!("GET /v2/app/blobs/{}", image.layers[layer].digest)
}

/// Nothing is left over, and every file of every layer is what it was.
#[track_caller]
fn assert_sound(bench: &Bench) {
    for part in ["tmp", "trash", "locks", "partial"] {
        assert_eq!(names(&bench.store_path().join(part)), [""; 0], "{part}");
    }
    let verified = bench.store().verify(None, Depth::Deep).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
}

#[test]
fn it_is_pulled_signed_or_not_and_then_known_by_one_question() {
    for image in [two().signed(), two().unsigned()] {
        let bench = serving(&image);
        let pulled = bench.pull("app:1");
        assert_eq!(pulled.manifest.to_string(), image.manifest.digest);
        assert_eq!(pulled.config.cmd(), ["true"]);
        let diff_ids = pulled.config.diff_ids().iter();
        let diff_ids: Vec<_> = diff_ids.map(ToString::to_string).collect();
        assert_eq!(diff_ids, image.diff_ids);
        let read = |at: usize, name| std::fs::read(pulled.lower[at].join(name)).unwrap();
        assert_eq!(read(0, "upper"), b"u");
        assert!(read(1, "lower").len() >= 299_000);
        // Each layer: how large, and the layer itself.
        assert_eq!(bench.registry.count("HEAD /v2/app/blobs/"), 2);
        assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 2);
        let before = bench.registry.count("");
        assert_eq!(bench.pull("app:1").id, pulled.id);
        assert_eq!(bench.registry.count(""), before + 1);
        assert_eq!(bench.registry.count("HEAD /v2/app/manifests/1"), 1);
        assert_sound(&bench);
        bench.assert_heals(&bench.request("app:1"));
    }
}

#[test]
fn the_signed_text_is_what_a_digest_is_of() {
    let image = two().signed();
    let bench = serving(&image);
    bench.pull(&format!("app@{}", image.manifest.digest));
    // The digest of all that is sent is nobody's.
    let whole = sha256_digest(&image.manifest.bytes);
    let sent = Stored {
        digest: whole.clone(),
        ..image.manifest.clone()
    };
    bench.registry.put_manifest("app", "2", &sent);
    let failed = bench.fail_again(&bench.request(&format!("app@{whole}")));
    assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
    assert_contains(&failed.text, &image.manifest.digest);
}

#[test]
fn a_registry_that_answers_no_head_is_asked_whether_the_name_still_stands_for_it() {
    let bench = serving(&two().signed());
    let pulled = bench.pull("app:1");
    bench.registry.fault("HEAD ", Fault::Status(405));
    assert_eq!(bench.pull("app:1").id, pulled.id);
    assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 2);
}

#[test]
fn signatures_of_other_texts_are_refused() {
    let mut image = two().signed();
    let text = String::from_utf8(image.manifest.bytes).unwrap();
    image.manifest.bytes = text
        .replace("\"protected\":\"", "\"protected\":\"AAAA")
        .into();
    let failed = serving(&image).fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "its signatures are no JSON Web Signatures");
}

#[test]
fn s81_more_blobs_than_descriptions_are_refused() {
    let mut image = two().unsigned();
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    let first = manifest["fsLayers"][0].clone();
    manifest["fsLayers"].as_array_mut().unwrap().push(first);
    image.manifest = Stored::new(&image.manifest.media_type, manifest.to_string().into());
    let bench = serving(&image);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "it has not as many layers as descriptions");
    assert_eq!(bench.registry.count("/blobs/"), 0);
}

#[test]
fn a_blob_that_comes_twice_is_fetched_once_and_an_empty_one_never() {
    let builder = Schema1Builder::new("app", "1").layer(&lower()).empty();
    let image = builder.layer(&lower()).throwaway().layer(&upper()).signed();
    let bench = serving(&image);
    let pulled = bench.pull("app:1");
    assert_eq!(pulled.config.diff_ids().len(), 3);
    assert_eq!((bench.layers().len(), pulled.lower.len()), (2, 2));
    assert_eq!(bench.registry.count("/blobs/"), 4);
    assert_sound(&bench);
    let nothing = Schema1Builder::new("app", "2").empty().unsigned();
    bench.registry.put_schema1("app", "2", &nothing);
    assert_eq!(bench.pull("app:2").lower.len(), 0);
}

#[test]
fn another_platform_is_refused_before_a_blob_is_asked_for() {
    let image = two().architecture("vax").signed();
    let bench = serving(&image);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Platform, "{}", failed.text);
    assert_eq!(bench.registry.count("/blobs/"), 0);
}

#[test]
fn a_list_of_platforms_may_name_it_as_with_docker() {
    let image = two().signed();
    let bench = serving(&image);
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [{
            "mediaType": image.manifest.media_type,
            "digest": image.manifest.digest,
            "size": image.manifest.bytes.len(),
            "platform": {"os": "linux", "architecture": architecture()},
        }],
    });
    let kind = list["mediaType"].as_str().unwrap();
    let list = Stored::new(kind, list.to_string().into());
    bench.registry.put_manifest("app", "list", &list);
    let pulled = bench.pull("app:list");
    assert_eq!(pulled.manifest.to_string(), image.manifest.digest);
    assert_eq!(pulled.resolved.unwrap().to_string(), list.digest);
}

fn architecture() -> String {
    let host = ucr_images::Platform::host().to_string();
    host.split('/').nth(1).unwrap().to_owned()
}

#[test]
fn c24_what_came_of_a_blob_is_gone_on_with() {
    let image = two().signed();
    let bench = serving(&image);
    bench
        .registry
        .fault(&get(&image, 0), Fault::Truncate(200_000));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
    bench.registry.heal();
    bench.pull("app:1");
    let asked = bench.registry.requests(&get(&image, 0));
    let ranges = asked.iter().map(|one| one.request.header("range"));
    assert_eq!(ranges.collect::<Vec<_>>(), [None, Some("bytes=200000-")]);
    assert_sound(&bench);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn what_breaks_off_is_asked_for_again() {
    let image = two().signed();
    let bench = serving(&image);
    let fault = Fault::ResetAfter(100_000);
    bench.registry.fault_times(&get(&image, 0), fault, 2);
    let patient = |settings: &mut Settings| {
        settings.patience = Patience {
            retries: 3,
            first_delay: std::time::Duration::from_millis(1),
            ..Patience::default()
        };
    };
    let pulled = bench.pull_changed(&bench.request("app:1"), patient, &());
    assert!(pulled.is_ok(), "{}", pulled.unwrap_err().text);
    assert_sound(&bench);
}

#[test]
fn other_bytes_than_the_digest_is_of_are_refused() {
    let image = two().signed();
    let bench = serving(&image);
    bench.registry.fault(&get(&image, 0), Fault::WrongBytes);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
    assert_contains(&failed.text, "other bytes came");
    let notes = names(&bench.store_path().join("contents/sha256"));
    let of_it = &image.layers[0].digest["sha256:".len()..];
    assert!(!notes.iter().any(|note| note == of_it), "{notes:?}");
    bench.assert_heals(&bench.request("app:1"));
    assert_sound(&bench);
}

#[test]
fn a_registry_that_tells_another_size_than_it_sends_is_refused() {
    let image = two().signed();
    let size = image.layers[0].bytes.len();
    for told in [size - 1, size + 1, 1 << 40] {
        let bench = serving(&image);
        let head = get(&image, 0).replace("GET", "HEAD");
        let told = Fault::Framing(Framing::Claimed(told));
        bench.registry.fault(&head, told);
        let failed = bench.fail("app:1");
        let integrity = failed.kind == ErrorKind::Integrity;
        assert!(
            integrity || failed.kind == ErrorKind::DiskFull,
            "{}",
            failed.text
        );
        bench.assert_heals(&bench.request("app:1"));
    }
}

#[test]
fn where_no_size_is_told_the_blob_is_counted() {
    let image = two().signed();
    for head in [Fault::Framing(Framing::Chunked), Fault::Status(405)] {
        let bench = serving(&image);
        bench.registry.fault("HEAD /v2/app/blobs/", head);
        // By its head where that says it, and else to the end.
        bench.pull("app:1");
        assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 4);
        assert_sound(&bench);
        let chunked = Fault::Framing(Framing::Chunked);
        bench.registry.fault("GET /v2/app/blobs/", chunked);
        let store = ucr_images::Store::open(&bench.temp.path().join("other")).unwrap();
        let request = bench.request("app:1");
        let pulled = ucr_puller::pull(&store, bench.settings(&store), &request, &());
        assert!(pulled.is_ok(), "{}", chain(&pulled.unwrap_err()));
    }
}

fn within(bench: &Bench, budget: Budget) -> Request {
    Request {
        budget,
        ..bench.request("app:1")
    }
}

#[test]
fn p76_limits_are_those_of_other_images() {
    let image = two().signed();
    let bytes = Budget {
        max_bytes: Some(100_000),
        ..Budget::default()
    };
    let layers = Budget {
        max_layers: 1,
        ..Budget::default()
    };
    for (budget, limit) in [(bytes, Limit::Bytes), (layers, Limit::Layers)] {
        let bench = serving(&image);
        let failed = bench.fail_with(&within(&bench, budget));
        assert_eq!(failed.error.limit(), Some(limit), "{}", failed.text);
        assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 0);
    }
    let unpacked = Budget {
        max_unpacked: Some(100_000),
        ..Budget::default()
    };
    let files = Budget {
        max_files: Some(0),
        ..Budget::default()
    };
    for (budget, limit) in [(unpacked, Limit::Unpacked), (files, Limit::Files)] {
        let bench = serving(&image);
        let failed = bench.fail_with(&within(&bench, budget));
        assert_eq!(failed.error.limit(), Some(limit), "{}", failed.text);
        assert!(!bench.layers().contains(&image.diff_ids[0]));
    }
}

#[test]
fn p76_a_blob_without_an_end_is_counted_up_to_the_limit_only() {
    let image = two().signed();
    let bench = serving(&image);
    let unsized_ = Fault::Framing(Framing::Chunked);
    bench.registry.fault("/v2/app/blobs/", unsized_);
    let huge = vec![b' '; 50 << 20];
    bench
        .registry
        .put_blob("app", &image.layers[0].digest, huge);
    let budget = Budget {
        max_bytes: Some(200_000),
        ..Budget::default()
    };
    let failed = bench.fail_with(&within(&bench, budget));
    assert_eq!(failed.error.limit(), Some(Limit::Bytes), "{}", failed.text);
    assert_contains(
        &failed.text,
        "195.3 KiB of the image would have to be fetched",
    );
}

#[test]
fn layers_are_shared_with_images_of_schema_2() {
    let old = two().signed();
    let new = image([lower(), upper()]);
    let blob = |n: usize| format!("GET /v2/app/blobs/{}", new.layers[n].digest);
    assert_eq!(blob(0), get(&old, 0));
    let bench = serving(&old);
    bench.registry.put("app", "2", &new);
    bench.pull("app:1");
    bench.pull("app:2");
    assert_eq!(
        (bench.registry.count(&blob(0)), bench.layers().len()),
        (1, 2)
    );
    // The other way round nobody knows what is in a blob before it is read.
    let bench = serving(&old);
    bench.registry.put("app", "2", &new);
    bench.pull("app:2");
    bench.pull("app:1");
    assert_eq!(
        (bench.registry.count(&blob(0)), bench.layers().len()),
        (2, 2)
    );
    assert_sound(&bench);
}

#[test]
fn layers_are_shared_among_images_of_schema_1() {
    let bench = serving(&two().signed());
    let other = Schema1Builder::new("app", "2").layer(&lower());
    let other = other.layer(&layer().file("new", "n").build()).signed();
    bench.registry.put_schema1("app", "2", &other);
    bench.pull("app:1");
    bench.pull("app:2");
    assert_eq!(bench.registry.count(&get(&other, 0)), 1);
    assert_eq!(bench.registry.count("HEAD /v2/app/blobs/"), 3);
    assert_eq!(bench.layers().len(), 3);
    // What is noted of a blob goes with its layer, and is found out anew.
    let store = bench.store();
    for diff_id in &two().signed().diff_ids {
        let tree = ucr_images::store::Tree::Layer(diff_id.parse().unwrap());
        store.take_out(&tree).unwrap();
    }
    drop(store);
    bench.pull("app:1");
    assert_eq!(bench.registry.count(&get(&other, 0)), 2);
    assert_sound(&bench);
}

#[test]
fn s71_to_know_what_is_in_a_blob_is_not_to_have_it() {
    let image = two().signed();
    let bench = serving(&image);
    bench.registry.put_schema1("theirs", "1", &image);
    bench.registry.require_basic("alice", "secret");
    bench.pull_as("alice", "secret");
    let theirs = Request {
        reference: format!("{}/theirs:1", bench.registry.host())
            .parse()
            .unwrap(),
        ..bench.request_as("alice", "secret")
    };
    let without = format!("GET /v2/theirs/blobs/{}", image.layers[0].digest);
    bench.registry.fault(&without, Fault::Status(404));
    let failed = bench.fail_again(&theirs);
    assert_eq!(failed.kind, ErrorKind::NotFound, "{}", failed.text);
    let refused = bench.pull_with(&theirs, &()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    bench.registry.heal();
    bench.pull_with(&theirs, &()).unwrap();
    assert_eq!(bench.registry.count(&without), 3);
}

/// Says when a layer is waited for that another is making.
struct Waits(Sender<()>);

impl Progress for Waits {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerWaiting { .. } = event {
            let _ = self.0.send(());
        }
    }
}

/// Pulls `leader` up to where `held` stops, then `app:1` until that waits, then both to their ends.
fn follow(bench: &Bench, leader: &str, held: &str) -> [StoredImage; 2] {
    let gate = bench.registry.gate(held, 10);
    let (sender, waiting) = mpsc::channel();
    let request = bench.request("app:1");
    thread::scope(|scope| {
        let leader = scope.spawn(|| bench.pull(leader));
        gate.wait_reached(1);
        let follower = scope.spawn(|| bench.pull_with(&request, &Waits(sender)).unwrap());
        waiting.recv().unwrap();
        gate.release();
        [leader, follower].map(|pull| pull.join().unwrap())
    })
}

#[test]
fn c5_two_pulls_at_once_fetch_each_blob_once() {
    let image = two().signed();
    let bench = serving(&image);
    let [leader, follower] = follow(&bench, "app:1", &get(&image, 0));
    assert_eq!(leader.id, follower.id);
    assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 2);
    assert_sound(&bench);
}

#[test]
fn c5_who_turns_out_to_make_what_another_makes_waits_for_them() {
    let old = two().signed();
    let bench = serving(&old);
    // The same layers from other blobs.
    let new = ImageBuilder::new()
        .layer_as(lower(), Compression::Zstd)
        .layer_as(upper(), Compression::Zstd)
        .build();
    bench.registry.put("app", "2", &new);
    let held = format!("GET /v2/app/blobs/{}", new.layers[0].digest);
    let [leader, follower] = follow(&bench, "app:2", &held);
    assert_eq!(leader.config.diff_ids(), follower.config.diff_ids());
    assert_eq!(bench.layers().len(), 2);
    assert_sound(&bench);
}

#[test]
fn s83_a_configuration_that_lies_of_a_blob_does_not_spoil_it() {
    let old = two().signed();
    let other = sha256_digest(b"another layer");
    let lying = ImageBuilder::new()
        .layer(lower())
        .layer(upper())
        .edit_config(move |config| config["rootfs"]["diff_ids"][0] = other.into())
        .build();
    for _ in 0..5 {
        let bench = serving(&old);
        bench.registry.put("app", "lying", &lying);
        thread::scope(|scope| {
            let good = scope.spawn(|| bench.pull("app:1"));
            let bad = scope.spawn(|| bench.pull_with(&bench.request("app:lying"), &()));
            let error = bad.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity);
            let diff_ids = good.join().unwrap().config.diff_ids().to_vec();
            let diff_ids: Vec<_> = diff_ids.iter().map(ToString::to_string).collect();
            assert_eq!(diff_ids, old.diff_ids);
        });
        // The lock of what failed is left to the next sweep.
        bench.store().sweep().unwrap();
        assert_sound(&bench);
    }
}

#[test]
fn what_a_pull_would_find_is_told_without_fetching() {
    let image = two().signed();
    let bench = serving(&image);
    let look = || look(&bench, &bench.request("app:1")).unwrap();
    let before = look();
    assert_eq!((before.id, before.layers.len()), (None, 2));
    assert_eq!(before.layers[0].diff_id, None);
    let size = image.layers[0].bytes.len() as u64;
    assert_eq!(before.layers[0].size, Some(size));
    assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 0);
    let pulled = bench.pull("app:1");
    let after = look();
    assert_eq!(after.id, Some(pulled.id));
    let whole = |kept: &Kept| matches!(kept, Kept::Whole(_));
    assert!(after.layers.iter().all(|layer| whole(&layer.kept)));
}

/// What a pull would find, as `request` has it.
fn look(bench: &Bench, request: &Request) -> Result<Survey, ucr_puller::Error> {
    let store = bench.store();
    let settings = bench.settings(&store);
    survey(Some(&store), settings, request, &())
}

fn sizes(found: &Survey) -> Vec<Option<u64>> {
    found.layers.iter().map(|layer| layer.size).collect()
}

#[test]
fn where_head_tells_no_size_the_head_of_a_get_is_enough_to_explain() {
    let image = two().signed();
    let told = image.layers.iter().map(|layer| layer.bytes.len() as u64);
    let told: Vec<_> = told.map(Some).collect();
    let untold = Fault::Framing(Framing::Chunked);
    for head in [untold, Fault::Status(405), Fault::Status(404)] {
        let bench = serving(&image);
        bench.registry.fault("HEAD /v2/app/blobs/", head);
        // Who waited for the blob would wait for ever.
        let gate = bench.registry.gate(&get(&image, 0), 1000);
        let found = look(&bench, &bench.request("app:1")).unwrap();
        gate.release();
        assert_eq!(sizes(&found), told);
    }
}

#[test]
fn a_size_that_nobody_tells_is_not_found_out_by_fetching() {
    let bench = serving(&two().signed());
    let chunked = Fault::Framing(Framing::Chunked);
    bench.registry.fault("/v2/app/blobs/", chunked);
    let found = look(&bench, &bench.request("app:1")).unwrap();
    assert_eq!(sizes(&found), [None, None]);
    assert_eq!(found.refused, None);
}

#[test]
fn a_blob_that_is_not_there_is_not_one_of_unknown_size() {
    let image = two().signed();
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (403, ErrorKind::CredentialRejected),
    ] {
        let bench = serving(&image);
        let missing = Fault::Status(status);
        bench.registry.fault("/v2/app/blobs/", missing);
        let error = look(&bench, &bench.request("app:1")).unwrap_err();
        assert_eq!(error.kind(), kind, "{}", chain(&error));
    }
}

#[test]
fn what_is_kept_of_a_blob_of_unknown_size_makes_no_room_for_another() {
    let half = Schema1Builder::new("app", "half").layer(&lower());
    let both = Schema1Builder::new("app", "1").layer(&lower());
    let both = both.layer(&bulky("upper", 150_000));
    let [half, image] = [half, both].map(|builder| builder.cmd(&["true"]).signed());
    let bench = serving(&image);
    bench.registry.put_schema1("app", "half", &half);
    let part = Fault::Truncate(200_000);
    bench.registry.fault(&get(&image, 0), part);
    bench.fail("app:half");
    bench.registry.heal();
    let untold = Fault::Framing(Framing::Chunked);
    bench.registry.fault(&image.layers[0].digest, untold);
    let budget = Budget {
        max_bytes: Some(100_000),
        ..Budget::default()
    };
    let found = look(&bench, &within(&bench, budget)).unwrap();
    assert_eq!(found.layers[0].kept, Kept::Part(200_000));
    let bytes = image.layers[1].bytes.len() as u64;
    let limit = 100_000;
    assert_eq!(found.refused, Some(Exceeded::Bytes { bytes, limit }));
}
