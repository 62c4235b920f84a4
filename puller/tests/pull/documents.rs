//! Manifests, indexes and configurations, good and bad.

use serde_json::json;
use test_support::fake_registry::{Fault, Response};
use test_support::{Image, ImageBuilder, ImageIndex, MediaTypes, Stored, sha256_digest};
use ucr_images::ErrorKind;
use ucr_puller::Request;

use crate::bench::{Bench, assert_contains, image, layer};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn for_platform(architecture: &str) -> Image {
    for_platform_as(architecture, MediaTypes::Oci)
}

fn for_platform_as(architecture: &str, media_types: MediaTypes) -> Image {
    ImageBuilder::new()
        .media_types(media_types)
        .platform("linux", architecture)
        .layer(layer().file("arch", architecture).build())
        .build()
}

fn on(platform: &str, request: Request) -> Request {
    Request {
        platform: platform.parse().unwrap(),
        ..request
    }
}

#[test]
fn the_image_for_the_platform_is_chosen_from_an_index() {
    for media_types in [MediaTypes::Oci, MediaTypes::Docker] {
        let images: Vec<_> = ["arm64", "amd64"]
            .map(|one| for_platform_as(one, media_types))
            .into();
        let ids: Vec<_> = images.iter().map(|one| one.image_id().to_owned()).collect();
        let bench = Bench::new();
        let index = ImageIndex::new(media_types, images);
        bench.registry.put_index("app", "1", &index);
        for (platform, id) in ["linux/arm64/v8", "linux/amd64"].into_iter().zip(&ids) {
            let request = on(platform, bench.request("app:1"));
            let pulled = bench.pull_with(&request, &()).unwrap();
            assert_eq!(&pulled.id.to_string(), id);
            let again = bench
                .store()
                .image(&request.reference, &request.platform)
                .unwrap();
            assert_eq!(again.unwrap().id, pulled.id);
        }
        let request = on("linux/s390x", bench.request("app:1"));
        let error = bench.pull_with(&request, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Platform);
        let said = crate::bench::chain(&error);
        assert_contains(
            &said,
            "no image for linux/s390x, only for linux/arm64, linux/amd64",
        );
    }
}

#[test]
fn s78_a_digest_in_the_name_is_verified_whatever_the_registry_says() {
    let wanted = image([layer().file("f", "x").build()]);
    let bench = Bench::serving(&wanted);
    let name = format!("app@{}", wanted.manifest.digest);
    let pulled = bench.pull(&name);
    assert_eq!(pulled.manifest.to_string(), wanted.manifest.digest);
    bench.pull(&format!("app:1@{}", wanted.manifest.digest));

    let bench = Bench::serving(&wanted);
    let other = image([layer().file("f", "y").build()]);
    bench.registry.put("app", "2", &other);
    let (bytes, claimed) = (other.manifest.bytes.clone(), wanted.manifest.digest.clone());
    bench.registry.respond("/manifests/", move |_| {
        Response::new(200, OCI_MANIFEST, bytes.clone()).header("Docker-Content-Digest", &claimed)
    });
    for name in [name, format!("app:1@{}", wanted.manifest.digest)] {
        let failed = bench.fail(&name);
        assert_eq!(failed.kind, ErrorKind::Integrity);
        assert_contains(
            &failed.text,
            &format!("expected {}", wanted.manifest.digest),
        );
        assert_contains(&failed.text, &format!("got {}", other.manifest.digest));
        assert!(bench.layers().is_empty());
        assert_eq!(bench.registry.count("/blobs/"), 0);
    }
}

#[test]
fn s78_an_image_of_an_index_is_verified_too() {
    let bench = Bench::new();
    let index = ImageIndex::new(MediaTypes::Oci, vec![for_platform("amd64")]);
    bench.registry.put_index("app", "1", &index);
    let pattern = format!("/manifests/{}", index.images[0].manifest.digest);
    bench.registry.fault(&pattern, Fault::WrongBytes);
    let request = on("linux/amd64", bench.request("app:1"));
    let failed = bench.fail_with(&request);
    assert_eq!(failed.kind, ErrorKind::Integrity);
    bench.assert_heals(&request);
}

#[test]
fn p68_a_wrong_docker_content_digest_is_nothing_to_go_by() {
    let image = image([layer().file("f", "x").build()]);
    let bench = Bench::serving(&image);
    let wrong = Fault::Header("Docker-Content-Digest".to_owned(), sha256_digest(b"other"));
    bench.registry.fault("/manifests/", wrong);
    assert_eq!(
        bench.pull("app:1").manifest.to_string(),
        image.manifest.digest
    );
}

