//! Volumes that containers share with others, and what becomes of them.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use test_support::{Entry, LayerBuilder};

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Running;

/// Another image, without volumes.
const OTHER: &str = "team/other:1";

/// An image with the volumes `/data`, in which there is a file, and `/new`, which it lacks.
fn env() -> TestEnv {
    let layer = LayerBuilder::new()
        .entry(Entry::dir("data").mode(0o750))
        .file("data/file", "of the image\n")
        .build();
    let image = images::builder()
        .layer(layer)
        .process("Volumes", json!({"/data": {}, "/new": {}}));
    TestEnv::with_image(&image.build())
}

/// A container that says `ready`, waits for the end of its input, and goes on with `script`.
fn start(env: &TestEnv, flags: &[&str], before: &str, script: &str) -> Running {
    let script = format!("{before}; echo ready; read line; {script}");
    let flags = [&["-i"], flags].concat();
    let mut command = env.run_command(&flags, &["sh", "-c", &script]);
    let mut running = Running::spawn(command.stdin(Stdio::piped()));
    running.until("ready");
    running
}

fn go_on(mut running: Running) -> String {
    running.close_stdin();
    let output = running.finish().ok().stdout;
    output.split_once("ready\n").unwrap().1.to_owned()
}

/// The directories of containers and their leases in the store.
fn kept(env: &TestEnv) -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(env.root().join(folder)).unwrap().count();
    (count("containers"), count("leases"))
}

#[test]
fn i36_volumes_are_shared_with_those_who_take_them() {
    needs_machine!();
    let env = env();
    env.make_dir("host");
    env.write("host/file", "of the host\n");
    let volume = format!("{}:/host:ro", env.shown("host"));
    let word = format!("type=bind,src={},dst=/data/word", env.shown("host"));
    for read_only in [&[][..], &["--read-only"]] {
        let flags = [
            "--name", "one", "-v", &volume, "--mount", &word, "--tmpfs", "/memory",
        ];
        let before = "echo of one > /data/one; echo of one > /memory/one";
        let one = start(
            &env,
            &[&flags[..], read_only].concat(),
            before,
            "cat /data/two /new/two",
        );
        let script = "stat -c %a /data; cat /data/file /data/one /data/word/file /host/file; \
                      echo of two | tee /data/two > /new/two; touch /host/x || echo kept; \
                      ls /memory; rm -f /data/word/x; touch /data/word/x && echo written";
        let output = env
            .run_sh(&[&["--volumes-from", "one"], read_only].concat(), script)
            .ended(0);
        let wanted = [
            "750",
            "of the image",
            "of one",
            "of the host",
            "of the host",
            "kept",
            "written",
        ];
        assert_eq!(output.lines(), wanted, "{output:?}");
        let script = "touch /data/x || echo kept; touch /data/word/y || echo kept; cat /data/two";
        let output = env.run_sh(&["--volumes-from", "one:ro"], script).ok();
        assert_eq!(output.lines(), ["kept", "kept", "of two"]);
        assert_eq!(go_on(one), "of two\nof two\n");
        assert_eq!(kept(&env), (0, 0));
    }
}

#[test]
fn i36_what_is_asked_for_stands_before_what_is_taken() {
    needs_machine!();
    let env = env();
    for name in ["own", "other"] {
        env.make_dir(name);
        env.write(&format!("{name}/name"), name);
    }
    let volume = |name: &str, at: &str| format!("{}:{at}", env.shown(name));
    let one = start(
        &env,
        &["--name", "one", "-v", &volume("other", "/v")],
        "true",
        "true",
    );
    let own = [volume("own", "/v"), volume("own", "/data/below")];
    let flags = [
        "--volumes-from",
        "one",
        "-v",
        &own[0],
        "-v",
        &own[1],
        "--tmpfs",
        "/new/below",
    ];
    let script = "cat /v/name /data/below/name /data/file; touch /new/below/x; ls /new/below";
    let output = env.run_sh(&flags, script).ok();
    assert_eq!(output.stdout, "ownownof the image\nx\n");
    let output = env.run_sh(&["--volumes-from", "one"], "cat /v/name; ls /new/below");
    assert_eq!(output.stdout, "other");
    go_on(one);
}

#[test]
fn c13_a_volume_lasts_as_long_as_anybody_has_it() {
    needs_machine!();
    let env = env();
    for end in [None, Some(Signal::KILL)] {
        let one = start(&env, &["--name", "one"], "echo of one > /data/one", "true");
        let script = "cat /data/file /data/one /data/three; echo x > /data/more && echo written";
        let two = start(
            &env,
            &["--name", "two", "--volumes-from", "one"],
            "true",
            script,
        );
        match end {
            None => drop(go_on(one)),
            Some(signal) => {
                one.signal(signal);
                one.finish().ended(137);
            }
        }
        // That of the first is still there, whoever sweeps.
        env.pull(APP).ok();
        env.run(&["--volumes-from", "one"], &["true"]).ended(125);
        assert_eq!(kept(&env), (2, 2), "{end:?}");
        // And can be had from the second, without which it lasts too.
        let three = start(
            &env,
            &["--volumes-from", "two"],
            "echo of three > /data/three",
            "cat /data/more",
        );
        assert_eq!(go_on(two), "of the image\nof one\nof three\nwritten\n");
        assert_eq!(kept(&env), (2, 2), "{end:?}");
        assert_eq!(go_on(three), "x\n");
        assert_eq!(kept(&env), (0, 0), "{end:?}");
    }
}

