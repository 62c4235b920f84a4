//! The rules of apps.

use serde_json::{Value, json};

use crate::task::Value as Text;
use crate::task::{
    Command, ImageName, Ipc, Limit, Network, Port, Probe, ProbePort, Protocol, Seccomp, Task,
    TaskCredential, VolumeSource,
};
use crate::tests::{refusal, task, with};

/// An app with an image, changed.
fn app(members: &Value) -> Value {
    let app = json!({"id": "/a", "container": {"type": "MESOS", "docker": {"image": "busybox"}}});
    with(app, members)
}

/// An app whose container is changed.
fn container(members: &Value) -> Value {
    let container = json!({"type": "MESOS", "docker": {"image": "busybox"}});
    app(&json!({"container": with(container, members)}))
}

/// An app whose `container.docker` is changed.
fn docker(members: &Value) -> Value {
    let docker = with(json!({"image": "busybox"}), members);
    app(&json!({"container": {"type": "DOCKER", "docker": docker}}))
}

fn refused(cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        assert_eq!(refusal(value), *expected);
    }
}

#[test]
fn an_app_gets_what_marathon_gives_it() {
    let task = task(&app(&json!({})));
    let container = &task.containers[0];
    let resources = &container.resources;
    assert_eq!(
        (resources.cpus, resources.mem, resources.disk),
        (1.0, 128.0, 0.0)
    );
    assert_eq!(task.grace.as_secs(), 3);
    assert_eq!(container.command, Command::default());
    assert_eq!(task.networks, [Network::Host]);
    assert_eq!(task.ports[0].host, Some(0));
    assert!(task.ignored.is_empty());
}

#[test]
fn cmd_and_args_exclude_each_other() {
    let both = app(&json!({"cmd": "sleep 1", "args": ["a"]}));
    assert_eq!(
        refusal(&both),
        "cmd and args exclude each other: cmd runs in a shell, args are given to the image's ENTRYPOINT"
    );
    // What Marathon itself answers with has both, of which one says nothing.
    let task = task(&app(&json!({"cmd": "sleep 1", "args": []})));
    assert!(task.containers[0].command.shell);
    task_with_args(&json!({"cmd": null, "args": ["a"]}));
}

fn task_with_args(members: &Value) {
    let command = &task(&app(members)).containers[0].command;
    assert_eq!((command.shell, command.arguments.len()), (false, 1));
}

#[test]
fn an_app_without_an_image_says_what_runs() {
    let args = task(&json!({"id": "a", "args": ["/bin/sleep", "1"]}));
    let command = &args.containers[0].command;
    assert_eq!(command.value.as_deref(), Some("/bin/sleep"));
    assert_eq!(command.arguments, ["/bin/sleep", "1"]);
    assert!(args.containers[0].image.is_none());
    let missing = "cmd is missing: without an image nothing else says what runs: give cmd, args or a container with an image";
    refused(&[
        (json!({"id": "a"}), missing),
        (json!({"id": "a", "args": []}), missing),
        (json!({"id": "a", "container": {"type": "MESOS"}}), missing),
        (json!({"id": "a", "cmd": ""}), "cmd must not be empty"),
    ]);
}

#[test]
fn an_unknown_field_is_an_error_wherever_it_is() {
    refused(&[
        (
            app(&json!({"cdm": "x"})),
            "cdm is no known field: did you mean cmd?",
        ),
        (
            app(&json!({"healthCheck": []})),
            "healthCheck is no known field: did you mean healthChecks?",
        ),
        (
            docker(&json!({"forcePull": true})),
            "container.docker.forcePull is no known field",
        ),
        (
            container(&json!({"volumes": [{"containerpath": "/a", "hostPath": "/b"}]})),
            "container.volumes[0].containerpath is no known field: did you mean containerPath?",
        ),
        (
            app(&json!({"networks": [{"mod": "host"}]})),
            "networks[0].mod is no known field: did you mean mode?",
        ),
        (
            app(&json!({"healthChecks": [{"graceperiodseconds": 1}]})),
            "healthChecks[0].graceperiodseconds is no known field: did you mean gracePeriodSeconds?",
        ),
        (
            app(&json!({"env": {"A": {"secrt": "x"}}})),
            "env.A.secrt is no known field: did you mean secret?",
        ),
    ]);
}

#[test]
fn what_concerns_the_scheduler_is_told_of() {
    let task = task(&app(&json!({
        "instances": 3, "constraints": [], "upgradeStrategy": {"x": 1}, "backoffSeconds": 1,
        "dependencies": ["/b"], "unreachableStrategy": "disabled", "role": "*", "residency": null,
        "healthChecks": [{"protocol": "TCP", "ignoreHttp1xx": true}],
        "networks": [{"mode": "container", "name": "dcos", "labels": {}}],
    })));
    let mut ignored = task.ignored;
    ignored.sort();
    assert_eq!(
        ignored,
        [
            "backoffSeconds",
            "constraints",
            "dependencies",
            "healthChecks[0].ignoreHttp1xx",
            "instances",
            "networks[0].labels",
            "role",
            "unreachableStrategy",
            "upgradeStrategy",
        ]
    );
}

