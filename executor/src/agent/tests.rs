//! Settings of agents as they are found.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::tests::task;

fn file(name: &str, value: &str) -> Given {
    let path = Path::new("/etc/mesos-slave").join(name);
    Given::file_of_flag(&path, value.as_bytes()).unwrap()
}

fn lines(text: &str) -> Vec<Given> {
    Given::lines(
        Path::new("/opt/mesosphere/etc/mesos-slave"),
        text.as_bytes(),
    )
    .unwrap()
}

fn refusal(given: Vec<Given>) -> String {
    Agent::new(given).unwrap_err().to_string()
}

#[test]
fn an_agent_that_says_nothing_is_as_mesos_has_it() {
    let agent = Agent::new(Vec::new()).unwrap();
    assert_eq!(agent.ports, Setting::usual(vec![(31_000, 32_000)]));
    assert_eq!(
        agent.sandbox_directory.value,
        Path::new("/mnt/mesos/sandbox")
    );
    assert_eq!(agent.service_ports.value, (10_000, 20_000));
    assert!(agent.deadline().is_none());
    assert_eq!(agent.containerizers.origin.to_string(), "the default");
}

#[test]
fn files_are_named_after_flags() {
    let agent = Agent::new(vec![
        file("containerizers", "docker,mesos\n"),
        file("executor_registration_timeout", "10mins\n"),
        file("resources", "ports(*):[8000-9000, 31000-32000]\n"),
        file("hostname", "agent.example\n"),
        file("docker_config", "file:///etc/docker/config.json"),
        file("fetcher_cache_size", "4GB"),
        file("?cgroups_enable_cfs", ""),
        file("?no-cgroups_limit_swap", ""),
        file("work_dir", "/var/lib/mesos"),
    ])
    .unwrap();
    assert_eq!(
        agent.containerizers.value,
        [Containerizer::Docker, Containerizer::Mesos]
    );
    assert_eq!(agent.ports.value, [(8000, 9000), (31_000, 32_000)]);
    assert_eq!(agent.ports.origin.to_string(), "/etc/mesos-slave/resources");
    assert_eq!(agent.deadline().unwrap().value.as_secs(), 600);
    assert_eq!(agent.hostname.unwrap().value, "agent.example");
    let config = DockerConfig::File("/etc/docker/config.json".into());
    assert_eq!(agent.docker_config.unwrap().value, config);
    assert_eq!(agent.fetcher_cache_size.value, 4 << 30);
    assert!(agent.cgroups_enable_cfs.value && !agent.cgroups_limit_swap.value);
    assert_eq!(
        agent.cgroups_limit_swap.origin.to_string(),
        "/etc/mesos-slave/?no-cgroups_limit_swap"
    );
    let ignored: Vec<_> = agent.ignored.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(ignored, ["work_dir"]);
}

/// The resources of the mission's DC/OS agent.
const RANGES: &str = r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1025,"end":2180},{"begin":2182,"end":3887},{"begin":3889,"end":5049},{"begin":5052,"end":8079},{"begin":8082,"end":8180},{"begin":8182,"end":32000}]}}"#;

#[test]
fn lines_of_dcos_are_variables() {
    let text = format!(
        "# a comment\nMESOS_RESOURCES='[{RANGES}]'\nMESOS_CONTAINERIZERS=\"mesos,docker\"\n\
         export MESOS_FETCHER_CACHE_DIR=/var/lib/cache\nPATH=/bin\nMARATHON_TASK_LAUNCH_TIMEOUT=300000\nno line\n"
    );
    let agent = Agent::new(lines(&text)).unwrap();
    let ranges = [
        (1025, 2180),
        (2182, 3887),
        (3889, 5049),
        (5052, 8079),
        (8082, 8180),
        (8182, 32_000),
    ];
    assert_eq!(agent.ports.value, ranges);
    assert_eq!(
        agent.ports.origin.to_string(),
        "MESOS_RESOURCES in /opt/mesosphere/etc/mesos-slave"
    );
    assert_eq!(
        agent.containerizers.value,
        [Containerizer::Mesos, Containerizer::Docker]
    );
    assert_eq!(
        agent.fetcher_cache_dir.as_ref().unwrap().value,
        Path::new("/var/lib/cache")
    );
    assert_eq!(agent.deadline().unwrap().value.as_secs(), 300);
    assert!(agent.ignored.is_empty());
    // One resource without the list around it.
    let one = Agent::new(vec![Given::flag("resources", RANGES)]).unwrap();
    assert_eq!(
        (one.ports.value.as_slice(), one.ports.origin.to_string()),
        (&ranges[..], "--resources".to_owned())
    );
}

