//! Images of Docker's schema 1, out of a real registry that still takes them.

use serde_json::Value;
use test_support::{Layer, LayerBuilder, Schema1Builder, Schema1Image, busybox_layer};

use crate::env::{APP, TestEnv};
use crate::output::Output;

fn upper() -> Layer {
    LayerBuilder::new().file("hello", "from 2015\n").build()
}

/// An environment whose registry has an image of two layers, and an empty one between them.
fn serving() -> (TestEnv, Schema1Image) {
    let env = TestEnv::new();
    let image = Schema1Builder::new("team/app", "1")
        .layer(&busybox_layer())
        .throwaway()
        .layer(&upper())
        .cmd(&["cat", "/hello"])
        .signed();
    env.registry.push_schema1(&image, "team/app", "1");
    (env, image)
}

fn ucr(env: &TestEnv, arguments: &[&str]) -> Output {
    Output::of(env.as_user(&mut env.command(arguments)))
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn it_is_explained_pulled_and_run_like_any_other() {
    needs_machine!();
    let (env, image) = serving();
    let name = env.reference(APP);
    let explained = ucr(&env, &["explain", "--format", "json", &name]).ok();
    let facts = json(&explained);
    assert_eq!(
        (&facts["image"]["schema"], &facts["image"]["id"]),
        (&1.into(), &Value::Null)
    );
    let size = image.layers[1].bytes.len();
    assert_eq!(facts["image"]["layers"][1]["bytes"], size);
    let said = ucr(&env, &["explain", &name]).ok().stdout;
    for text in ["of Docker's schema 1", "image ID   not known", "enough: "] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
    env.pull(APP).ok();
    assert_eq!(env.run(&[], &[]).ok().stdout, "from 2015\n");
    // Once pulled it is there: one question, nothing fetched.
    let again = env.pull(APP).ok();
    let id = again.stdout.trim_end();
    let blob = format!("GET /v2/team/app/blobs/{}", image.layers[0].digest);
    assert_eq!(env.registry.count(&blob, 1), 1);
    let explained = ucr(&env, &["explain", "--format", "json", &name]).ok();
    assert_eq!(json(&explained)["image"]["id"], id);
    let inspected = json(&env.ucr(&["inspect", &name]).ok());
    assert_eq!(inspected[0]["Metadata"]["Manifest"], image.manifest.digest);
    assert!(env.ucr(&["images"]).ok().stdout.contains("team/app"));
}

#[test]
fn what_became_bad_of_it_is_mended_by_its_digest() {
    needs_machine!();
    let (env, image) = serving();
    env.pull(APP).ok();
    let hex = image.diff_ids[1].trim_start_matches("sha256:");
    let layer = env.root().join("layers/sha256").join(hex);
    std::fs::remove_file(layer.join("fs/hello")).unwrap();
    let mended = ucr(&env, &["verify", "--deep", "--repair", "--format", "json"]).ok();
    assert_eq!(json(&mended)["problems"][0]["repaired"], true);
    env.ucr(&["verify", "--deep"]).ok();
    assert_eq!(env.run(&[], &[]).ok().stdout, "from 2015\n");
    env.ucr(&["rmi", &env.reference(APP)]).ok();
    env.ucr(&["gc"]).ok();
    for part in ["layers/sha256", "contents/sha256", "images/sha256"] {
        let left = std::fs::read_dir(env.root().join(part)).unwrap().count();
        assert_eq!(left, 0, "{part}");
    }
}
