//! Blobs that are not what they should be, or do not come whole.

use serde_json::json;
use test_support::fake_registry::{Fault, Framing};
use test_support::{Compression, Entry, Image, ImageBuilder, Layer, sha256_digest, tree};
use ucr_images::ErrorKind;

use crate::bench::{Bench, assert_contains, bulky, image, layer};

/// Three layers; faults hit the second.
fn three() -> Image {
    image([bulky("a", 3000), bulky("b", 300_000), bulky("c", 3000)])
}

fn second(image: &Image) -> String {
    format!("/blobs/{}", image.layers[1].digest)
}

#[track_caller]
fn assert_not_visible(bench: &Bench, layer: &str) {
    let hex = layer.strip_prefix("sha256:").unwrap();
    assert!(!bench.layers().iter().any(|name| name == hex));
}

/// Pulls `image` with a fault at its second layer, and again without.
#[track_caller]
fn fault_at_second_layer(fault: Fault) -> (ErrorKind, String) {
    let image = three();
    let bench = Bench::serving(&image);
    bench.registry.fault(&second(&image), fault);
    let failed = bench.fail("app:1");
    assert_not_visible(&bench, &image.diff_ids[1]);
    assert_contains(&failed.text, &format!("layer {}", image.layers[1].digest));
    bench.assert_heals(&bench.request("app:1"));
    (failed.kind, failed.text)
}

#[test]
fn l107_every_compression_is_pulled_whatever_the_media_type_says() {
    let compressions = [
        Compression::Plain,
        Compression::Gzip,
        Compression::GzipMembers(5),
        Compression::Zstd,
        Compression::Xz,
        Compression::Bzip2,
    ];
    for media_types in [
        test_support::MediaTypes::Oci,
        test_support::MediaTypes::Docker,
    ] {
        let builder = ImageBuilder::new().media_types(media_types);
        let layers = compressions
            .into_iter()
            .filter(|one| media_types == test_support::MediaTypes::Oci || *one != Compression::Zstd)
            .enumerate();
        let image = layers
            .fold(builder, |builder, (n, compression)| {
                builder.layer_as(bulky(&format!("f{n}"), 200_000), compression)
            })
            .build();
        let bench = Bench::serving(&image);
        let pulled = bench.pull("app:1");
        assert_eq!(pulled.lower.len(), image.layers.len());
        for (lower, n) in pulled.lower.iter().rev().zip(0..) {
            assert_contains(&tree(lower), &format!("/f{n} file 0644 0:0 size=200000"));
        }
    }
}

#[test]
fn p66_s79_one_wrong_bit_is_told_from_a_broken_compression() {
    let (kind, said) = fault_at_second_layer(Fault::WrongBytes);
    assert_eq!(kind, ErrorKind::Integrity);
    assert_contains(&said, "other bytes came than the manifest names");
}

/// An image whose second layer is any bytes, digest and size of which are right.
fn with_blob(bytes: Vec<u8>, diff_id: &str) -> (Bench, String) {
    let digest = sha256_digest(&bytes);
    let (size, named, diff_id) = (bytes.len(), digest.clone(), diff_id.to_owned());
    let image = ImageBuilder::new()
        .layer(layer().file("a", "x").build())
        .layer(layer().file("b", "x").build())
        .edit_manifest(move |manifest| {
            manifest["layers"][1]["digest"] = json!(named);
            manifest["layers"][1]["size"] = json!(size);
        })
        .edit_config(move |config| config["rootfs"]["diff_ids"][1] = json!(diff_id))
        .build();
    let bench = Bench::serving(&image);
    bench.registry.put_blob("app", &digest, bytes);
    (bench, digest)
}

#[test]
fn a_broken_compression_of_the_right_digest_is_told_from_a_wrong_bit() {
    let layer = bulky("f", 100_000);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut bytes = layer.compress(compression).bytes;
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0xff);
        bytes.truncate(bytes.len() - 20);
        let (bench, digest) = with_blob(bytes, &layer.diff_id);
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::Refused, "{}", failed.text);
        assert_contains(&failed.text, &digest);
        assert!(!failed.text.contains("other bytes"), "{}", failed.text);
        assert_not_visible(&bench, &layer.diff_id);
    }
}

#[test]
fn p66_a_wrong_diff_id_is_refused_and_names_both() {
    let real = bulky("f", 1000);
    let bytes = real.compress(Compression::Gzip).bytes;
    let claimed = sha256_digest(b"something else");
    let (bench, _) = with_blob(bytes, &claimed);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Integrity);
    assert_contains(
        &failed.text,
        &format!("expected diff ID {claimed}, got {}", real.diff_id),
    );
    assert_not_visible(&bench, &claimed);
    assert_not_visible(&bench, &real.diff_id);
}

