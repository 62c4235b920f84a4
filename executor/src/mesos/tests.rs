//! The rules of tasks.

use serde_json::{Value, json};

use super::task_info::TASK;
use crate::task::Value as Text;
use crate::task::{
    Containerizer, Format, ImageName, Limit, Network, Probe, ProbePort, Protocol, Seccomp,
    TaskCredential, VolumeSource,
};
use crate::tests::{refusal, task, with};

/// A task with an image, changed.
fn info(members: &Value) -> Value {
    let info = json!({
        "name": "a", "task_id": {"value": "a.1"}, "agent_id": {"value": "S0"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.2}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 64}}],
        "command": {"shell": false},
        "container": {"type": "MESOS",
            "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox"}}}},
    });
    with(info, members)
}

/// A task whose container is changed.
fn container(members: &Value) -> Value {
    let container = info(&json!({}))["container"].clone();
    info(&json!({"container": with(container, members)}))
}

/// A task of type `DOCKER`.
fn docker(members: &Value) -> Value {
    let docker = with(json!({"image": "busybox"}), members);
    info(&json!({"container": {"type": "DOCKER", "docker": docker}}))
}

fn begins(value: &Value, expected: &str) {
    let message = refusal(value);
    assert!(message.starts_with(expected), "{message}");
}

/// The example of the project's notes on Mesos, with a real configuration in its place.
pub(crate) fn whole() -> Value {
    json!({"name":"inky","task_id":{"value":"inky.1"},"agent_id":{"value":"A-S0"},
     "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.2}},{"name":"mem","type":"SCALAR","scalar":{"value":64}},
      {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31000}]}}],
     "command":{"shell":false,"arguments":["hello"],"user":"nobody",
      "environment":{"variables":[{"name":"A","value":"b"},{"name":"TOK","type":"SECRET","secret":{"type":"REFERENCE","reference":{"name":"/tok"}}}]},
      "uris":[{"value":"file:///etc/docker.tar.gz","extract":true,"cache":false,"executable":false,"output_file":"docker.tar.gz"}]},
     "container":{"type":"MESOS","hostname":"a.corp.org",
      "mesos":{"image":{"type":"DOCKER","cached":false,
        "docker":{"name":"reg.example.com:5000/group/image:1",
          "credential":{"principal":"alice","secret":"wonderland"},
          "config":{"type":"VALUE","value":{"data":"eyJhdXRocyI6e319"}}}}},
      "volumes":[{"container_path":"/etc/a","host_path":"/var/data/a","mode":"RO"},
       {"container_path":"/tmp","mode":"RW","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"tmp"}}},
       {"container_path":"/data","mode":"RW","source":{"type":"HOST_PATH","host_path":{"path":"/srv/data"}}},
       {"container_path":"tools","mode":"RO","image":{"type":"DOCKER","docker":{"name":"busybox"}}},
       {"container_path":"/run/s","mode":"RO","source":{"type":"SECRET","secret":{"type":"REFERENCE","reference":{"name":"/s"}}}}],
      "network_infos":[{"name":"mesos-bridge","ip_addresses":[{}],"port_mappings":[{"host_port":31000,"container_port":8080,"protocol":"tcp"}]}],
      "linux_info":{"effective_capabilities":{"capabilities":["NET_RAW"]},"bounding_capabilities":{"capabilities":["NET_RAW","CHOWN"]},
        "share_pid_namespace":false,"ipc_mode":"PRIVATE","shm_size":128,"seccomp":{"profile_name":"default.json"},"share_cgroups":true},
      "rlimit_info":{"rlimits":[{"type":"RLMT_NOFILE","soft":1024,"hard":4096},{"type":"RLMT_CORE"}]},
      "tty_info":{"window_size":{"rows":24,"columns":80}}},
     "health_check":{"type":"HTTP","http":{"scheme":"http","port":8080,"path":"/","protocol":"IPv4"},"delay_seconds":15,"interval_seconds":20,"timeout_seconds":20,"consecutive_failures":3,"grace_period_seconds":5},
     "kill_policy":{"grace_period":{"nanoseconds":60_000_000_000_i64}},
     "max_completion_time":{"nanoseconds":3_600_000_000_000_i64},
     "limits":{"mem":{"value":256},"cpus":{"value":"Infinity"}}})
}

