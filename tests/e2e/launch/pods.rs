//! Pods: several containers that share a network and volumes.

use serde_json::{Value, json};

use super::support::{busybox, in_sandbox, launch};
use crate::env::{APP, TestEnv};

fn pod(env: &TestEnv, lines: &[(&str, &str)]) -> Value {
    let containers = lines.iter().map(|(name, line)| {
        json!({
            "name": name,
            "exec": { "command": { "shell": line } },
            "resources": { "cpus": 0.1, "mem": 32 },
            "image": { "kind": "DOCKER", "id": env.reference(APP) },
            "volumeMounts": [{ "name": "both", "mountPath": "/both" }],
        })
    });
    json!({
        "id": "/test/pod",
        "containers": containers.collect::<Vec<_>>(),
        "networks": [{ "mode": "host" }],
        "volumes": [{ "name": "both" }],
    })
}

#[test]
fn the_containers_of_a_pod_share_its_volumes_and_end_together() {
    needs_machine!();
    let env = busybox();
    let lines = [
        (
            "writer",
            "echo written >/both/file.new; mv /both/file.new /both/file; sleep 1000",
        ),
        (
            "reader",
            "while ! cat /both/file; do :; done 2>/dev/null; exit 4",
        ),
    ];
    let ended = launch(&env, &pod(&env, &lines), &[]).ended("FAILED", 4);
    let out = std::fs::read_to_string(in_sandbox(&env, "containers/reader/stdout")).unwrap();
    assert_eq!(out, "written\n");
    assert_eq!(
        ended.first("RUNNING")["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // What lasts as long as the pod does not outlast it.
    assert!(!in_sandbox(&env, "volumes").exists());
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_pod_is_finished_when_all_of_its_containers_are() {
    needs_machine!();
    let env = busybox();
    let lines = [("one", "true"), ("two", "echo two")];
    launch(&env, &pod(&env, &lines), &[]).ended("FINISHED", 0);
    assert!(in_sandbox(&env, "containers/two/stdout").exists());
}
