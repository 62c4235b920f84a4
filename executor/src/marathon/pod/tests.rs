//! The rules of pods.

use serde_json::{Value, json};

use super::POD;
use crate::marathon::pod_container;
use crate::task::{
    Command, Format, ImageName, Ipc, Network, Probe, ProbePort, Protocol, SharedVolume, Task,
    VolumeSource,
};
use crate::tests::{refusal, task, with};

/// A pod of one container, which is changed.
fn container(members: &Value) -> Value {
    pod(members, &json!({}))
}

/// A pod of one container, both of which are changed.
fn pod(container: &Value, members: &Value) -> Value {
    let usual = json!({"name": "one", "resources": {"cpus": 0.1, "mem": 32}, "image": {"kind": "DOCKER", "id": "busybox"}});
    with(
        json!({"id": "/pod", "containers": [with(usual, container)]}),
        members,
    )
}

/// As Marathon's own documentation has one (`docs/pods.md`), with all that there is.
pub(crate) fn whole() -> Value {
    json!({
        "id": "/simplepod2",
        "labels": {"hello": "world"},
        "version": "2017-01-03T18:21:19.31Z",
        "user": "root",
        "environment": {"FOO": "bar", "TOKEN": {"secret": "t"}},
        "secrets": {"t": {"source": "/token"}},
        "containers": [
            {
                "name": "container1",
                "exec": {"command": {"shell": "sleep 1000"}},
                "resources": {"cpus": 1, "mem": 128, "disk": 10, "gpus": 0},
                "endpoints": [{"name": "http-endpoint", "containerPort": 80, "hostPort": 0,
                    "protocol": ["tcp", "udp"], "labels": {"a": "b"}}],
                "image": {"kind": "DOCKER", "id": "alpine:3", "forcePull": true,
                    "pullConfig": {"secret": "t"}},
                "environment": {"FOO": "baz"},
                "user": "nobody",
                "healthCheck": {"http": {"endpoint": "http-endpoint", "path": "/ping"},
                    "gracePeriodSeconds": 30, "intervalSeconds": 2, "timeoutSeconds": 1,
                    "maxConsecutiveFailures": 5, "delaySeconds": 1},
                "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": true},
                    {"name": "etc", "mountPath": "etc"}, {"name": "key", "mountPath": "/key"}],
                "artifacts": [{"uri": "http://a/b.tgz", "executable": false, "destPath": "b"}],
                "labels": {"owner": "me"},
                "lifecycle": {"killGracePeriodSeconds": 60.5},
                "tty": true,
                "linuxInfo": {"ipcInfo": {"mode": "SHARE_PARENT"}},
            },
            {
                "name": "container2",
                "exec": {"command": {"argv": ["sleep", "1000"]}, "overrideEntrypoint": true},
                "resources": {"cpus": 0.5, "mem": 64},
                "resourceLimits": {"mem": "unlimited"},
                "image": {"kind": "DOCKER", "id": "alpine:3"},
                "endpoints": [{"name": "sql", "containerPort": 3306}],
                "healthCheck": {"tcp": {"endpoint": "sql"}},
                "check": {"exec": {"command": {"shell": "true"}}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
        ],
        "volumes": [{"name": "data"}, {"name": "etc", "host": "/etc"}, {"name": "key", "secret": "t"}],
        "networks": [{"name": "dcos", "mode": "container", "labels": {}}],
        "linuxInfo": {"ipcInfo": {"mode": "PRIVATE", "shmSize": 32}},
        "scaling": {"kind": "fixed", "instances": 1},
        "scheduling": {"backoff": {"backoff": 1}},
        "executorResources": {"cpus": 0.1, "mem": 32, "disk": 10},
    })
}

#[test]
fn a_pod_has_containers_that_share() {
    let Task {
        format,
        containers,
        networks,
        shared,
        grace,
        mut ignored,
        ..
    } = task(&whole());
    let Format::Pod { id, version } = format else {
        panic!("{format:?}");
    };
    assert_eq!(
        (id.as_str(), version.as_deref()),
        ("/simplepod2", Some("2017-01-03T18:21:19.31Z"))
    );
    assert_eq!(networks, [Network::Named("dcos".to_owned())]);
    assert_eq!(shared["data"], SharedVolume::Ephemeral);
    assert_eq!(shared["etc"], SharedVolume::Host("/etc".into()));
    assert!(matches!(shared["key"], SharedVolume::Secret(_)));
    assert_eq!(grace.as_millis(), 60_500);
    ignored.sort();
    assert_eq!(
        ignored,
        [
            "executorResources",
            "networks[0].labels",
            "scaling",
            "scheduling"
        ]
    );
    let [one, two] = containers.as_slice() else {
        panic!("{containers:?}");
    };
    assert_eq!(
        (one.name.as_str(), one.path.as_str()),
        ("container1", "containers[0]")
    );
    assert_eq!(
        (one.user.as_deref(), two.user.as_deref()),
        (Some("nobody"), Some("root"))
    );
    assert!(one.command.shell && one.terminal == Some((0, 0)));
    assert_eq!(two.command.value.as_deref(), Some("sleep"));
    let image = one.image.as_ref().unwrap();
    assert_eq!(image.name, ImageName::Docker("alpine:3".to_owned()));
    assert!(image.force_pull && image.credential.is_some());
    assert_eq!((one.linux.ipc, one.linux.shm_size), (Ipc::Shared, Some(32)));
    assert_eq!((two.linux.ipc, two.linux.shm_size), (Ipc::Own, None));
    assert_eq!(
        one.volumes[0].source,
        VolumeSource::Shared("data".to_owned())
    );
    assert!(one.volumes[0].read_only && !two.volumes[0].read_only);
    let names: Vec<_> = one.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["FOO", "TOKEN", "FOO"]);
    assert_eq!(one.fetch[0].output.as_deref(), Some("b".as_ref()));
}

