//! `ucr verify`: what became bad is found, told apart, and mended without touching the rest.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use test_support::{Image, ImageBuilder, LayerBuilder, tree};

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

const OTHER: &str = "team/other:1";

/// A store with an image of two layers, and another that shares neither.
struct Kept {
    env: TestEnv,
    image: Image,
}

impl Kept {
    fn new() -> Self {
        let env = TestEnv::new();
        let upper = LayerBuilder::new()
            .dir("srv", 0o755)
            .file("srv/a", "first file")
            .file("srv/b", "second file")
            .hardlink("srv/c", "srv/a")
            .symlink("srv/l", "a")
            .build();
        let image = images::builder()
            .layer(upper)
            .cmd(&["cat", "/srv/a"])
            .build();
        env.push(&image, APP);
        env.pull(APP).ok();
        env.push(&images::file("other", "content"), OTHER);
        env.pull(OTHER).ok();
        Self { env, image }
    }

    /// The directory of the upper layer.
    fn layer(&self) -> PathBuf {
        let hex = self.image.diff_ids[1].strip_prefix("sha256:").unwrap();
        self.env.root().join("layers/sha256").join(hex)
    }

    fn document(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.env.root().join("images/sha256").join(hex)
    }

    fn verify(&self, flags: &[&str]) -> Output {
        let mut command = self.env.command(&["verify", "--format", "json"]);
        command.args(flags);
        Output::of(self.env.as_user(&mut command))
    }

    fn repair(&self) -> Output {
        self.verify(&["--deep", "--repair"])
    }

    /// Everything but the upper layer, without what changes by itself.
    fn rest(&self) -> String {
        let root = self.env.root();
        let hex = self
            .layer()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let layers = tree(&root.join("layers"));
        let mut lines: Vec<_> = layers.lines().filter(|line| !line.contains(&hex)).collect();
        // The directory that holds the layers has another time once one of them was replaced.
        lines.retain(|line| !line.starts_with("/sha256 "));
        lines.join("\n")
    }

    /// The image runs, from the store alone.
    fn assert_runs(&self) {
        assert_eq!(self.env.run(&[], &[]).ok().stdout, "first file");
    }
}