#[test]
fn l100_bytes_behind_the_archive_are_part_of_the_diff_id() {
    let trailing = layer()
        .file("f", "x")
        .raw([0; 1024])
        .raw("garbage")
        .without_end_marker();
    let trailing = trailing.build();
    let (bench, _) = with_blob(
        trailing.compress(Compression::Gzip).bytes,
        &trailing.diff_id,
    );
    bench.pull("app:1");
    let without = Layer::from_bytes(trailing.bytes[..trailing.bytes.len() - 7].to_vec());
    let (bench, _) = with_blob(trailing.compress(Compression::Gzip).bytes, &without.diff_id);
    assert_eq!(bench.fail("app:1").kind, ErrorKind::Integrity);
}

#[test]
fn l107_what_is_in_a_compression_of_another_kind_is_no_archive() {
    // The magic of lz4, whose frames are as long as a tar header.
    let bytes = [&b"\x04\x22\x4d\x18"[..], &[7; 2000]].concat();
    let (bench, _) = with_blob(bytes, &sha256_digest(b"x"));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "it is no tar archive");
}

#[test]
fn p50_p52_a_body_that_ends_early_is_refused() {
    for keep in [0, 1, 1000, 200_000] {
        let (kind, said) = fault_at_second_layer(Fault::Truncate(keep));
        assert_eq!(kind, ErrorKind::Network, "{said}");
        assert_contains(&said, "broke off");
    }
    // Told truly, and too short for the manifest.
    let (kind, said) = fault_at_second_layer(Fault::Resize(1000));
    assert_eq!(kind, ErrorKind::Integrity);
    assert_contains(&said, "1000 bytes came where");
}

#[test]
fn p51_a_body_longer_than_declared_is_refused() {
    for length in [400_000, 10 << 20] {
        let (kind, said) = fault_at_second_layer(Fault::Resize(length));
        assert_eq!(kind, ErrorKind::Integrity);
        assert_contains(&said, "more bytes came where");
    }
}

#[test]
fn p52_the_end_of_a_connection_is_no_proof_of_completeness() {
    let image = three();
    let bench = Bench::serving(&image);
    bench
        .registry
        .fault(&second(&image), Fault::Framing(Framing::Close));
    bench.pull("app:1");
    let chunked = Bench::serving(&image);
    chunked
        .registry
        .fault(&second(&image), Fault::Framing(Framing::Chunked));
    chunked.pull("app:1");
    assert_eq!(bench.layers(), chunked.layers());

    let (kind, _) = fault_at_second_layer(Fault::Framing(Framing::Claimed(1000)));
    assert_eq!(kind, ErrorKind::Integrity);
    let (kind, said) = fault_at_second_layer(Fault::Respond(std::sync::Arc::new(|_| {
        let mut short = test_support::fake_registry::Response::new(200, "x/y", "short");
        short.framing = Framing::Close;
        short.ending = test_support::fake_registry::Ending::Close;
        short
    })));
    assert_eq!(kind, ErrorKind::Integrity, "{said}");
}

#[test]
fn p54_p55_a_reset_is_a_network_error_wherever_it_comes() {
    let (kind, _) = fault_at_second_layer(Fault::Reset);
    assert_eq!(kind, ErrorKind::Network);
    for after in [0, 1, 150_000, 290_000] {
        let (kind, said) = fault_at_second_layer(Fault::ResetAfter(after));
        assert_eq!(kind, ErrorKind::Network, "{said}");
    }
}

#[test]
fn p58_an_encoding_of_the_transfer_is_not_undone() {
    let image = three();
    let bench = Bench::serving(&image);
    let lie = Fault::Header("Content-Encoding".to_owned(), "gzip".to_owned());
    bench.registry.fault("/blobs/", lie);
    bench.pull("app:1");
}

#[test]
fn p59_a_part_that_nobody_asked_for_is_refused() {
    let (kind, said) = fault_at_second_layer(Fault::Status(206));
    assert_eq!(kind, ErrorKind::Registry);
    assert_contains(&said, "HTTP 206");
}

#[test]
fn p66_swapped_layers_are_refused() {
    let image = ImageBuilder::new()
        .layer(bulky("a", 1000))
        .layer(bulky("b", 1000))
        .edit_config(|config| {
            config["rootfs"]["diff_ids"]
                .as_array_mut()
                .unwrap()
                .reverse();
        })
        .build();
    let bench = Bench::serving(&image);
    assert_eq!(bench.fail("app:1").kind, ErrorKind::Integrity);
    assert!(bench.layers().is_empty());
}

