//! As many layers as an image may have, pulled and run.

use test_support::{FakeRegistry, ImageBuilder};

use crate::env::Home;
use crate::images::{self, layer};
use crate::made;
use crate::output::Output;

/// A registry whose `app:1` has so many layers, each but the lowest with a file of its own in `/f`.
fn serving(home: &Home, layers: usize) -> FakeRegistry {
    let registry = made::trusted_registry(home);
    let files = (1..layers).map(|n| layer(&format!("f/{n}"), n.to_string()));
    let image = files.fold(images::builder(), ImageBuilder::layer);
    registry.put("app", "1", &image.build());
    registry
}

/// `ucr` with as many descriptors as a process usually may have.
const LIMITED: &str = r#"
    ulimit -S -n 1024
    exec "$UCR" "$@""#;

/// Pulls the image.
fn pull(home: &Home, registry: &FakeRegistry) -> Output {
    let name = format!("{}/app:1", registry.host());
    let arguments = ["pull", "-q", "--cafile", "ca.pem", &name];
    Output::of(&mut home.shell(LIMITED, &arguments))
}

/// Runs a shell script in it.
fn run_sh(home: &Home, registry: &FakeRegistry, script: &str) -> Output {
    let name = format!("{}/app:1", registry.host());
    let arguments = ["run", "--pull", "never", &name, "sh", "-c", script];
    Output::of(&mut home.shell(LIMITED, &arguments))
}

#[test]
fn l112_images_of_many_layers_run_up_to_what_the_kernel_stacks() {
    needs_machine!();
    for layers in [128, 499] {
        let home = Home::new();
        let registry = serving(&home, layers);
        pull(&home, &registry).ok();
        let ran = run_sh(&home, &registry, "ls /f | wc -l").ok();
        assert_eq!(ran.stdout.trim(), (layers - 1).to_string());
    }
    for layers in [500, 501] {
        let home = Home::new();
        let registry = serving(&home, layers);
        let refused = pull(&home, &registry).refused(1);
        refused.said(&[&format!("{layers} layers"), "499"]);
        assert_eq!(registry.count("/blobs/"), 0);
    }
}
