//! `ucr run`: what of image and flags reaches the task, and how it ends.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use test_support::{ImageBuilder, LayerBuilder, RealRegistry};

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::{Output, Running};

#[test]
fn the_exit_code_is_the_tasks_own_or_dockers() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    assert_eq!(env.run(&[], &["true"]).ok().stderr, "");
    for (script, code) in [
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        env.run_sh(&[], script).ended(code);
    }
    for (program, code) in [
        ("missing", 127),
        ("/no/such", 127),
        ("/etc", 126),
        ("/etc/passwd", 126),
    ] {
        let refused = env.run(&[], &[program]).refused(code).said(&[program]);
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
    env.ucr(&["run", "--no-such-flag", "x"]).ended(125);
    env.run(&["-m", "1k"], &["true"]).ended(125).said(&["6m"]);
}

#[test]
fn what_stands_behind_the_image_is_the_tasks_whatever_it_looks_like() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let words = ["echo", "-v", "/:/host", "--network", "none", "--help"];
    let said = env.run(&["--entrypoint", ""], &words).ok().stdout;
    assert_eq!(said, "-v /:/host --network none --help\n");
    let flags = ["--entrypoint", "echo"];
    let said = env.run(&flags, &["-v", "/:/host", "-m", "1k"]).ok().stdout;
    assert_eq!(said, "-v /:/host -m 1k\n");
}

#[test]
fn entrypoint_and_cmd_are_merged_as_docker_does() {
    needs_machine!();
    let image = images::builder()
        .entrypoint(&["echo", "entry"])
        .cmd(&["cmd"])
        .build();
    let env = TestEnv::with_image(&image);
    let echo = ["--entrypoint", "echo"];
    let run = |flags: &[&str], words: &[&str]| env.run(flags, words).ok().stdout;
    assert_eq!(run(&[], &[]), "entry cmd\n");
    assert_eq!(run(&[], &["word", "-x"]), "entry word -x\n");
    assert_eq!(run(&echo, &[]), "\n");
    assert_eq!(run(&echo, &["word"]), "word\n");
    assert_eq!(run(&["--entrypoint", ""], &["echo", "none"]), "none\n");
}

#[test]
fn an_image_without_command_is_refused() {
    needs_machine!();
    let image = ImageBuilder::new().layer(images::layer("x", "y")).build();
    let env = TestEnv::with_image(&image);
    env.run(&[], &[]).refused(125).said(&["no command"]);
}

#[test]
fn w23_an_image_that_says_nothing_of_what_to_run_runs_what_it_is_told() {
    needs_machine!();
    let null = images::builder().edit_config(|config| config["config"] = Value::Null);
    let missing = images::builder().edit_config(|config| {
        config.as_object_mut().unwrap().remove("config");
    });
    for image in [null.build(), missing.build()] {
        let env = TestEnv::with_image(&image);
        let told = env.run(&[], &["sh", "-c", "id -u; pwd"]).ok();
        assert_eq!(told.stdout, "0\n/\n");
        env.run(&[], &[]).refused(125).said(&["no command"]);
    }
}

