//! `ucr oci update` and `features`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::leftovers;
use crate::oci_bundle::{Bundle, needs_containers};
use crate::output::Output;

/// A container that runs, with limits of memory.
fn running() -> Bundle {
    let mut bundle = Bundle::sh("exec sleep 1000");
    bundle.config["linux"]["resources"] = json!({
        "memory": {"limit": 64 << 20, "swap": 128 << 20}, "pids": {"limit": 50}});
    bundle.create(&[]).ok();
    bundle.verb(&["start", &bundle.id]).ok();
    bundle
}

fn update(bundle: &Bundle, flags: &[&str]) -> Output {
    bundle.verb(&[&["update"], flags, &[bundle.id.as_str()]].concat())
}

/// What a file of its cgroups says, by its names in either version.
fn said(bundle: &Bundle, names: [&str; 2]) -> String {
    let cgroups: Vec<PathBuf> = leftovers::cgroups(&bundle.id);
    let files = cgroups
        .iter()
        .flat_map(|path| names.map(|name| path.join(name)));
    let file = files.into_iter().find(|path: &PathBuf| Path::exists(path));
    let file = file.unwrap_or_else(|| panic!("no {names:?} in {cgroups:?}"));
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn limits_of_a_container_that_runs_are_changed_and_others_stay() {
    needs_containers!();
    let bundle = running();
    let memory = || said(&bundle, ["memory.limit_in_bytes", "memory.max"]);
    let pids = || said(&bundle, ["pids.max"; 2]);
    assert_eq!((memory().as_str(), pids().as_str()), ("67108864", "50"));
    update(&bundle, &["--pids-limit", "20"]).ok();
    assert_eq!((memory().as_str(), pids().as_str()), ("67108864", "20"));
    // Up beyond what memory and swap together were, and down again.
    for (size, bytes) in [("512m", "536870912"), ("32m", "33554432")] {
        update(&bundle, &["--memory", size]).ok();
        assert_eq!(memory(), bytes);
    }
    update(&bundle, &["--memory", "64m", "--memory-swap", "96m"]).ok();
    update(
        &bundle,
        &[
            "--cpu-quota",
            "20000",
            "--cpu-period",
            "50000",
            "--cpu-share",
            "512",
        ],
    )
    .ok();
    let quota = said(&bundle, ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(
        ["20000", "20000 50000"].contains(&quota.as_str()),
        "{quota}"
    );
    assert_eq!(pids(), "20");
}

#[test]
fn resources_come_as_a_document_from_a_file_or_standard_input() {
    needs_containers!();
    let bundle = running();
    bundle.write("new", r#"{"pids": {"limit": 30}}"#);
    update(&bundle, &["-r", &bundle.shown("new")]).ok();
    assert_eq!(said(&bundle, ["pids.max"; 2]), "30");
    let mut command = bundle.command(&["update", "--resources", "-", &bundle.id]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(br#"{"pids": {"limit": 0}, "memory": {"limit": 16777216}}"#)
        .unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(
        said(&bundle, ["memory.limit_in_bytes", "memory.max"]),
        "16777216"
    );
}

#[test]
fn what_cannot_be_updated_is_refused_and_changes_nothing() {
    needs_containers!();
    let bundle = running();
    for (document, said) in [
        (
            r#"{"pids": {"limit": 9}, "intelRdt": {"closID": "x"}}"#,
            "intelRdt",
        ),
        (
            r#"{"pids": {"limit": 9}, "devices": [{"allow": true}]}"#,
            "devices",
        ),
        (
            r#"{"memory": {"limit": 1000000, "swap": 1}, "pids": {"limit": 9}}"#,
            "less than",
        ),
        ("[]", "no JSON object"),
        ("{", "EOF"),
    ] {
        bundle.write("new", document);
        let refused = update(&bundle, &["-r", &bundle.shown("new")]);
        assert_eq!(refused.code, 1, "{refused:?}");
        refused.said(&[said]);
    }
    assert_eq!(said(&bundle, ["pids.max"; 2]), "50");
    update(&bundle, &["--cpuset-cpus", "4000"]).refused(1);
    bundle.verb(&["kill", &bundle.id, "KILL"]).ok();
    bundle.wait();
    update(&bundle, &["--pids-limit", "20"])
        .refused(1)
        .said(&["stopped"]);
}

#[test]
fn features_are_told_as_the_specification_has_them() {
    needs_containers!();
    let bundle = Bundle::new(&["true"]);
    let features: Value = serde_json::from_str(&bundle.verb(&["features"]).ok().stdout).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    let has = |list: &Value, wanted: &str| list.as_array().unwrap().iter().any(|one| one == wanted);
    assert!(has(&features["mountOptions"], "rro"));
    assert!(has(&features["linux"]["capabilities"], "CAP_SYS_ADMIN"));
    assert!(has(&features["linux"]["namespaces"], "time"));
    assert!(!has(
        &features["linux"]["seccomp"]["actions"],
        "SCMP_ACT_NOTIFY"
    ));
    assert_eq!(features["linux"]["cgroup"]["systemd"], false);
}