#[test]
fn a_whole_task_is_what_it_says() {
    let task = task(&whole());
    assert_eq!((task.id.as_str(), &task.format), ("inky.1", &Format::Mesos));
    assert_eq!(
        (task.grace.as_secs(), task.max_completion.unwrap().as_secs()),
        (60, 3600)
    );
    assert_eq!(task.offered, [(31000, 31000)]);
    assert_eq!(task.networks, [Network::Bridge]);
    let port = &task.ports[0];
    assert_eq!(
        (port.container, port.host, port.path.as_str()),
        (
            Some(8080),
            Some(31000),
            "container.network_infos[0].port_mappings[0]"
        )
    );
    let mut ignored = task.ignored.clone();
    ignored.sort();
    assert_eq!(
        ignored,
        [
            "agent_id",
            "container.linux_info.share_cgroups",
            "container.mesos.image.docker.config"
        ]
    );
    let container = &task.containers[0];
    assert_eq!(
        (container.name.as_str(), container.containerizer),
        ("inky", Containerizer::Mesos)
    );
    assert_eq!(
        (container.user.as_deref(), container.hostname.as_deref()),
        (Some("nobody"), Some("a.corp.org"))
    );
    assert_eq!(container.terminal, Some((24, 80)));
    assert!(container.fetch[0].extract && container.fetch[0].output.is_some());
    let resources = &container.resources;
    assert_eq!((resources.cpus, resources.mem), (0.2, 64.0));
    assert_eq!(
        (resources.mem_limit, resources.cpus_limit),
        (Some(Limit::To(256.0)), Some(Limit::Unlimited))
    );
    let image = container.image.as_ref().unwrap();
    assert!(image.force_pull && matches!(&image.credential, Some(TaskCredential::Login { .. })));
    let check = &container.health[0];
    let Probe::Http { port, .. } = check.probe else {
        panic!("{check:?}");
    };
    let times =
        [check.delay, check.interval, check.timeout, check.grace].map(|time| time.as_secs());
    assert_eq!(
        (port, times, check.kill_after),
        (ProbePort::Number(8080), [15, 20, 20, 5], Some(3))
    );
}

#[test]
fn a_whole_task_has_its_volumes_and_what_is_the_kernels() {
    let task = task(&whole());
    let container = &task.containers[0];
    let volumes: Vec<_> = container
        .volumes
        .iter()
        .map(|one| (one.target.to_str().unwrap(), one.read_only))
        .collect();
    assert_eq!(
        volumes,
        [
            ("/etc/a", true),
            ("/tmp", false),
            ("/data", false),
            ("tools", true),
            ("/run/s", true)
        ]
    );
    assert_eq!(
        container.volumes[0].source,
        VolumeSource::Host("/var/data/a".into())
    );
    assert_eq!(
        container.volumes[1].source,
        VolumeSource::Sandbox("tmp".into())
    );
    assert_eq!(
        container.volumes[2].source,
        VolumeSource::Host("/srv/data".into())
    );
    assert!(matches!(
        container.volumes[3].source,
        VolumeSource::Image(_)
    ));
    assert!(matches!(
        container.volumes[4].source,
        VolumeSource::Secret(Text::Reference { .. })
    ));
    let linux = &container.linux;
    assert_eq!(linux.effective.as_ref().unwrap(), &["NET_RAW"]);
    assert_eq!(linux.bounding.as_ref().unwrap(), &["NET_RAW", "CHOWN"]);
    assert_eq!(
        (&linux.seccomp, linux.shm_size),
        (&Seccomp::Profile("default.json".to_owned()), Some(128))
    );
    assert_eq!(
        linux.rlimits,
        [
            ("nofile".to_owned(), Some((1024, 4096))),
            ("core".to_owned(), None)
        ]
    );
    let (name, token) = &container.env[1];
    assert!(name == "TOK" && matches!(token, Text::Reference { name, .. } if name == "/tok"));
}

