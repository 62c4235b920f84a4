//! A Marathon app, of any version since 1.3.

use std::time::Duration;

use super::container::Container;
use super::ports::Said;
use super::values::{self, Secrets};
use super::{checks, fetch, networks, ports, resources};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{self, Command, Containerizer, Format, Network, Task};

pub(crate) static APP: Known = Known {
    read: &[
        "args",
        "check",
        "cmd",
        "container",
        "cpus",
        "disk",
        "env",
        "executor",
        "fetch",
        "gpus",
        "healthChecks",
        "id",
        "ipAddress",
        "labels",
        "mem",
        "networks",
        "portDefinitions",
        "ports",
        "requirePorts",
        "resourceLimits",
        "secrets",
        "taskKillGracePeriodSeconds",
        "tty",
        "uris",
        "user",
        "version",
    ],
    // What decides where, when and how often a task is started, and what became of it.
    ignored: &[
        "acceptedResourceRoles",
        "backoffFactor",
        "backoffSeconds",
        "constraints",
        "dependencies",
        "deployments",
        "executorResources",
        "instances",
        "killSelection",
        "lastTaskFailure",
        "maxLaunchDelaySeconds",
        "readinessCheckResults",
        "readinessChecks",
        "residency",
        "role",
        "storeUrls",
        "taskRateLimit",
        "taskStats",
        "tasks",
        "tasksHealthy",
        "tasksRunning",
        "tasksStaged",
        "tasksStats",
        "tasksUnhealthy",
        "unreachableStrategy",
        "upgradeStrategy",
        "versionInfo",
    ],
};

/// How long a task may take to end, where nothing is said (Mesos' own).
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// Reads an app.
pub(crate) fn read(node: &Node<'_>) -> Result<Task, Error> {
    let app = node.fields(&APP)?;
    let id = names::id(&app.need("id", "an app has one, as /group/app")?)?;
    executor(&app)?;
    let secrets = Secrets::read(&app)?;
    let container = app.read("container", |node| Container::read(node, &secrets))?;
    let address = app.read("ipAddress", networks::ip_address)?;
    let networks = networks::of_app(
        &app,
        container
            .as_ref()
            .and_then(|container| container.docker.as_ref()),
        address.as_ref(),
    )?;
    let command = command(&app, container.as_ref())?;
    let container = container.unwrap_or_else(Container::of_host);
    let is_docker = container.containerizer == Containerizer::Docker;
    check_networks(&app, &networks, is_docker)?;
    let said = said(&app, &container, address)?;
    let ports = ports::of_app(&app, &said, &networks)?;
    let labels = values::labels(&app)?;
    let grace = app.read("taskKillGracePeriodSeconds", |node| {
        node.integer(0..=u32::MAX)
    })?;
    Ok(Task {
        id: names::task_id(&id),
        containers: vec![task::Container {
            name: names::task_id(&id),
            path: "container".to_owned(),
            command,
            env: values::variables(&app, "env", &secrets)?,
            user: app.read("user", |node| node.filled().map(str::to_owned))?,
            resources: resources::read(&app, app.get("resourceLimits").as_ref())?,
            fetch: fetch::of_app(&app)?,
            health: checks::of_app(&app, &ports)?,
            check: app.read("check", |node| checks::check(node, &ports))?,
            terminal: app.is("tty")?.then_some((0, 0)),
            ..of(container)
        }],
        format: Format::App {
            id,
            version: app.read("version", Node::owned)?,
            is_docker,
        },
        networks,
        ports,
        offered: Vec::new(),
        shared: Default::default(),
        labels,
        grace: grace.map_or(GRACE, |seconds| Duration::from_secs(u64::from(seconds))),
        max_completion: None,
        ignored: Vec::new(),
    })
}

/// What `container` says of the container; the rest is the app's.
fn of(container: Container<'_>) -> task::Container {
    task::Container {
        name: String::new(),
        path: String::new(),
        containerizer: container.containerizer,
        image: container.image,
        command: Command::default(),
        env: Vec::new(),
        env_prefix: None,
        user: None,
        resources: task::Resources::default(),
        volumes: container.volumes,
        fetch: Vec::new(),
        health: Vec::new(),
        check: None,
        hostname: None,
        privileged: container.privileged,
        parameters: container.parameters,
        linux: container.linux,
        terminal: None,
        labels: Default::default(),
    }
}

fn executor(app: &Fields<'_>) -> Result<(), Error> {
    let executor = app.read("executor", Node::owned)?.unwrap_or_default();
    if executor.is_empty() || executor == "//cmd" {
        return Ok(());
    }
    let why = "another program would run the task: leave it out, or say //cmd";
    Err(app.unsupported("executor", why))
}

/// What runs: `cmd`, `args`, or what the image says.
fn command(app: &Fields<'_>, container: Option<&Container<'_>>) -> Result<Command, Error> {
    let why = "cmd runs in a shell, args are given to the image's ENTRYPOINT";
    if app.has("cmd") && app.says("args") {
        return Err(app.together("cmd", "args", why));
    }
    if let Some(cmd) = app.get("cmd") {
        return Ok(Command {
            shell: true,
            value: Some(cmd.filled()?.to_owned()),
            ..Command::default()
        });
    }
    let arguments = app.each("args", Node::owned)?;
    let image = container.and_then(|container| container.image.as_ref());
    if image.is_none() && arguments.first().is_none_or(String::is_empty) {
        let why = "without an image nothing else says what runs: give cmd, args or a container with an image";
        return Err(app.missing("cmd", why));
    }
    Ok(Command {
        // Without an image the first of them is the program.
        value: arguments.first().filter(|_| image.is_none()).cloned(),
        arguments,
        ..Command::default()
    })
}

fn check_networks(app: &Fields<'_>, networks: &[Network], is_docker: bool) -> Result<(), Error> {
    if is_docker && networks.len() > 1 {
        return Err(app.rule("networks", "has one network for a container of type DOCKER"));
    }
    let ports = ["portDefinitions", "ports"]
        .into_iter()
        .find(|name| app.says(name));
    match ports {
        Some(ports) if app.has("ipAddress") => {
            let why = "a task with an address of its own gets no ports of the host";
            Err(app.together(ports, "ipAddress", why))
        }
        _ => Ok(()),
    }
}

/// What an app says of its ports, wherever it does.
fn said<'a>(
    app: &Fields<'a>,
    container: &Container<'a>,
    address: Option<networks::IpAddress<'a>>,
) -> Result<Said<'a>, Error> {
    let docker = container.docker.as_ref();
    let older = docker.is_some_and(|docker| docker.has("network"));
    let discovered = match address.and_then(|address| address.ports) {
        Some(ports) if !ports.list()?.is_empty() => Some(ports),
        _ => None,
    };
    let Some(ports) = discovered else {
        return Ok(Said {
            mappings: container.mappings.clone(),
            discovered: false,
            older: older || app.has("ipAddress"),
        });
    };
    if container.containerizer == Containerizer::Docker {
        return Err(ports.rule("belong to a container of type MESOS: use container.portMappings"));
    }
    if let Some(mappings) = &container.mappings {
        return Err(Error::Together {
            path: ports.path,
            other: mappings.path.clone(),
            why: "the first is the older form of the second",
        });
    }
    Ok(Said {
        mappings: Some(ports),
        discovered: true,
        older: true,
    })
}