#[test]
fn c13_layers_below_a_volume_stay_as_long_as_anybody_has_it() {
    needs_machine!();
    let env = env();
    env.push(&images::busybox(), OTHER);
    env.pull(OTHER).ok();
    let layers = || {
        let layers = std::fs::read_dir(env.root().join("layers/sha256"));
        layers.unwrap().count()
    };
    let one = start(&env, &["--name", "one"], "true", "true");
    let flags = ["run", "--pull", "never", "-i", "--volumes-from", "one"];
    let mut command = env.command(&flags);
    command.arg(env.reference(OTHER));
    command.args(["sh", "-c", "echo ready; read line; cat /data/file"]);
    let mut two = Running::spawn(env.as_user(&mut command).stdin(Stdio::piped()));
    two.until("ready");
    go_on(one);
    let before = layers();
    let image = env.reference(APP);
    let used = env.ucr(&["rmi", &image]).ended(1);
    used.said(&["container one"]);
    env.ucr(&["gc"]).ok();
    assert_eq!(layers(), before);
    assert_eq!(go_on(two), "of the image\n");
    env.ucr(&["rmi", &image]).ok();
    assert_eq!(layers(), before - 1);
}

#[test]
fn c13_what_all_who_had_a_volume_left_when_they_were_killed_is_swept() {
    needs_machine!();
    let env = env();
    for first in [0, 1] {
        let one = start(&env, &["--name", "one"], "true", "true");
        let two = start(&env, &["--volumes-from", "one"], "true", "true");
        let mut both = vec![one, two];
        let (killed, other) = (both.remove(first), both.remove(0));
        killed.signal(Signal::KILL);
        killed.finish().ended(137);
        other.signal(Signal::KILL);
        other.finish().ended(137);
        assert_ne!(kept(&env), (0, 0));
        env.run(&[], &["true"]).ok();
        assert_eq!(kept(&env), (0, 0));
        assert_eq!(env.leftovers(), Vec::<String>::new());
    }
    // One that is killed while the other ends as it should.
    let one = start(&env, &["--name", "one"], "true", "true");
    let two = start(&env, &["--volumes-from", "one"], "true", "true");
    two.signal(Signal::KILL);
    two.finish().ended(137);
    go_on(one);
    env.run(&[], &["true"]).ok();
    assert_eq!(kept(&env), (0, 0));
}

#[test]
fn s32_volumes_that_cannot_be_shared_are_not_left_out() {
    needs_machine!();
    let env = env();
    let refused = |flags: &[&str], why: &str| {
        let output = env.run(&[&["--volumes-from"], flags].concat(), &["true"]);
        output.refused(125).said(&[why]);
    };
    refused(&["none"], "there is no container \"none\"");
    env.run(&["--name", "ended"], &["true"]).ok();
    refused(
        &["ended"],
        "cannot take the volumes of the container ended: it has ended",
    );
    let mapped = start(
        &env,
        &["--name", "mapped", "--userns", "auto"],
        "true",
        "true",
    );
    refused(
        &["mapped"],
        "those of its image belong to the ids of its user namespace",
    );
    go_on(mapped);
    let one = start(&env, &["--name", "one"], "true", "true");
    refused(
        &["one", "--userns", "auto"],
        "cannot be shared with a user namespace",
    );
    for wrong in ["", "one:x", ":ro"] {
        env.run(&["--volumes-from", wrong], &["true"]).ended(125);
    }
    go_on(one);
}

#[test]
fn s4_a_volume_that_leads_elsewhere_is_not_followed_out_of_its_container() {
    needs_machine!();
    let env = env();
    env.write("secret", "of the host");
    let places = [
        ("/proc/1", "nothing may be mounted over or in /proc"),
        ("/proc/self/root", "share the volume \"/data\""),
        ("/file", "it is not a directory"),
    ];
    for (place, why) in places {
        let before = format!("touch /file; rm -r /data && ln -s {place} /data");
        let one = start(&env, &["--name", "one"], &before, "true");
        let output = env.run(&["--volumes-from", "one"], &["true"]);
        output.refused(125).said(&[why]);
        go_on(one);
    }
    // A link of the host's paths leads to the container's own.
    let secret = env.shown("");
    let before = format!("rm -r /data && ln -s {secret} /data");
    let one = start(&env, &["--name", "one"], &before, "true");
    let output = env.run_sh(&["--volumes-from", "one"], "ls -A /data").ok();
    assert_eq!(output.stdout, "");
    go_on(one);
}
