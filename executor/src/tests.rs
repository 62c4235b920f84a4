//! The mission's own task definitions, and how the tests of all formats speak.

use serde_json::{Value, json};

use crate::read;
use crate::task::{
    Command, Containerizer, Format, ImageName, Network, Probe, ProbePort, Protocol, Task,
    TaskCredential, VolumeSource,
};

/// Reads a task that must be right.
pub(crate) fn task(value: &Value) -> Task {
    let read = read(value.to_string().as_bytes());
    read.unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// What is said of a task that must be wrong.
pub(crate) fn refusal(value: &Value) -> String {
    match read(value.to_string().as_bytes()) {
        Ok(task) => panic!("{value} is taken for {task:?}"),
        Err(error) => error.to_string(),
    }
}

/// The value with others in the place of some of its members; null takes one away.
pub(crate) fn with(mut value: Value, members: &Value) -> Value {
    for (name, member) in members.as_object().unwrap() {
        value[name] = member.clone();
    }
    value
}

fn example(name: &str) -> String {
    let path = format!("{}/../examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn example_task(name: &str) -> Task {
    read(example(name).as_bytes()).unwrap()
}

/// The smallest app that holds the container of a fragment.
fn around(container: &Value) -> Task {
    task(&json!({"id": "fragment", "container": container}))
}

fn image(task: &Task) -> &ImageName {
    &task.containers[0].image.as_ref().unwrap().name
}

fn docker(name: &str) -> ImageName {
    ImageName::Docker(name.to_owned())
}

#[test]
fn example_1_is_a_fragment_and_mounts_two_directories_of_the_host() {
    let text = example("1-host-volumes");
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error,
        "this is the container of an app, not a whole app: give the app an id beside it, as \"id\": \"/name\""
    );
    let fragment: Value = serde_json::from_str(&text).unwrap();
    let task = around(&fragment["container"]);
    assert_eq!(task.networks, [Network::Host]);
    assert_eq!(image(&task), &docker("group/image"));
    let volumes = &task.containers[0].volumes;
    let said = volumes.iter().map(|volume| {
        let target = volume.target.to_str().unwrap();
        (target, volume.source.clone(), volume.read_only)
    });
    let host = |path: &str| VolumeSource::Host(path.into());
    assert!(said.eq([
        ("/etc/a", host("/var/data/a"), true),
        ("/etc/b", host("/var/data/b"), false),
    ]));
    assert_eq!(volumes[1].path, "container.volumes[1]");
}

#[test]
fn example_2_has_ports_into_a_bridge_and_a_health_check() {
    let task = example_task("2-bridged-webapp");
    assert_eq!(task.networks, [Network::Bridge]);
    let ports: Vec<_> = task
        .ports
        .iter()
        .map(|port| {
            (
                port.container,
                port.host,
                port.service,
                port.protocols.clone(),
            )
        })
        .collect();
    assert_eq!(
        ports,
        [
            (Some(8080), Some(0), Some(9000), vec![Protocol::Tcp]),
            (Some(161), Some(0), Some(0), vec![Protocol::Udp]),
        ]
    );
    let container = &task.containers[0];
    assert_eq!(container.containerizer, Containerizer::Docker);
    assert_eq!(
        container.command,
        Command {
            shell: true,
            value: Some("python3 -m http.server 8080".to_owned()),
            ..Command::default()
        }
    );
    let check = &container.health[0];
    let seconds = [check.grace, check.interval, check.timeout].map(|time| time.as_secs());
    assert_eq!((seconds, check.kill_after), ([5, 20, 20], Some(3)));
    let Probe::Http {
        tls,
        port,
        path,
        ipv6,
    } = &check.probe
    else {
        panic!("{check:?}");
    };
    assert_eq!(
        (*tls, *port, path.as_str(), *ipv6),
        (false, ProbePort::Index(0), "/", false)
    );
    assert_eq!(task.ignored, ["instances"]);
}

#[test]
fn example_3_fetches_its_credentials() {
    let task = example_task("3-private-registry");
    assert_eq!(task.id, "some_name_or_id");
    let Format::App { id, is_docker, .. } = &task.format else {
        panic!("{task:?}");
    };
    assert_eq!((id.as_str(), *is_docker), ("/some/name/or/id", true));
    let uri = &task.containers[0].fetch[0];
    assert_eq!(uri.value, "file:///etc/docker.tar.gz");
    assert!(uri.extract && !uri.executable && !uri.cache);
    assert_eq!(task.networks, [Network::Host]);
    // One port of the host where none is said.
    assert_eq!(task.ports.len(), 1);
    assert_eq!(
        (task.ports[0].container, task.ports[0].host),
        (None, Some(0))
    );
}

#[test]
fn example_4_is_a_fragment_and_pulls_by_force() {
    let text = example("4-force-pull");
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error,
        "this is a container, not a whole app: put it into an app, as {\"id\": \"/name\", \"container\": …}"
    );
    let task = around(&serde_json::from_str(&text).unwrap());
    assert!(task.containers[0].image.as_ref().unwrap().force_pull);
}

