//! What holds for every input, whoever made it.
//!
//! Checked of mutated seeds by the tests beside this, and of what libFuzzer finds by the targets
//! in `fuzz/`, which include this file.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Component, Path};

use ucr_executor::agent::{Agent, Given};
use ucr_executor::command::{Semantics, merge};
use ucr_executor::environment::{Resolved, Surroundings, environment};
use ucr_executor::read;
use ucr_executor::task::{
    Container, HealthCheck, Limit, Port, Probe, ProbePort, Task, VolumeSource,
};

/// Checks that any bytes are refused in words, or are a task that whoever runs it can rely on.
pub fn task(bytes: &[u8]) {
    let task = match read(bytes) {
        Ok(task) => task,
        Err(error) => {
            explain(&error);
            return;
        }
    };
    assert_eq!(read(bytes).unwrap(), task);
    // Whoever reads it as JSON finds one document, too.
    serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert!(
        !task.id.is_empty() && !task.id.contains('/'),
        "{:?}",
        task.id
    );
    assert!(!task.containers.is_empty());
    task.ports.iter().for_each(can_be_mapped);
    for container in &task.containers {
        can_be_made(container, &task);
        is_told(container, &task);
    }
}

/// Checks that any lines are refused in words, or set what can be set.
pub fn agent(bytes: &[u8]) {
    let path = Path::new("/etc/mesos-slave");
    let given = match Given::lines(path, bytes) {
        Ok(given) => given,
        Err(error) => return explain(&error),
    };
    match Agent::new(given) {
        Ok(agent) => {
            let ports = &agent.ports.value;
            assert!(
                ports
                    .iter()
                    .all(|(first, last)| *first > 0 && first <= last)
            );
            assert!(ports.is_sorted());
            assert!(!agent.explain().is_empty());
        }
        Err(error) => explain(&error),
    }
}

fn can_be_mapped(port: &Port) {
    assert!(!port.protocols.is_empty(), "{port:?}");
    assert!(port.container.is_some() || port.host.is_some(), "{port:?}");
}

fn can_be_made(container: &Container, task: &Task) {
    let resources = &container.resources;
    for number in [resources.cpus, resources.mem, resources.disk] {
        assert!((0.0..=1e13).contains(&number), "{number}");
    }
    let limits = [
        (resources.cpus_limit, resources.cpus),
        (resources.mem_limit, resources.mem),
    ];
    for (limit, least) in limits {
        assert!(
            !matches!(limit, Some(Limit::To(limit)) if limit < least),
            "{limit:?}"
        );
    }
    let mut targets = BTreeSet::new();
    for volume in &container.volumes {
        stays_within(&volume.target);
        assert!(targets.insert(&volume.target), "{:?}", volume.target);
        match &volume.source {
            VolumeSource::Host(path) => assert!(path.is_absolute(), "{path:?}"),
            VolumeSource::Sandbox(path) => {
                assert!(path.is_relative(), "{path:?}");
                stays_within(path);
            }
            VolumeSource::Shared(name) => assert!(task.shared.contains_key(name), "{name:?}"),
            VolumeSource::Image(_) | VolumeSource::Secret(_) => {}
        }
    }
    for uri in &container.fetch {
        assert!(!uri.value.is_empty(), "{uri:?}");
        assert!(!uri.extract || !uri.executable, "{uri:?}");
        if let Some(output) = &uri.output {
            assert!(output.is_relative(), "{output:?}");
            stays_within(output);
        }
    }
    container
        .health
        .iter()
        .chain(&container.check)
        .for_each(|check| can_be_done(check, task));
}

fn stays_within(path: &Path) {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
    assert!(path.components().all(is_plain), "{path:?}");
    assert!(path.file_name().is_some(), "{path:?}");
}

fn can_be_done(check: &HealthCheck, task: &Task) {
    assert!(!check.timeout.is_zero(), "{check:?}");
    match &check.probe {
        Probe::Command(command) => {
            if let Err(error) = merge(command, &[], &[], Semantics::Mesos) {
                explain(&error);
            }
        }
        Probe::Http { port, .. } | Probe::Tcp { port, .. } => match port {
            ProbePort::Number(number) => assert_ne!(*number, 0),
            ProbePort::Index(index) => assert!(*index < task.ports.len(), "{check:?}"),
        },
    }
    if let Probe::Http { path, .. } = &check.probe {
        let is_one_line =
            path.starts_with('/') && !path.contains(|c: char| c.is_control() || c == ' ');
        assert!(is_one_line, "{path:?}");
    }
}

/// What it is told of, and what runs, can be handed to the kernel.
fn is_told(container: &Container, task: &Task) {
    let resolve = |port: &Port| Resolved {
        host: port.host.map(|_| 31_000),
        container: port.container.map(|_| 8080),
    };
    let ports: Vec<Resolved> = task.ports.iter().map(resolve).collect();
    let around = Surroundings {
        host: "agent.example",
        addresses: &[],
        ports: &ports,
        sandbox: "/mnt/mesos/sandbox",
    };
    let layers = environment(task, container, &around);
    for layer in [&layers.below, &layers.above] {
        let names: BTreeSet<&str> = layer.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), layer.len());
        for name in names {
            assert!(!name.is_empty() && !name.contains(['=', '\0']), "{name:?}");
        }
    }
    let image = ["entry".to_owned(), "point".to_owned()];
    for semantics in [Semantics::Mesos, Semantics::Docker, Semantics::Appc] {
        match merge(&container.command, &image, &image, semantics) {
            Ok(merged) => assert!(!merged[0].is_empty(), "{merged:?}"),
            Err(error) => explain(&error),
        }
    }
}

/// The whole chain of an error is of lines that a terminal can be given.
fn explain(error: &dyn Error) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && !text.contains(char::is_control),
        "{text:?}"
    );
    if let Some(source) = error.source() {
        explain(source);
    }
}