#[test]
fn ports_of_a_pod_are_counted_through_all_its_containers() {
    let task = task(&whole());
    let ports: Vec<_> = task
        .ports
        .iter()
        .map(|port| (port.name.as_deref(), port.container, port.host))
        .collect();
    assert_eq!(
        ports,
        [
            (Some("http-endpoint"), Some(80), Some(0)),
            (Some("sql"), Some(3306), None)
        ]
    );
    assert_eq!(task.ports[0].protocols, [Protocol::Tcp, Protocol::Udp]);
    assert_eq!(task.ports[1].path, "containers[1].endpoints[0]");
    let Probe::Http { port, path, .. } = &task.containers[0].health[0].probe else {
        panic!("{task:?}");
    };
    assert_eq!((*port, path.as_str()), (ProbePort::Index(0), "/ping"));
    let Probe::Tcp { port, .. } = task.containers[1].health[0].probe else {
        panic!("{task:?}");
    };
    assert_eq!(port, ProbePort::Index(1));
    assert!(task.containers[1].check.is_some());
}

#[test]
fn an_endpoint_is_what_its_network_makes_of_it() {
    let port = |networks: Value, endpoint: Value| {
        let endpoint = with(json!({"name": "a"}), &endpoint);
        let task = task(&pod(
            &json!({"endpoints": [endpoint]}),
            &json!({ "networks": networks }),
        ));
        (task.ports[0].container, task.ports[0].host)
    };
    let bridge = json!([{"mode": "container/bridge"}]);
    assert_eq!(port(json!([]), json!({})), (None, Some(0)));
    assert_eq!(
        port(json!([{"mode": "host"}]), json!({"hostPort": 80})),
        (None, Some(80))
    );
    assert_eq!(port(bridge.clone(), json!({})), (Some(0), Some(0)));
    assert_eq!(
        port(bridge, json!({"containerPort": 80})),
        (Some(80), Some(0))
    );
    assert_eq!(
        port(json!([{"name": "a"}]), json!({"containerPort": 80})),
        (Some(80), None)
    );
}

#[test]
fn arguments_are_for_the_entrypoint_unless_it_is_overridden() {
    let command = |members: Value| task(&container(&members)).containers[0].command.clone();
    let arguments = json!({"exec": {"command": {"argv": ["a", "b"]}}});
    let said = command(arguments.clone());
    assert_eq!(
        (said.value, said.arguments),
        (None, vec!["a".to_owned(), "b".to_owned()])
    );
    let no_image = command(with(arguments, &json!({"image": null})));
    assert_eq!(no_image.value.as_deref(), Some("a"));
    assert_eq!(command(json!({})), Command::default());
}

/// Checks what is said of pods that must be wrong.
fn refused<const N: usize>(cases: [(Value, String); N]) {
    for (value, expected) in cases {
        let message = refusal(&value);
        assert!(message.starts_with(&expected), "{message}");
    }
}

const AT: &str = "containers[0]";

#[test]
fn containers_that_break_a_rule_are_refused() {
    refused([
        (
            json!({"id": "p", "containers": []}),
            "containers must have one container".to_owned(),
        ),
        (
            container(&json!({"name": "A"})),
            format!("{AT}.name is \"A\""),
        ),
        (
            container(&json!({"nam": "a"})),
            format!("{AT}.nam is no known field: did you mean name?"),
        ),
        (
            container(&json!({"resources": null})),
            format!("{AT}.resources is missing"),
        ),
        (
            container(&json!({"resources": {"gpus": 1}})),
            format!("{AT}.resources.gpus is not supported"),
        ),
        (
            container(&json!({"image": null})),
            format!("{AT}.exec is missing"),
        ),
        (
            container(&json!({"image": {"kind": "OCI", "id": "a"}})),
            format!("{AT}.image.kind is \"OCI\""),
        ),
        (
            container(&json!({"exec": {"command": {}}})),
            format!("{AT}.exec.command.argv is missing"),
        ),
        (
            container(&json!({"exec": {"command": {"argv": []}}})),
            format!("{AT}.exec.command.argv must begin"),
        ),
        (
            container(&json!({"exec": {"command": {"shell": "a"}, "overrideEntrypoint": false}})),
            format!("{AT}.exec.overrideEntrypoint cannot be false"),
        ),
        (
            pod(
                &json!({}),
                &json!({"linuxInfo": {"seccomp": {"unconfined": true}}}),
            ),
            "linuxInfo.seccomp belongs to each".to_owned(),
        ),
        (
            pod(&json!({}), &json!({"id": "/"})),
            "id is \"/\"".to_owned(),
        ),
    ]);
}

