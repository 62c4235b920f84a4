//! `TaskInfo`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::container::Container;
use super::{checks, command, networks, resources, values};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::GRACE;
use crate::task::{self, Command, Format, Resources, Task, Value};

pub(crate) static TASK: Known = Known {
    read: &[
        "check",
        "command",
        "container",
        "discovery",
        "executor",
        "health_check",
        "kill_policy",
        "labels",
        "limits",
        "max_completion_time",
        "name",
        "resources",
        "task_id",
    ],
    ignored: &["agent_id", "data", "slave_id"],
};

/// Reads a `TaskInfo`.
pub(crate) fn read(node: &Node<'_>) -> Result<Task, Error> {
    let task = node.fields(&TASK)?;
    let id = task_id(&values::id(&task.need("task_id", "a task has one")?)?)?;
    executor(&task)?;
    let name = task
        .read("name", Node::owned)?
        .unwrap_or_else(|| id.clone());
    let container = task.read("container", Container::read)?;
    let container = container.unwrap_or_else(Container::of_host);
    let command_node = task.need(
        "command",
        "it says what runs; for what the image says, {\"shell\": false}",
    )?;
    let said = command::read(&command_node)?;
    if container.image.is_none() && said.command.value.is_none() {
        return Err(
            command_node.rule("has no value, and without an image nothing else says what runs")
        );
    }
    let given = resources::read(&task)?;
    let (networks, ports) = networks::discovered(&task, container.networks.clone())?;
    let mut env = said.env;
    // Mesos' own command executor sets it over what the framework says.
    env.extend(
        given
            .role
            .map(|role| ("MESOS_ALLOCATION_ROLE".to_owned(), Value::Plain(role))),
    );
    Ok(Task {
        id,
        format: Format::Mesos,
        containers: vec![task::Container {
            command: said.command,
            env,
            user: said.user,
            resources: given.resources,
            fetch: said.fetch,
            health: task
                .read("health_check", checks::health)?
                .into_iter()
                .collect(),
            check: task.read("check", checks::check)?,
            ..of(container, name)
        }],
        networks,
        ports,
        offered: given.ports,
        shared: BTreeMap::new(),
        labels: values::labels(&task)?,
        grace: task.read("kill_policy", grace)?.flatten().unwrap_or(GRACE),
        max_completion: task.read("max_completion_time", values::duration)?,
        ignored: Vec::new(),
    })
}

/// What `container` says of the container; the rest is the task's.
fn of(container: Container, name: String) -> task::Container {
    task::Container {
        name,
        path: "container".to_owned(),
        containerizer: container.containerizer,
        image: container.image,
        command: Command::default(),
        env: Vec::new(),
        env_prefix: None,
        user: None,
        resources: Resources::default(),
        volumes: container.volumes,
        fetch: Vec::new(),
        health: Vec::new(),
        check: None,
        hostname: container.hostname,
        privileged: container.privileged,
        parameters: container.parameters,
        linux: container.linux,
        terminal: container.terminal,
        labels: BTreeMap::new(),
    }
}

static KILL_POLICY: Known = Known::all(&["grace_period"]);

fn grace(node: &Node<'_>) -> Result<Option<Duration>, Error> {
    node.fields(&KILL_POLICY)?
        .read("grace_period", values::duration)
}

/// An ID that can be a part of a path (`common/validation.cpp`, `validateID`).
fn task_id(node: &Node<'_>) -> Result<String, Error> {
    let text = node.filled()?;
    let is_wrong = |c: char| c.is_control() || c.is_whitespace() || c == '/' || c == '\\';
    if text == "." || text == ".." || text.len() > 255 || text.contains(is_wrong) {
        let wanted =
            "an ID of at most 255 bytes without spaces and slashes, and neither \".\" nor \"..\"";
        return Err(node.grammar(text, wanted));
    }
    Ok(text.to_owned())
}

/// Refuses a task that another program is to run.
fn executor(task: &Fields<'_>) -> Result<(), Error> {
    let Some(executor) = task.get("executor") else {
        return Ok(());
    };
    let members = executor.members()?;
    if let Some((_, command)) = members.iter().find(|(name, _)| *name == "command") {
        let why = "another program would run the task: give the task a command and container of its own in its place";
        return Err(command.unsupported(why));
    }
    executor.ignore();
    Ok(())
}
