//! Tables of what tasks are told.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use ucr_images::Secret;

use super::*;
use crate::tests::task;

const HOST: &str = "agent.example";

fn layers(task: &Task, ports: &[Resolved]) -> Layers {
    let around = Surroundings {
        host: HOST,
        addresses: &[],
        ports,
        sandbox: "/mnt/mesos/sandbox",
    };
    environment(task, &task.containers[0], &around)
}

/// The texts of a layer, by name.
fn texts(layer: &[(String, Value)]) -> BTreeMap<&str, &str> {
    let text = |(name, value): &'_ (String, Value)| match value {
        Value::Plain(text) => (name.clone(), text.clone()),
        other => panic!("{name} is {other:?}"),
    };
    let texts: Vec<(String, String)> = layer.iter().map(text).collect();
    let leak = |text: String| -> &'static str { text.leak() };
    texts
        .into_iter()
        .map(|(name, text)| (leak(name), leak(text)))
        .collect()
}

fn both(host: u16, container: u16) -> Resolved {
    Resolved {
        host: Some(host),
        container: Some(container),
    }
}

#[test]
fn an_app_is_told_all_that_marathon_tells() {
    let app = task(&json!({
        "id": "/grp/app", "cmd": "x", "cpus": 0.5, "mem": 64, "version": "2016-09-01T12:00:00.000Z",
        "labels": {"HAPROXY_0_VHOST": "a.b", "com.example/x y": "1"},
        "container": {"docker": {"image": "python:3", "network": "BRIDGE", "portMappings": [
            {"containerPort": 8080, "name": "http"}, {"containerPort": 0}]}},
    }));
    let layers = layers(&app, &[both(31005, 8080), both(31006, 31006)]);
    assert_eq!(
        texts(&layers.below),
        BTreeMap::from([("MESOS_SANDBOX", "/mnt/mesos/sandbox")])
    );
    let expected = BTreeMap::from([
        ("HOST", HOST),
        ("MARATHON_APP_DOCKER_IMAGE", "python:3"),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
        ("MARATHON_APP_ID", "/grp/app"),
        ("MARATHON_APP_LABELS", "HAPROXY_0_VHOST COM_EXAMPLE_X_Y"),
        ("MARATHON_APP_LABEL_COM_EXAMPLE_X_Y", "1"),
        ("MARATHON_APP_LABEL_HAPROXY_0_VHOST", "a.b"),
        ("MARATHON_APP_RESOURCE_CPUS", "0.5"),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_RESOURCE_MEM", "64.0"),
        ("MARATHON_APP_VERSION", "2016-09-01T12:00:00.000Z"),
        ("MESOS_TASK_ID", "grp_app"),
        ("PORT", "31005"),
        ("PORT0", "31005"),
        ("PORT1", "31006"),
        ("PORTS", "31005,31006"),
        ("PORT_31006", "31006"),
        ("PORT_8080", "31005"),
        ("PORT_HTTP", "31005"),
        ("UCR_CONTAINER_PORT0", "8080"),
        ("UCR_CONTAINER_PORT1", "31006"),
    ]);
    assert_eq!(texts(&layers.above), expected);
}

#[test]
fn only_apps_of_type_docker_are_told_of_their_image() {
    let app = task(&json!({"id": "a", "container": {"type": "MESOS", "docker": {"image": "b"}}}));
    assert!(!texts(&layers(&app, &[]).above).contains_key("MARATHON_APP_DOCKER_IMAGE"));
}

#[test]
fn ports_of_the_host_are_told_by_what_was_asked_for() {
    let app = task(&json!({"id": "a", "cmd": "x", "ports": [8080, 0]}));
    let host = |port| Resolved {
        host: Some(port),
        container: None,
    };
    let layers = layers(&app, &[host(31000), host(31001)]);
    let told = texts(&layers.above);
    assert_eq!(
        (told["PORT_8080"], told["PORT_31001"], told["PORTS"]),
        ("31000", "31001", "31000,31001")
    );
    assert!(!told.contains_key("UCR_CONTAINER_PORT0"));
}

