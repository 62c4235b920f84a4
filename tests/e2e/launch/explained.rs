//! `ucr launch --explain`.

use serde_json::{Value, json};

use super::support::{app, busybox, command};
use crate::output::Output;

#[test]
fn what_would_be_run_is_shown_and_nothing_is_started() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "echo $TOKEN");
    task["env"] = json!({ "TOKEN": { "secret": "token" } });
    task["secrets"] = json!({ "token": { "source": "/token" } });
    task["instances"] = json!(3);
    env.make_dir("agent");
    env.write("agent/resources", "ports(*):[5000-5001]\n");
    env.write("agent/executor_registration_timeout", "10mins\n");
    let config = env.shown("agent");
    let mut command = command(&env, &task, &["--explain", "--agent-config", &config]);
    let output = Output::of(&mut command).ok();
    let shown: Value = serde_json::from_str(&output.stdout).unwrap();
    let container = &shown["containers"][0];
    assert_eq!(
        container["command"],
        json!(["/bin/sh", "-c", "echo $TOKEN"])
    );
    assert_eq!(container["environment"]["TOKEN"], "[redacted]");
    assert_eq!(container["image"]["inStore"], true);
    assert_eq!(container["spec"]["process"]["args"][2], "echo $TOKEN");
    assert_eq!(shown["ports"][0]["offered"], json!([[5000, 5001]]));
    let agent = shown["agent"].as_array().unwrap();
    let of = |name: &str| {
        agent
            .iter()
            .find(|line| line["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("resources")["origin"], format!("{config}/resources"));
    assert_eq!(of("executor_registration_timeout")["value"], "600s");
    assert!(
        shown["ignored"]
            .as_array()
            .unwrap()
            .contains(&json!("instances"))
    );
    assert!(!env.path("sandbox").exists() && !env.path("report").exists());
}

#[test]
fn a_type_of_container_that_the_agent_does_not_run_is_refused() {
    needs_machine!();
    let env = busybox();
    env.make_dir("agent");
    env.write("agent/containerizers", "docker");
    let config = env.shown("agent");
    let mut command = command(&env, &app(&env, "true"), &["--agent-config", &config]);
    let refused = Output::of(&mut command).refused(125);
    refused.said(&["container.type", "MESOS", "docker", "containerizers"]);
}