/// Every field that is read at the top of an app refuses what it cannot be: none is passed over.
#[test]
fn no_field_of_an_app_is_passed_over() {
    for name in super::app::APP.read {
        let wrong = app(&json!({ *name: {"\u{0}": [[]]} }));
        let message = refusal(&wrong);
        assert!(message.starts_with(name), "{name}: {message}");
    }
}

#[test]
fn resources_are_within_bounds() {
    refused(&[
        (
            app(&json!({"cpus": 0})),
            "cpus is 0, but must be from 0.001 to 1000000",
        ),
        (
            app(&json!({"mem": -1})),
            "mem is -1, but must be from 0 to 4398046511104",
        ),
        (
            app(&json!({"disk": 1e30})),
            "disk is 1000000000000000000000000000000, but must be from 0 to 4398046511104",
        ),
        (
            app(&json!({"cpus": "1"})),
            "cpus must be a number, not a text",
        ),
        (
            app(&json!({"gpus": 1})),
            "gpus is not supported: no GPU can be given to a container yet: devices are described by CDI, which is to come",
        ),
        (
            app(&json!({"resourceLimits": {"mem": 64}})),
            "resourceLimits.mem is 64, but must be 128 or more, which the task asks for",
        ),
        (
            app(&json!({"resourceLimits": {"cpus": "all"}})),
            "resourceLimits.cpus is \"all\", but must be one of unlimited",
        ),
    ]);
    let task = task(&app(
        &json!({"gpus": 0, "resourceLimits": {"mem": 256, "cpus": "unlimited"}}),
    ));
    let resources = &task.containers[0].resources;
    assert_eq!(resources.mem_limit, Some(Limit::To(256.0)));
    assert_eq!(resources.cpus_limit, Some(Limit::Unlimited));
}

#[test]
fn another_executor_is_refused() {
    for executor in ["", "//cmd"] {
        task(&app(&json!({"executor": executor})));
    }
    let message = refusal(&app(&json!({"executor": "/opt/ucr/bin/ucr"})));
    assert!(
        message.starts_with("executor is not supported"),
        "{message}"
    );
}

#[test]
fn variables_are_texts_or_secrets_that_are_declared() {
    let task = task(&app(&json!({
        "env": {"A": "b", "a b": "", "TOKEN": {"secret": "s"}},
        "secrets": {"s": {"source": "/group/token"}},
    })));
    let env = &task.containers[0].env;
    assert!(env.contains(&("A".to_owned(), Text::Plain("b".to_owned()))));
    let reference = Text::Reference {
        name: "/group/token".to_owned(),
        path: "env.TOKEN.secret".to_owned(),
    };
    assert!(env.contains(&("TOKEN".to_owned(), reference)));
    refused(&[
        (
            app(&json!({"env": {"A": 1}})),
            "env.A must be a text, not a number",
        ),
        (
            app(&json!({"env": {"A": {"secret": "s"}}})),
            "env.A.secret names \"s\", which is not in secrets",
        ),
        (
            app(&json!({"env": {"A=B": "c"}})),
            "env[\"A=B\"] is no name of a variable: it must not be empty, nor have = or NUL in it",
        ),
        (
            app(&json!({"env": {"A": "b\u{0}c"}})),
            "env.A must not contain NUL",
        ),
        (
            app(&json!({"secrets": {"s": {}}})),
            "secrets.s.source is missing: it says where the secret is kept",
        ),
    ]);
}

fn volume(members: &Value) -> Value {
    container(&json!({"volumes": [members]}))
}

fn source(members: &Value) -> (VolumeSource, bool) {
    let task = task(&with(
        volume(members),
        &json!({"secrets": {"s": {"source": "/s"}}}),
    ));
    let volume = task.containers[0].volumes[0].clone();
    (volume.source, volume.read_only)
}

#[test]
fn volumes_are_of_the_host_the_sandbox_a_secret_or_an_image() {
    let host = source(&json!({"containerPath": "/a", "hostPath": "/b", "mode": "RW"}));
    assert_eq!(host, (VolumeSource::Host("/b".into()), false));
    let sandbox = source(&json!({"containerPath": "/a", "hostPath": "b/c", "mode": "RO"}));
    assert_eq!(sandbox, (VolumeSource::Sandbox("b/c".into()), true));
    let below = source(&json!({"containerPath": "data", "hostPath": "/b"}));
    assert_eq!(below, (VolumeSource::Host("/b".into()), false));
    let (secret, read_only) = source(&json!({"containerPath": "/run/s", "secret": "s"}));
    assert!(matches!(secret, VolumeSource::Secret(Text::Reference { .. })) && read_only);
    for image in [
        json!("busybox:1"),
        json!({"kind": "DOCKER", "id": "busybox:1"}),
    ] {
        let (image, read_only) = source(&json!({"containerPath": "/tools", "image": image}));
        let VolumeSource::Image(image) = image else {
            panic!("{image:?}");
        };
        assert_eq!(image.name, ImageName::Docker("busybox:1".to_owned()));
        assert!(read_only);
    }
}

