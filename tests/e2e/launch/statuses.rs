//! What is told of a task from its start to its end.

use serde_json::json;

use super::support::{Ready, Watched, app, busybox, launch, sandbox};

#[test]
fn a_task_is_told_from_its_start_to_its_end() {
    needs_machine!();
    let env = busybox();
    let go = Ready::new(&env);
    let task = app(&env, "echo out; echo err >&2; cat ready");
    let mut task = Watched::launch(&env, &task, &[]);
    let running = task.until("RUNNING");
    go.say("told\n");
    let launched = task.end().ended("FINISHED", 0);
    assert_eq!(launched.states(), ["STARTING", "RUNNING", "FINISHED"]);
    assert!(running["pid"].as_i64().unwrap() > 1, "{running}");
    let container = running["containers"][0]["id"].as_str().unwrap();
    assert_eq!(container.len(), 64);
    let id = running["task"].as_str().unwrap();
    assert!(id.starts_with("test_app."), "{id}");
    assert_eq!(sandbox(&env, "stdout"), "out\ntold\n");
    assert_eq!(sandbox(&env, "stderr"), "err\n");
    assert_eq!(launched.output.stdout, "");
}

#[test]
fn how_a_task_failed_is_told_in_mesos_words() {
    needs_machine!();
    let env = busybox();
    let exited = launch(&env, &app(&env, "exit 3"), &[]).ended("FAILED", 3);
    assert_eq!(exited.last()["message"], "Command exited with status 3");
    let killed = launch(&env, &app(&env, "kill -SEGV $$"), &[]).ended("FAILED", 139);
    assert_eq!(killed.last()["signal"], 11);
    let memory = launch(&env, &app(&env, "tail /dev/zero"), &[]).ended("FAILED", 137);
    assert_eq!(memory.last()["oom"], true);
    assert_eq!(
        memory.last()["reason"],
        "REASON_CONTAINER_LIMITATION_MEMORY"
    );
    let mut missing = app(&env, "");
    missing.as_object_mut().unwrap().remove("cmd");
    missing["args"] = json!(["/no/such/program"]);
    let missing = launch(&env, &missing, &["--cmd-semantics", "docker"]).ended("FAILED", 127);
    assert_eq!(missing.last()["code"], "program-not-found");
    assert_eq!(missing.last()["phase"], "launch");
    assert_eq!(missing.last()["retryable"], false);
    assert_eq!(missing.last()["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
}

#[test]
fn a_task_that_cannot_be_read_is_told_with_the_place() {
    needs_machine!();
    let env = busybox();
    let mut both = app(&env, "true");
    both["args"] = json!(["true"]);
    let both = launch(&env, &both, &[]).ended("FAILED", 125);
    assert_eq!(both.last()["reason"], "REASON_TASK_INVALID");
    both.output.said(&["args"]);
    let mut unknown = app(&env, "true");
    unknown["container"]["docker"]["imgae"] = json!("x");
    let unknown = launch(&env, &unknown, &[]).ended("FAILED", 125);
    unknown.output.said(&["container.docker.imgae"]);
}

#[test]
fn limits_are_those_of_the_resources() {
    needs_machine!();
    let env = busybox();
    let line = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes \
        /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares; \
        cat /proc/self/oom_score_adj";
    let mut task = app(&env, line);
    task["cpus"] = json!(0.5);
    launch(&env, &task, &[]).ended("FINISHED", 0);
    assert_eq!(sandbox(&env, "stdout"), "67108864\n67108864\n512\n0\n");
    std::fs::remove_file(env.path("sandbox").join("stdout")).unwrap();
    task["resourceLimits"] = json!({ "mem": 128, "cpus": "unlimited" });
    launch(&env, &task, &[]).ended("FINISHED", 0);
    let out = sandbox(&env, "stdout");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["134217728", "67108864", "512"]);
    assert!(lines[3].parse::<i32>().unwrap() > 900, "{out}");
}

#[test]
fn a_task_is_told_where_it_is_and_who() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "env; pwd; echo kept >/mnt/mesos/sandbox/file");
    task["env"] = json!({ "A": "b c", "MARATHON_APP_ID": "mine" });
    task["labels"] = json!({ "team": "web" });
    launch(&env, &task, &[]).ended("FINISHED", 0);
    let out = sandbox(&env, "stdout");
    let has = |line: &str| assert!(out.lines().any(|one| one == line), "no {line} in {out}");
    for line in [
        "A=b c",
        "MESOS_SANDBOX=/mnt/mesos/sandbox",
        "MARATHON_APP_ID=mine",
        "MARATHON_APP_RESOURCE_MEM=64.0",
        "MARATHON_APP_LABEL_TEAM=web",
        "/mnt/mesos/sandbox",
    ] {
        has(line);
    }
    // What the caller has is not the task's to know.
    assert!(!out.contains("UCR_SECRET"), "{out}");
    assert_eq!(sandbox(&env, "file"), "kept\n");
}
