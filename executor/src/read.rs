//! Whose format a document is of, told by its shape.

use serde_json::{Map, Value};

use crate::Error;
use crate::document::{self, Document, Names, Node};
use crate::error::LIMIT;
use crate::marathon::{app, pod};
use crate::mesos::task_info;
use crate::task::Task;

/// Reads the one task of a document: a Marathon app, a pod or a Mesos `TaskInfo`.
///
/// An app may stand where Marathon's answers have it: alone in a list, in `{"apps": […]}` or in
/// `{"app": …}`.
///
/// # Errors
/// When it is no JSON, is too large, is a fragment of an app, holds none or several tasks, has a field that is
/// not known, or breaks a rule of its format; the error names the field by its JSON path.
pub fn read(bytes: &[u8]) -> Result<Task, Error> {
    if bytes.len() > LIMIT {
        return Err(Error::TooLarge { size: bytes.len() });
    }
    let value = document::parse(bytes)?;
    let (path, value) = only_task("", &value)?;
    if let Value::Object(members) = value {
        not_a_fragment(members)?;
    }
    let shape = Shape::of(value);
    let names = match shape {
        Shape::Mesos => Names::Protobuf,
        Shape::App | Shape::Pod => Names::Exact,
    };
    let document = Document::new(names);
    let node = document.node(&path, value);
    let mut task = shape.read(&node)?;
    drop(node);
    task.ignored = document.into_ignored();
    Ok(task)
}

enum Shape {
    App,
    Pod,
    Mesos,
}

impl Shape {
    fn of(value: &Value) -> Self {
        let has = |name| value.get(name).is_some();
        let of_mesos = [
            "task_id", "taskId", "agent_id", "agentId", "slave_id", "slaveId", "command",
        ];
        if of_mesos.into_iter().any(has) {
            Self::Mesos
        } else if has("containers") {
            Self::Pod
        } else {
            Self::App
        }
    }

    fn read(&self, node: &Node<'_>) -> Result<Task, Error> {
        match self {
            Self::App => app::read(node),
            Self::Pod => pod::read(node),
            Self::Mesos => task_info::read(node),
        }
    }
}

/// The task in what Marathon answers with, and its place there.
fn only_task<'a>(path: &str, value: &'a Value) -> Result<(String, &'a Value), Error> {
    match value {
        Value::Array(elements) => match elements.as_slice() {
            [element] => Ok((format!("{path}[0]"), element)),
            _ => Err(Error::Several {
                path: path.to_owned(),
                count: elements.len(),
            }),
        },
        Value::Object(members) if members.len() == 1 => {
            match (members.get("apps"), members.get("app")) {
                (Some(apps), _) => only_task("apps", apps),
                (_, Some(app)) => Ok(("app".to_owned(), app)),
                _ => Ok((path.to_owned(), value)),
            }
        }
        _ => Ok((path.to_owned(), value)),
    }
}

/// Refuses what documentation shows of an app without the rest, and says what the rest is.
fn not_a_fragment(members: &Map<String, Value>) -> Result<(), Error> {
    let has = |name| members.contains_key(name);
    if has("apps") || has("groups") {
        return Err(Error::Fragment {
            found: "a group",
            missing: "hand over one of its apps alone",
        });
    }
    if has("id") || has("command") || has("task_id") || has("taskId") {
        return Ok(());
    }
    if has("docker") && !has("container") {
        return Err(Error::Fragment {
            found: "a container",
            missing: "put it into an app, as {\"id\": \"/name\", \"container\": …}",
        });
    }
    let alone = members.keys().all(|name| name == "container");
    if has("container") && alone {
        return Err(Error::Fragment {
            found: "the container of an app",
            missing: "give the app an id beside it, as \"id\": \"/name\"",
        });
    }
    Ok(())
}