#[test]
fn what_is_given_last_counts() {
    let variable = Given::variable("MESOS_HOSTNAME", "b").unwrap();
    let agent = Agent::new(vec![
        file("hostname", "a"),
        variable,
        Given::flag("hostname", "c"),
    ])
    .unwrap();
    let hostname = agent.hostname.unwrap();
    assert_eq!(
        (hostname.value.as_str(), hostname.origin.to_string()),
        ("c", "--hostname".to_owned())
    );
    assert_eq!(Given::variable("PATH", "/bin"), None);
}

#[test]
fn marathon_gives_up_before_the_agent_or_after_it() {
    let deadline = |launch: &str| {
        let given = vec![
            file("executor_registration_timeout", "10mins"),
            Given::variable("MARATHON_TASK_LAUNCH_TIMEOUT", launch).unwrap(),
        ];
        Agent::new(given).unwrap().deadline().unwrap().clone()
    };
    let capped = deadline("300000");
    assert_eq!(
        (capped.value.as_secs(), capped.origin.to_string()),
        (
            300,
            "MARATHON_TASK_LAUNCH_TIMEOUT in the environment".to_owned()
        )
    );
    assert_eq!(deadline("900000").value.as_secs(), 600);
}

#[test]
fn resources_are_written_in_two_ways() {
    let ports = |text: &str| {
        Agent::new(vec![Given::flag("resources", text)]).map(|agent| agent.ports.value)
    };
    for (text, ranges) in [
        ("ports:[1-2]", vec![(1, 2)]),
        (
            "cpus(*):4;mem:1024;ports(role):[31000-31009,8000-8000]",
            vec![(8000, 8000), (31_000, 31_009)],
        ),
        ("ports(a):[1-5];ports(b):[4-9, 10-12]", vec![(1, 12)]),
        ("cpus:4", vec![(31_000, 32_000)]),
        ("", vec![(31_000, 32_000)]),
        ("[]", vec![(31_000, 32_000)]),
        (
            r#"[{"name":"cpus","scalar":{"value":4}},{"name":"ports","ranges":{"range":[{"begin":1,"end":2}]}}]"#,
            vec![(1, 2)],
        ),
    ] {
        assert_eq!(ports(text).unwrap(), ranges, "{text}");
    }
    for text in [
        "ports",
        "ports:1-2",
        "ports:[1-2",
        "ports:[2-1]",
        "ports:[0-1]",
        "ports:[1-65536]",
        "ports:[]",
        "ports:[a-b]",
        ":4",
        "cpus:",
        "[",
        "{\"name\":1}",
        "[{\"nam\":1}]",
        "[{\"name\":\"ports\"}]",
    ] {
        assert!(ports(text).is_err(), "{text}");
    }
}

#[test]
fn resources_may_be_in_a_file() {
    let given = Given::flag("resources", "file:///var/lib/resources");
    assert_eq!(given.file(), Some(Path::new("/var/lib/resources")));
    assert_eq!(
        refusal(vec![given.clone()]),
        "resources from --resources is in a file of its own, which was not read"
    );
    let agent = Agent::new(vec![given.with_file(b"ports:[1-2]\n").unwrap()]).unwrap();
    assert_eq!(
        (agent.ports.value.as_slice(), agent.ports.origin.to_string()),
        (&[(1, 2)][..], "/var/lib/resources".to_owned())
    );
    assert_eq!(Given::flag("fetcher_cache_dir", "/a").file(), None);
}