#[test]
fn the_environment_is_the_images_then_the_flags_and_nothing_of_the_callers() {
    needs_machine!();
    let image = images::builder().env("A=image").env("B=image").build();
    let env = TestEnv::with_image(&image);
    let flags = [
        "-e",
        "B=flag",
        "-e",
        "GIVEN",
        "--env",
        "ABSENT",
        "-e",
        "EMPTY=",
        "--hostname",
        "here",
    ];
    let mut run = env.run_command(&flags, &["env"]);
    run.env("GIVEN", "a b=c").env("SILENT", "no");
    let output = Output::of(&mut run).ok();
    let mut lines = output.lines();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let wanted = [
        "A=image",
        "B=flag",
        "EMPTY=",
        "GIVEN=a b=c",
        "HOME=/root",
        "HOSTNAME=here",
        path,
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn the_working_directory_is_the_images_or_the_flags_and_made() {
    needs_machine!();
    let env = TestEnv::with_image(&images::builder().workdir("/srv/made/here").build());
    assert_eq!(env.run(&[], &["pwd"]).ok().stdout, "/srv/made/here\n");
    assert_eq!(env.run(&["-w", "/tmp"], &["pwd"]).ok().stdout, "/tmp\n");
    env.run(&["-w", "relative"], &["pwd"])
        .refused(125)
        .said(&["relative"]);
}

#[test]
fn the_user_is_looked_up_in_the_images_own_files() {
    needs_machine!();
    // On this host there is no such user, and another 1000 at best.
    let accounts = LayerBuilder::new()
        .file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nsailor:x:1234:77::/home/user:/bin/sh\n",
        )
        .file(
            "etc/group",
            "root:x:0:\ncrew:x:77:\ndeck:x:78:other,sailor\nhold:x:79:other\n",
        )
        .build();
    let image = images::builder().layer(accounts).user("sailor").build();
    let env = TestEnv::with_image(&image);
    let script = "id -u; id -g; id -G; echo $HOME";
    let run = |flags: &[&str]| env.run_sh(flags, script).ok().stdout;
    assert_eq!(run(&[]), "1234\n77\n77 78\n/home/user\n");
    assert_eq!(run(&["-u", "sailor:deck"]), "1234\n78\n78\n/home/user\n");
    assert_eq!(run(&["--user", "4000:5000"]), "4000\n5000\n5000\n/\n");
    assert_eq!(run(&["-u", "0"]).lines().next(), Some("0"));
    env.run_sh(&["-u", "pirate"], script)
        .refused(125)
        .said(&["pirate"]);
}

#[test]
fn volumes_are_writable_or_read_only() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    env.make_dir("share");
    env.write("share/file", "host\n");
    let share = env.shown("share");
    let writable = format!("{share}:/deep/in/side");
    let script = "cat /deep/in/side/file; echo inside >/deep/in/side/new";
    assert_eq!(env.run_sh(&["-v", &writable], script).ok().stdout, "host\n");
    let new = std::fs::read_to_string(env.path("share/new")).unwrap();
    assert_eq!(new, "inside\n");

    let read_only = format!("{share}:/data:ro");
    let script = "cat /data/file; echo inside >/data/newer";
    let refused = env.run_sh(&["-v", &read_only], script).ended(1);
    assert_eq!(refused.stdout, "host\n");
    refused.said(&["Read-only file system"]);
    assert!(!env.path("share/newer").exists());

    let one_file = format!("{share}/file:/etc/one:ro");
    assert_eq!(
        env.run(&["-v", &one_file], &["cat", "/etc/one"])
            .ok()
            .stdout,
        "host\n"
    );
    let missing = format!("{share}/none:/data");
    env.run(&["-v", &missing], &["true"])
        .refused(125)
        .said(&["share/none"]);
    env.run(&["-v", "share:/data"], &["true"])
        .ended(125)
        .said(&["no path of the host"]);
}

#[test]
fn the_root_is_read_only_where_asked_and_a_layer_never_written() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let layers = test_support::Sentinel::watch(&env.root().join("layers"));
    let script = "echo x >/new && rm /etc/passwd && chmod 0 /tmp && echo y >>/etc/group";
    env.run_sh(&[], script).ok();
    env.run_sh(&[], "! test -e /new && test -e /etc/passwd")
        .ok();
    env.run_sh(&["--read-only"], "echo x >/new")
        .ended(1)
        .said(&["Read-only"]);
    env.run_sh(&["--read-only"], "echo x >/dev/shm/new").ok();
    layers.assert_unchanged();
}

#[test]
fn hostname_and_network_are_as_asked() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(env.run(&[], &["hostname"]).ok().stdout, own);
    let script = "hostname; cat /etc/hostname; ls /sys/class/net /proc/sys/net/ipv4/conf; \
        ip -o addr show up; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo pong";
    let output = env
        .run_sh(&["--network", "none", "--hostname", "lonely"], script)
        .ok();
    let lines = output.lines();
    assert_eq!(lines[..2], ["lonely", "lonely"], "{output:?}");
    assert!(output.stdout.contains("127.0.0.1/8"), "{output:?}");
    assert!(output.stdout.ends_with("pong\n"), "{output:?}");
    let namespace = |flags: &[&str]| {
        env.run(flags, &["readlink", "/proc/self/ns/net"])
            .ok()
            .stdout
    };
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let host = format!("{}\n", host.display());
    assert_eq!(namespace(&[]), host);
    assert_eq!(namespace(&["--network", "host"]), host);
    assert_ne!(namespace(&["--network", "none"]), host);
    let interfaces = env.run(&["--network", "none"], &["ip", "-o", "link"]).ok();
    assert_eq!(interfaces.lines().len(), 1, "{interfaces:?}");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        own
    );
}

