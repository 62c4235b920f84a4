//! The variables that a task is told of its surroundings by.
//!
//! What the agent itself was started with is no part of them: Mesos hands that on, with paths of
//! the host and tokens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::task::{Container, Containerizer, Format, ImageName, Network, Port, Task, Value};

/// What is known only once a task is about to start.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The name of the host, as others reach it.
    pub host: &'a str,
    /// The task's own addresses; none on the network of the host.
    pub addresses: &'a [IpAddr],
    /// Its ports, in the order of [`Task::ports`].
    pub ports: &'a [Resolved],
    /// The sandbox, as the container sees it.
    pub sandbox: &'a str,
}

/// A port, once it is known: no number of it is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The port of the host, where one leads inside.
    pub host: Option<u16>,
    /// The port inside; none on the network of the host.
    pub container: Option<u16>,
}

/// Variables, in two layers with those of the image between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// What the image's variables replace.
    pub below: Vec<(String, Value)>,
    /// What replaces the image's variables; each name is there once.
    pub above: Vec<(String, Value)>,
}

/// The longest value of a label that becomes a variable, and of its name with the prefix.
const LABEL_LIMIT: usize = 512;
const LABEL_PREFIX: &str = "MARATHON_APP_LABEL_";

/// What a container of a task is told.
///
/// For apps a variable of the user's wins over Marathon's, for pods the other way round, as in
/// Marathon (`TaskBuilder.scala`, `TaskGroupBuilder.scala`). Secrets that are kept elsewhere are
/// still references.
pub fn environment(task: &Task, container: &Container, around: &Surroundings<'_>) -> Layers {
    let mut below = Variables::default();
    below.set("MESOS_SANDBOX", around.sandbox);
    if let Some(address) = around.addresses.first() {
        below.set("MESOS_CONTAINER_IP", address.to_string());
    }
    let mut above = Variables::default();
    match &task.format {
        Format::Mesos => {
            below.set("MESOS_TASK_ID", task.id.as_str());
            above.extend(&container.env);
        }
        Format::App {
            id,
            version,
            is_docker,
        } => {
            above.of_app(id, version.as_deref(), task, container);
            if *is_docker {
                above.image(container);
            }
            above.labels(&task.labels);
            above.ports(task, container, around);
            above.extend(&container.env);
        }
        Format::Pod { id, version } => {
            above.extend(&container.env);
            above.set("HOST", around.host);
            above.of_pod(id, version.as_deref(), task, container);
            let mut labels = task.labels.clone();
            labels.extend(container.labels.clone());
            above.labels(&labels);
            above.endpoints(task, container, around.ports);
        }
    }
    Layers {
        below: below.latest(),
        above: above.latest(),
    }
}

