//! `--progress json`, and the other forms.

use serde_json::Value;
use test_support::{FakeRegistry, ImageBuilder};

use crate::env::Home;
use crate::images::{self, layer};
use crate::made;
use crate::output::{Output, Running};

/// A home that trusts a registry with a layer of 3 MiB in `app:1`.
pub(crate) fn serving() -> (Home, FakeRegistry, test_support::Image) {
    let home = Home::new();
    let registry = made::trusted_registry(&home);
    let image = ImageBuilder::new()
        .layer(layer("big", images::noise(3 << 20)))
        .build();
    registry.put("app", "1", &image);
    (home, registry, image)
}

/// `ucr pull` with `flags` of that image.
pub(crate) fn pull(home: &Home, registry: &FakeRegistry, flags: &[&str]) -> std::process::Command {
    let mut command = home.command(&["pull", "--cafile", "ca.pem"]);
    command
        .args(flags)
        .arg(format!("{}/app:1", registry.host()));
    command
}

#[test]
fn every_line_is_json_and_bytes_come_with_their_total() {
    test_support::need_root!();
    let (home, registry, image) = serving();
    let output = Output::of(&mut pull(&home, &registry, &["--progress", "json"])).ok();
    let lines: Vec<Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    for event in ["resolved", "layer-started", "layer-done"] {
        assert!(of(event) == 1, "{event} in {lines:#?}");
    }
    let bytes = lines.iter().find(|line| line["event"] == "bytes").unwrap();
    assert_eq!(bytes["total"], image.layers[0].bytes.len());
    assert!(
        bytes["bytes"].as_u64() <= bytes["total"].as_u64(),
        "{bytes}"
    );
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["bytes"]),
        (&"layer-done".into(), &bytes["total"])
    );
    assert_eq!(output.stdout.trim_end(), image.image_id());
}

#[test]
fn the_forms_are_what_they_are_called() {
    test_support::need_root!();
    let (home, registry, _) = serving();
    let stderr = |flags: &[&str]| Output::of(&mut pull(&home, &registry, flags)).ok().stderr;
    assert_eq!(stderr(&["--progress", "none"]), "");
    assert_eq!(stderr(&["-q"]), "");
    assert!(stderr(&["--progress", "plain"]).contains("already here"));
    assert!(stderr(&["--progress", "auto"]).contains("already here"));
    // Bars draw themselves on a terminal only.
    assert!(!stderr(&["--progress", "bar"]).contains("already here"));
    let both = Output::of(&mut pull(&home, &registry, &["-q", "--progress", "json"]));
    both.ended(2);
}

#[test]
fn whoever_waits_is_told_who_is_pulling_and_how_it_gets_on() {
    test_support::need_root!();
    let (home, registry, image) = serving();
    let gate = registry.gate(&image.layers[0].digest, 1 << 20);
    let first = Running::spawn(&mut pull(&home, &registry, &["-q"]));
    gate.wait_reached(1);
    let mut plain = Running::spawn(&mut pull(&home, &registry, &["--progress", "plain"]));
    plain.until_said(&format!(
        "another ucr (process {}) that is pulling",
        first.pid()
    ));
    let mut json = Running::spawn(&mut pull(&home, &registry, &["--progress", "json"]));
    json.until_said(&format!("\"pid\":{}", first.pid()));
    gate.release();
    for running in [first, plain, json] {
        running.finish().ok();
    }
}