#[test]
fn volumes_that_cannot_be_are_refused_with_the_reason() {
    let begins = |members: &Value, expected: &str| {
        let message = refusal(&volume(members));
        assert!(message.starts_with(expected), "{message}");
    };
    let at = "container.volumes[0]";
    begins(
        &json!({"containerPath": "a", "hostPath": "b"}),
        &format!("{at}.containerPath and {at}.hostPath exclude"),
    );
    begins(
        &json!({"containerPath": "/a/../b", "hostPath": "/b"}),
        &format!("{at}.containerPath must not lead upwards"),
    );
    begins(
        &json!({"containerPath": "/", "hostPath": "/b"}),
        &format!("{at}.containerPath must be within"),
    );
    begins(
        &json!({"containerPath": "/a", "hostPath": "../b"}),
        &format!("{at}.hostPath must not lead out of the sandbox"),
    );
    begins(
        &json!({"containerPath": "/a"}),
        &format!("{at}.hostPath is missing"),
    );
    begins(
        &json!({"hostPath": "/a"}),
        &format!("{at}.containerPath is missing"),
    );
    begins(
        &json!({"containerPath": "/a", "hostPath": "/b", "mode": "ro"}),
        &format!("{at}.mode is \"ro\""),
    );
    begins(
        &json!({"containerPath": "/a", "secret": "t"}),
        &format!("{at}.secret names \"t\""),
    );
    begins(
        &json!({"containerPath": "a", "persistent": {"size": 1}}),
        &format!("{at}.persistent is not supported"),
    );
    begins(
        &json!({"containerPath": "/a", "external": {"name": "x", "provider": "dvdi"}}),
        &format!("{at}.external is not supported"),
    );
    begins(
        &json!({"containerPath": "/a", "hostPath": "/b", "secret": "s"}),
        &format!("{at}.secret and {at}.hostPath exclude"),
    );
    let twice = container(&json!({"volumes": [
        {"containerPath": "/a", "hostPath": "/b"}, {"containerPath": "//a/", "hostPath": "/c"},
    ]}));
    assert_eq!(
        refusal(&twice),
        "container.volumes[1] is \"/a\" like container.volumes[0]: each must be another"
    );
}

fn networks(value: &Value) -> Vec<Network> {
    task(value).networks
}

#[test]
fn networks_are_said_in_the_form_of_now_or_of_then() {
    let named = |name: &str| vec![Network::Named(name.to_owned())];
    assert_eq!(networks(&app(&json!({"networks": []}))), [Network::Host]);
    assert_eq!(
        networks(&app(&json!({"networks": [{"mode": "host"}]}))),
        [Network::Host]
    );
    assert_eq!(
        networks(&app(&json!({"networks": [{"mode": "container/bridge"}]}))),
        [Network::Bridge]
    );
    assert_eq!(
        networks(&app(&json!({"networks": [{"name": "dcos"}]}))),
        named("dcos")
    );
    for (network, expected) in [
        ("HOST", Network::Host),
        ("BRIDGE", Network::Bridge),
        ("NONE", Network::None),
    ] {
        assert_eq!(networks(&docker(&json!({"network": network}))), [expected]);
    }
    let user = with(
        docker(&json!({"network": "USER"})),
        &json!({"ipAddress": {"networkName": "weave"}}),
    );
    assert_eq!(networks(&user), named("weave"));
    let address = app(&json!({"ipAddress": {"networkName": "calico", "groups": ["a"]}}));
    assert_eq!(networks(&address), named("calico"));
    let bridge = app(&json!({"ipAddress": {"networkName": "mesos-bridge"}}));
    assert_eq!(networks(&bridge), [Network::Bridge]);
    // Mesos' own refuses the older form for this type.
    let mesos = container(&json!({"docker": {"image": "busybox", "network": "BRIDGE"}}));
    assert_eq!(networks(&mesos), [Network::Bridge]);
}

#[test]
fn networks_that_cannot_be_are_refused() {
    let begins = |value: &Value, expected: &str| {
        let message = refusal(value);
        assert!(message.starts_with(expected), "{message}");
    };
    let both = with(
        docker(&json!({"network": "HOST"})),
        &json!({"networks": [{"mode": "host"}]}),
    );
    begins(
        &both,
        "container.docker.network and networks exclude each other",
    );
    let both = app(&json!({"ipAddress": {"networkName": "a"}, "networks": [{"name": "a"}]}));
    begins(&both, "ipAddress and networks exclude each other");
    begins(
        &app(&json!({"networks": [{}]})),
        "networks[0].name is missing",
    );
    begins(
        &app(&json!({"networks": [{"mode": "host", "name": "a"}]})),
        "networks[0].name belongs to mode container",
    );
    begins(
        &app(&json!({"networks": [{"mode": "host"}, {"name": "a"}]})),
        "networks has one network of the host",
    );
    begins(
        &app(&json!({"networks": [{"name": "a"}, {"name": "a"}]})),
        "networks[1].name is \"a\"",
    );
    begins(
        &app(&json!({"networks": [{"name": "../etc"}]})),
        "networks[0].name is \"../etc\"",
    );
    begins(
        &docker(&json!({"network": "USER"})),
        "ipAddress.networkName is missing",
    );
    begins(
        &docker(&json!({"network": "bridge"})),
        "container.docker.network is \"bridge\"",
    );
    let two = with(
        docker(&json!({})),
        &json!({"networks": [{"name": "a"}, {"name": "b"}]}),
    );
    begins(
        &two,
        "networks has one network for a container of type DOCKER",
    );
    let ports = app(&json!({"ipAddress": {"networkName": "a"}, "ports": [1]}));
    begins(&ports, "ports and ipAddress exclude each other");
}