#[test]
fn example_5_gives_arguments_to_the_entrypoint() {
    let task = example_task("5-args-entrypoint");
    let expected = Command {
        arguments: vec!["hello".to_owned()],
        ..Command::default()
    };
    assert_eq!(task.containers[0].command, expected);
    let resources = &task.containers[0].resources;
    assert_eq!(
        (resources.cpus, resources.mem, resources.disk),
        (0.2, 32.0, 0.0)
    );
}

#[test]
fn example_6_carries_its_parameters_with_their_paths() {
    let task = example_task("6-privileged-parameters");
    let container = &task.containers[0];
    assert!(container.privileged);
    let parameters: Vec<_> = container
        .parameters
        .iter()
        .map(|one| (one.path.as_str(), one.key.as_str(), one.value.as_str()))
        .collect();
    assert_eq!(
        parameters,
        [
            (
                "container.docker.parameters[0].key",
                "hostname",
                "a.corp.org"
            ),
            (
                "container.docker.parameters[1].key",
                "volumes-from",
                "another-container"
            ),
            ("container.docker.parameters[2].key", "lxc-conf", "..."),
        ]
    );
}

#[test]
fn example_7_has_a_credential_that_does_not_show() {
    let task = example_task("7-mesos-credential");
    let container = &task.containers[0];
    assert_eq!(container.containerizer, Containerizer::Mesos);
    let credential = container.image.as_ref().unwrap().credential.as_ref();
    let Some(TaskCredential::Login { principal, secret }) = credential else {
        panic!("{credential:?}");
    };
    assert_eq!(
        (principal.as_str(), secret.expose()),
        ("alice", "wonderland")
    );
    assert!(!format!("{task:?}").contains("wonderland"));
}

#[test]
fn an_app_may_stand_where_marathons_answers_have_it() {
    let app: Value = serde_json::from_str(&example("5-args-entrypoint")).unwrap();
    for around in [json!([app]), json!({"apps": [app]}), json!({"app": app})] {
        assert_eq!(task(&around).id, "inky");
    }
    let wrong = with(app.clone(), &json!({"cpus": "1"}));
    assert_eq!(
        refusal(&json!({"apps": [wrong]})),
        "apps[0].cpus must be a number, not a text"
    );
    assert_eq!(
        refusal(&json!([app, app])),
        "the document holds 2 tasks: hand over exactly one"
    );
    assert_eq!(
        refusal(&json!({"apps": []})),
        "apps holds 0 tasks: hand over exactly one"
    );
}

#[test]
fn what_is_no_object_is_no_task() {
    for value in [json!(null), json!(1), json!("a"), json!([[1]]), json!({})] {
        refusal(&value);
    }
}

#[test]
fn what_is_too_large_is_not_even_parsed() {
    let error = read(&vec![b'['; (4 << 20) + 1]).unwrap_err();
    assert!(
        error.to_string().starts_with("the task has 4194305 bytes"),
        "{error}"
    );
}

