//! How tasks are ended: by who asked, by their time, by what they may not.

use rustix::process::Signal;
use serde_json::json;

use super::support::{Ended, Ready, Watched, app, busybox, launch, sandbox};

#[test]
fn a_task_that_is_asked_to_end_is_told_as_killed() {
    needs_machine!();
    let env = busybox();
    let line =
        "trap 'echo asked; exit 0' TERM; echo ready >ready; while :; do sleep 1000 & wait; done";
    let ready = Ready::new(&env);
    let mut task = Watched::launch(&env, &app(&env, line), &[]);
    task.until("RUNNING");
    ready.wait();
    task.signal(Signal::TERM);
    let ended = task.end().ended("KILLED", 0);
    assert_eq!(ended.states(), ["STARTING", "RUNNING", "KILLING", "KILLED"]);
    assert_eq!(sandbox(&env, "stdout"), "asked\n");
}

#[test]
fn a_task_that_does_not_end_when_asked_is_killed_after_its_grace() {
    needs_machine!();
    let env = busybox();
    let mut definition = app(
        &env,
        "trap '' TERM; echo ready >ready; while :; do sleep 1000; done",
    );
    definition["taskKillGracePeriodSeconds"] = json!(1);
    let ready = Ready::new(&env);
    let mut task = Watched::launch(&env, &definition, &[]);
    task.until("RUNNING");
    ready.wait();
    task.signal(Signal::TERM);
    let ended = task.end().ended("KILLED", 137);
    assert_eq!(ended.last()["signal"], 9);
}

#[test]
fn c13_a_killed_launch_takes_its_task_along_and_the_next_one_the_rest() {
    needs_machine!();
    let env = busybox();
    let mut task = Watched::launch(&env, &app(&env, "sleep 1000"), &[]);
    let ended = Ended::of(&task.until("RUNNING")["pid"]);
    task.signal(Signal::KILL);
    task.end();
    ended.wait();
    launch(&env, &app(&env, "true"), &[]).ended("FINISHED", 0);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_task_is_ended_when_its_time_is_over() {
    needs_machine!();
    let env = busybox();
    let task = json!({
        "name": "slow",
        "task_id": { "value": "slow.1" },
        "command": { "shell": true, "value": "sleep 1000" },
        "container": { "type": "MESOS", "mesos": { "image": {
            "type": "DOCKER", "docker": { "name": env.reference(crate::env::APP) } } } },
        "resources": [
            { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 } },
            { "name": "mem", "type": "SCALAR", "scalar": { "value": 32 } },
        ],
        "max_completion_time": { "nanoseconds": 100_000_000 },
    });
    let ended = launch(&env, &task, &[]).ended("FAILED", 137);
    assert_eq!(ended.last()["reason"], "REASON_MAX_COMPLETION_TIME_REACHED");
    assert_eq!(ended.last()["task"], "slow.1");
}

#[test]
fn a_task_that_has_more_on_its_disk_than_it_asked_for_is_killed() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "dd if=/dev/zero of=large bs=1M count=4; sleep 1000");
    task["disk"] = json!(1);
    env.make_dir("agent");
    env.write("agent/container_disk_watch_interval", "50ms");
    let config = env.shown("agent");
    let ended = launch(&env, &task, &["--agent-config", &config]).ended("FAILED", 137);
    assert_eq!(ended.last()["reason"], "REASON_CONTAINER_LIMITATION_DISK");
    let message = ended.last()["message"].as_str().unwrap();
    assert!(message.contains("of 1 MiB"), "{message}");
}

#[test]
fn a_task_that_is_not_healthy_for_too_long_is_ended() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "sleep 1000");
    task["healthChecks"] = json!([{
        "protocol": "COMMAND",
        "command": { "value": "test -e /mnt/mesos/sandbox/healthy" },
        "delaySeconds": 0,
        "gracePeriodSeconds": 0,
        "intervalSeconds": 1,
        "maxConsecutiveFailures": 1,
    }]);
    let ended = launch(&env, &task, &[]).ended("KILLED", 143);
    assert_eq!(ended.last()["healthy"], false);
    assert_eq!(
        ended.last()["reason"],
        "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
    );
    assert_eq!(ended.states(), ["STARTING", "RUNNING", "KILLING", "KILLED"]);
}
