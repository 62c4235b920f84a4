//! `ucr explain`: what a pull would do, without pulling.

use serde_json::Value;
use test_support::fake_registry::{Fault, Framing};
use test_support::{
    Compression, FakeRegistry, Image, ImageBuilder, ImageFiles, ImageIndex, MediaTypes,
    Schema1Builder,
};

use crate::certs::for_nobody;
use crate::env::{Home, as_nobody};
use crate::images::layer;
use crate::made;
use crate::output::Output;

/// A home that trusts a registry with `app:1`, an index with an image of two layers.
fn serving() -> (Home, FakeRegistry, Image) {
    let home = Home::new();
    let registry = made::trusted_registry(&home);
    let image = ImageBuilder::new()
        .layer(layer("one", "1"))
        .layer(layer("two", "2"))
        .build();
    let index = ImageIndex::new(MediaTypes::Oci, vec![image.clone()]);
    registry.put_index("app", "1", &index);
    (home, registry, image)
}

fn explain(home: &Home, registry: &FakeRegistry, flags: &[&str]) -> Output {
    let mut command = home.command(&["explain", "--cafile", "ca.pem"]);
    command.args(flags);
    Output::of(command.arg(format!("{}/app:1", registry.host())))
}

fn json(home: &Home, registry: &FakeRegistry) -> Value {
    let output = explain(home, registry, &["--format", "json"]);
    serde_json::from_str(&output.stdout).unwrap()
}

#[track_caller]
fn assert_says(output: &Output, texts: &[&str]) {
    for text in texts {
        assert!(output.stdout.contains(text), "no {text:?} in {output:#?}");
    }
}

#[test]
fn what_is_missing_is_explained_and_not_fetched() {
    let (home, registry, image) = serving();
    let host = registry.host();
    let output = explain(&home, &registry, &[]).ok();
    let [one, two] = [&image.layers[0].digest, &image.layers[1].digest];
    let asks = format!("registry https://{host} for app");
    assert_says(
        &output,
        &[
            &asks,
            "no proxy",
            "ca.pem (1 certificate, from --cafile)",
            "nobody in particular",
            "--principal or $UCR_PRINCIPAL (not given), for a credential",
            "index      sha256:",
            &image.manifest.digest,
            image.image_id(),
            one,
            two,
            "to fetch",
            "does not have this image whole",
            "enough: ",
        ],
    );
    let refused = explain(&home, &registry, &["--max-layers", "1"]).ended(1);
    assert_says(&refused, &["NOT ENOUGH: "]);
    for digest in [one, two] {
        assert_eq!(registry.count(digest), 0);
    }
    assert!(!home.root().exists());
}

#[test]
fn what_is_there_is_explained_with_its_size() {
    test_support::need_root!();
    let (home, registry, image) = serving();
    let name = format!("{}/app:1", registry.host());
    home.ucr(&["pull", "-q", "--cafile", "ca.pem", &name]).ok();
    let output = explain(&home, &registry, &[]).ok();
    assert_says(
        &output,
        &[
            "already here, 1B unpacked",
            "as the registry has it",
            "none needed",
        ],
    );
    let value = json(&home, &registry);
    assert_eq!(value["store"]["image"]["id"], image.image_id());
    assert_eq!(value["store"]["missing_bytes"], 0);
    assert_eq!(value["image"]["layers"][1]["cached"], true);
    assert_eq!(value["image"]["layers"][1]["unpacked_bytes"], 1);
    assert_eq!(value["image"]["manifest"], image.manifest.digest);
    assert_eq!(value["error"], Value::Null);
}

#[test]
fn sizes_that_nobody_tells_are_not_made_up() {
    let (home, registry, _) = serving();
    let image = Schema1Builder::new("app", "1")
        .layer(&layer("one", "1"))
        .cmd(&["true"])
        .signed();
    registry.put_schema1("app", "1", &image);
    let chunked = Fault::Framing(Framing::Chunked);
    registry.fault("/v2/app/blobs/", chunked);
    let output = explain(&home, &registry, &[]).ok();
    let layer = format!(
        "layer      {} of unknown size, to fetch",
        image.layers[0].digest
    );
    let room = "free; how much is needed is not known before all layers are here";
    assert_says(&output, &[&layer, room]);
    let value = json(&home, &registry);
    assert_eq!(value["image"]["layers"][0]["bytes"], Value::Null);
    assert_eq!(value["store"]["needed_bytes"], Value::Null);
    assert_eq!(value["store"]["enough"], Value::Null);
}