#[test]
fn s83_an_image_that_claims_anothers_layer_changes_nothing_of_it() {
    let popular = layer().file("f", "popular").build();
    let bench = Bench::serving(&image([popular.clone()]));
    let evil = layer()
        .file("f", "evil")
        .build()
        .compress(Compression::Gzip);
    let (digest, size, blob) = (evil.digest.clone(), evil.bytes.len(), evil.bytes.clone());
    let claiming = ImageBuilder::new()
        .layer(popular)
        .edit_manifest(move |manifest| {
            manifest["layers"][0]["digest"] = json!(digest);
            manifest["layers"][0]["size"] = json!(size);
        })
        .build();
    bench.registry.put("evil", "1", &claiming);
    bench.registry.put_blob("evil", &evil.digest, blob);
    // Nothing is there yet: the claim is found out.
    let failed = bench.fail("evil:1");
    assert_eq!(failed.kind, ErrorKind::Integrity);
    assert!(bench.layers().is_empty());
    // The real one is there: it stays what it is, and the evil blob is not even fetched.
    bench.pull("app:1");
    let before = tree(&bench.store_path().join("layers"));
    let pulled = bench.pull("evil:1");
    assert_eq!(tree(&bench.store_path().join("layers")), before);
    assert_eq!(
        std::fs::read(pulled.lower[0].join("f")).unwrap(),
        b"popular"
    );
}

#[test]
fn s44_names_of_the_stores_own_files_are_names_like_others() {
    let names = [
        "meta",
        ".meta.0123",
        "fs",
        "version",
        "../fs2",
        "trash",
        "lock",
    ];
    let markers = names
        .iter()
        .filter(|name| !name.contains(".."))
        .fold(layer(), |layer, name| {
            layer.file(name, "{\"written\":\"durable\"}")
        });
    let hostile = markers.dir("images/sha256", 0o777).build();
    let bench = Bench::serving(&image([hostile]));
    let pulled = bench.pull("app:1");
    let own = pulled.lower.last().unwrap().parent().unwrap();
    assert_eq!(crate::bench::names(own), ["fs", "holders", "index", "meta"]);
    let meta = std::fs::read_to_string(own.join("meta")).unwrap();
    assert_contains(&meta, "\"boot\"");
}

#[test]
fn a_layer_that_is_refused_leaves_nothing_and_says_which_entry() {
    let hostile = layer()
        .file("fine", "x")
        .entry(Entry::file("../escape", "x"))
        .build();
    let bench = Bench::serving(&image([bulky("a", 1000), hostile.clone()]));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(
        &failed.text,
        "its entry \"../escape\" is refused: it climbs above the root",
    );
    assert_not_visible(&bench, &hostile.diff_id);
}

#[test]
fn l14_a_layer_of_great_depth_is_stored() {
    let deep = layer().file(&("d/".repeat(1500) + "f"), "x").build();
    let bench = Bench::serving(&image([deep.clone()]));
    bench.pull("app:1");
    assert_eq!(
        bench.layers(),
        [deep.diff_id.strip_prefix("sha256:").unwrap()]
    );
    // The standard library would hold an fd for each level, in a process whose
    // libcurl waits by select(2), which has room for 1024.
    let temp = ucr_sys::Dir::open(bench.temp.path()).unwrap();
    temp.remove_tree("store").unwrap();
}

#[test]
fn l83_the_place_of_the_store_is_not_inherited_by_what_is_in_it() {
    test_support::need_root!();
    let image = image([layer().file("implied/f", "x").dir("d", 0o755).build()]);
    let bench = Bench::serving(&image);
    let plain = bench.pull("app:1");
    let expected = crate::bench::without_times(&tree(&plain.lower[0]));

    let odd = Bench::serving(&image);
    let place = ucr_sys::Dir::open(odd.temp.path()).unwrap();
    use std::os::fd::AsFd as _;
    ucr_sys::at::set_owner_fd(place.as_fd(), 0, 50).unwrap();
    ucr_sys::at::set_mode_fd(place.as_fd(), 0o2777).unwrap();
    // Version 2; owner, user 1000, group, mask and others, all with all rights (acl(5)).
    let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[7, 0], &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [(1, none), (2, 1000), (4, none), (16, none), (32, none)];
    let entries = entries.map(|(tag, id)| entry(tag, id)).concat();
    let acl = [&2_u32.to_le_bytes()[..], &entries].concat();
    ucr_sys::at::set_xattr_fd(place.as_fd(), b"system.posix_acl_default", &acl).unwrap();
    let pulled = odd.pull("app:1");
    assert_eq!(
        crate::bench::without_times(&tree(&pulled.lower[0])),
        expected
    );
}
