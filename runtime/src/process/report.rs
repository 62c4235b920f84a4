//! What the supervisor tells whoever started the container, as JSON lines.
//!
//! The lines go on where those of `ucr` ended, to the same files; docs/report.md describes both.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use ucr_sys::process::Ended;

use super::outcome::{Note, Outcome};
use crate::id::ContainerId;
use crate::network::{About, Protocol, Published};
use crate::plan::Report;

/// How long a reader may keep the supervisor waiting that has no room for a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// Characters of a message that are told.
const LONGEST: usize = 1000;

/// Who is told; in pid 1, nobody.
#[derive(Debug)]
pub(super) struct Reporter {
    image: String,
    began: f64,
    sinks: RefCell<Vec<OwnedFd>>,
}

/// One line. The fields stand in the order of those that `ucr` writes.
#[derive(Serialize, Default)]
struct Line<'a> {
    time: f64,
    event: &'static str,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    image: &'a str,
    container: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<Port>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    seconds: f64,
}

/// A port of the host that leads to the container, or is kept for it.
#[derive(Serialize)]
struct Port {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    host: u16,
    container: u16,
    protocol: Protocol,
}

impl Port {
    fn of(published: &Published) -> Option<Self> {
        Some(Self {
            address: published.address,
            host: published.host?,
            container: published.container,
            protocol: published.protocol,
        })
    }
}

impl Reporter {
    /// Tells those whom the plan names, by descriptors that this process has.
    pub(super) fn new(plan: Option<&Report>, sinks: Vec<OwnedFd>) -> Self {
        Self {
            image: plan.map(|plan| plan.image.clone()).unwrap_or_default(),
            began: plan.map_or_else(now, |plan| plan.began),
            sinks: RefCell::new(sinks),
        }
    }

    /// Lets go of all readers, who would else wait for this process too.
    pub(super) fn close(&self) {
        self.sinks.borrow_mut().clear();
    }

    /// The task runs, as the process `task` of the host unless it has ended already.
    pub(super) fn started(&self, container: &ContainerId, task: Option<i32>, network: &About) {
        let ports: Vec<Port> = network.ports.iter().filter_map(Port::of).collect();
        self.tell(Line {
            event: "started",
            phase: "run",
            container: container.as_str(),
            pid: task,
            ip: network.addresses().next(),
            ports: (!ports.is_empty()).then_some(ports),
            ..Line::default()
        });
    }

    /// All is over, and what was made for the container is gone but for the left-overs.
    pub(super) fn ended(&self, container: &ContainerId, outcome: &Outcome) {
        for leftover in &outcome.leftovers {
            self.tell(Line {
                event: "left-behind",
                phase: "cleanup",
                container: container.as_str(),
                message: Some(message(leftover)),
                ..Line::default()
            });
        }
        let last = match &outcome.error {
            Some(error) => {
                let code = error.code();
                Line {
                    event: "failed",
                    phase: "launch",
                    code: Some(code.name()),
                    retryable: Some(code.is_retryable()),
                    message: Some(message(error)),
                    ..Line::default()
                }
            }
            None => Line {
                event: "exited",
                phase: "run",
                signal: match outcome.ended {
                    Some(Ended::Signaled(signal)) => Some(signal),
                    _ => None,
                },
                oom: Some(outcome.notes.iter().any(Note::is_out_of_memory)),
                ..Line::default()
            },
        };
        self.tell(Line {
            container: container.as_str(),
            exit_code: Some(outcome.code),
            ..last
        });
    }

    fn tell(&self, line: Line<'_>) {
        let mut sinks = self.sinks.borrow_mut();
        if sinks.is_empty() {
            return;
        }
        let now = now();
        let line = Line {
            time: now,
            seconds: milliseconds(now - self.began),
            image: &self.image,
            ..line
        };
        // A struct of plain fields: there is nothing to fail on.
        let Ok(mut text) = serde_json::to_vec(&line) else {
            return;
        };
        text.push(b'\n');
        // A reader that has gone, or takes nothing, does not hold up a container.
        sinks.retain(|sink| ucr_sys::line::write(sink.as_fd(), &text, PATIENCE).is_ok());
    }
}

/// Seconds since 1970, to the millisecond.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default().as_secs_f64())
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}

/// An error and its causes in one line that is not too long.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::outcome::Error;
    use super::*;
    use crate::failure::{Cause, Failure, Step};

    fn told(outcome: &Outcome) -> serde_json::Value {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let plan = Report {
            sinks: vec![],
            image: "r.example/x:\"1".to_owned(),
            began: 0.0,
        };
        let reporter = Reporter::new(Some(&plan), vec![writer.into()]);
        reporter.ended(&"c".parse().unwrap(), outcome);
        reporter.close();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn outcome(code: u8) -> Outcome {
        Outcome {
            code,
            ended: None,
            error: None,
            notes: Vec::new(),
            leftovers: Vec::new(),
        }
    }

    #[test]
    fn an_exit_has_its_code_signal_and_memory() {
        let killed = told(&Outcome {
            ended: Some(Ended::Signaled(9)),
            notes: vec![Note::TaskOutOfMemory { limit: None }],
            ..outcome(137)
        });
        assert_eq!(killed["event"], "exited");
        assert_eq!(killed["exit_code"], 137);
        assert_eq!(killed["signal"], 9);
        assert_eq!(killed["oom"], true);
        assert_eq!(killed["image"], "r.example/x:\"1");
        assert_eq!(killed.get("code"), None);
        let exited = told(&Outcome {
            ended: Some(Ended::Exited(137)),
            ..outcome(137)
        });
        assert_eq!(exited.get("signal"), None);
        assert_eq!(exited["oom"], false);
    }

    #[test]
    fn a_failure_has_its_stable_code() {
        let failure = Failure::new(Step::Execute, "x\n", Cause::NotInPath);
        let failed = told(&Outcome {
            error: Some(Error::Start(failure)),
            ..outcome(127)
        });
        assert_eq!(failed["event"], "failed");
        assert_eq!(failed["code"], "program-not-found");
        assert_eq!(failed["retryable"], false);
        assert_eq!(failed["exit_code"], 127);
        let said = failed["message"].as_str().unwrap();
        assert!(said.ends_with("not found in PATH"), "{said}");
    }
}
