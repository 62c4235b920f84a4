//! `ucr pull` of what it should take.

use test_support::{
    Compression, FakeRegistry, Image, ImageBuilder, ImageIndex, MediaTypes, RealRegistry,
};

use crate::env::TestEnv;
use crate::images::{self, layer};
use crate::output::{Output, Running};

const NAME: &str = "team/app:1";

/// An image of three layers, each compressed in its own way.
fn mixed(media_types: MediaTypes) -> Image {
    ImageBuilder::new()
        .media_types(media_types)
        .layer_as(layer("one", "1"), Compression::GzipMembers(3))
        .layer_as(layer("two", "2"), Compression::Zstd)
        .layer_as(layer("three", "3"), Compression::Plain)
        .layer(layer("four", "4"))
        .build()
}

fn blob_requests(env: &TestEnv, image: &Image, at_least: usize) -> Vec<usize> {
    let digests = image.layers.iter().map(|layer| &layer.digest);
    let path = |digest| format!("GET /v2/team/app/blobs/{digest}");
    digests
        .map(|digest| env.registry.count(&path(digest), at_least))
        .collect()
}

#[test]
fn standard_output_is_the_image_id_alone() {
    needs_machine!();
    let env = TestEnv::new();
    let image = mixed(MediaTypes::Oci);
    env.push(&image, NAME);
    let id = format!("{}\n", image.image_id());
    let pulled = env.pull(NAME).ok();
    assert_eq!(pulled.stdout, id);
    for layer in &image.layers {
        let short = &layer.digest["sha256:".len()..][..12];
        assert!(pulled.stderr.contains(short), "{pulled:?}");
    }
    let quiet = env.pull_with(&["-q"], NAME).ok();
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (id, ""));
    let schemed = ["pull", "-q", &format!("docker://{}", env.reference(NAME))];
    let mut schemed = env.command(&schemed);
    schemed.env("UCR_PRINCIPAL", RealRegistry::USER);
    schemed.env("UCR_SECRET", RealRegistry::PASSWORD);
    Output::of(&mut schemed).ok();
}

#[test]
fn a_layer_is_fetched_once_however_it_is_compressed() {
    needs_machine!();
    let env = TestEnv::new();
    let image = mixed(MediaTypes::Oci);
    env.push(&image, NAME);
    env.pull(NAME).ok();
    env.pull(NAME).ok();
    assert_eq!(blob_requests(&env, &image, 1), [1, 1, 1, 1]);
    // The same layers in another compression and with other media types.
    let other = ImageBuilder::new()
        .media_types(MediaTypes::Docker)
        .layer(layer("one", "1"))
        .layer(layer("two", "2"))
        .build();
    env.push(&other, "team/app:other");
    let pulled = env.pull("team/app:other").ok();
    assert_eq!(
        pulled.stderr.matches("already here").count(),
        2,
        "{pulled:?}"
    );
}

#[test]
fn docker_schema_2_is_pulled() {
    needs_machine!();
    let env = TestEnv::new();
    let image = mixed(MediaTypes::Docker);
    env.push(&image, NAME);
    let pulled = env.pull(NAME).ok();
    assert_eq!(pulled.stdout.trim_end(), image.image_id());
}

#[test]
fn a_digest_in_the_reference_is_enough() {
    needs_machine!();
    let env = TestEnv::new();
    let image = mixed(MediaTypes::Oci);
    env.push(&image, NAME);
    let digest = &image.manifest.digest;
    for name in [
        format!("team/app@{digest}"),
        format!("team/app:any@{digest}"),
    ] {
        let pulled = env.pull(&name).ok();
        assert_eq!(pulled.stdout.trim_end(), image.image_id());
    }
}

#[test]
fn the_platform_is_the_hosts_or_the_one_asked_for() {
    needs_machine!();
    let env = TestEnv::new();
    for media_types in [MediaTypes::Oci, MediaTypes::Docker] {
        let of = |builder: ImageBuilder| builder.media_types(media_types).env("A=b").build();
        let host = of(ImageBuilder::new().layer(layer("host", "")));
        let other = ImageBuilder::new().platform("linux", "s390x");
        let other = of(other.layer(layer("other", "")));
        let index = ImageIndex::new(media_types, vec![other.clone(), host.clone()]);
        env.registry.push_index(&index, "team/app", "multi");
        let pulled = env.pull("team/app:multi").ok();
        assert_eq!(pulled.stdout.trim_end(), host.image_id());
        let pulled = env.pull_with(&["--platform", "linux/s390x"], "team/app:multi");
        assert_eq!(pulled.ok().stdout.trim_end(), other.image_id());
    }
}