/// The names of a document as protobuf writes them without underscores.
fn camel_case(value: &Value) -> Value {
    let camel = |name: &str| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let (head, tail) = word.split_at(1);
            name + &head.to_uppercase() + tail
        })
    };
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (camel(name), camel_case(value)))
            .collect(),
        Value::Array(elements) => elements.iter().map(camel_case).collect(),
        Value::Number(number) => Value::String(number.to_string()),
        other => other.clone(),
    }
}

#[test]
fn protobuf_may_write_names_and_numbers_otherwise() {
    let (one, mut other) = (task(&whole()), task(&camel_case(&whole())));
    assert_eq!(other.ignored.len(), one.ignored.len());
    assert!(
        other
            .ignored
            .contains(&"container.linuxInfo.shareCgroups".to_owned())
    );
    // Only the paths differ.
    other.ignored.clone_from(&one.ignored);
    let lower = |text: String| text.replace('_', "").to_lowercase();
    assert_eq!(lower(format!("{one:?}")), lower(format!("{other:?}")));
    let wrong = json!({"taskId": {"value": "a"}, "healthChek": {}});
    assert_eq!(
        refusal(&wrong),
        "healthChek is no known field: did you mean health_check?"
    );
}

#[test]
fn an_appc_image_is_named_by_its_labels() {
    let appc = json!({"type": "APPC", "cached": true, "appc": {"name": "example.com/hello", "id": format!("sha512-{}", "0a".repeat(64)),
        "labels": {"labels": [{"key": "version", "value": "1.0.0"}, {"key": "os", "value": "linux"}]}}});
    let task = task(&container(&json!({"mesos": {"image": appc}})));
    let image = task.containers[0].image.as_ref().unwrap();
    let ImageName::Appc { name, id, labels } = &image.name else {
        panic!("{image:?}");
    };
    assert!(!image.force_pull);
    assert_eq!(
        (name.as_str(), id.as_ref().unwrap().len()),
        ("example.com/hello", 135)
    );
    assert_eq!(
        (labels["version"].as_str(), labels["os"].as_str()),
        ("1.0.0", "linux")
    );
}

