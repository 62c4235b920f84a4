//! What `ucr pull` has written out before its end, and the disk did not take.

use test_support::{FakeRegistry, Image, ImageBuilder};

use crate::env::Home;
use crate::images;
use crate::made;
use crate::output::{Output, Running};

/// A layer that stays open at its end when the other one is done.
const HELD: usize = 300_000;

fn serving() -> (Home, FakeRegistry, Image) {
    let home = Home::new();
    let registry = made::trusted_registry(&home);
    let image = ImageBuilder::new()
        .layer(images::layer("one", "1"))
        .layer(images::layer("two", images::noise(HELD)))
        .build();
    registry.put("app", "1", &image);
    (home, registry, image)
}

/// What `meta` of each layer says.
fn metas(home: &Home) -> Vec<String> {
    let layers = std::fs::read_dir(home.root().join("layers/sha256")).unwrap();
    layers
        .map(|layer| std::fs::read_to_string(layer.unwrap().path().join("meta")).unwrap())
        .collect()
}

/// The threads that strace saw fail at a syncfs, and those whose end it saw, in its own words.
fn failed_and_ended(log: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let lines = || log.lines().filter_map(|line| line.split_once(' '));
    let failed = lines().filter(|(_, said)| said.contains("(INJECTED)"));
    let ended = lines().filter(|(_, said)| said.trim_start().starts_with("+++"));
    (failed.map(|(thread, _)| thread).collect(), ended.collect())
}

#[test]
fn c2_what_the_disk_did_not_take_early_is_not_durable_at_the_end() {
    test_support::need_root!();
    test_support::need_command!("strace");
    let (home, registry, image) = serving();
    let name = format!("{}/app:1", registry.host());
    let gate = registry.gate(&image.layers[1].digest, HELD / 2);
    let mut traced = home.tool("strace");
    traced
        .args(["-f", "-o", "log", "-e", "trace=syncfs"])
        .args(["-e", "inject=syncfs:error=EIO:when=1"])
        .arg(crate::binaries::ucr())
        .args(["pull", "--cafile", "ca.pem", "--progress", "json", &name]);
    let mut traced = Running::spawn(&mut traced);
    // There is more to come, so this one is written out now.
    traced.until_said("\"layer-done\"");
    gate.release();
    let failed = traced.finish().ended(1);
    failed.said(&["ucr: ", "Input/output error"]);
    // The thread that writes early has met the error, and the process has not asked once more.
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    let (threads, ends) = failed_and_ended(&log);
    let [thread] = threads[..] else {
        panic!("{log}");
    };
    let end = ends.iter().find(|(ended, _)| *ended == thread);
    assert!(
        end.is_some_and(|(_, said)| said.contains("exited with 0")),
        "{log}"
    );
    let metas = metas(&home);
    assert!(
        metas.iter().all(|meta| !meta.contains("durable")),
        "{metas:?}"
    );
    assert_eq!(home.leftovers(), Vec::<String>::new());
    // A second syncfs would find no error any more, so all of it is fetched again.
    Output::of(&mut home.command(&["pull", "-q", "--cafile", "ca.pem", &name])).ok();
    for layer in &image.layers {
        assert_eq!(registry.count(&layer.digest), 2);
    }
    let metas = self::metas(&home);
    assert!(
        metas.iter().all(|meta| meta.contains("durable")),
        "{metas:?}"
    );
    home.ucr(&["verify", "--deep"]).ok();
}