#[test]
fn mirrors_proxy_and_credential_are_named_for_each_who_is_asked() {
    let (home, registry, _) = serving();
    let (host, down) = (registry.host(), FakeRegistry::http());
    let mirror = down.host();
    let config = format!("[registry.\"{host}\"]\nmirrors = [\"{mirror}/hub\"]\n");
    home.write("config.toml", config);
    let auth =
        format!("{{\"auths\":{{\"{host}/app\":{{\"auth\":\"YWxpY2U6d29uZGVybGFuZA==\"}}}}}}");
    home.write_secret("auth.json", auth);
    let name = format!("{host}/app:1");
    let words = [
        "explain",
        "--cafile",
        "ca.pem",
        "--authfile",
        "auth.json",
        &name,
    ];
    let mut command = home.command(&["--config", "config.toml"]);
    let output = Output::of(command.args(words)).ok();
    let asks = format!("mirror https://{mirror} for hub/app");
    let found = format!("principal \"alice\" from auth.json, entry {host}/app");
    assert_says(
        &output,
        &[&asks, &found, "did not help", "manifest   sha256:"],
    );
    assert!(!output.stdout.contains("wonderland"));
    let proxied = ["explain", "--cafile", "ca.pem", &name];
    let mut command = home.command(&proxied);
    let output = Output::of(command.env("https_proxy", "http://u:s3cr3t@127.0.0.1:1")).ended(1);
    assert_says(&output, &["http://127.0.0.1:1", "FAILED", "$https_proxy"]);
    assert!(!output.stdout.contains("s3cr3t"));
}

#[test]
fn what_cannot_be_found_out_does_not_hide_the_rest() {
    let (home, registry, _) = serving();
    registry.fault("/manifests/", Fault::Status(404));
    let output = explain(&home, &registry, &[]).ended(1);
    assert_says(
        &output,
        &[
            "registry https://",
            "FAILED",
            "does not exist",
            "does not have this image",
            "free",
        ],
    );
    let value = json(&home, &registry);
    assert_eq!(value["error"]["code"], "not-found");
    assert_eq!(value["error"]["status"], 404);
    assert_eq!(value["image"], Value::Null);
    let config = format!("[registry.\"{}\"]\nblocked = true\n", registry.host());
    home.write("config.toml", config);
    let name = format!("{}/app:1", registry.host());
    let words = [
        "--config",
        "config.toml",
        "explain",
        "--cafile",
        "ca.pem",
        &name,
    ];
    let output = home.ucr(&words).ended(1);
    assert_says(
        &output,
        &["nobody: ", "is blocked by the configuration", "store"],
    );
}

#[test]
fn nobody_may_ask_too_and_is_told_what_they_cannot_read() {
    test_support::need_root!();
    test_support::need_command!("setpriv");
    let (home, registry, _) = serving();
    let name = format!("{}/app:1", registry.host());
    home.ucr(&["pull", "-q", "--cafile", "ca.pem", &name]).ok();
    let ucr = for_nobody(&home);
    let words = ["explain", "--cafile", "ca.pem", name.as_str()];
    let output = Output::of(&mut as_nobody(&home, &ucr, &words)).ok();
    assert_says(
        &output,
        &["cannot be read: ", "manifest   sha256:", "to fetch"],
    );
}

#[test]
fn images_on_this_machine_are_explained_in_the_same_shape() {
    test_support::need_root!();
    let image = ImageBuilder::new().layer(layer("one", "1")).build();
    let files = ImageFiles::of(&image);
    for name in ["oci:app", "oci-archive:app.tar"] {
        let home = Home::new();
        files.write(&home.path("app"));
        home.write("app.tar", files.archive().bytes);
        let said = home.ucr(&["explain", name]).ok();
        let digest = &image.layers[0].digest;
        let layer = format!("layer      {digest}");
        let texts = [
            &layer,
            "asks       nobody",
            "to unpack",
            "unpacked it takes",
        ];
        assert_says(&said, &texts);
        assert!(!said.stdout.contains("fetch"), "{said:#?}");
        let json = |home: &Home| -> Value {
            let said = home.ucr(&["explain", "--format", "json", name]).ok();
            serde_json::from_str(&said.stdout).unwrap()
        };
        let value = json(&home);
        assert_eq!(value["image"]["id"], image.image_id());
        assert_eq!(value["image"]["platform"], value["platform"]);
        assert_eq!(value["registry"], Value::Null);
        assert_eq!(value["endpoints"], Value::Array(Vec::new()));
        let size = image.layers[0].bytes.len();
        assert_eq!(value["image"]["layers"][0]["bytes"], size);
        assert_eq!(value["image"]["layers"][0]["cached"], false);
        assert_eq!(value["store"]["needed_bytes"], size);
        assert!(!home.root().exists());
        home.ucr(&["pull", "-q", name]).ok();
        let value = json(&home);
        assert_eq!(value["image"]["layers"][0]["cached"], true);
        assert_eq!(value["store"]["image"]["id"], image.image_id());
        assert_says(
            &home.ucr(&["explain", name]).ok(),
            &["the same", "none needed"],
        );
    }
    let home = Home::new();
    let gzip = files.archive().compress(Compression::Gzip);
    home.write("app.tar.gz", gzip.bytes);
    for name in ["oci-archive:app.tar.gz", "oci-archive:-", "-"] {
        let said = home.ucr(&["explain", name]).ended(1);
        assert_says(&said, &["FAILED", "has to be copied out to be read"]);
    }
    home.ucr(&["explain", "oci:nowhere"]).ended(1);
}