#[test]
fn a_name_is_one_containers_at_a_time() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let first = env.start_sh(
        &["--name", "web"],
        "trap 'exit 3' TERM; echo ready; sleep 1000 & wait",
    );
    let records = env.containers();
    assert_eq!(records[0]["name"], "web", "{records:?}");
    env.run(&["--name", "web"], &["true"])
        .refused(125)
        .said(&["web"]);
    env.run(&["--name", "other"], &["true"]).ok();
    for bad in ["../web", "", "a/b", "-x"] {
        env.run(&[&format!("--name={bad}")], &["true"]).ended(125);
    }
    first.signal(Signal::TERM);
    first.finish().ended(3);
    env.run(&["--name", "web"], &["true"]).ok();
}

#[test]
fn the_pull_policy_decides_whether_the_registry_is_asked() {
    needs_machine!();
    let env = TestEnv::new();
    let image = |word: &str| images::builder().cmd(&["echo", word]).build();
    let asked = || env.registry.count("GET /v2/team/app/manifests/1", 0);
    let run = |policy: &str| {
        let image = env.reference(APP);
        let mut run = env.command(&["run", "-q", "--pull", policy, &image]);
        run.env("UCR_PRINCIPAL", RealRegistry::USER);
        Output::of(run.env("UCR_SECRET", RealRegistry::PASSWORD))
    };
    env.push(&image("old"), APP);
    run("never")
        .refused(125)
        .said(&["is not in the store", "ucr pull"]);
    assert_eq!(asked(), 0);
    assert_eq!(run("missing").ok().stdout, "old\n");
    let once = asked();
    assert!(once > 0);
    env.push(&image("new"), APP);
    assert_eq!(run("missing").ok().stdout, "old\n");
    assert_eq!(run("never").ok().stdout, "old\n");
    assert_eq!(asked(), once);
    assert_eq!(run("always").ok().stdout, "new\n");
    assert_eq!(run("never").ok().stdout, "new\n");
    // With the image at hand, no credential and no registry are needed.
    let untouched = asked();
    assert_eq!(env.run(&[], &[]).ok().stdout, "new\n");
    assert_eq!(asked(), untouched);
}

#[test]
fn a_pull_that_fails_is_a_run_that_did_not_begin() {
    needs_machine!();
    let env = TestEnv::new();
    let image = env.reference("team/none:1");
    env.ucr(&["run", "-q", &image])
        .refused(125)
        .said(&[env.registry.host()]);
}

#[test]
fn layers_are_stacked_with_whiteouts_and_opaque_directories() {
    needs_machine!();
    let lower = LayerBuilder::new()
        .dir("data/", 0o755)
        .file("data/gone", "")
        .file("data/kept", "lower")
        .dir("sealed/", 0o755)
        .file("sealed/old", "")
        .build();
    let upper = LayerBuilder::new()
        .whiteout("data/gone")
        .file("data/kept", "upper")
        .opaque("sealed")
        .file("sealed/new", "")
        // Only implied here: mode and owner are the lower layer's.
        .file("tmp/file", "")
        .build();
    let env = TestEnv::with_image(&images::builder().layer(lower).layer(upper).build());
    let script = "ls /data /sealed; cat /data/kept; stat -c ' %a' /tmp";
    let output = env.run_sh(&[], script).ok();
    assert_eq!(output.stdout, "/data:\nkept\n\n/sealed:\nnew\nupper 1777\n");
}

#[test]
fn an_opaque_root_hides_every_layer_below() {
    needs_machine!();
    let lower = LayerBuilder::new().file("below", "").build();
    let root = LayerBuilder::new()
        .entry(test_support::Entry::file(".wh..wh..opq", ""))
        .build();
    let image = ImageBuilder::new()
        .layer(lower)
        .layer(root)
        .layer(test_support::busybox_layer())
        .cmd(&["ls", "/"])
        .build();
    let env = TestEnv::with_image(&image);
    let output = env.run(&[], &[]).ok();
    assert!(!output.lines().contains(&"below"), "{output:?}");
    assert!(output.lines().contains(&"bin"), "{output:?}");
}

#[test]
fn many_containers_of_one_image_run_at_once() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running: Vec<Running> = (0..12)
        .map(|number: u8| {
            let script = format!("echo {number} >/mine; read line; cat /mine");
            let mut run = env.run_command(&[], &["sh", "-c", &script]);
            Running::spawn(run.stdin(Stdio::piped()))
        })
        .collect();
    for (number, mut one) in running.into_iter().enumerate() {
        one.close_stdin();
        assert_eq!(one.finish().ok().stdout, format!("{number}\n"));
    }
}