/// Variables in order, of which a later one replaces an earlier.
#[derive(Default)]
struct Variables(Vec<(String, Value)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.insert(name, Value::Plain(value.into()));
    }

    fn insert(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    /// Each name once, with its last value.
    fn latest(self) -> Vec<(String, Value)> {
        let mut seen = BTreeSet::new();
        let mut latest = self.0;
        latest.reverse();
        latest.retain(|(name, _)| seen.insert(name.clone()));
        latest.reverse();
        latest
    }

    fn extend(&mut self, env: &[(String, Value)]) {
        env.iter()
            .for_each(|(name, value)| self.insert(name, value.clone()));
    }

    fn of_app(&mut self, id: &str, version: Option<&str>, task: &Task, container: &Container) {
        self.set("MESOS_TASK_ID", task.id.as_str());
        self.set("MARATHON_APP_ID", id);
        if let Some(version) = version {
            self.set("MARATHON_APP_VERSION", version);
        }
        self.resources("MARATHON_APP_RESOURCE_", container);
        self.set("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE");
    }

    fn of_pod(&mut self, id: &str, version: Option<&str>, task: &Task, container: &Container) {
        self.set("MESOS_TASK_ID", format!("{}.{}", task.id, container.name));
        self.set("MESOS_EXECUTOR_ID", task.id.as_str());
        self.set("MARATHON_APP_ID", id);
        if let Some(version) = version {
            self.set("MARATHON_APP_VERSION", version);
        }
        self.set("MARATHON_CONTAINER_ID", container.name.as_str());
        self.set("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE");
        self.resources("MARATHON_CONTAINER_RESOURCE_", container);
    }

    fn resources(&mut self, prefix: &str, container: &Container) {
        let resources = &container.resources;
        let amounts = [
            ("CPUS", resources.cpus),
            ("MEM", resources.mem),
            ("DISK", resources.disk),
        ];
        for (name, amount) in amounts {
            // As Marathon writes them: never without a point.
            self.set(&format!("{prefix}{name}"), format!("{amount:?}"));
        }
        self.set(&format!("{prefix}GPUS"), resources.gpus.to_string());
    }

    fn image(&mut self, container: &Container) {
        let image = container.image.as_ref().map(|image| &image.name);
        let is_docker = container.containerizer == Containerizer::Docker;
        if let (Some(ImageName::Docker(name)), true) = (image, is_docker) {
            self.set("MARATHON_APP_DOCKER_IMAGE", name.as_str());
        }
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) {
        let short = |(key, value): &(&String, &String)| {
            key.chars().count() < LABEL_LIMIT - LABEL_PREFIX.len()
                && value.chars().count() < LABEL_LIMIT
        };
        let labels = labels.iter().filter(short);
        let named: Vec<_> = labels.map(|(key, value)| (escaped(key), value)).collect();
        let mut names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        self.set("MARATHON_APP_LABELS", names.join(" "));
        for (name, value) in &named {
            self.set(&format!("{LABEL_PREFIX}{name}"), value.as_str());
        }
    }

    /// `HOST`, `PORT`, `PORT0`, `PORTS` and the others of an app.
    fn ports(&mut self, task: &Task, container: &Container, around: &Surroundings<'_>) {
        let prefix = container.env_prefix.as_deref().unwrap_or_default();
        self.set(&format!("{prefix}HOST"), around.host);
        let ports: Vec<_> = task.ports.iter().zip(around.ports).collect();
        for (index, (port, resolved)) in ports.iter().enumerate() {
            if let Some(inside) = resolved.container {
                self.set(&format!("UCR_CONTAINER_PORT{index}"), inside.to_string());
            }
            let Some(effective) = effective(resolved) else {
                continue;
            };
            let effective = effective.to_string();
            self.set(&format!("{prefix}PORT{index}"), effective.as_str());
            let named = requested(port).map_or(effective.clone(), |port| port.to_string());
            self.set(&format!("{prefix}PORT_{named}"), effective.as_str());
            if let Some(name) = &port.name {
                self.set(&format!("{prefix}PORT_{}", name.to_uppercase()), effective);
            }
        }
        if ports.is_empty() {
            return;
        }
        // What is not given out, but was asked for by number, is not among them.
        let hosts = ports.iter().filter_map(|(_, resolved)| resolved.host);
        let drawn = ports
            .iter()
            .filter(|(port, resolved)| resolved.host.is_none() && requested(port).is_none());
        let drawn = drawn.filter_map(|(_, resolved)| resolved.container);
        let all: Vec<String> = hosts.chain(drawn).map(|port| port.to_string()).collect();
        if let Some(first) = all.first() {
            self.set(&format!("{prefix}PORT"), first.as_str());
        }
        self.set(&format!("{prefix}PORTS"), all.join(","));
    }

    /// `ENDPOINT_…` and the others of a pod.
    fn endpoints(&mut self, task: &Task, container: &Container, ports: &[Resolved]) {
        let prefix = container.env_prefix.as_deref().unwrap_or_default();
        let prefix = prefix.to_uppercase();
        let is_host = task.networks.contains(&Network::Host) || task.networks.is_empty();
        for (port, resolved) in task.ports.iter().zip(ports) {
            let Some(name) = port.name.as_deref().map(escaped) else {
                continue;
            };
            let seen = if is_host {
                resolved.host
            } else {
                resolved.container
            };
            let variables = [
                ("ENDPOINT_", seen),
                ("EP_HOST_", resolved.host),
                ("EP_CONTAINER_", resolved.container),
            ];
            for (kind, number) in variables {
                if let Some(number) = number {
                    self.set(&format!("{prefix}{kind}{name}"), number.to_string());
                }
            }
        }
    }
}

/// By which number a task is reached at a port.
fn effective(port: &Resolved) -> Option<u16> {
    port.host.or(port.container)
}

/// The number that was asked for: that inside, or that of the host.
fn requested(port: &Port) -> Option<u16> {
    let asked = match port.container {
        Some(inside) => Some(inside),
        None => port.service.or(port.host),
    };
    asked.filter(|port| *port != 0)
}

/// A text as it can be in the name of a variable.
fn escaped(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c.to_ascii_uppercase());
        } else if !name.ends_with('\u{0}') {
            // A run of others becomes one: it is marked until the run ends.
            name.push('\u{0}');
        }
    }
    name.replace('\u{0}', "_")
}

#[cfg(test)]
mod tests;