fn problems(output: &Output) -> Vec<(String, String)> {
    let facts: Value = serde_json::from_str(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let problems = facts["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| (text(&problem["kind"]), text(&problem["trouble"])))
        .collect()
}

#[track_caller]
fn assert_only(output: &Output, kind: &str, trouble: &str) {
    assert_eq!(
        problems(output),
        [(kind.to_owned(), trouble.to_owned())],
        "{output:?}"
    );
}

fn faults(output: &Output) -> Vec<(String, String)> {
    let facts: Value = serde_json::from_str(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let faults = facts["problems"][0]["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| (text(&fault["path"]), text(&fault["fault"])))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "damage is done by path")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_fresh_store_has_no_damage_and_people_are_told_what_was_looked_at() {
    needs_machine!();
    let kept = Kept::new();
    assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
    let said = kept.env.ucr(&["verify", "--deep"]).ok();
    assert_eq!(said.stdout, "");
    said.said(&["verified 2 images, 3 layers", "no damage"]);
}

#[test]
fn c20_whatever_is_done_to_a_file_is_found_and_named() {
    needs_machine!();
    let kept = Kept::new();
    let fs = kept.layer().join("fs/srv");
    let flip: &dyn Fn() = &|| write(&fs.join("b"), b"second filf");
    let truncate: &dyn Fn() = &|| write(&fs.join("b"), b"second");
    let delete: &dyn Fn() = &|| std::fs::remove_file(fs.join("b")).unwrap();
    let add: &dyn Fn() = &|| write(&fs.join("extra"), b"");
    let mode: &dyn Fn() = &|| {
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions(fs.join("b"), mode).unwrap();
    };
    let owner: &dyn Fn() = &|| std::os::unix::fs::chown(fs.join("b"), Some(7), None).unwrap();
    let target: &dyn Fn() = &|| {
        std::fs::remove_file(fs.join("l")).unwrap();
        std::os::unix::fs::symlink("b", fs.join("l")).unwrap();
    };
    let copy: &dyn Fn() = &|| {
        std::fs::remove_file(fs.join("c")).unwrap();
        std::fs::copy(fs.join("a"), fs.join("c")).unwrap();
    };
    for (damage, path, fault) in [
        (flip, "/srv/b", "content"),
        (truncate, "/srv/b", "size"),
        (delete, "/srv/b", "missing"),
        (add, "/srv/extra", "extra"),
        (mode, "/srv/b", "mode"),
        (owner, "/srv/b", "owner"),
        (target, "/srv/l", "target"),
        (copy, "/srv/c", "hard-link"),
    ] {
        let before = kept.rest();
        damage();
        // What is seen without reading every file is that nothing is missing.
        assert_eq!(problems(&kept.verify(&[]).ok()), [], "{fault}");
        let found = kept.verify(&["--deep"]).ended(1);
        assert_only(&found, "layer", "damaged");
        let [(named, how)] = &faults(&found)[..] else {
            panic!("{found:?}");
        };
        assert_eq!(how, fault);
        // Of two names that should be one file's either may be met first.
        assert!(named == path || how == "hard-link", "{named}");
        let other = kept.env.reference(OTHER);
        kept.verify(&["--deep", &other]).ok();
        kept.repair().ok();
        assert_eq!(problems(&kept.verify(&["--deep"]).ok()), [], "{fault}");
        assert_eq!(kept.rest(), before, "{fault}");
        kept.assert_runs();
    }
    // Names are as they were: a repair pulls by digest and leaves no name of its own.
    assert_eq!(kept.env.ucr(&["images"]).ok().lines().len(), 3);
}

#[test]
fn c20_a_damaged_document_is_found_and_fetched_again() {
    needs_machine!();
    let kept = Kept::new();
    let config = kept.document(kept.image.image_id());
    let manifest = kept.document(&kept.image.manifest.digest);
    for (path, content) in [
        (&config, Some(&b"{}"[..])),
        (&config, None),
        (&manifest, Some(&b""[..])),
        (&manifest, None),
    ] {
        match content {
            Some(content) => write(path, content),
            None => std::fs::remove_file(path).unwrap(),
        }
        let trouble = if content.is_some() {
            "damaged"
        } else {
            "missing"
        };
        assert_only(&kept.verify(&[]).ended(1), "document", trouble);
        kept.repair().ok();
        assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
        kept.assert_runs();
    }
}

#[test]
fn c21_a_record_that_cannot_be_read_is_told_and_taken_out() {
    needs_machine!();
    let kept = Kept::new();
    for content in [&b"{"[..], b"{\"format\":9}"] {
        write(&kept.layer().join("meta"), content);
        assert_only(&kept.verify(&[]).ended(1), "layer", "unreadable-record");
        kept.repair().ok();
        assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
    }
    for content in [&b""[..], b"{", b"\0\0\0", b"{\"format\":9}"] {
        write(&kept.env.root().join("refs/0123"), content);
        assert_only(&kept.verify(&[]).ended(1), "record", "unreadable-record");
        let listed = kept.env.ucr(&["images"]).ok();
        listed.said(&["refs/0123", "ignoring"]);
        kept.repair().ok();
        assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
    }
    kept.assert_runs();
}

#[test]
fn c21_a_layer_without_a_record_is_fetched_again_by_the_next_pull() {
    needs_machine!();
    let kept = Kept::new();
    for content in [&b""[..], b"\0\0\0"] {
        write(&kept.layer().join("meta"), content);
        assert_only(&kept.verify(&[]).ok(), "layer", "unrecorded");
        kept.env.pull(APP).ok();
        assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
        kept.assert_runs();
    }
}

#[test]
fn c21_a_damaged_index_is_damage() {
    needs_machine!();
    let kept = Kept::new();
    let index = kept.layer().join("index");
    let whole = std::fs::read(&index).unwrap();
    write(&index, &whole[..whole.len() - 1]);
    assert_only(&kept.verify(&[]).ended(1), "layer", "damaged");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    write(&index, &changed);
    assert_only(&kept.verify(&["--deep"]).ended(1), "layer", "damaged");
    kept.repair().ok();
    assert_eq!(std::fs::read(&index).unwrap(), whole);
}

#[test]
fn c22_a_layer_that_is_gone_is_missing_and_fetched_again() {
    needs_machine!();
    let kept = Kept::new();
    let layer = kept.layer();
    std::fs::rename(&layer, kept.env.path("taken")).unwrap();
    assert_only(&kept.verify(&[]).ended(1), "layer", "missing");
    kept.repair().ok();
    assert_eq!(problems(&kept.verify(&["--deep"]).ok()), []);
    kept.assert_runs();
    // Nothing describes the root, whose time is that of its unpacking.
    let below = |path: &Path| {
        tree(path).lines().skip(1).collect::<Vec<_>>().join(
            "
",
        )
    };
    let taken = kept.env.path("taken").join("fs");
    assert_eq!(below(&layer.join("fs")), below(&taken));
}

#[test]
fn c14_a_layer_distrusted_after_a_reboot_is_told_as_that_and_is_no_damage() {
    needs_machine!();
    let kept = Kept::new();
    let meta = kept.layer().join("meta");
    let text = std::fs::read_to_string(&meta).unwrap();
    let boot = r#"{"boot":"11111111-2222-3333-4444-555555555555"}"#;
    write(&meta, text.replace("\"durable\"", boot).as_bytes());
    assert_only(&kept.verify(&["--deep"]).ok(), "layer", "distrusted");
    let said = kept.env.ucr(&["verify"]).ok();
    assert!(said.stdout.contains("which is no damage"), "{said:?}");
}

#[test]
fn what_a_running_container_uses_is_reported_and_left_to_it() {
    needs_machine!();
    let kept = Kept::new();
    let running = kept
        .env
        .start_sh(&["--name", "web"], "echo ready; exec sleep 1000");
    write(&kept.layer().join("fs/srv/b"), b"second filf");
    let refused = kept.repair().ended(1);
    assert!(
        refused.stdout.contains("container web is using it"),
        "{refused:?}"
    );
    let whole = kept.layer().join("fs/srv/a");
    assert_eq!(std::fs::read_to_string(whole).unwrap(), "first file");
    running.signal(rustix::process::Signal::TERM);
    running.finish();
    kept.repair().ok();
    kept.assert_runs();
}

#[test]
fn it_works_while_others_pull() {
    needs_machine!();
    let kept = Kept::new();
    let pulls: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("team/more:{number}");
            let layer = images::layer(&format!("f{number}"), images::noise(100_000 + number));
            let image = ImageBuilder::new().layer(layer).cmd(&["none"]).build();
            kept.env.push(&image, &name);
            kept.env.pull_command(&[], &name).spawn().unwrap()
        })
        .collect();
    for mut pull in pulls {
        let output = kept.verify(&["--deep"]).ok();
        assert_eq!(problems(&output), [], "{output:?}");
        assert!(pull.wait().unwrap().success());
    }
}
