//! `--allow-foreign-layers`: asked for by flag, variable or configuration, and refused without.

use serde_json::{Value, json};
use test_support::{FakeRegistry, ImageBuilder, TestCa, TestProxy};

use crate::env::Home;
use crate::images::layer;
use crate::output::Output;

/// A registry with an image whose layer is a publisher's, who is known by name to a proxy.
struct World {
    home: Home,
    registry: FakeRegistry,
    publisher: FakeRegistry,
    proxy: TestProxy,
}

fn world() -> World {
    let home = Home::new();
    let ca = TestCa::new("Example Corp CA");
    home.write("ca.pem", ca.pem());
    let registry = FakeRegistry::https(&ca);
    let publisher = FakeRegistry::with_tls(ca.issue(&["layers.example"]).server_config());
    let builder = || ImageBuilder::new().layer(layer("hello", "from far away\n"));
    let blob = builder().build().layers.remove(0);
    let url = format!("https://layers.example/v2/files/blobs/{}", blob.digest);
    let image = builder().edit_manifest(move |manifest| {
        let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
        manifest["layers"][0]["mediaType"] = json!(kind);
        manifest["layers"][0]["urls"] = json!([url]);
    });
    registry.put("app", "1", &image.build());
    publisher.put_blob("files", &blob.digest, blob.bytes);
    let proxy = TestProxy::http();
    proxy.route("layers.example:443", publisher.address());
    World {
        home,
        registry,
        publisher,
        proxy,
    }
}

impl World {
    fn ucr(&self, arguments: &[&str], flags: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.home.command(arguments);
        command.args(["--cafile", "ca.pem"]).args(flags);
        command.arg(format!("{}/app:1", self.registry.host()));
        command.env("HTTPS_PROXY", self.proxy.url());
        command.env("NO_PROXY", "127.0.0.1");
        command.envs(variables.iter().copied());
        Output::of(&mut command)
    }
}

#[test]
fn p72_a_foreign_layer_is_fetched_by_who_asks_for_it_only() {
    needs_machine!();
    let world = world();
    let refused = world.ucr(&["pull", "-q"], &[], &[]).refused(1);
    refused.said(&["is a foreign layer", "try: --allow-foreign-layers"]);
    assert_eq!(world.publisher.count(""), 0);
    let variable = [("UCR_ALLOW_FOREIGN_LAYERS", "yes")];
    let no = ["--allow-foreign-layers=false"];
    world.ucr(&["pull", "-q"], &no, &variable).refused(1);
    let explained = world
        .ucr(&["explain", "--format", "json"], &[], &variable)
        .ok();
    let facts: Value = serde_json::from_str(&explained.stdout).unwrap();
    let place = facts["image"]["layers"][0]["foreign"][0].as_str().unwrap();
    assert!(place.starts_with("https://layers.example/v2/files/blobs/sha256:"));
    assert_eq!(world.publisher.count(""), 0);
    let flag = ["--allow-foreign-layers"];
    world.ucr(&["pull", "-q"], &flag, &[]).ok();
    assert_eq!(world.publisher.count(""), 1);
}

#[test]
fn the_configuration_may_say_it_for_all_images() {
    needs_machine!();
    let world = world();
    world
        .home
        .write("config.toml", "[pull]\nallow-foreign-layers = true\n");
    let config = world.home.shown("config.toml");
    let pull = ["--config", &config, "pull", "-q"];
    let no = [("UCR_ALLOW_FOREIGN_LAYERS", "0")];
    world.ucr(&pull, &[], &no).refused(1);
    world.ucr(&pull, &[], &[]).ok();
}
