//! What bad input gets: one message that says what, where and what to try, and
//! nothing left half-done.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use test_support::{
    Blob, FakeRegistry, Image, ImageBuilder, ImageIndex, LayerBuilder, MediaTypes, RealRegistry,
    Sentinel,
};

use crate::env::{APP, TestEnv};
use crate::images::{self, layer};
use crate::output::Output;

const NAME: &str = "team/app:1";

/// Pulls `name`, which must be refused with all of `texts` and without a trace in the store.
#[track_caller]
fn refuses(env: &TestEnv, flags: &[&str], name: &str, texts: &[&str]) {
    let output = env.pull_with(&[&["-q"], flags].concat(), name);
    output.refused(1).said(texts);
    assert_nothing_kept(env, name);
}

#[track_caller]
fn assert_nothing_kept(env: &TestEnv, name: &str) {
    assert_eq!(env.leftovers(), Vec::<String>::new());
    let run = ["run", "--pull", "never", &env.reference(name)];
    env.ucr(&run).refused(125).said(&["is not in the store"]);
}

#[test]
fn an_unknown_host_is_named() {
    needs_machine!();
    let env = TestEnv::new();
    let refused = env.ucr(&["pull", "-q", "no-such-registry.invalid/team/app:1"]);
    refused
        .refused(1)
        .said(&["no-such-registry.invalid", "cannot find the host", "try: "]);
}

#[test]
fn a_refused_connection_is_named() {
    needs_machine!();
    let env = TestEnv::new();
    // tcpmux, which nobody has served for decades.
    let refused = env.ucr(&["pull", "-q", "127.0.0.1:1/team/app:1"]);
    refused
        .refused(1)
        .said(&["127.0.0.1:1", "cannot connect", "try: "]);
}

#[test]
fn a_wrong_password_is_told_from_a_missing_image() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    let host = env.registry.host().to_owned();
    env.write_secret("wrong", "not it");
    let wrong = env.shown("wrong");
    let image = env.reference(NAME);
    let pull = |principal| {
        env.ucr(&[
            "pull",
            "-q",
            "--principal",
            principal,
            "--secret-file",
            &wrong,
            &image,
        ])
    };
    for principal in [RealRegistry::USER, "stranger"] {
        pull(principal)
            .refused(1)
            .said(&[&host, principal, "--secret-file"]);
    }
    refuses(&env, &[], "team/app:2", &[&host, "team/app", "2", "try: "]);
    refuses(&env, &[], "team/none:1", &[&host, "team/none", "try: "]);
}

#[test]
fn a_digest_that_the_registry_does_not_have_is_not_found() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    let digest = test_support::sha256_digest(b"another");
    refuses(&env, &[], &format!("team/app@{digest}"), &[&digest]);
}

#[test]
fn a_platform_that_is_not_there_lists_those_that_are() {
    needs_machine!();
    let env = TestEnv::new();
    let of = |arch| {
        ImageBuilder::new()
            .platform("linux", arch)
            .layer(layer("x", arch))
    };
    let images = vec![of("s390x").build(), of("riscv64").build()];
    let index = ImageIndex::new(MediaTypes::Oci, images);
    env.registry.push_index(&index, "team/app", "1");
    refuses(
        &env,
        &[],
        NAME,
        &["linux/s390x", "linux/riscv64", "--platform"],
    );
    let sparc = ["--platform", "linux/sparc64"];
    refuses(&env, &sparc, NAME, &["linux/sparc64", "linux/riscv64"]);
}

/// The file that the registry keeps a blob in.
fn stored(env: &TestEnv, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let blobs = env
        .registry
        .storage()
        .join("docker/registry/v2/blobs/sha256");
    blobs.join(&hex[..2]).join(hex).join("data")
}

fn pushed_with(env: &TestEnv, content: &[u8]) -> Image {
    let image = images::file("x", content);
    env.push(&image, NAME);
    image
}

#[test]
fn a_layer_that_was_damaged_where_it_is_stored_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    let image = pushed_with(&env, &images::noise(100_000));
    let digest = &image.layers[0].digest;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(stored(&env, digest))
        .unwrap();
    file.write_at(b"X", 5000).unwrap();
    // Whether the digest or the compression is noticed first: the layer is named.
    refuses(&env, &[], NAME, &[digest]);
}

#[test]
fn a_layer_that_was_cut_off_where_it_is_stored_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    let image = pushed_with(&env, &images::noise(100_000));
    let digest = &image.layers[0].digest;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(stored(&env, digest))
        .unwrap();
    file.set_len(5000).unwrap();
    refuses(&env, &[], NAME, &[digest]);
}

#[test]
fn a_config_that_was_damaged_where_it_is_stored_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    let image = pushed_with(&env, b"y");
    let file = stored(&env, image.image_id());
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_at(b" ", 0).unwrap();
    refuses(&env, &[], NAME, &["configuration", image.image_id()]);
}

#[test]
fn another_diff_id_than_the_configs_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    let other = test_support::sha256_digest(b"another");
    let named = other.clone();
    let image = ImageBuilder::new()
        .layer(layer("x", "y"))
        .edit_config(move |config| config["rootfs"]["diff_ids"][0] = named.into())
        .build();
    env.push(&image, NAME);
    refuses(&env, &[], NAME, &[&other, &image.layers[0].digest]);
}