/// Nothing takes longer than its size says: each of these would, if every one were compared with
/// every other.
#[test]
fn long_lists_are_read_in_a_moment() {
    let app = |name: &str, list: Vec<Value>| json!({"id": "a", "cmd": "x", name: list});
    let numbers = 0..30_000;
    let networks = numbers
        .clone()
        .map(|number| json!({"name": format!("n{number}")}));
    assert_eq!(
        task(&app("networks", networks.collect())).networks.len(),
        30_000
    );
    let volumes = numbers
        .clone()
        .map(|number| json!({"containerPath": format!("/{number}"), "hostPath": "/a"}));
    let volumes: Vec<Value> = volumes.collect();
    let with_volumes =
        json!({"id": "a", "cmd": "x", "container": {"type": "MESOS", "volumes": volumes}});
    assert_eq!(task(&with_volumes).containers[0].volumes.len(), 30_000);
    let ports = numbers.map(|number| json!({"port": number, "name": format!("p{number}")}));
    assert_eq!(
        task(&app("portDefinitions", ports.collect())).ports.len(),
        30_000
    );
}

/// An app with everything that one can say.
fn whole_app() -> Value {
    json!({
        "id": "/g/a", "args": ["a"], "cpus": 1, "mem": 32, "disk": 1, "gpus": 0, "user": "u", "tty": true,
        "executor": "//cmd", "version": "v", "labels": {"a": "b"}, "requirePorts": true,
        "env": {"A": "b", "S": {"secret": "s"}}, "secrets": {"s": {"source": "/s"}},
        "taskKillGracePeriodSeconds": 1, "resourceLimits": {"cpus": 2, "mem": "unlimited"},
        "networks": [{"mode": "container", "name": "n", "labels": {}}],
        "container": {"type": "MESOS",
            "docker": {"image": "b", "forcePullImage": true, "privileged": true,
                "parameters": [{"key": "env", "value": "A=b"}],
                "credential": {"principal": "p", "secret": "s"}},
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 9000, "protocol": "tcp",
                "name": "web", "labels": {"a": "b"}, "networkNames": ["n"]}],
            "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"},
                {"containerPath": "/c", "secret": "s"},
                {"containerPath": "/d", "image": {"kind": "DOCKER", "id": "b", "forcePull": true}}],
            "linuxInfo": {"seccomp": {"profileName": "p", "unconfined": false},
                "ipcInfo": {"mode": "PRIVATE", "shmSize": 9}}},
        "fetch": [{"uri": "u", "extract": true, "executable": false, "cache": true, "destPath": "d"}],
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0, "ipProtocol": "IPv4",
            "gracePeriodSeconds": 1, "intervalSeconds": 1, "timeoutSeconds": 1,
            "maxConsecutiveFailures": 1, "delaySeconds": 1, "ignoreHttp1xx": true},
            {"protocol": "COMMAND", "command": {"value": "c"}}, {"protocol": "TCP", "port": 80}],
        "check": {"http": {"endpoint": "web", "path": "/", "scheme": "HTTP"}, "intervalSeconds": 1,
            "timeoutSeconds": 1, "delaySeconds": 1},
        "instances": 1,
    })
}

/// Every place of a document, as JSON pointers (RFC 6901).
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(elements) => {
            let numbered = elements.iter().enumerate();
            numbered
                .map(|(index, value)| (index.to_string(), value))
                .collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in below {
        let place = format!("{at}/{name}");
        places(value, &place, found);
        found.push(place);
    }
}

/// Whatever is wrong anywhere in a document is noticed: there is no field that nobody reads and
/// nobody is told of.
#[test]
fn what_is_wrong_anywhere_is_noticed() {
    let mesos = crate::mesos::tests::whole();
    for whole in [whole_app(), crate::marathon::pod::tests::whole(), mesos] {
        let ignored = task(&whole).ignored;
        let mut all = Vec::new();
        places(&whole, "", &mut all);
        assert!(all.len() > 80, "{}", all.len());
        for place in all {
            let mut wrong = whole.clone();
            *wrong.pointer_mut(&place).unwrap() = json!({"\u{0}": [[]]});
            let is_told_of = ignored.iter().any(|path| {
                let path = path.replace(['[', '.'], "/").replace(']', "");
                place[1..].starts_with(&path)
            });
            let read = read(wrong.to_string().as_bytes());
            assert!(read.is_err() || is_told_of, "{place}: {read:?}");
        }
    }
}

#[test]
fn a_group_is_no_app() {
    let app = json!({"id": "a", "cmd": "x"});
    assert_eq!(
        refusal(&json!({"id": "/g", "apps": [app], "groups": []})),
        "this is a group, not a whole app: hand over one of its apps alone"
    );
}