#[test]
fn volumes_of_a_pod_that_break_a_rule_are_refused() {
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let volume = |members: Value| {
        let volume = with(json!({"name": "v"}), &members);
        pod(&mount, &json!({"volumes": [volume]}))
    };
    refused([
        (
            container(&mount),
            format!("{AT}.volumeMounts[0].name names \"v\", which is not in volumes"),
        ),
        (
            pod(&json!({}), &json!({"volumes": [{"name": "v"}]})),
            "volumes has one that no container mounts".to_owned(),
        ),
        (
            pod(&mount, &json!({"volumes": [{"name": "v"}, {"name": "v"}]})),
            "volumes[1].name is \"v\"".to_owned(),
        ),
        (
            volume(json!({"host": "a"})),
            "volumes[0].host must be absolute".to_owned(),
        ),
        (
            volume(json!({"persistent": {"size": 1}})),
            "volumes[0].persistent is not supported".to_owned(),
        ),
        (
            volume(json!({"secret": "s"})),
            "volumes[0].secret names \"s\"".to_owned(),
        ),
    ]);
}

#[test]
fn endpoints_and_checks_that_break_a_rule_are_refused() {
    let endpoint = |members: Value| json!({"endpoints": [with(json!({"name": "a"}), &members)]});
    let named = json!({"networks": [{"name": "n"}]});
    let late =
        json!({"exec": {"command": {"shell": "a"}}, "timeoutSeconds": 9, "intervalSeconds": 9});
    refused([
        (
            container(&endpoint(json!({"containerPort": 1}))),
            format!("{AT}.endpoints[0].containerPort has no meaning"),
        ),
        (
            pod(&endpoint(json!({})), &named),
            format!("{AT}.endpoints[0].containerPort is missing"),
        ),
        (
            container(&endpoint(json!({"protocol": ["tcp", "tcp"]}))),
            format!("{AT}.endpoints[0].protocol must name"),
        ),
        (
            container(&endpoint(json!({"protocol": ["sctp"]}))),
            format!("{AT}.endpoints[0].protocol[0] is \"sctp\""),
        ),
        (
            container(&json!({"healthCheck": {"tcp": {"endpoint": "a"}}})),
            format!("{AT}.healthCheck.tcp.endpoint names \"a\""),
        ),
        (
            container(&json!({ "healthCheck": late })),
            format!("{AT}.healthCheck.timeoutSeconds must be less"),
        ),
    ]);
}

#[test]
fn names_and_ports_of_a_pod_are_each_containers_own() {
    let two = |one: Value, two: Value| {
        let usual =
            json!({"resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "x"}}});
        let container = |name: &str, members: &Value| {
            with(with(usual.clone(), &json!({ "name": name })), members)
        };
        let containers = [container("a", &one), container("b", &two)];
        json!({"id": "p", "networks": [{"mode": "container/bridge"}], "containers": containers})
    };
    let endpoint = |name: &str, container: u16, host: u16| json!({"endpoints": [{"name": name, "containerPort": container, "hostPort": host}]});
    task(&two(endpoint("x", 80, 0), endpoint("y", 81, 0)));
    for (value, expected) in [
        (
            two(json!({}), json!({"name": "a"})),
            "containers[1].name is \"a\" like containers[0].name",
        ),
        (
            two(endpoint("x", 80, 0), endpoint("x", 81, 0)),
            "containers[1].endpoints[0] is \"x\" like containers[0].endpoints[0]",
        ),
        (
            two(endpoint("x", 80, 0), endpoint("y", 80, 0)),
            "containers[1].endpoints[0] is \"80\"",
        ),
        (
            two(endpoint("x", 80, 31000), endpoint("y", 81, 31000)),
            "containers[1].endpoints[0] is \"31000\"",
        ),
    ] {
        let message = refusal(&value);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn no_field_of_a_pod_is_passed_over() {
    let wrong = json!({"\u{0}": [[]]});
    for name in POD.read {
        let message = refusal(&pod(&json!({}), &json!({ *name: wrong })));
        assert!(message.starts_with(name), "{name}: {message}");
    }
    for name in pod_container::CONTAINER.read {
        let message = refusal(&container(&json!({ *name: wrong })));
        assert!(
            message.starts_with(&format!("containers[0].{name}")),
            "{name}: {message}"
        );
    }
}
