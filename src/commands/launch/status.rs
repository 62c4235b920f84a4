//! What an executor is told of a task: one line of JSON for each change (docs/executor.md).

use std::net::IpAddr;

use serde::Serialize;

use crate::report::{Failure, Report, milliseconds, now};

/// Characters of a message that are told.
const LONGEST: usize = 1000;

/// How far a task is, in the words of Mesos without `TASK_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum State {
    /// What it needs is being fetched and made.
    Starting,
    /// All of its containers run.
    Running,
    /// It has been asked to end.
    Killing,
    /// It has ended by itself, and well.
    Finished,
    /// It has ended otherwise, or never run.
    Failed,
    /// It has ended as it was asked to.
    Killed,
}

/// Why a task is in a state, in the words of Mesos (`TaskStatus.Reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Reason {
    /// The task's definition cannot be used.
    #[serde(rename = "REASON_TASK_INVALID")]
    Invalid,
    /// It did not come to the task.
    #[serde(rename = "REASON_CONTAINER_LAUNCH_FAILED")]
    Launch,
    /// The kernel killed it, as memory ran out.
    #[serde(rename = "REASON_CONTAINER_LIMITATION_MEMORY")]
    Memory,
    /// It wrote more than it may.
    #[serde(rename = "REASON_CONTAINER_LIMITATION_DISK")]
    Disk,
    /// Its time was over.
    #[serde(rename = "REASON_MAX_COMPLETION_TIME_REACHED")]
    TimeOver,
    /// It was, or was not, healthy.
    #[serde(rename = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")]
    Health,
    /// Something else was found out about it.
    #[serde(rename = "REASON_TASK_CHECK_STATUS_UPDATED")]
    Check,
}

/// A port of the task's, as it came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Port {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The port of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_port: Option<u16>,
    /// The port inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_port: Option<u16>,
    /// What it is known by in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_port: Option<u16>,
    /// `tcp`, `udp`, or both with a comma between.
    pub(super) protocol: String,
    /// What people attached to it.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(super) labels: std::collections::BTreeMap<String, String>,
}

/// How one of a task's containers is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ContainerStatus {
    /// Its name within the task.
    pub(super) name: String,
    /// Its ID, for `ucr exec` and the like.
    pub(super) id: String,
    /// The number of its task for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    /// What it ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<u8>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signal: Option<i32>,
    /// Whether the kernel killed it for memory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) oom: bool,
}

/// A line. What is not known, or makes no sense, is left out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    /// How far it is.
    pub(super) state: State,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Reason>,
    /// Whether it is healthy, where that is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthy: Option<bool>,
    /// What `ucr` was at when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<String>,
    /// The stable name of what failed (docs/report.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// Whether the same may succeed later, or on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retryable: Option<bool>,
    /// Bytes of images and files that have come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// Bytes that there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<u64>,
    /// The number of the first container's task for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    /// The first of its own addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    /// Its own addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<IpAddr>,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ports: Vec<Port>,
    /// Its containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) containers: Vec<ContainerStatus>,
    /// What `ucr launch` ends with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<u8>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signal: Option<i32>,
    /// Whether the kernel killed it for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) oom: Option<bool>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// A line with what all of them have.
#[derive(Serialize)]
struct Stamped<'a> {
    time: f64,
    task: &'a str,
    #[serde(flatten)]
    line: Line,
    /// Since the command began.
    seconds: f64,
}

impl Line {
    /// Of a task that is in `state`, and nothing else.
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            reason: None,
            healthy: None,
            phase: None,
            code: None,
            retryable: None,
            bytes: None,
            total: None,
            pid: None,
            ip: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            containers: Vec::new(),
            exit_code: None,
            signal: None,
            oom: None,
            message: None,
        }
    }

    /// Of a task that failed before it ran.
    pub(super) fn failed(failure: &Failure, message: String) -> Self {
        Self {
            phase: Some(failure.phase.to_owned()),
            code: Some(failure.code.to_owned()),
            retryable: Some(failure.retryable),
            message: Some(message),
            ..Self::new(State::Failed)
        }
    }
}

/// Who is told of one task.
#[derive(Debug)]
pub(super) struct Told {
    task: String,
    began: f64,
    report: Report,
}

impl Told {
    /// Tells `report` of `task`.
    pub(super) fn new(task: &str, report: Report) -> Self {
        Self {
            task: task.to_owned(),
            began: now(),
            report,
        }
    }

    /// Tells a line.
    pub(super) fn tell(&self, line: Line) {
        let time = now();
        let cut = |text: String| text.chars().take(LONGEST).collect();
        let line = Stamped {
            time,
            task: &self.task,
            line: Line {
                message: line.message.map(cut),
                ..line
            },
            seconds: milliseconds(time - self.began),
        };
        // Plain fields: there is nothing to fail on.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        self.report.tell_text(&text);
    }
}