#[test]
fn p66_a_configuration_of_other_bytes_or_another_size_is_refused() {
    let image = image([layer().file("f", "x").build()]);
    let config = format!("/blobs/{}", image.config.digest);
    let faults = [
        (
            Fault::WrongBytes,
            "another configuration than the manifest names",
        ),
        (Fault::Resize(10), "the configuration has 10 bytes"),
        (Fault::Resize(5000), "the configuration has 5000 bytes"),
    ];
    for (fault, said) in faults {
        let bench = Bench::serving(&image);
        bench.registry.fault(&config, fault);
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::Integrity);
        assert_contains(&failed.text, said);
        assert!(bench.layers().is_empty());
        bench.assert_heals(&bench.request("app:1"));
    }
}

#[test]
fn p66_layers_and_diff_ids_must_be_as_many() {
    let image = ImageBuilder::new()
        .layer(layer().file("f", "x").build())
        .edit_config(|config| config["rootfs"]["diff_ids"] = json!([]))
        .build();
    let failed = Bench::serving(&image).fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(
        &failed.text,
        "the manifest has 1 layers, but the configuration has 0 diff IDs",
    );
}

#[test]
fn s80_documents_beyond_four_mebibytes_are_refused() {
    let image = image([layer().file("f", "x").build()]);
    for pattern in [
        "/manifests/".to_owned(),
        format!("/blobs/{}", image.config.digest),
    ] {
        let bench = Bench::serving(&image);
        bench.registry.fault(&pattern, Fault::Huge(100 << 20));
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::Refused);
        assert_contains(&failed.text, "more than 4194304 bytes");
        bench.assert_heals(&bench.request("app:1"));
    }
    let declared = ImageBuilder::new()
        .edit_manifest(|manifest| manifest["config"]["size"] = json!(1_u64 << 40))
        .build();
    let bench = Bench::serving(&declared);
    assert_contains(&bench.fail("app:1").text, "at most 4194304 are taken");
    assert_eq!(bench.registry.count("/blobs/"), 0);
}

/// Serves these very bytes as the manifest.
fn serving(content_type: &str, body: impl Into<Vec<u8>>) -> Bench {
    let bench = Bench::new();
    bench
        .registry
        .put_manifest("app", "1", &Stored::new(content_type, body.into()));
    bench
}

#[test]
fn p71_nonsense_in_place_of_a_manifest_is_refused() {
    for body in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "\u{feff}{}".to_owned(),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(100_000),
        format!("{{\"layers\":[{}]}}", vec!["{}"; 1_000_000].join(",")),
    ] {
        let bench = serving(OCI_MANIFEST, body);
        assert_eq!(bench.fail("app:1").kind, ErrorKind::Refused);
    }
    assert_eq!(
        serving(OCI_MANIFEST, vec![0xff; 100]).fail("app:1").kind,
        ErrorKind::Refused
    );
}

#[test]
fn p77_the_page_of_a_captive_portal_is_called_a_web_page() {
    let image = image([layer().file("f", "x").build()]);
    let bench = Bench::serving(&image);
    bench.registry.fault("", Fault::Html);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(
        &failed.text,
        "it is a web page: a proxy or a login portal may have answered",
    );
    bench.assert_heals(&bench.request("app:1"));
    // For a blob only: the digest finds it out.
    let bench = Bench::serving(&image);
    bench.registry.fault("/blobs/", Fault::Html);
    assert_eq!(bench.fail("app:1").kind, ErrorKind::Integrity);
    bench.assert_heals(&bench.request("app:1"));
}

#[test]
fn p67_a_broken_manifest_of_schema_1_is_refused_by_name() {
    let body = r#"{"schemaVersion":1,"name":"app","fsLayers":[],"history":[],"signatures":[]}"#;
    for content_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ] {
        let failed = serving(content_type, body).fail("app:1");
        assert_eq!(failed.kind, ErrorKind::Refused);
        assert_contains(&failed.text, "schema 1");
    }
}

#[test]
fn p67_the_type_may_be_missing_vague_or_have_parameters() {
    let image = image([layer().file("f", "x").build()]);
    for content_type in [
        "application/json; charset=utf-8",
        "text/plain",
        "Application/VND.oci.image.manifest.v1+JSON;x=y",
    ] {
        let bench = Bench::serving(&image);
        let header = Fault::Header("Content-Type".to_owned(), content_type.to_owned());
        bench.registry.fault("/manifests/", header);
        bench.pull("app:1");
    }
}

#[test]
fn s77_a_document_that_contradicts_its_type_is_refused() {
    let image = image([layer().file("f", "x").build()]);
    let bench = Bench::serving(&image);
    let lie = Fault::Header("Content-Type".to_owned(), OCI_INDEX.to_owned());
    bench.registry.fault("/manifests/", lie);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "ambiguous");
}

