//! Ports of tasks on the network of the host, and those that services are known by.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;

use super::support::{Watched, app, busybox, command, launch, sandbox, told};
use crate::output::Output;

#[test]
fn ports_are_of_the_ranges_that_are_offered_and_the_task_is_told_of_them() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "echo $PORT $PORT0 $PORT_ADMIN $PORTS $HOST");
    task["portDefinitions"] = json!([
        { "port": 0, "protocol": "tcp", "name": "web" },
        { "port": 0, "protocol": "udp,tcp", "name": "admin", "labels": { "a": "b" } },
    ]);
    let resources = "ports(*):[31990-31999, 28000-28001]";
    let flags = ["--resources", resources, "--host", "agent.example"];
    let launched = launch(&env, &task, &flags).ended("FINISHED", 0);
    let ports = &launched.first("RUNNING")["ports"];
    let port = |index: usize| ports[index]["host_port"].as_u64().unwrap();
    let offered =
        |port: u64| (31_990..=31_999).contains(&port) || (28_000..=28_001).contains(&port);
    assert!(
        offered(port(0)) && offered(port(1)) && port(0) != port(1),
        "{ports}"
    );
    let (one, two) = (port(0), port(1));
    let out = format!("{one} {one} {two} {one},{two} agent.example\n");
    assert_eq!(sandbox(&env, "stdout"), out);
    assert_eq!(ports[1]["protocol"], "udp,tcp");
    assert_eq!(ports[1]["labels"]["a"], "b");
}

#[test]
fn a_port_of_the_definition_has_to_be_offered() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "true");
    task["portDefinitions"] = json!([{ "port": 80, "protocol": "tcp" }]);
    task["requirePorts"] = json!(true);
    let refused = launch(&env, &task, &[]).ended("FAILED", 125);
    refused
        .output
        .said(&["portDefinitions[0]", "port 80", "31000-32000"]);
}

#[test]
fn no_two_tasks_at_once_have_one_port_or_service_port() {
    needs_machine!();
    let env = busybox();
    let mut task = app(&env, "sleep 1000");
    task["portDefinitions"] =
        json!([{ "port": 0, "protocol": "tcp" }, { "port": 0, "protocol": "tcp" }]);
    let mut tasks: Vec<Watched> = (0..6).map(|_| Watched::launch(&env, &task, &[])).collect();
    let (mut hosts, mut services) = (BTreeSet::new(), BTreeSet::new());
    for task in &mut tasks {
        let running = task.until("RUNNING");
        for port in running["ports"].as_array().unwrap() {
            assert!(
                hosts.insert(port["host_port"].as_u64().unwrap()),
                "{running}"
            );
            let service = port["service_port"].as_u64().unwrap();
            assert!(services.insert(service) && (10_000..=20_000).contains(&service));
        }
    }
    for task in tasks {
        task.signal(Signal::TERM);
        assert_eq!(task.end().last()["state"], "KILLED");
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_task_after_the_other_has_ports_of_the_same_bridge() {
    needs_machine!();
    test_support::need_command!("nft", "unshare", "ip");
    let env = busybox();
    let mut task = app(&env, "true");
    task["networks"] = json!([{ "mode": "container/bridge" }]);
    task["container"]["portMappings"] = json!([{ "containerPort": 80, "hostPort": 0 }]);
    // The second finds bridge and table as the first has made them.
    let launch = command(&env, &task, &[]);
    let script = r#"ip link set lo up; "$@"; "$@"; "$@""#;
    let mut shell = env.tool("unshare");
    shell
        .args(["--net", "sh", "-ec", script, "sh"])
        .arg(launch.get_program())
        .args(launch.get_args());
    env.as_user(&mut shell);
    Output::of(&mut shell).ok();
    let told = told(&env);
    let ended = told.iter().filter(|line| line["state"] == "FINISHED");
    assert_eq!(ended.count(), 3, "{told:#?}");
}