fn numbers(task: &Task) -> Vec<(Option<u16>, Option<u16>, Option<u16>)> {
    let number = |port: &Port| (port.container, port.host, port.service);
    task.ports.iter().map(number).collect()
}

fn ports(value: &Value) -> Vec<(Option<u16>, Option<u16>, Option<u16>)> {
    numbers(&task(value))
}

#[test]
fn ports_of_the_host_are_fixed_when_they_are_required() {
    let definitions = json!([{"port": 8080, "name": "web"}, {"port": 0}]);
    let app =
        |required: bool| app(&json!({"portDefinitions": definitions, "requirePorts": required}));
    let dynamic = [(None, Some(0), Some(8080)), (None, Some(0), Some(0))];
    assert_eq!(ports(&app(false)), dynamic);
    assert_eq!(
        ports(&app(true)),
        [(None, Some(8080), Some(8080)), (None, Some(0), Some(0))]
    );
    assert_eq!(task(&app(true)).ports[0].name.as_deref(), Some("web"));
}

#[test]
fn ports_may_be_none_and_are_said_in_either_form() {
    assert!(ports(&app(&json!({"portDefinitions": []}))).is_empty());
    assert!(ports(&app(&json!({"ports": []}))).is_empty());
    assert_eq!(ports(&app(&json!({"ports": [0, 9000]}))).len(), 2);
    let both = app(&json!({"ports": [9000], "portDefinitions": [{"port": 9000, "name": "a"}]}));
    assert_eq!(task(&both).ports[0].name.as_deref(), Some("a"));
    let other = app(&json!({"ports": [9001], "portDefinitions": [{"port": 9000}]}));
    assert!(refusal(&other).starts_with("portDefinitions and ports exclude each other"));
}

#[test]
fn port_mappings_are_said_in_either_form() {
    let mappings = json!([{"containerPort": 80}, {"hostPort": 31000, "protocol": "udp,tcp"}]);
    let newer = with(
        container(&json!({"portMappings": mappings})),
        &json!({"networks": [{"mode": "container/bridge"}]}),
    );
    let older = docker(&json!({"network": "BRIDGE", "portMappings": mappings}));
    for value in [newer, older] {
        let task = task(&value);
        assert_eq!(
            numbers(&task),
            [
                (Some(80), Some(0), Some(0)),
                (Some(0), Some(31000), Some(0))
            ]
        );
        assert_eq!(task.ports[1].protocols, [Protocol::Udp, Protocol::Tcp]);
    }
    let named = |container: Value| with(container, &json!({"networks": [{"name": "dcos"}]}));
    let without_host = named(container(&json!({"portMappings": mappings})));
    assert_eq!(
        ports(&without_host),
        [(Some(80), None, Some(0)), (Some(0), Some(31000), Some(0))]
    );
    assert_eq!(
        ports(&named(container(&json!({})))),
        [(Some(0), None, Some(0))]
    );
    assert!(ports(&named(container(&json!({"portMappings": []})))).is_empty());
    assert_eq!(
        ports(&docker(&json!({"network": "BRIDGE"}))),
        [(Some(0), Some(0), Some(0))]
    );
    assert!(ports(&docker(&json!({"network": "NONE"}))).is_empty());
}

#[test]
fn an_older_app_may_say_its_ports_twice() {
    let mappings = json!([{"containerPort": 80, "servicePort": 9000}]);
    let older = docker(&json!({"network": "BRIDGE", "portMappings": mappings}));
    let value = with(older, &json!({"ports": [9000, 0]}));
    assert_eq!(
        ports(&value),
        [(Some(80), Some(0), Some(9000)), (Some(0), Some(0), Some(0))]
    );
    assert_eq!(task(&value).ignored, ["ports"]);
}

#[test]
fn ports_that_lead_nowhere_are_refused() {
    let begins = |value: &Value, expected: &str| {
        let message = refusal(value);
        assert!(message.starts_with(expected), "{message}");
    };
    let mapping = json!([{"containerPort": 80}]);
    // On the network of the host, by each form of the one and the other.
    begins(
        &container(&json!({"portMappings": mapping})),
        "container.portMappings lead into a network",
    );
    begins(
        &docker(&json!({"network": "HOST", "portMappings": mapping})),
        "container.docker.portMappings lead into a network",
    );
    let host = with(
        container(&json!({"portMappings": mapping})),
        &json!({"networks": [{"mode": "host"}]}),
    );
    begins(&host, "container.portMappings lead into a network");
    begins(
        &docker(&json!({"network": "NONE", "portMappings": mapping})),
        "container.docker.portMappings lead nowhere",
    );
}