#[test]
fn a_configuration_is_a_secret_in_base64() {
    let image = |config: Value| {
        let docker = json!({"name": "busybox", "config": config});
        container(&json!({"mesos": {"image": {"type": "DOCKER", "docker": docker}}}))
    };
    let task = task(&image(
        json!({"type": "VALUE", "value": {"data": "eyJhdXRocyI6e319"}}),
    ));
    let credential = task.containers[0]
        .image
        .as_ref()
        .unwrap()
        .credential
        .as_ref();
    let Some(TaskCredential::Config(Text::Secret(secret))) = credential else {
        panic!("{credential:?}");
    };
    assert_eq!(secret.expose(), r#"{"auths":{}}"#);
    let at = "container.mesos.image.docker.config";
    begins(
        &image(json!({"type": "VALUE", "value": {"data": "wonderland!"}})),
        &format!("{at}.value.data must be base64"),
    );
    begins(
        &image(json!({"type": "VALUE", "value": {"data": "/w=="}})),
        &format!("{at}.value.data must be a text"),
    );
    begins(
        &image(json!({"type": "VALUE"})),
        &format!("{at}.value is missing"),
    );
    begins(&image(json!({})), &format!("{at}.value is missing"));
    begins(
        &image(json!({"reference": {"name": "a", "key": "b"}})),
        &format!("{at}.reference.key is not supported"),
    );
    assert!(!refusal(&image(json!({"value": {"data": "wonderland!"}}))).contains("wonder"));
}

#[test]
fn a_command_is_for_a_shell_unless_it_says_otherwise() {
    begins(
        &info(&json!({"command": {}})),
        "command.value is missing: a command is for a shell",
    );
    begins(&info(&json!({"command": null})), "command is missing");
    begins(
        &info(&json!({"container": null})),
        "command has no value, and without an image",
    );
    let shell = task(&info(
        &json!({"command": {"value": "x", "arguments": ["a"]}}),
    ));
    assert!(shell.containers[0].command.shell && shell.containers[0].command.arguments.is_empty());
    assert!(shell.ignored.contains(&"command.arguments".to_owned()));
    let host = task(&info(
        &json!({"container": null, "command": {"value": "x"}}),
    ));
    assert!(host.containers[0].image.is_none());
    assert_eq!(host.networks, [Network::Host]);
}

#[test]
fn another_executor_is_refused_and_none_is_not() {
    let command = json!({"executor_id": {"value": "e"}, "command": {"value": "x"}});
    begins(
        &info(&json!({"executor": command})),
        "executor.command is not supported",
    );
    let default = json!({"type": "DEFAULT", "executor_id": {"value": "e"}});
    let task = task(&info(&json!({"executor": default})));
    assert!(task.ignored.contains(&"executor".to_owned()));
}

#[test]
fn an_id_of_a_task_can_be_a_part_of_a_path() {
    for id in ["", ".", "..", "a/b", "a b", "a\nb", &"a".repeat(256)] {
        let message = refusal(&info(&json!({"task_id": {"value": id}})));
        assert!(message.starts_with("task_id.value"), "{message}");
    }
    begins(&info(&json!({"task_id": null})), "task_id is missing");
}

#[test]
fn resources_are_sums_of_what_is_given() {
    let resource = |name: &str, value: f64| json!({"name": name, "scalar": {"value": value}});
    let ports = json!({"name": "ports", "ranges": {"range": [{"begin": 1, "end": 2}, {"begin": 9, "end": 9}]}});
    let role = json!({"name": "mem", "scalar": {"value": 1}, "allocation_info": {"role": "eng"}, "role": "*"});
    let list = json!([resource("cpus", 0.5), resource("cpus", 1.0), role, resource("disk", 7.0), ports, {"name": "fpga", "type": "SET"}]);
    let task = task(&info(&json!({ "resources": list })));
    let container = &task.containers[0];
    let resources = &container.resources;
    assert_eq!(
        (resources.cpus, resources.mem, resources.disk),
        (1.5, 1.0, 7.0)
    );
    assert_eq!(task.offered, [(1, 2), (9, 9)]);
    assert_eq!(
        container.env,
        [(
            "MESOS_ALLOCATION_ROLE".to_owned(),
            Text::Plain("eng".to_owned())
        )]
    );
    assert!(task.ignored.contains(&"resources[5]".to_owned()));
    let with_mem = |more: Value| info(&json!({"resources": [resource("mem", 1.0), more]}));
    begins(
        &with_mem(resource("gpus", 1.0)),
        "resources[1] is not supported: no GPU",
    );
    begins(&info(&json!({"resources": []})), "resources is missing");
    begins(&with_mem(resource("disk", 1.0)), "resources is missing");
    begins(&with_mem(resource("cpus", 0.0)), "resources is 0");
    begins(
        &with_mem(json!({"name": "cpus", "scalar": {"value": "NaN"}})),
        "resources[1].scalar.value is NaN",
    );
    begins(
        &with_mem(json!({"name": "ports", "ranges": {"range": [{"begin": 2, "end": 1}]}})),
        "resources[1].ranges.range[0] must begin before",
    );
    begins(
        &with_mem(json!({"name": "ports", "ranges": {"range": [{"begin": 1, "end": 65536}]}})),
        "resources[1].ranges.range[0].end is 65536",
    );
    begins(
        &with_mem(
            json!({"name": "disk", "scalar": {"value": 1}, "disk": {"persistence": {"id": "a"}}}),
        ),
        "resources[1].disk.persistence is not supported",
    );
}

#[test]
fn limits_are_no_less_than_what_is_asked_for() {
    begins(
        &info(&json!({"limits": {"mem": {"value": 63}}})),
        "limits.mem.value is 63, but must be 64 or more",
    );
    begins(
        &info(&json!({"limits": {"disk": {"value": 63}}})),
        "limits.disk is no known field",
    );
    begins(
        &info(&json!({"limits": {"cpus": {"value": "all"}}})),
        "limits.cpus.value must be a number",
    );
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    let at = "container.volumes[0]";
    for (volume, expected) in [
        (
            json!({"container_path": "a", "host_path": "b", "mode": "RW"}),
            "container_path must be absolute",
        ),
        (
            json!({"container_path": "/a", "host_path": "/b"}),
            "mode is missing",
        ),
        (
            json!({"container_path": "/a", "mode": "RW"}),
            "source is missing",
        ),
        (
            json!({"container_path": "/a/..", "host_path": "/b", "mode": "RW"}),
            "container_path must not lead",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "DOCKER_VOLUME", "docker_volume": {}}}),
            "source.docker_volume is not supported",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "CSI_VOLUME"}}),
            "source.csi_volume is not supported",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "UNKNOWN"}}),
            "source.type is \"UNKNOWN\"",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "a"}}}),
            "source.sandbox_path.type is not supported",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "SANDBOX_PATH", "sandbox_path": {"path": "../a"}}}),
            "source.sandbox_path.path must not lead",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "HOST_PATH", "host_path": {"path": "a"}}}),
            "source.host_path.path must be absolute",
        ),
        (
            json!({"container_path": "/a", "mode": "RW", "source": {"type": "HOST_PATH", "host_path": {"path": "/a", "mount_propagation": {"mode": "BIDIRECTIONAL"}}}}),
            "source.host_path.mount_propagation is not supported",
        ),
    ] {
        begins(
            &container(&json!({"volumes": [volume]})),
            &format!("{at}.{expected}"),
        );
    }
}