#[test]
fn a_port_that_no_port_of_the_host_leads_to_is_told_by_its_own() {
    let app = task(&json!({
        "id": "a", "networks": [{"name": "dcos"}],
        "container": {"type": "MESOS", "docker": {"image": "b"},
            "portMappings": [{"containerPort": 80, "name": "web"}, {"containerPort": 0}]},
    }));
    let inside = |port| Resolved {
        host: None,
        container: Some(port),
    };
    let layers = layers(&app, &[inside(80), inside(4711)]);
    let told = texts(&layers.above);
    assert_eq!(
        (told["PORT0"], told["PORT_80"], told["PORT_WEB"]),
        ("80", "80", "80")
    );
    assert_eq!((told["PORT1"], told["PORT_4711"]), ("4711", "4711"));
    // As Marathon has it: of ports that are not given out only those that were drawn.
    assert_eq!((told["PORT"], told["PORTS"]), ("4711", "4711"));
}

#[test]
fn an_app_without_ports_is_told_of_none() {
    let app = task(&json!({"id": "a", "cmd": "x", "ports": []}));
    let layers = layers(&app, &[]);
    assert!(
        texts(&layers.above)
            .keys()
            .all(|name| !name.starts_with("PORT"))
    );
}

#[test]
fn the_users_variables_win_in_apps() {
    let app = task(
        &json!({"id": "a", "cmd": "x", "env": {"PORT0": "1", "HOST": "me", "MESOS_TASK_ID": "t"}}),
    );
    let layers = layers(
        &app,
        &[Resolved {
            host: Some(31000),
            container: None,
        }],
    );
    let told = texts(&layers.above);
    assert_eq!(
        (told["PORT0"], told["HOST"], told["MESOS_TASK_ID"]),
        ("1", "me", "t")
    );
    assert_eq!(layers.above.len(), told.len());
}

#[test]
fn a_prefix_is_for_host_and_ports_alone() {
    let mut app = task(&json!({"id": "a", "cmd": "x", "ports": [0]}));
    app.containers[0].env_prefix = Some("MARATHON_".to_owned());
    let layers = layers(
        &app,
        &[Resolved {
            host: Some(31000),
            container: None,
        }],
    );
    let told = texts(&layers.above);
    for name in [
        "MARATHON_HOST",
        "MARATHON_PORT",
        "MARATHON_PORT0",
        "MARATHON_PORTS",
        "MARATHON_PORT_31000",
        "MESOS_TASK_ID",
    ] {
        assert!(told.contains_key(name), "{name}");
    }
    assert!(!told.contains_key("PORT0") && !told.contains_key("HOST"));
}

#[test]
fn labels_that_are_too_long_are_left_out() {
    let (key, value) = ("k".repeat(493), "v".repeat(512));
    let labels = json!({key: "1", "long": value, "short": "2"});
    let app = task(&json!({"id": "a", "cmd": "x", "labels": labels}));
    let layers = layers(&app, &[]);
    let told = texts(&layers.above);
    assert_eq!(told["MARATHON_APP_LABELS"], "SHORT");
    assert_eq!(told["MARATHON_APP_LABEL_SHORT"], "2");
    assert!(!told.contains_key("MARATHON_APP_LABEL_LONG"));
}

#[test]
fn secrets_stay_secrets() {
    let app = task(
        &json!({"id": "a", "cmd": "x", "env": {"T": {"secret": "s"}}, "secrets": {"s": {"source": "/s"}}}),
    );
    let layers = layers(&app, &[]);
    let (_, secret) = layers.above.iter().find(|(name, _)| name == "T").unwrap();
    assert!(matches!(secret, Value::Reference { name, .. } if name == "/s"));
}