#[test]
fn ports_that_cannot_be_are_refused() {
    let begins = |value: &Value, expected: &str| {
        let message = refusal(value);
        assert!(message.starts_with(expected), "{message}");
    };
    let bridged = |mappings: Value| docker(&json!({"network": "BRIDGE", "portMappings": mappings}));
    let at = "container.docker.portMappings";
    begins(
        &bridged(json!([{"containerPort": 65536}])),
        &format!("{at}[0].containerPort is 65536, but must be from 0 to 65535"),
    );
    begins(
        &bridged(json!([{"containerPort": -1}])),
        &format!("{at}[0].containerPort is -1"),
    );
    begins(
        &bridged(json!([{"hostPort": "80"}])),
        &format!("{at}[0].hostPort must be a whole number"),
    );
    begins(
        &bridged(json!([{"protocol": "sctp"}])),
        &format!("{at}[0].protocol is \"sctp\""),
    );
    begins(
        &bridged(json!([{"name": "a"}, {"name": "a"}])),
        &format!("{at}[1] is \"a\" like {at}[0]"),
    );
    begins(
        &bridged(json!([{"name": "A_b"}])),
        &format!("{at}[0].name is \"A_b\""),
    );
    begins(
        &bridged(json!([{"hostPort": 31000}, {"hostPort": 31000}])),
        &format!("{at}[1] is \"31000\" like {at}[0]"),
    );
    // Of two protocols they are two.
    task(&bridged(
        json!([{"hostPort": 31000}, {"hostPort": 31000, "protocol": "udp"}]),
    ));
}

#[test]
fn ports_are_said_once() {
    let begins = |value: &Value, expected: &str| {
        let message = refusal(value);
        assert!(message.starts_with(expected), "{message}");
    };
    let mapping = json!([{"containerPort": 80}]);
    let at = "container.docker.portMappings";
    let twice = docker(&json!({"network": "BRIDGE", "portMappings": mapping}));
    let container = with(
        twice["container"].clone(),
        &json!({"portMappings": mapping}),
    );
    begins(
        &app(&json!({"container": container})),
        &format!("{at} and container.portMappings exclude"),
    );
    let definitions = app(&json!({"networks": [{"name": "a"}], "portDefinitions": [{"port": 1}]}));
    begins(&definitions, "portDefinitions are ports of the host");
    begins(
        &app(&json!({"ports": [80, 80]})),
        "ports[1] is \"80\" like ports[0]",
    );
    begins(
        &app(&json!({"portDefinitions": [{"name": "a"}, {"name": "a"}]})),
        "portDefinitions[1] is \"a\" like portDefinitions[0]",
    );
}

#[test]
fn a_port_into_one_of_several_networks_names_it() {
    let value = |mapping: Value| {
        let networks = json!({"networks": [{"name": "a"}, {"name": "b"}]});
        with(container(&json!({"portMappings": [mapping]})), &networks)
    };
    let task = task(&value(json!({"hostPort": 0, "networkNames": ["b"]})));
    assert_eq!(task.ports[0].networks, ["b"]);
    let at = "container.portMappings[0].networkNames";
    assert!(
        refusal(&value(json!({"hostPort": 0}))).starts_with(&format!("{at} must name one network"))
    );
    let unknown = refusal(&value(json!({"networkNames": ["c"]})));
    assert_eq!(
        unknown,
        format!("{at}[0] names \"c\", which is not in networks")
    );
}

#[test]
fn ports_that_are_discovered_lead_inside() {
    let port = json!({"number": 80, "name": "http", "protocol": "tcp"});
    let address = json!({"networkName": "calico", "discovery": {"ports": [port]}});
    let value = json!({"id": "a", "cmd": "x", "ipAddress": address});
    assert_eq!(ports(&value), [(Some(80), None, Some(0))]);
    let docker = with(docker(&json!({})), &json!({"ipAddress": address}));
    assert!(
        refusal(&docker)
            .starts_with("ipAddress.discovery.ports belong to a container of type MESOS")
    );
}

fn check(members: &Value) -> Value {
    app(&json!({"healthChecks": [members]}))
}

#[test]
fn health_checks_are_of_seven_protocols() {
    let probe = |protocol: &str| {
        let members = match protocol {
            "COMMAND" => json!({"protocol": protocol, "command": {"value": "true"}}),
            _ => json!({"protocol": protocol}),
        };
        task(&check(&members)).containers[0].health[0].clone()
    };
    for (protocol, secure) in [
        ("HTTP", false),
        ("HTTPS", true),
        ("MESOS_HTTP", false),
        ("MESOS_HTTPS", true),
    ] {
        let check = probe(protocol);
        let Probe::Http {
            tls, port, path, ..
        } = check.probe
        else {
            panic!("{check:?}");
        };
        assert_eq!(
            (tls, port, path.as_str()),
            (secure, ProbePort::Index(0), "/")
        );
        let times = [check.delay, check.interval, check.timeout, check.grace];
        assert_eq!(times.map(|time| time.as_secs()), [15, 60, 20, 300]);
        assert_eq!(check.kill_after, Some(3));
    }
    for protocol in ["TCP", "MESOS_TCP"] {
        assert!(matches!(probe(protocol).probe, Probe::Tcp { .. }));
    }
    let Probe::Command(command) = probe("COMMAND").probe else {
        panic!("no command");
    };
    assert_eq!(
        (command.shell, command.value.as_deref()),
        (true, Some("true"))
    );
    let unsaid = task(&check(&json!({"command": {"value": "true"}})));
    assert!(matches!(
        unsaid.containers[0].health[0].probe,
        Probe::Command(_)
    ));
}