#[test]
fn bars_are_for_a_terminal() {
    needs_machine!();
    test_support::need_command!("script");
    let env = TestEnv::new();
    env.push(&mixed(MediaTypes::Oci), NAME);
    let image = env.reference(NAME);
    let pull = r#""$UCR" pull --principal tester --secret-file secret"#;
    let line = format!("stty rows 24 columns 100; {pull} {image} >id");
    let mut script = env.shell(r#"exec script -qefc "$1" /dev/null"#, &[&line]);
    let watched = Output::of(script.env("TERM", "xterm")).ok();
    assert!(watched.stdout.contains("\x1b["), "{watched:?}");
    assert!(watched.stdout.contains("layer "), "{watched:?}");
    let id = std::fs::read_to_string(env.path("id")).unwrap();
    assert!(id.starts_with("sha256:") && id.lines().count() == 1, "{id}");
}

#[test]
fn processes_at_once_fetch_each_layer_once() {
    needs_machine!();
    let env = TestEnv::new();
    let registry = FakeRegistry::https(&env.ca);
    let image = mixed(MediaTypes::Oci);
    registry.put("team/app", "1", &image);
    let held = format!("GET /v2/team/app/blobs/{}", image.layers[0].digest);
    let gate = registry.gate(&held, 1);
    let name = format!("{}/{NAME}", registry.host());
    let first = Running::spawn(&mut env.command(&["pull", &name]));
    gate.wait_reached(1);
    let mut others = [(); 3].map(|()| Running::spawn(&mut env.command(&["pull", &name])));
    for other in &mut others {
        other.until_said("waiting for another ucr");
    }
    gate.release();
    for process in others.into_iter().chain([first]) {
        let pulled = process.finish().ok();
        assert_eq!(pulled.stdout.trim_end(), image.image_id());
    }
    for layer in &image.layers {
        assert_eq!(
            registry.count(&format!("GET /v2/team/app/blobs/{}", layer.digest)),
            1
        );
    }
}

#[test]
fn processes_at_once_share_a_real_registry() {
    needs_machine!();
    let env = TestEnv::new();
    let image = ImageBuilder::new()
        .layer(layer("big", images::noise(4 << 20)))
        .layer(layer("small", "x"))
        .build();
    env.push(&image, NAME);
    let pulls = [(); 4].map(|()| Running::spawn(&mut env.pull_command(&[], NAME)));
    for pull in pulls {
        assert_eq!(pull.finish().ok().stdout.trim_end(), image.image_id());
    }
    assert_eq!(blob_requests(&env, &image, 1), [1, 1]);
}

/// A registry whose answers can be held, with an image of several layers.
fn faking(env: &TestEnv) -> (FakeRegistry, Image) {
    let registry = FakeRegistry::https(&env.ca);
    let image = mixed(MediaTypes::Oci);
    registry.put("team/app", "1", &image);
    (registry, image)
}

/// How its second layer is asked for.
fn second_layer(image: &Image) -> String {
    format!("GET /v2/team/app/blobs/{}", image.layers[1].digest)
}

#[test]
fn c4_a_signal_ends_a_pull_at_once_and_frees_its_locks() {
    needs_machine!();
    let env = TestEnv::new();
    let (registry, image) = faking(&env);
    let name = format!("{}/{NAME}", registry.host());
    let layer = second_layer(&image);
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ] {
        // It stays closed: who waited for bytes would wait on.
        let gate = registry.gate(&layer, 1);
        let pull = Running::spawn(&mut env.command(&["pull", &name]));
        gate.wait_reached(1);
        pull.signal(signal);
        pull.finish().ended(128 + signal.as_raw());
        registry.heal();
    }
    let pulled = env.ucr(&["pull", &name]).ok();
    assert_eq!(pulled.stdout.trim_end(), image.image_id());
    for left in ["tmp", "locks", "leases", "partial"] {
        let entries = std::fs::read_dir(env.root().join(left)).unwrap();
        assert_eq!(entries.count(), 0, "{left}");
    }
}

#[test]
fn a_killed_pull_leaves_a_store_that_the_next_one_uses() {
    needs_machine!();
    let env = TestEnv::new();
    let (registry, image) = faking(&env);
    let name = format!("{}/{NAME}", registry.host());
    let gate = registry.gate(&second_layer(&image), 1);
    let pull = Running::spawn(&mut env.command(&["pull", &name]));
    gate.wait_reached(1);
    pull.signal(rustix::process::Signal::KILL);
    pull.finish().ended(137);
    gate.release();
    let pulled = env.ucr(&["pull", &name]).ok();
    assert_eq!(pulled.stdout.trim_end(), image.image_id());
}