#[test]
fn p69_an_index_in_an_index_is_followed_where_it_says_to_be_one() {
    let bench = Bench::new();
    let index = ImageIndex::new(MediaTypes::Oci, vec![for_platform("amd64")]);
    bench.registry.put_index("app", "inner", &index);
    let outer = |media_type: &str| {
        let entry = json!({
            "mediaType": media_type,
            "digest": index.document.digest,
            "size": index.document.bytes.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        });
        let outer = json!({"schemaVersion": 2, "manifests": [entry]});
        let outer = Stored::new(OCI_INDEX, serde_json::to_vec(&outer).unwrap());
        bench.registry.put_manifest("app", "1", &outer);
        on("linux/amd64", bench.request("app:1"))
    };
    let failed = bench.fail_with(&outer(OCI_MANIFEST));
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "an index calls another index an image");
    let pulled = bench.pull_with(&outer(OCI_INDEX), &()).unwrap();
    assert_eq!(pulled.id.to_string(), index.images[0].image_id());
}

#[test]
fn p66_an_index_that_is_wrong_about_a_size_is_refused() {
    let bench = Bench::new();
    let image = for_platform("amd64");
    let entry = json!({
        "mediaType": OCI_MANIFEST,
        "digest": image.manifest.digest,
        "size": image.manifest.bytes.len() + 1,
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    bench.registry.put("app", "image", &image);
    let index = Stored::new(OCI_INDEX, serde_json::to_vec(&index).unwrap());
    bench.registry.put_manifest("app", "1", &index);
    let failed = bench.fail_with(&on("linux/amd64", bench.request("app:1")));
    assert_eq!(failed.kind, ErrorKind::Integrity);
    assert_contains(&failed.text, "the index says that");
}

#[test]
fn s70_p72_a_layer_to_be_had_elsewhere_is_refused_before_anything_is_fetched() {
    let image = ImageBuilder::new()
        .layer(layer().file("f", "x").build())
        .edit_manifest(|manifest| {
            manifest["layers"][0]["mediaType"] =
                json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            manifest["layers"][0]["urls"] = json!(["https://evil.example/x"]);
        })
        .build();
    let bench = Bench::serving(&image);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "foreign layer");
    assert_eq!(bench.registry.count("/blobs/"), 0);
}

#[test]
fn p70_a_tag_that_moves_is_pulled_anew_and_the_old_image_stays_whole() {
    let (old, new) = (
        image([layer().file("f", "old").build()]),
        image([layer().file("f", "new").build()]),
    );
    let bench = Bench::serving(&old);
    let first = bench.pull("app:1");
    bench.registry.put("app", "1", &new);
    let second = bench.pull("app:1");
    assert_ne!(first.id, second.id);
    assert_eq!(
        std::fs::read(first.lower.last().unwrap().join("f")).unwrap(),
        b"old"
    );
    let request = bench.request("app:1");
    let stored = bench
        .store()
        .image(&request.reference, &request.platform)
        .unwrap()
        .unwrap();
    assert_eq!(stored.id, second.id);
}

#[test]
fn p75_what_a_cache_is_told_changes_nothing_of_a_pull() {
    let image = image([layer().file("f", "x").build()]);
    let bench = Bench::serving(&image);
    for (name, value) in [
        ("ETag", "\"1\""),
        ("Cache-Control", "max-age=31536000, immutable"),
        ("Age", "99999999999999999999"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        let header = Fault::Header(name.to_owned(), value.to_owned());
        bench.registry.fault("/manifests/", header);
    }
    bench.pull("app:1");
    let other = crate::bench::image([layer().file("f", "y").build()]);
    bench.registry.put("app", "1", &other);
    assert_eq!(bench.pull("app:1").id.to_string(), other.image_id());
    for asked in bench.registry.requests("") {
        let conditions = ["if-none-match", "if-modified-since", "if-match"];
        let given = conditions.map(|name| asked.request.header(name));
        assert_eq!(given, [None; 3], "{asked:?}");
    }
}

#[test]
fn p75_a_registry_that_says_that_nothing_changed_was_not_asked_that() {
    let image = image([layer().file("f", "x").build()]);
    for pattern in ["/manifests/", "/blobs/"] {
        let bench = Bench::serving(&image);
        bench
            .registry
            .respond(pattern, |_| Response::new(304, "text/plain", ""));
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::Registry, "{}", failed.text);
        assert_contains(&failed.text, "304");
        assert!(bench.layers().is_empty());
        bench.assert_heals(&bench.request("app:1"));
    }
}