#[test]
fn a_container_of_a_pod_is_told_of_all_endpoints_and_cannot_change_them() {
    let pod = task(&json!({
        "id": "/pod", "labels": {"a": "1", "b": "1"}, "environment": {"A": "pod", "B": "pod"},
        "networks": [{"mode": "container/bridge"}],
        "containers": [
            {"name": "web", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "x"}},
                "environment": {"B": "container", "HOST": "me", "ENDPOINT_HTTP_API": "1"},
                "labels": {"b": "2"}, "endpoints": [{"name": "http-api", "containerPort": 80}]},
            {"name": "db", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "x"}},
                "endpoints": [{"name": "sql", "containerPort": 0}]},
        ],
    }));
    let layers = layers(&pod, &[both(31000, 80), both(31001, 31001)]);
    let told = texts(&layers.above);
    let expected = BTreeMap::from([
        ("A", "pod"),
        ("B", "container"),
        ("ENDPOINT_HTTP_API", "80"),
        ("ENDPOINT_SQL", "31001"),
        ("EP_CONTAINER_HTTP_API", "80"),
        ("EP_CONTAINER_SQL", "31001"),
        ("EP_HOST_HTTP_API", "31000"),
        ("EP_HOST_SQL", "31001"),
        ("HOST", HOST),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
        ("MARATHON_APP_ID", "/pod"),
        ("MARATHON_APP_LABELS", "A B"),
        ("MARATHON_APP_LABEL_A", "1"),
        ("MARATHON_APP_LABEL_B", "2"),
        ("MARATHON_CONTAINER_ID", "web"),
        ("MARATHON_CONTAINER_RESOURCE_CPUS", "0.1"),
        ("MARATHON_CONTAINER_RESOURCE_DISK", "0.0"),
        ("MARATHON_CONTAINER_RESOURCE_GPUS", "0"),
        ("MARATHON_CONTAINER_RESOURCE_MEM", "32.0"),
        ("MESOS_EXECUTOR_ID", "pod"),
        ("MESOS_TASK_ID", "pod.web"),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn a_mesos_task_is_told_where_it_is_and_what_its_framework_says() {
    let task = task(&json!({
        "task_id": {"value": "t.1"},
        "resources": [{"name": "cpus", "scalar": {"value": 1}}, {"name": "mem", "scalar": {"value": 32}}],
        "command": {"value": "x", "environment": {"variables": [
            {"name": "A", "value": "1"}, {"name": "A", "value": "2"},
            {"name": "S", "secret": {"value": {"data": "d29uZGVybGFuZA=="}}}]}},
    }));
    let around = Surroundings {
        host: HOST,
        addresses: &[IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2))],
        ports: &[],
        sandbox: "/sandbox",
    };
    let layers = environment(&task, &task.containers[0], &around);
    let below = BTreeMap::from([
        ("MESOS_CONTAINER_IP", "172.17.0.2"),
        ("MESOS_SANDBOX", "/sandbox"),
        ("MESOS_TASK_ID", "t.1"),
    ]);
    assert_eq!(texts(&layers.below), below);
    assert_eq!(
        layers.above,
        [
            ("A".to_owned(), Value::Plain("2".to_owned())),
            ("S".to_owned(), Value::Secret(Secret::new("wonderland"))),
        ]
    );
}

#[test]
fn w38_nothing_of_the_agents_own_is_told() {
    let app = task(&json!({"id": "a", "cmd": "x"}));
    let layers = layers(
        &app,
        &[Resolved {
            host: Some(31000),
            container: None,
        }],
    );
    let names = layers
        .below
        .iter()
        .chain(&layers.above)
        .map(|(name, _)| name.as_str());
    for name in names {
        let is_inner = name.starts_with("LIBPROCESS_")
            || name.starts_with("MESOS_NATIVE_")
            || name.contains("SLAVE")
            || name.contains("TOKEN");
        assert!(!is_inner, "{name}");
    }
}

#[test]
fn a_run_of_what_cannot_be_in_a_name_becomes_one_mark() {
    assert_eq!(escaped("a.-b__c"), "A_B__C");
    assert_eq!(escaped("é/"), "_");
    assert_eq!(escaped("_."), "__");
}
