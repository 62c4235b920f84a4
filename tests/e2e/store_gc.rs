//! `ucr images`, `inspect`, `rmi`, `gc` and pins: what stays, what goes, and what nobody loses.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use test_support::{Image, LayerBuilder};

use crate::env::{APP, TestEnv, as_nobody};
use crate::images;
use crate::output::Output;

/// Images that share the layer with the shell and have another each.
fn two() -> (TestEnv, [Image; 2]) {
    let env = TestEnv::new();
    let images = ["one", "two"].map(|text| {
        let layer = LayerBuilder::new().file("own", text).build();
        images::builder().layer(layer).cmd(&["cat", "/own"]).build()
    });
    for (image, name) in images.iter().zip(["team/app:1", "team/app:2"]) {
        env.push(image, name);
        env.pull(name).ok();
    }
    (env, images)
}

fn layers(env: &TestEnv) -> usize {
    std::fs::read_dir(env.root().join("layers/sha256")).map_or(0, Iterator::count)
}

fn documents(env: &TestEnv) -> usize {
    std::fs::read_dir(env.root().join("images/sha256")).map_or(0, Iterator::count)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

/// Plays that an image was last used so many days ago.
fn unused(env: &TestEnv, name: &str, days: u64) {
    let refs = env.root().join("refs");
    for entry in std::fs::read_dir(refs).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path)
            .unwrap()
            .contains(&format!("{name}\""))
        {
            let then = SystemTime::now() - Duration::from_secs(days * 86_400);
            std::fs::File::open(&path)
                .unwrap()
                .set_modified(then)
                .unwrap();
        }
    }
}

#[test]
fn images_lists_names_as_docker_does_and_counts_shared_layers_once() {
    needs_machine!();
    let (env, images) = two();
    let listed = env.ucr(&["images", "--digests"]).ok();
    let lines = listed.lines();
    let head = "REPOSITORY TAG DIGEST IMAGE ID CREATED PULLED SIZE LAST USED PINNED";
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        head
    );
    assert_eq!(lines.len(), 3);
    for (image, tag) in images.iter().zip(["1", "2"]) {
        let repository = format!("{}/team/app", env.registry.host());
        let is_it = |line: &&&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            words[0] == repository && words[1] == tag && words[2] == image.manifest.digest
        };
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{listed:?}");
    }
    listed.said(&["2 images", "counted once"]);
    let facts = json(&env.ucr(&["images", "--format", "json"]).ok());
    let sizes: Vec<_> = facts
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["size"].as_u64())
        .collect();
    assert_eq!(sizes.len(), 2);
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(facts[0]["complete"], true);
    assert_eq!(facts[0]["private"], true);
    let quiet = env.ucr(&["images", "-q"]).ok();
    assert_eq!(quiet.lines().len(), 2);
    assert_eq!(quiet.lines()[0].len(), 12);
}