#[test]
fn no_failures_that_are_allowed_mean_two_things() {
    let kill_after = |protocol: &str| {
        let members = json!({"protocol": protocol, "maxConsecutiveFailures": 0});
        task(&check(&members)).containers[0].health[0].kill_after
    };
    assert_eq!(kill_after("HTTP"), None);
    assert_eq!(kill_after("MESOS_HTTP"), Some(1));
}

#[test]
fn a_port_of_the_host_that_is_checked_means_the_one_behind() {
    let mappings = json!([{"containerPort": 1}, {"containerPort": 80, "hostPort": 31000}]);
    let port = |protocol: &str| {
        let checks = json!([{"protocol": protocol, "port": 31000}]);
        let app = docker(&json!({"network": "BRIDGE", "portMappings": mappings}));
        let task = task(&with(app, &json!({"healthChecks": checks})));
        match task.containers[0].health[0].probe {
            Probe::Http { port, .. } => port,
            _ => panic!("{task:?}"),
        }
    };
    assert_eq!(port("HTTP"), ProbePort::Index(1));
    assert_eq!(port("MESOS_HTTP"), ProbePort::Number(31000));
}

#[test]
fn health_checks_that_cannot_be_are_refused() {
    let begins = |members: &Value, expected: &str| {
        let message = refusal(&check(members));
        assert!(
            message.starts_with(&format!("healthChecks[0].{expected}")),
            "{message}"
        );
    };
    begins(&json!({"portIndex": 1}), "portIndex must be the index");
    begins(
        &json!({"portIndex": 4_294_967_295_u32}),
        "portIndex must be the index",
    );
    begins(
        &json!({"portIndex": 0, "port": 80}),
        "portIndex and healthChecks[0].port exclude",
    );
    begins(&json!({"port": 0}), "port is 0");
    begins(&json!({"protocol": "ICMP"}), "protocol is \"ICMP\"");
    begins(&json!({"protocol": "COMMAND"}), "command is missing");
    begins(
        &json!({"protocol": "COMMAND", "command": {}}),
        "command.value is missing",
    );
    begins(
        &json!({"protocol": "HTTP", "command": {"value": "true"}}),
        "command and healthChecks[0].protocol exclude",
    );
    begins(&json!({"path": "/a b"}), "path is \"/a b\"");
    begins(
        &json!({"path": "/a\r\nHost: b"}),
        "path is \"/a\\r\\nHost: b\"",
    );
    begins(
        &json!({"timeoutSeconds": 0}),
        "timeoutSeconds must be a second",
    );
    begins(&json!({"intervalSeconds": -1}), "intervalSeconds is -1");
    let none = app(&json!({"ports": [], "healthChecks": [{"protocol": "TCP"}]}));
    assert!(refusal(&none).starts_with("healthChecks[0].portIndex must be"));
    let two =
        app(&json!({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]}));
    assert!(refusal(&two).starts_with("healthChecks[1] is a second one"));
}