#[test]
fn a_layer_that_is_no_archive_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    // The digest is right: only what is in it is not.
    let mut corrupt = layer("x", images::noise(5000)).compress(test_support::Compression::Gzip);
    let half = corrupt.bytes.len() / 2;
    corrupt.bytes[half] ^= 0xFF;
    let blob = |bytes: Vec<u8>| {
        let digest = test_support::sha256_digest(&bytes);
        Blob {
            bytes,
            digest,
            ..corrupt.clone()
        }
    };
    for bytes in [corrupt.bytes.clone(), b"<!DOCTYPE html>".to_vec()] {
        let mut image = images::file("x", "y");
        image.layers[0] = blob(bytes);
        let (digest, size) = (image.layers[0].digest.clone(), image.layers[0].bytes.len());
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&image.manifest.bytes).unwrap();
        manifest["layers"][0]["digest"] = digest.as_str().into();
        manifest["layers"][0]["size"] = size.into();
        image.manifest.bytes = serde_json::to_vec(&manifest).unwrap();
        env.push(&image, NAME);
        refuses(&env, &[], NAME, &[&digest]);
    }
}

/// A directory of the host, and its name as one climbs to it.
fn outside(env: &TestEnv) -> (Sentinel, String, String) {
    let path = env.make_dir("outside");
    let shown = env.shown("outside");
    let up = "../".repeat(12) + shown.trim_start_matches('/');
    (Sentinel::plant(&path), shown, up)
}

#[test]
fn l1_a_layer_that_climbs_out_is_refused_and_changes_nothing() {
    needs_machine!();
    let env = TestEnv::new();
    let (sentinel, outside, up) = outside(&env);
    let new = LayerBuilder::new;
    let climbers = [
        new().file(&format!("{up}/new"), "x"),
        new().file(&format!("dir/{up}/new"), "x"),
        new().hardlink("inside", &format!("{outside}/file")),
        new().hardlink("inside", &format!("{up}/file")),
        new()
            .symlink("link", &outside)
            .hardlink("inside", "link/file"),
    ];
    for (number, climber) in climbers.into_iter().enumerate() {
        let name = format!("team/app:{number}");
        let image = ImageBuilder::new().layer(climber.build()).build();
        env.push(&image, &name);
        let layer = &image.layers[0].digest;
        refuses(&env, &[], &name, &[layer]);
        sentinel.assert_unchanged();
    }
}

#[test]
fn l2_what_points_to_the_host_leads_into_the_image() {
    needs_machine!();
    let env = TestEnv::new();
    let (sentinel, outside, up) = outside(&env);
    let new = LayerBuilder::new;
    let name = |end: &str| format!("{outside}/{end}");
    let leading = [
        new().file(&name("new"), "inside"),
        new().symlink("link", &outside).file("link/new", "inside"),
        new().symlink("link", &up).file("link/new", "inside"),
        new()
            .file(&name("new"), "inside")
            .symlink("link", &name("new")),
        new()
            .file(&name("new"), "inside")
            .symlink("link", &outside)
            .whiteout("link/file"),
    ];
    for layer in leading {
        env.push(&images::builder().layer(layer.build()).build(), APP);
        env.pull(APP).ok();
        assert_eq!(env.run(&[], &["cat", &name("new")]).ok().stdout, "inside");
        let script = r#"echo more >"$1/new"; chmod 0 "$1"; rm -r "$1""#;
        env.run(&[], &["sh", "-ec", script, "sh", &outside]).ok();
        sentinel.assert_unchanged();
    }
}

#[test]
fn a_full_disk_names_the_path_and_what_is_free() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::new();
    let image = images::file("big", images::noise(8 << 20));
    env.push(&image, NAME);
    env.make_dir("root");
    let script = r#"
        mount -t tmpfs -o size=3m tmpfs "$UCR_ROOT"
        code=0
        "$UCR" pull -q --principal tester --secret-file secret "$1" || code=$?
        ls -A "$UCR_ROOT/tmp" "$UCR_ROOT/trash"
        # What is left is room for an image that fits.
        "$UCR" pull -q --principal tester --secret-file secret "$2"
        exit $code"#;
    let small = images::file("small", "x");
    env.push(&small, "team/app:small");
    let (big, fits) = (env.reference(NAME), env.reference("team/app:small"));
    let output = Output::of(&mut env.shell_with_own_mounts(script, &[&big, &fits]));
    let root = env.root().display().to_string();
    let output = output
        .ended(1)
        .said(&[&root, "B and ", "inodes free", "make room"]);
    let said = format!("{root}/tmp:\n\n{root}/trash:\n{}\n", small.image_id());
    assert_eq!(output.stdout, said, "{output:?}");
}

#[test]
fn what_names_no_image_is_refused_before_anything_else() {
    needs_machine!();
    let env = TestEnv::new();
    for text in [
        "host.example/UPPER",
        "host.example/path:tag:tag",
        "host.example/a@sha256:123",
        "",
        "a b",
    ] {
        let refused = env.ucr(&["pull", text]).ended(2);
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty());
        env.ucr(&["run", text]).ended(125);
    }
    assert!(!env.root().exists());
}

#[test]
fn a_registry_that_fails_is_told_with_what_it_said() {
    needs_machine!();
    let env = TestEnv::new();
    let registry = FakeRegistry::https(&env.ca);
    registry.put("team/app", "1", &images::file("x", "y"));
    let name = format!("{}/{NAME}", registry.host());
    registry.fault(
        "GET /v2/team/app/manifests",
        test_support::fake_registry::Fault::Html,
    );
    env.ucr(&["pull", "-q", &name])
        .refused(1)
        .said(&[&registry.host()]);
    registry.heal();
    registry.fault(
        "GET /v2/team/app/blobs",
        test_support::fake_registry::Fault::Truncate(3),
    );
    env.ucr(&["pull", "-q", &name])
        .refused(1)
        .said(&[&registry.host()]);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}
