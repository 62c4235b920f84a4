//! Whose a task's sandbox is, and whose files it sees.

use serde_json::json;

use super::support::{app, busybox, launch, sandbox};

#[test]
fn a_user_of_the_image_can_write_to_the_sandbox() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "id -un; pwd; echo mine >file; echo more >data/file");
    task["user"] = json!("user");
    task["container"]["volumes"] = json!([
        { "containerPath": "/mnt/mesos/sandbox/data", "hostPath": "data", "mode": "RW" },
    ]);
    launch(&env, &task, &[]).ended("FINISHED", 0);
    assert_eq!(sandbox(&env, "stdout"), "user\n/mnt/mesos/sandbox\n");
    assert_eq!(sandbox(&env, "data/file"), "more\n");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(env.path("sandbox").metadata().unwrap().uid(), 1000);
}

#[test]
fn without_an_image_a_task_has_the_files_of_the_host_and_no_more_of_it() {
    needs_machine!();
    let env = busybox();
    let mut task = app(
        &env,
        "pwd; echo $MESOS_SANDBOX; ls -d /proc/2 2>/dev/null || echo alone; grep CapEff /proc/self/status",
    );
    task["container"] = json!({ "type": "MESOS" });
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    launch(&env, &task, &[]).ended("FINISHED", 0);
    let place = env.shown("sandbox");
    let out = sandbox(&env, "stdout");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], [place.as_str(), place.as_str()]);
    assert_eq!(lines.last().unwrap(), &"CapEff:\t00000000a80425fb");
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        before
    );
    assert!(!std::path::Path::new("/mnt/mesos").exists());
}

#[test]
fn secrets_are_found_in_variables_and_files_and_nowhere_else() {
    needs_machine!();
    let env = busybox();
    env.write_secret("one", "open-sesame-1");
    let mut task = app(
        &env,
        "test \"$TOKEN\" = open-sesame-1 && cat /run/token | tr a-z A-Z",
    );
    task["env"] = json!({ "TOKEN": { "secret": "token" } });
    task["secrets"] = json!({ "token": { "source": "/team/token" } });
    task["container"]["volumes"] = json!([{ "containerPath": "/run/token", "secret": "token" }]);
    let flags = ["--secret", &format!("/team/token={}", env.shown("one"))];
    let launched = launch(&env, &task, &flags).ended("FINISHED", 0);
    assert_eq!(sandbox(&env, "stdout"), "OPEN-SESAME-1");
    let told = format!("{:?}{:?}", launched.told, launched.output);
    assert!(!told.contains("open-sesame"), "{told}");
    let missing = launch(&env, &task, &[]).ended("FAILED", 125);
    missing
        .output
        .said(&["env.TOKEN", "/team/token", "--secret"]);
}

#[test]
fn an_image_can_be_a_volume_that_is_only_read() {
    needs_machine!();
    let env = busybox();
    let name = env.reference(crate::env::APP);
    let mut task = json!({
        "name": "tools",
        "task_id": { "value": "tools.1" },
        "command": { "shell": true, "value": "/tools/bin/busybox echo from-there; touch /tools/x || echo read-only" },
        "container": { "type": "MESOS",
            "mesos": { "image": { "type": "DOCKER", "docker": { "name": name } } },
            "volumes": [{ "container_path": "/tools", "mode": "RO",
                "image": { "type": "DOCKER", "docker": { "name": name } } }] },
        "resources": [
            { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 } },
            { "name": "mem", "type": "SCALAR", "scalar": { "value": 32 } },
        ],
    });
    launch(&env, &task, &[]).ended("FINISHED", 0);
    assert_eq!(sandbox(&env, "stdout"), "from-there\nread-only\n");
    task["container"]["volumes"][0]["mode"] = json!("RW");
    let refused = launch(&env, &task, &[]).ended("FAILED", 125);
    refused
        .output
        .said(&["container.volumes[0]", "can only be read"]);
}