#[test]
fn values_that_cannot_be_are_named_with_where_they_are_from() {
    assert_eq!(
        refusal(vec![file("containerizers", "lxc")]),
        "containerizers from /etc/mesos-slave/containerizers is \"lxc\", but must be docker and mesos, in order and with a comma between"
    );
    for (name, value) in [
        ("containerizers", ""),
        ("containerizers", "docker,docker"),
        ("executor_registration_timeout", "10"),
        ("fetcher_cache_size", "2"),
        ("sandbox_directory", "sandbox"),
        ("hostname", ""),
        ("cgroups_enable_cfs", "yes"),
        ("host_path_volume_force_creation", "/a:b"),
        ("docker_config", "config.json"),
    ] {
        let message = refusal(vec![file(name, value)]);
        assert!(
            message.starts_with(&format!("{name} from /etc/mesos-slave/{name}")),
            "{message}"
        );
    }
    for (name, value) in [
        ("MARATHON_TASK_LAUNCH_TIMEOUT", "5mins"),
        ("MARATHON_LOCAL_PORT_MIN", "0"),
    ] {
        let message = refusal(lines(&format!("{name}={value}")));
        assert!(message.contains(name), "{message}");
    }
    assert!(Given::file_of_flag(Path::new("/etc/mesos-slave/hostname"), b"\xff").is_err());
}

#[test]
fn s48_a_configuration_in_a_flag_does_not_show() {
    for value in ["wonderland", "{\"auths\": \"wonderland\"}"] {
        let given = file("docker_config", value);
        let shown = format!("{given:?} {:?}", Agent::new(vec![given.clone()]));
        assert!(!shown.contains("wonder"), "{shown}");
    }
}

#[test]
fn a_container_of_a_type_that_is_not_listed_is_refused() {
    let agent = Agent::new(vec![file("containerizers", "mesos")]).unwrap();
    let app = |kind: &str| {
        task(&json!({"id": "a", "container": {"type": kind, "docker": {"image": "b"}}}))
    };
    agent.admit(&app("MESOS").containers[0]).unwrap();
    let error = agent.admit(&app("DOCKER").containers[0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "container.type is DOCKER, which this agent does not run: its containerizers are mesos (from /etc/mesos-slave/containerizers)"
    );
}

#[test]
fn every_setting_is_told_with_where_it_is_from() {
    let agent = Agent::new(vec![
        file("containerizers", "mesos"),
        file("docker_config", "{\"auths\": \"wonderland\"}"),
        file("executor_registration_timeout", "10mins"),
    ])
    .unwrap();
    let lines: Vec<_> = agent
        .explain()
        .iter()
        .map(|line| format!("{} = {} ({})", line.name, line.value, line.origin))
        .collect();
    assert!(lines.is_sorted());
    assert!(lines.contains(&"containerizers = mesos (/etc/mesos-slave/containerizers)".to_owned()));
    assert!(
        lines.contains(
            &"docker_config = (given as it is) (/etc/mesos-slave/docker_config)".to_owned()
        )
    );
    assert!(lines.contains(&"executor_registration_timeout = 600s (/etc/mesos-slave/executor_registration_timeout)".to_owned()));
    assert!(lines.contains(&"resources = ports(*):[31000-32000] (the default)".to_owned()));
    assert!(!lines.concat().contains("wonder"));
}

#[test]
fn values_of_lines_may_be_quoted() {
    for (line, value) in [
        ("MESOS_HOSTNAME=a b", "a b"),
        ("MESOS_HOSTNAME = 'a\\b'", "a\\b"),
        ("MESOS_HOSTNAME=\"a \\\"b\\\" \\\\\"", "a \"b\" \\"),
        ("MESOS_HOSTNAME=\"", "\""),
        ("MESOS_HOSTNAME=a\\\nb", "ab"),
        ("MESOS_HOSTNAME=a\r", "a"),
        (
            "#MESOS_HOSTNAME=a\n;MESOS_HOSTNAME=b\nMESOS_HOSTNAME=c",
            "c",
        ),
    ] {
        let agent = Agent::new(lines(line)).unwrap();
        assert_eq!(agent.hostname.unwrap().value, value, "{line}");
    }
}