#[test]
fn inspect_has_dockers_keys_and_says_where_it_is() {
    needs_machine!();
    let (env, images) = two();
    let reference = env.reference("team/app:2");
    let id = images[1].image_id();
    for wanted in [&reference, id, &id[7..19]] {
        let facts = json(&env.ucr(&["inspect", wanted]).ok());
        let facts = &facts[0];
        assert_eq!(facts["Id"], id);
        assert_eq!(facts["RepoTags"][0], reference);
        assert_eq!(facts["Os"], "linux");
        assert_eq!(facts["Config"]["Cmd"][1], "/own");
        let layers: Vec<_> = facts["RootFS"]["Layers"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        assert_eq!(layers, images[1].diff_ids.iter().collect::<Vec<_>>());
        let lower = facts["Store"]["Lower"][0].as_str().unwrap();
        assert_eq!(
            std::fs::read_to_string(Path::new(lower).join("own")).unwrap(),
            "two"
        );
    }
    env.ucr(&["inspect", "team/none:1"])
        .refused(1)
        .said(&["is not in the store"]);
    env.ucr(&["inspect", "ffff"])
        .refused(1)
        .said(&["is not in the store"]);
}

#[test]
fn without_root_what_cannot_be_read_is_said_in_one_line() {
    needs_machine!();
    test_support::need_command!("setpriv");
    let (env, _) = two();
    std::fs::set_permissions(
        env.path(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let program = crate::binaries::ucr();
    for command in ["images", "inspect"] {
        let arguments: &[&str] = if command == "images" {
            &["images"]
        } else {
            &["inspect", "x"]
        };
        let refused = Output::of(&mut as_nobody(&env, program, arguments)).refused(1);
        let first = refused.stderr.lines().next().unwrap();
        let said = format!(
            "ucr {command} cannot read the store {}",
            env.root().display()
        );
        assert!(first.contains(&said), "{refused:?}");
    }
}

#[test]
fn the_last_name_of_an_image_takes_along_what_nobody_else_needs() {
    needs_machine!();
    let (env, images) = two();
    assert_eq!((layers(&env), documents(&env)), (3, 4));
    let gone = env.ucr(&["rmi", &env.reference("team/app:1")]).ok();
    let lines = gone.lines();
    assert_eq!(
        lines[0],
        format!("Untagged: {}", env.reference("team/app:1"))
    );
    assert_eq!(lines[1], format!("Deleted: {}", images[0].image_id()));
    assert!(lines[2].starts_with(&format!("Deleted: layer {}", images[0].diff_ids[1])));
    assert_eq!((layers(&env), documents(&env)), (2, 2));
    env.ucr(&["rmi", &env.reference("team/app:1")])
        .refused(1)
        .said(&["is not in the store"]);
    let run = ["run", "--pull", "never", &env.reference("team/app:2")];
    let run = Output::of(env.as_user(&mut env.command(&run)));
    assert_eq!(run.ok().stdout, "two");
    env.ucr(&["rmi", &images[1].image_id()[7..19]]).ok();
    assert_eq!((layers(&env), documents(&env)), (0, 0));
}

#[test]
fn an_image_with_another_name_stays() {
    needs_machine!();
    let (env, images) = two();
    env.push(&images[0], "team/again:1");
    env.pull("team/again:1").ok();
    let id = images[0].image_id();
    env.ucr(&["rmi", id])
        .refused(1)
        .said(&["several names", "-f"]);
    let untagged = env.ucr(&["rmi", &env.reference("team/app:1")]).ok();
    assert_eq!(untagged.lines().len(), 1, "{untagged:?}");
    assert_eq!(layers(&env), 3);
    env.ucr(&["rmi", "-f", id]).ok();
    assert_eq!(layers(&env), 2);
}

#[test]
fn c12_an_image_in_use_is_refused_and_with_force_collected_after_its_end() {
    needs_machine!();
    let (env, images) = two();
    let mut run = env.run_command(
        &["--name", "web", "-i"],
        &["sh", "-c", "echo ready; read x; cat /own"],
    );
    run.stdin(Stdio::piped());
    let mut running = crate::output::Running::spawn(&mut run);
    running.until("ready");
    let name = env.reference(APP);
    env.ucr(&["rmi", &name])
        .ended(1)
        .said(&["container web is using it"]);
    let collected = env
        .ucr(&["gc", "--max-age", "0s"])
        .ok()
        .said(&["container web needs it"]);
    assert!(
        !collected.stdout.contains(&images[0].diff_ids[1]),
        "{collected:?}"
    );
    env.ucr(&["rmi", "-f", &name])
        .ok()
        .said(&["container web is using it"]);
    env.ucr(&["gc"]).ok();
    running.close_stdin();
    assert_eq!(running.finish().ok().stdout, "ready\none");
    env.ucr(&["gc"]).ok();
    assert_eq!(layers(&env), 0);
}

#[test]
fn gc_without_limits_removes_only_what_no_image_needs() {
    needs_machine!();
    let (env, images) = two();
    let hex = "0".repeat(64);
    let orphan = env.root().join("layers/sha256").join(&hex);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&orphan)
        .unwrap();
    let dry = env.ucr(&["gc", "--dry-run"]).ok();
    assert!(
        dry.stdout
            .contains(&format!("would remove layer sha256:{hex}")),
        "{dry:?}"
    );
    assert!(orphan.exists());
    let done = env.ucr(&["gc"]).ok();
    assert!(
        done.stdout.contains(&format!("removed layer sha256:{hex}")),
        "{done:?}"
    );
    assert!(!orphan.exists());
    assert_eq!((layers(&env), documents(&env)), (3, 4));
    drop(images);
}

#[test]
fn gc_takes_the_least_recently_used_first_and_no_more_than_needed() {
    needs_machine!();
    let (env, images) = two();
    unused(&env, "team/app:1", 3);
    unused(&env, "team/app:2", 40);
    // A run counts as use.
    let run = ["run", "--pull", "never", &env.reference("team/app:2")];
    Output::of(env.as_user(&mut env.command(&run))).ok();
    let all = json(&env.ucr(&["images", "--format", "json"]).ok());
    assert_eq!(all[0]["reference"], env.reference("team/app:2"));
    let size = all[0]["size"].as_u64().unwrap();
    let most = size.to_string();
    let flags = ["gc", "--max-size", &most, "--format", "json"];
    let dry = json(&env.ucr(&[&flags[..], &["--dry-run"]].concat()).ok());
    let done = json(&env.ucr(&flags).ok());
    for facts in [&dry, &done] {
        assert_eq!(
            facts["images"],
            serde_json::json!([env.reference("team/app:1")])
        );
        assert_eq!(facts["layers"][0]["digest"], images[0].diff_ids[1]);
        assert_eq!(facts["bytes"], 3);
    }
    assert_eq!(layers(&env), 2);
    let nothing = json(&env.ucr(&flags).ok());
    assert_eq!(nothing["images"], serde_json::json!([]));
}

#[test]
fn gc_by_age_and_by_free_space() {
    needs_machine!();
    let (env, _) = two();
    unused(&env, "team/app:1", 31);
    let done = env.ucr(&["gc", "--max-age", "30d"]).ok();
    assert!(done.stdout.contains("team/app:1"), "{done:?}");
    assert!(!done.stdout.contains("team/app:2"), "{done:?}");
    let done = env.ucr(&["gc", "--keep-free", "0%"]).ok();
    assert_eq!(done.stdout, "freed 0B\n");
    env.ucr(&["gc", "--keep-free", "100%"]).ok();
    assert_eq!(layers(&env), 0);
    env.ucr(&["gc", "--keep-free", "101%"]).ended(2);
}

#[test]
fn a_pin_keeps_an_image_until_it_is_taken_away_or_over() {
    needs_machine!();
    let (env, images) = two();
    env.pull_with(&["--pin", "base"], "team/app:1").ok();
    env.pull_with(&["--pin", "short", "--ttl", "0s"], "team/app:2")
        .ok();
    let listed = env.ucr(&["images"]).ok();
    assert_eq!(listed.stdout.matches("base").count(), 1, "{listed:?}");
    assert!(!listed.stdout.contains("short"), "{listed:?}");
    env.ucr(&["rmi", &env.reference("team/app:1")])
        .ended(1)
        .said(&["pin \"base\" keeps it", "try: ucr unpin base"]);
    env.ucr(&["gc", "--max-age", "0s"])
        .ok()
        .said(&["pin \"base\" needs it"]);
    assert_eq!(layers(&env), 2);
    env.ucr(&["unpin", "none"])
        .ended(1)
        .said(&["no pin \"none\""]);
    env.ucr(&["unpin", "base"]).ok();
    let done = env.ucr(&["gc", "--max-age", "0s"]).ok();
    assert!(done.stdout.contains(&images[0].diff_ids[0]), "{done:?}");
    assert_eq!(layers(&env), 0);
}

#[test]
fn a_pull_makes_room_where_the_configuration_says_so() {
    needs_machine!();
    let (env, _) = two();
    env.write("config.toml", "[gc]\nmax-size = \"1k\"\n");
    env.push(&images::file("x", "y"), "team/new:1");
    let mut pull = env.pull_command(&["-q"], "team/new:1");
    pull.env("UCR_CONFIG", env.path("config.toml"));
    Output::of(&mut pull).ok().said(&["made room", "2 images"]);
    let listed = env.ucr(&["images"]).ok();
    assert_eq!(listed.lines().len(), 2, "{listed:?}");
    assert_eq!(layers(&env), 1);
}

#[test]
fn c10_c11_collecting_all_the_time_takes_nothing_from_pulls_and_runs() {
    needs_machine!();
    let (env, _) = two();
    let script = r#"
        while test ! -e stop; do "$UCR" gc --max-age 0s >/dev/null || exit 1; done"#;
    let collector = env.shell(script, &[]).spawn().unwrap();
    let mut runs = Vec::new();
    for number in 0..20 {
        let name = ["team/app:1", "team/app:2"][number % 2];
        let mut run = env.command(&["run", "-q", &env.reference(name)]);
        env.as_user(&mut run)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        runs.push((number, run.spawn().unwrap()));
        if runs.len() == 4 {
            finish(&mut runs);
        }
    }
    env.write("stop", "");
    assert!(collector.wait_with_output().unwrap().status.success());
    env.ucr(&["gc", "--max-age", "0s"]).ok();
    assert_eq!((layers(&env), documents(&env)), (0, 0));
}

fn finish(runs: &mut Vec<(usize, std::process::Child)>) {
    for (number, run) in runs.drain(..) {
        let output = Output::from(run.wait_with_output().unwrap()).ok();
        assert_eq!(output.stdout, ["one", "two"][number % 2]);
    }
}

#[test]
fn c28_a_cached_start_lists_nothing_that_grows_with_the_store() {
    needs_machine!();
    test_support::need_command!("strace");
    let (env, _) = two();
    let alone = traced_start(&env);
    let crowd = env.root().join("layers/sha256");
    for number in 0..10_000 {
        let name = crowd.join(format!("{number:064x}"));
        std::fs::DirBuilder::new().mode(0o700).create(name).unwrap();
    }
    let in_crowd = traced_start(&env);
    assert_eq!(alone.len(), in_crowd.len());
    let root = env.root().display().to_string();
    for line in in_crowd.iter().filter(|line| line.contains("getdents64(")) {
        for part in [
            "layers", "fixups", "refs", "images", "locks", "partial", "pins",
        ] {
            assert!(!line.contains(&format!("{root}/{part}")), "{line}");
        }
    }
    // No lock that all processes share: only the lease, and those of the layers for a moment.
    for line in in_crowd.iter().filter(|line| line.contains("flock(")) {
        let own = line.contains("/leases/") || line.contains("/layers/sha256/");
        assert!(own, "{line}");
    }
}

/// The calls of a cached start that list, open or lock something in the store.
fn traced_start(env: &TestEnv) -> Vec<String> {
    let mut traced = env.tool("strace");
    traced
        .args([
            "-f",
            "-y",
            "-o",
            "trace",
            "-e",
            "trace=getdents64,openat,flock",
        ])
        .arg(crate::binaries::ucr())
        .args(["run", "--pull", "never", &env.reference("team/app:1")]);
    assert_eq!(Output::of(env.as_user(&mut traced)).ok().stdout, "one");
    let trace = std::fs::read_to_string(env.path("trace")).unwrap();
    let root = env.root().display().to_string();
    // A call that another process comes between has two lines.
    let ours = |line: &&str| line.contains(&root) && !line.contains(" resumed>");
    let ours = trace.lines().filter(ours);
    ours.map(str::to_owned).collect()
}
