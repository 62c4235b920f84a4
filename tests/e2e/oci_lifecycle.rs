//! `ucr oci`: create, start, state, kill, delete, run and spec, as the specification has them.

use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::binaries;
use crate::leftovers;
use crate::oci_bundle::{Bundle, needs_containers};
use crate::output::Output;

#[test]
fn create_makes_and_start_runs_and_delete_removes() {
    needs_containers!();
    let bundle = Bundle::sh("echo ran > /ran; exec sleep 1000");
    bundle.create(&["--pid-file", &bundle.shown("pid")]).ok();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["ociVersion"], bundle.config["ociVersion"]);
    assert_eq!(bundle.read("pid"), state["pid"].to_string());
    let real = bundle.path("").canonicalize().unwrap();
    assert_eq!(state["bundle"], real.to_str().unwrap());
    // config.json is read once, runtime-spec runtime.md "Lifecycle".
    std::fs::remove_file(bundle.path("config.json")).unwrap();
    assert!(!bundle.path("rootfs/ran").exists());
    bundle.verb(&["start", &bundle.id]).ok();
    assert_eq!(bundle.status(), "running");
    bundle
        .verb(&["delete", &bundle.id])
        .refused(1)
        .said(&["running", "not stopped"]);
    bundle.verb(&["kill", &bundle.id, "KILL"]).ok();
    bundle.wait();
    assert_eq!(bundle.status(), "stopped");
    assert_eq!(bundle.read("rootfs/ran"), "ran\n");
    bundle.verb(&["delete", &bundle.id]).ok();
    bundle
        .verb(&["state", &bundle.id])
        .refused(1)
        .said(&["does not exist"]);
}

#[test]
fn a_limit_of_zero_is_none() {
    needs_containers!();
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"] = json!({
        "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernelTCP": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0},
        "blockIO": {"weight": 0, "leafWeight": 0},
        "pids": {"limit": 0},
    });
    bundle.run(&[]).ok();
}