#[test]
fn networks_are_those_of_the_containers_type() {
    let networks = |infos: Value| task(&container(&json!({ "network_infos": infos })));
    let named = networks(
        json!([{"name": "a", "port_mappings": [{"host_port": 1, "container_port": 2, "protocol": "udp,tcp"}]}, {"name": "b"}]),
    );
    assert_eq!(
        named.networks,
        [
            Network::Named("a".to_owned()),
            Network::Named("b".to_owned())
        ]
    );
    assert_eq!(named.ports[0].networks, ["a"]);
    assert_eq!(named.ports[0].protocols, [Protocol::Udp, Protocol::Tcp]);
    assert_eq!(
        networks(json!([{"ip_addresses": [{}]}])).networks,
        [Network::Host]
    );
    for (mode, network) in [
        ("HOST", Network::Host),
        ("BRIDGE", Network::Bridge),
        ("NONE", Network::None),
    ] {
        assert_eq!(task(&docker(&json!({"network": mode}))).networks, [network]);
    }
    let user = with(
        docker(&json!({}))["container"].clone(),
        &json!({"network_infos": [{"name": "weave"}]}),
    );
    let user = with(
        user,
        &json!({"docker": {"image": "busybox", "network": "USER"}}),
    );
    assert_eq!(
        task(&info(&json!({"container": user}))).networks,
        [Network::Named("weave".to_owned())]
    );
}

#[test]
fn networks_that_cannot_be_are_refused() {
    begins(
        &docker(&json!({"network": "USER"})),
        "container.network_infos is missing",
    );
    let mapping = json!([{"host_port": 1, "container_port": 2}]);
    begins(
        &docker(&json!({"port_mappings": mapping})),
        "container.docker.port_mappings lead into",
    );
    let infos = |infos: Value| container(&json!({ "network_infos": infos }));
    begins(
        &infos(json!([{"port_mappings": mapping}])),
        "container.network_infos[0].name is missing",
    );
    begins(
        &infos(json!([{"name": "a", "ip_addresses": [{"ip_address": "10.0.0.1"}]}])),
        "container.network_infos[0].ip_addresses[0].ip_address is not supported",
    );
    begins(
        &infos(json!([{"name": "a/b"}])),
        "container.network_infos[0].name is \"a/b\"",
    );
    begins(
        &infos(json!([{"name": "a"}, {"name": "mesos-bridge"}])),
        "container.network_infos has the bridge",
    );
}