#[test]
fn a_check_has_no_consequences() {
    let value = app(
        &json!({"check": {"exec": {"command": {"argv": ["/bin/true"]}}, "intervalSeconds": 7}}),
    );
    let check = task(&value).containers[0].check.clone().unwrap();
    assert_eq!(
        (
            check.kill_after,
            check.interval.as_secs(),
            check.delay.as_secs()
        ),
        (None, 7, 15)
    );
    let named = app(&json!({
        "portDefinitions": [{"name": "a"}, {"name": "web"}],
        "check": {"http": {"endpoint": "web", "scheme": "HTTPS", "path": "health"}},
    }));
    let check = task(&named).containers[0].check.clone().unwrap();
    let Probe::Http {
        tls, port, path, ..
    } = check.probe
    else {
        panic!("{check:?}");
    };
    assert_eq!(
        (tls, port, path.as_str()),
        (true, ProbePort::Index(1), "/health")
    );
    for (check, expected) in [
        (json!({}), "check.http is missing"),
        (
            json!({"tcp": {"port": 1}, "http": {"port": 1}}),
            "check.tcp and check.http exclude",
        ),
        (
            json!({"exec": {"command": {"shell": "a", "argv": ["b"]}}}),
            "check.exec.command.argv and check.exec.command.shell exclude",
        ),
        (
            json!({"tcp": {"endpoint": "none"}}),
            "check.tcp.endpoint names \"none\"",
        ),
    ] {
        let message = refusal(&app(&json!({"check": check})));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn files_are_fetched_in_either_form() {
    let fetch = json!([{"uri": "http://a/b.tgz", "destPath": "c/d", "cache": true}, {"uri": "/x", "executable": true}]);
    let fetched = task(&app(&json!({"fetch": fetch}))).containers[0]
        .fetch
        .clone();
    assert!(fetched[0].extract && fetched[0].cache);
    assert_eq!(fetched[0].output.as_deref(), Some("c/d".as_ref()));
    assert!(fetched[1].executable && !fetched[1].extract);
    let uris = json!([
        "http://a/b.tar.gz?x=.zip",
        "http://a/b.txt",
        "http://a/b.txt?c=.zip",
        "file:///etc/docker.tar.gz"
    ]);
    let fetched = task(&app(&json!({"uris": uris, "fetch": []}))).containers[0]
        .fetch
        .clone();
    let extracted: Vec<bool> = fetched.iter().map(|uri| uri.extract).collect();
    assert_eq!(extracted, [true, false, false, true]);
    assert_eq!(fetched[3].path, "uris[3]");
    for (members, expected) in [
        (
            json!({"uris": ["a"], "fetch": [{"uri": "b"}]}),
            "uris and fetch exclude each other",
        ),
        (json!({"fetch": [{}]}), "fetch[0].uri is missing"),
        (
            json!({"fetch": [{"uri": "a", "destPath": "/b"}]}),
            "fetch[0].destPath must be relative",
        ),
        (
            json!({"fetch": [{"uri": "a", "destPath": "b/../../c"}]}),
            "fetch[0].destPath must not lead out",
        ),
        (json!({"uris": ["a b"]}), "uris[0] is \"a b\""),
        (json!({"uris": [""]}), "uris[0] must not be empty"),
    ] {
        let message = refusal(&app(&members));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn images_are_asked_for_by_a_credential_or_a_secret() {
    let config = docker(&json!({"pullConfig": {"secret": "s"}}));
    let task = task(&with(
        config.clone(),
        &json!({"secrets": {"s": {"source": "/pull"}}}),
    ));
    let credential = task.containers[0]
        .image
        .as_ref()
        .unwrap()
        .credential
        .clone();
    let Some(TaskCredential::Config(Text::Reference { name, path })) = credential else {
        panic!("{credential:?}");
    };
    assert_eq!(
        (name.as_str(), path.as_str()),
        ("/pull", "container.docker.pullConfig.secret")
    );
    assert_eq!(
        refusal(&config),
        "container.docker.pullConfig.secret names \"s\", which is not in secrets"
    );
    let login = json!({"principal": "a", "secret": "b"});
    let both = docker(&json!({"pullConfig": {"secret": "s"}, "credential": login}));
    assert!(
        refusal(&both)
            .starts_with("container.docker.pullConfig and container.docker.credential exclude")
    );
    let secretless = refusal(&docker(&json!({"credential": {"principal": "a"}})));
    assert!(
        secretless.starts_with("container.docker.credential.secret is missing"),
        "{secretless}"
    );
}

#[test]
fn s48_no_error_shows_a_secret() {
    for credential in [
        json!({"principal": "", "secret": "wonderland"}),
        json!({"principal": 1, "secret": "wonderland"}),
        json!({"principal": "a", "secret": "wonderland", "x": 1}),
        json!({"principal": "a", "secret": "wonder\u{0}land"}),
        json!({"principal": "a", "secret": ["wonderland"]}),
    ] {
        let message = refusal(&docker(&json!({"credential": credential})));
        assert!(!message.contains("wonder"), "{message}");
    }
}

#[test]
fn a_container_has_one_image() {
    refused(&[
        (
            json!({"id": "a", "container": {"volumes": []}}),
            "container.docker is missing: a container of type DOCKER has an image; for the host's own files use type MESOS",
        ),
        (
            container(&json!({"appc": {"image": "a.b/c"}})),
            "container.appc and container.docker exclude each other: a container has one image",
        ),
        (
            json!({"id": "a", "container": {"appc": {"image": "a.b/c"}}}),
            "container.appc belongs to type MESOS: say so",
        ),
        (
            docker(&json!({"image": null})),
            "container.docker.image is missing: it names the image",
        ),
        (
            docker(&json!({"image": "a b"})),
            "container.docker.image is \"a b\", but must be the name of an image, as registry.example:5000/group/image:tag",
        ),
        (
            container(&json!({"type": "LXC"})),
            "container.type is \"LXC\", but must be one of DOCKER, MESOS",
        ),
    ]);
    let labels = json!({"version": "1.0.0", "os": "linux"});
    let appc = json!({"image": "example.com/hello", "id": "sha512-ab", "labels": labels, "forcePullImage": true});
    let task = task(&json!({"id": "a", "container": {"type": "MESOS", "appc": appc}}));
    let image = task.containers[0].image.clone().unwrap();
    assert!(image.force_pull);
    let ImageName::Appc { name, id, labels } = image.name else {
        panic!("{image:?}");
    };
    assert_eq!(
        (name.as_str(), id.as_deref(), labels.len()),
        ("example.com/hello", Some("sha512-ab"), 2)
    );
}

#[test]
fn parameters_are_flags() {
    // Mesos' own refuses them, and `privileged`, for this type.
    let mesos = container(
        &json!({"docker": {"image": "a", "privileged": true, "parameters": [{"key": "env", "value": "A=b"}]}}),
    );
    assert!(task(&mesos).containers[0].privileged);
    for (parameter, expected) in [
        (
            json!({"value": "a"}),
            "container.docker.parameters[0].key is missing",
        ),
        (
            json!({"key": "a"}),
            "container.docker.parameters[0].value is missing",
        ),
        (
            json!({"key": "--env", "value": ""}),
            "container.docker.parameters[0].key is \"--env\"",
        ),
        (
            json!({"key": "a b", "value": ""}),
            "container.docker.parameters[0].key is \"a b\"",
        ),
    ] {
        let message = refusal(&docker(&json!({"parameters": [parameter]})));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn what_is_the_kernels_is_read() {
    let linux = |value: Value| {
        task(&container(&json!({"linuxInfo": value}))).containers[0]
            .linux
            .clone()
    };
    let said = linux(
        json!({"seccomp": {"profileName": "default.json"}, "ipcInfo": {"mode": "PRIVATE", "shmSize": 64}}),
    );
    assert_eq!(
        (said.seccomp, said.shm_size, said.ipc),
        (
            Seccomp::Profile("default.json".to_owned()),
            Some(64),
            Ipc::Own
        )
    );
    assert_eq!(
        linux(json!({"seccomp": {"unconfined": true}})).seccomp,
        Seccomp::Unconfined
    );
    for (value, expected) in [
        (
            json!({"seccomp": {"unconfined": true, "profileName": "a"}}),
            "container.linuxInfo.seccomp.profileName and",
        ),
        (
            json!({"seccomp": {"profileName": "../a"}}),
            "container.linuxInfo.seccomp.profileName is \"../a\"",
        ),
        (
            json!({"ipcInfo": {"mode": "SHARE_PARENT"}}),
            "container.linuxInfo.ipcInfo.mode is not supported",
        ),
        (
            json!({"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 1}}),
            "container.linuxInfo.ipcInfo.shmSize belongs",
        ),
        (
            json!({"ipcInfo": {"shmSize": 1}}),
            "container.linuxInfo.ipcInfo.mode is missing",
        ),
    ] {
        let message = refusal(&container(&json!({ "linuxInfo": value })));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_terminal_user_and_grace_are_what_is_said() {
    let task = task(&app(
        &json!({"tty": true, "user": "nobody", "taskKillGracePeriodSeconds": 60, "labels": {"a": "b"}}),
    ));
    let container = &task.containers[0];
    assert_eq!(
        (container.terminal, container.user.as_deref()),
        (Some((0, 0)), Some("nobody"))
    );
    assert_eq!((task.grace.as_secs(), task.labels["a"].as_str()), (60, "b"));
    assert_eq!(
        refusal(&app(&json!({"user": ""}))),
        "user must not be empty"
    );
}

#[test]
fn what_means_nothing_beside_others_is_told_of() {
    let ignored = |value: &Value| task(value).ignored;
    let required = json!({"networks": [{"name": "a"}], "requirePorts": true});
    assert_eq!(ignored(&app(&required)), ["requirePorts"]);
    let command =
        json!({"protocol": "COMMAND", "command": {"value": "x"}, "path": "/", "portIndex": 7});
    assert_eq!(
        ignored(&check(&command)),
        ["healthChecks[0].path", "healthChecks[0].portIndex"]
    );
    assert_eq!(
        ignored(&check(&json!({"protocol": "TCP", "path": "/"}))),
        ["healthChecks[0].path"]
    );
    let address = json!({"ipAddress": {"networkName": "a"}});
    assert_eq!(
        ignored(&with(docker(&json!({"network": "HOST"})), &address)),
        ["ipAddress"]
    );
}

/// As Marathon 1.3 answers with an app.
#[test]
fn an_answer_of_marathon_is_an_app() {
    let value = json!({"app": {
        "id": "/bridged-webapp", "cmd": "python3 -m http.server 8080", "args": null, "user": null,
        "env": {}, "instances": 2, "cpus": 0.5, "mem": 64, "disk": 0, "gpus": 0, "executor": "",
        "constraints": [], "uris": [], "fetch": [], "storeUrls": [], "backoffSeconds": 1,
        "backoffFactor": 1.15, "maxLaunchDelaySeconds": 3600,
        "container": {"type": "DOCKER", "volumes": [], "docker": {"image": "python:3",
            "network": "BRIDGE", "portMappings": [{"containerPort": 8080, "hostPort": 0,
                "servicePort": 9000, "protocol": "tcp", "labels": {}}],
            "privileged": false, "parameters": [], "forcePullImage": false}},
        "healthChecks": [{"path": "/", "protocol": "HTTP", "portIndex": 0,
            "gracePeriodSeconds": 5, "intervalSeconds": 20, "timeoutSeconds": 20,
            "maxConsecutiveFailures": 3, "ignoreHttp1xx": false}],
        "readinessChecks": [], "dependencies": [],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}, "labels": {},
        "acceptedResourceRoles": null, "ipAddress": null, "version": "2016-09-01T12:00:00.000Z",
        "residency": null, "secrets": {}, "taskKillGracePeriodSeconds": null, "ports": [9000],
        "portDefinitions": [{"port": 9000, "protocol": "tcp", "labels": {}}], "requirePorts": false,
        "versionInfo": {}, "tasksStaged": 0, "tasksRunning": 2, "tasksHealthy": 2,
        "tasksUnhealthy": 0, "deployments": [],
    }});
    assert_eq!(ports(&value), [(Some(8080), Some(0), Some(9000))]);
}