#[test]
fn what_the_state_does_not_allow_is_an_error_and_changes_nothing() {
    needs_containers!();
    let bundle = Bundle::new(&["true"]);
    for words in [
        &["start"][..],
        &["state"],
        &["kill"],
        &["delete"],
        &["create"],
    ] {
        assert_ne!(bundle.verb(words).code, 0, "{words:?} without an ID");
        let words = [words, &["nobody-has-this"]].concat();
        let said = bundle.verb(&words);
        assert_ne!(said.code, 0, "{words:?}");
    }
    bundle.verb(&["delete", "--force", "nobody-has-this"]).ok();
    bundle.create(&[]).ok();
    bundle
        .create(&[])
        .refused(1)
        .said(&[&bundle.id, "there already"]);
    bundle
        .verb(&["delete", &bundle.id])
        .refused(1)
        .said(&["created"]);
    assert_eq!(bundle.status(), "created");
    bundle.verb(&["start", &bundle.id]).ok();
    bundle.wait();
    bundle
        .verb(&["start", &bundle.id])
        .refused(1)
        .said(&["stopped, not created"]);
    bundle
        .verb(&["kill", &bundle.id, "TERM"])
        .refused(1)
        .said(&["not running"]);
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn without_a_process_it_can_be_created_and_not_started() {
    needs_containers!();
    let mut bundle = Bundle::new(&["true"]);
    bundle.config.as_object_mut().unwrap().remove("process");
    bundle.create(&[]).ok();
    bundle
        .verb(&["start", &bundle.id])
        .refused(1)
        .said(&["no process"]);
    assert_eq!(bundle.status(), "stopped");
    bundle.verb(&["delete", &bundle.id]).ok();
}

#[test]
fn signals_reach_the_first_process_by_name_and_number() {
    needs_containers!();
    for signal in ["TERM", "SIGUSR1", "10"] {
        let trap = "trap 'echo caught; exit 0' TERM USR1; echo ready > /ready; while :; do sleep 0.01; done";
        let bundle = Bundle::sh(trap);
        let ready = bundle.path("rootfs/ready");
        mknodat(CWD, &ready, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        bundle.create(&[]).ok();
        bundle.verb(&["start", &bundle.id]).ok();
        assert_eq!(std::fs::read_to_string(&ready).unwrap(), "ready\n");
        bundle.verb(&["kill", &bundle.id, signal]).ok();
        bundle.wait();
        assert_eq!(bundle.read("out"), "caught\n", "{signal}");
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle
        .verb(&["kill", &bundle.id, "NOPE"])
        .ended(2)
        .said(&["is no signal"]);
}

#[test]
fn run_ends_as_its_program_does_and_leaves_nothing() {
    needs_containers!();
    for (script, code) in [("exit 0", 0), ("exit 7", 7)] {
        let bundle = Bundle::sh(script);
        bundle.run(&[]).ended(code);
        assert_eq!(
            leftovers::cgroups(&bundle.id),
            Vec::<std::path::PathBuf>::new()
        );
        assert_eq!(std::fs::read_dir(bundle.path("state")).unwrap().count(), 0);
    }
    let bundle = Bundle::sh("echo out; echo err >&2");
    let output = bundle.run(&[]).ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
    let bundle = Bundle::new(&["true"]);
    bundle.run(&["--keep"]).ok();
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn a_program_that_is_not_there_fails_at_create_in_the_words_that_podman_knows() {
    needs_containers!();
    for (program, words) in [
        ("missing", "executable file not found in"),
        ("/no/such", "no such file or directory"),
        ("/etc", "it is a directory"),
        ("/plain", "permission denied"),
    ] {
        let bundle = Bundle::new(&[program]);
        std::fs::create_dir(bundle.path("rootfs/etc")).unwrap();
        std::fs::File::create(bundle.path("rootfs/plain")).unwrap();
        let log = bundle.shown("log");
        bundle.save();
        let mut command = Command::new(binaries::ucr());
        command.args(["oci", "--root", &bundle.shown("state"), "--log", &log]);
        command.args([
            "--log-format=json",
            "create",
            "-b",
            &bundle.shown(""),
            &bundle.id,
        ]);
        Output::of(&mut command).refused(1).said(&[program, words]);
        let line: Value = serde_json::from_str(&bundle.read("log")).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains(words), "{line}");
        assert!(!bundle.path("state").join(&bundle.id).exists());
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_in_the_log_too() {
    let bundle = Bundle::new(&["true"]);
    let log = bundle.shown("log");
    for flags in [
        &["--log", &log, "--log-format", "json"][..],
        &[&format!("--log={log}"), "--log-format=json"],
    ] {
        let words = [flags, &["delete", "--no-such-flag", "x"]].concat();
        assert_eq!(bundle.verb(&words).code, 2);
        let line: Value = serde_json::from_str(&bundle.read("log")).unwrap();
        assert!(line["msg"].as_str().unwrap().contains("--no-such-flag"));
        std::fs::remove_file(&log).unwrap();
    }
}

#[test]
fn what_execve_alone_finds_out_is_an_error_of_start() {
    needs_containers!();
    let bundle = Bundle::new(&["/bin/garbage"]);
    bundle.save();
    let garbage = bundle.path("rootfs/bin/garbage");
    std::fs::copy(bundle.path("config.json"), &garbage).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&garbage, mode).unwrap();
    bundle.create(&[]).ok();
    let refused = bundle.verb(&["start", &bundle.id]).refused(1);
    refused.said(&["not a program that this machine can run"]);
}

/// A container that is being started, and whose hook hangs.
fn hanging() -> (Bundle, std::process::Child) {
    let mut bundle = Bundle::new(&["true"]);
    let ready = bundle.path("rootfs/ready");
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, &ready, FileType::Fifo, mode, 0).unwrap();
    bundle.config["hooks"] = json!({"startContainer": [
        {"path": "/bin/busybox", "args": ["sh", "-c", "echo x >/ready; exec sleep 1000"]}]});
    bundle.create(&[]).ok();
    let mut start = bundle.command(&["start", &bundle.id]);
    let start = start.stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(std::fs::read_to_string(ready).unwrap(), "x\n");
    (bundle, start)
}

#[test]
fn a_container_whose_hook_hangs_can_be_killed_and_its_start_says_so() {
    needs_containers!();
    let (bundle, start) = hanging();
    bundle.verb(&["kill", &bundle.id, "KILL"]).ok();
    let started = start.wait_with_output().unwrap();
    assert_eq!(started.status.code(), Some(1));
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(said.contains("killed before its program ran"), "{said}");
    bundle.wait();
    bundle.verb(&["delete", &bundle.id]).ok();
}

#[test]
fn a_container_whose_hook_hangs_can_be_deleted_by_force() {
    needs_containers!();
    let (bundle, start) = hanging();
    bundle.verb(&["delete", "--force", &bundle.id]).ok();
    let started = start.wait_with_output().unwrap();
    assert_eq!(started.status.code(), Some(1));
    assert!(!bundle.path("state").join(&bundle.id).exists());
}

#[test]
fn what_is_no_container_is_not_listed() {
    needs_containers!();
    let bundle = Bundle::sh("sleep 1000");
    bundle.create(&[]).ok();
    let root = bundle.path("state");
    std::fs::File::create(root.join("stray")).unwrap();
    let listed = bundle.verb(&["list", "--quiet"]).ok();
    assert_eq!(listed.stdout, format!("{}\n", bundle.id));
    bundle.verb(&["delete", "--force", &bundle.id]).ok();
}

#[test]
fn a_damaged_container_is_named_and_hides_no_other() {
    needs_containers!();
    let bundle = Bundle::sh("sleep 1000");
    bundle.create(&[]).ok();
    let damaged = bundle.path("state").join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::copy("/etc/hostname", damaged.join("state.json")).unwrap();
    let listed = bundle.verb(&["list", "--quiet"]).ok();
    assert_eq!(listed.stdout, format!("{}\n", bundle.id));
    listed.said(&["damaged/state.json is damaged"]);
    bundle.verb(&["delete", "--force", &bundle.id]).ok();
}

#[test]
fn s32_what_cannot_be_honoured_is_refused_by_its_name() {
    needs_containers!();
    for (pointer, value, name) in [
        ("/linux/intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
        ("/linux/brandNew", json!(1), "linux.brandNew"),
        (
            "/process/apparmorProfile",
            json!("no-such-profile"),
            "no-such-profile",
        ),
        ("/process/selinuxLabel", json!("x"), "process.selinuxLabel"),
        ("/ociVersion", json!("2.0.0"), "2.0.0"),
        (
            "/process/capabilities/bounding",
            json!(["CAP_TEST"]),
            "CAP_TEST",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_TEST", "hard": 1, "soft": 1}]),
            "RLIMIT_TEST",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}, {"type": "RLIMIT_CORE", "hard": 2, "soft": 2}]),
            "RLIMIT_CORE",
        ),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        let (object, key) = pointer.rsplit_once('/').unwrap();
        bundle.config.pointer_mut(object).unwrap()[key] = value;
        bundle.create(&[]).refused(1).said(&[name]);
    }
}

#[test]
fn options_stand_before_or_after_the_id() {
    needs_containers!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.save();
    let open = || std::fs::File::create(bundle.path("out")).unwrap();
    let mut create = Command::new(binaries::ucr());
    create.args([
        "oci",
        "--root",
        &bundle.shown("state"),
        "create",
        &bundle.id,
    ]);
    create
        .args(["--bundle", &bundle.shown("")])
        .stdout(open())
        .stderr(open());
    assert!(create.status().unwrap().success());
    bundle.verb(&["kill", &bundle.id, "KILL", "--all"]).ok();
    bundle.wait();
    bundle.verb(&["delete", &bundle.id, "--force"]).ok();
}

#[test]
fn processes_are_frozen_and_go_on() {
    needs_containers!();
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create(&[]).ok();
    bundle
        .verb(&["pause", &bundle.id])
        .refused(1)
        .said(&["created"]);
    bundle.verb(&["start", &bundle.id]).ok();
    bundle.verb(&["pause", &bundle.id]).ok();
    assert_eq!(bundle.status(), "paused");
    bundle.verb(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.status(), "running");
    bundle.verb(&["pause", &bundle.id]).ok();
    bundle.verb(&["delete", "--force", &bundle.id]).ok();
}

#[test]
fn containers_are_listed() {
    needs_containers!();
    let bundle = Bundle::new(&["true"]);
    assert_eq!(bundle.verb(&["list", "--quiet"]).ok().stdout, "");
    bundle.create(&[]).ok();
    assert_eq!(
        bundle.verb(&["list", "-q"]).ok().stdout,
        format!("{}\n", bundle.id)
    );
    let list: Value =
        serde_json::from_str(&bundle.verb(&["list", "-f", "json"]).ok().stdout).unwrap();
    assert_eq!(list[0]["status"], "created");
}

#[test]
fn a_second_spec_does_not_replace_the_first() {
    needs_containers!();
    let bundle = Bundle::new(&["true"]);
    bundle
        .verb(&["spec", "-b", &bundle.shown("")])
        .refused(1)
        .said(&["config.json"]);
    bundle
        .verb(&["spec", "--rootless"])
        .refused(1)
        .said(&["--rootless"]);
}