#[test]
fn ports_that_others_find_have_names() {
    let discovery = json!({"visibility": "FRAMEWORK", "name": "a", "ports": {"ports": [{"number": 31000, "name": "http", "protocol": "tcp"}]}});
    let host = task(&info(&json!({"discovery": discovery})));
    assert_eq!(
        (
            host.ports[0].name.as_deref(),
            host.ports[0].host,
            host.ports[0].container
        ),
        (Some("http"), Some(31000), None)
    );
    let bridged = task(&with(whole(), &json!({"discovery": discovery})));
    assert_eq!(
        (bridged.ports.len(), bridged.ports[0].name.as_deref()),
        (1, Some("http"))
    );
}

#[test]
fn checks_are_of_three_types() {
    let health =
        |check: Value| task(&info(&json!({"health_check": check}))).containers[0].health[0].clone();
    let check = health(json!({"command": {"value": "true"}}));
    assert!(matches!(&check.probe, Probe::Command(command) if command.shell));
    let times =
        [check.delay, check.interval, check.timeout, check.grace].map(|time| time.as_secs());
    assert_eq!((times, check.kill_after), ([15, 10, 20, 10], Some(3)));
    let check = health(
        json!({"type": "TCP", "tcp": {"port": 80}, "consecutive_failures": 0, "interval_seconds": 0.5}),
    );
    assert_eq!(
        (check.kill_after, check.interval.as_millis()),
        (Some(1), 500)
    );
    let check = task(&info(
        &json!({"check": {"type": "COMMAND", "command": {"command": {"shell": false, "value": "a", "arguments": ["a"]}}}}),
    ));
    assert!(
        check.containers[0]
            .check
            .as_ref()
            .unwrap()
            .kill_after
            .is_none()
    );
    for (check, expected) in [
        (json!({}), "type is missing"),
        (json!({"type": "UNKNOWN"}), "type is \"UNKNOWN\""),
        (json!({"type": "HTTP"}), "http is missing"),
        (
            json!({"type": "HTTP", "http": {"port": 0}}),
            "http.port is 0",
        ),
        (
            json!({"type": "HTTP", "http": {"port": 1, "path": "/a\n"}}),
            "http.path is",
        ),
        (
            json!({"tcp": {"port": 1}, "timeout_seconds": 0}),
            "timeout_seconds must be more",
        ),
        (
            json!({"tcp": {"port": 1}, "delay_seconds": -1}),
            "delay_seconds is -1",
        ),
        (
            json!({"tcp": {"port": 1}, "delay_seconds": "inf"}),
            "delay_seconds is inf",
        ),
        (
            json!({"command": {"value": "a", "user": "b"}}),
            "command.user is not supported",
        ),
        (json!({"command": {"shell": false}}), "command has no value"),
    ] {
        begins(
            &info(&json!({"health_check": check})),
            &format!("health_check.{expected}"),
        );
    }
}

#[test]
fn what_is_the_kernels_is_checked() {
    let linux = |value: Value| container(&json!({ "linux_info": value }));
    let at = "container.linux_info";
    let set = |names: Value| json!({ "capabilities": names });
    let old = task(&linux(json!({"capability_info": set(json!(["CHOWN"]))})));
    assert_eq!(
        old.containers[0].linux.effective.as_ref().unwrap(),
        &["CHOWN"]
    );
    let bounding = task(&linux(json!({"bounding_capabilities": set(json!([]))})));
    assert_eq!(
        bounding.containers[0].linux.effective.as_deref(),
        Some(&[][..])
    );
    begins(
        &linux(json!({"share_pid_namespace": true})),
        &format!("{at}.share_pid_namespace is not supported"),
    );
    begins(
        &linux(json!({"ipc_mode": "SHARE_PARENT"})),
        &format!("{at}.ipc_mode is not supported"),
    );
    begins(
        &linux(json!({"effective_capabilities": set(json!(["CAP_CHOWN"]))})),
        &format!("{at}.effective_capabilities.capabilities[0] is"),
    );
    begins(
        &linux(
            json!({"effective_capabilities": set(json!(["CHOWN"])), "bounding_capabilities": set(json!([]))}),
        ),
        &format!("{at}.bounding_capabilities must hold all"),
    );
}

#[test]
fn limits_of_processes_and_types_of_containers_are_checked() {
    let rlimit = |value: Value| container(&json!({"rlimit_info": {"rlimits": [value]}}));
    let at = "container.rlimit_info.rlimits[0]";
    begins(
        &rlimit(json!({"type": "RLMT_X"})),
        &format!("{at}.type is \"RLMT_X\""),
    );
    begins(
        &rlimit(json!({"type": "RLMT_AS", "soft": 1})),
        &format!("{at} has soft and hard"),
    );
    begins(
        &rlimit(json!({"type": "RLMT_AS", "soft": 2, "hard": 1})),
        &format!("{at}.soft must be at most"),
    );
    begins(
        &container(&json!({"hostname": "a b"})),
        "container.hostname is \"a b\"",
    );
    begins(
        &container(&json!({"docker": {"image": "a"}})),
        "container.docker and container.mesos exclude",
    );
    begins(
        &container(&json!({"type": "DOCKER"})),
        "container.docker is missing",
    );
    begins(
        &container(&json!({"mesos": null, "docker": {"image": "a"}})),
        "container.docker belongs to type DOCKER",
    );
    begins(
        &docker(&json!({"volume_driver": "rexray"})),
        "container.docker.volume_driver is not supported",
    );
}

#[test]
fn a_thing_is_of_one_type() {
    let both = json!({"type": "HOST_PATH", "host_path": {"path": "/a"}, "secret": {"reference": {"name": "s"}}});
    let volume = json!({"container_path": "/a", "mode": "RW", "source": both});
    begins(
        &container(&json!({"volumes": [volume]})),
        "container.volumes[0].source.secret and container.volumes[0].source.host_path exclude",
    );
    let cpus = json!({"name": "cpus", "scalar": {"value": 1}, "ranges": {"range": []}});
    begins(
        &info(&json!({"resources": [cpus]})),
        "resources[0].ranges and resources[0].scalar exclude",
    );
    let named = with(
        docker(&json!({"network": "BRIDGE"}))["container"].clone(),
        &json!({"network_infos": [{"name": "weave"}]}),
    );
    let task = task(&info(&json!({"container": named})));
    assert_eq!(task.networks, [Network::Bridge]);
    assert!(task.ignored.contains(&"container.network_infos".to_owned()));
}

#[test]
fn variables_are_checked() {
    let env = |variable: Value| {
        info(&json!({"command": {"shell": false, "environment": {"variables": [variable]}}}))
    };
    let at = "command.environment.variables[0]";
    begins(
        &env(json!({"name": "A"})),
        &format!("{at}.value is missing"),
    );
    begins(
        &env(json!({"name": "A", "type": "SECRET", "value": "x"})),
        &format!("{at}.secret is missing"),
    );
    begins(
        &env(json!({"name": "A=", "value": "x"})),
        &format!("{at}.name is no name"),
    );
    begins(
        &env(json!({"name": "A", "secret": {"value": {"data": "YQBi"}}})),
        &format!("{at}.secret must not contain NUL"),
    );
}

#[test]
fn no_field_of_a_task_is_passed_over() {
    for name in TASK.read.iter().filter(|name| **name != "executor") {
        let message = refusal(&info(&json!({ *name: {"\u{0}": [[]]} })));
        assert!(message.starts_with(name), "{name}: {message}");
    }
}
