//! One container of a task: the process that becomes its supervisor, what it says, and what the
//! task in it says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::Deserialize;
use ucr_runtime::id::ContainerId;
use ucr_sys::pipe::{Pipe, pipe};
use ucr_sys::process::{self, Child, Cloned, Namespaces, SingleThreaded};
use ucr_sys::ready;
use ucr_sys::signal::Number;

use super::lines::Lines;
use super::log_file::{LogFile, Rotation, Taken};
use super::prepared::Prepared;
use super::sandbox::Sandbox;
use super::status::ContainerStatus;
use crate::command_error::CommandError;
use crate::commands::run::{self, Extra, RunArgs};
use crate::report::Report;
use crate::settings::Settings;
use crate::ui::Ui;

/// Room in a pipe between a task and its files: as much as a user without privilege may have.
const PIPE: usize = 1 << 20;
/// Room for what a supervisor says.
const EVENTS: usize = 64 * 1024;

/// What is needed to start one.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// Its name within the task.
    pub(super) name: &'a str,
    /// What `ucr run` would have been told.
    pub(super) args: &'a RunArgs<Prepared>,
    /// The image, for those who are told.
    pub(super) image: String,
    /// Where what it says goes.
    pub(super) sandbox: &'a Sandbox,
    /// How its files are kept.
    pub(super) rotation: Rotation,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct End {
    /// What its supervisor ended with.
    pub(super) code: u8,
    /// The signal that ended its task.
    pub(super) signal: Option<Number>,
    /// Whether the kernel killed it for memory.
    pub(super) oom: bool,
    /// Why it did not come to the task: phase, stable name, and whether to try again.
    pub(super) failure: Option<(String, String, bool)>,
    /// The same in words.
    pub(super) message: Option<String>,
}

/// What a supervisor says, of which the rest is for others.
#[derive(Debug, Deserialize)]
struct Event {
    event: String,
    phase: String,
    container: Option<String>,
    pid: Option<i32>,
    code: Option<String>,
    retryable: Option<bool>,
    exit_code: Option<u8>,
    signal: Option<Number>,
    oom: Option<bool>,
    message: Option<String>,
}

/// A stream of the task's, and the file that it goes to.
#[derive(Debug)]
struct Stream {
    pipe: OwnedFd,
    log: LogFile,
}

/// A container of the task.
#[derive(Debug)]
pub(super) struct Member {
    name: String,
    child: Child,
    events: Lines,
    streams: Vec<Stream>,
    id: Option<ContainerId>,
    pid: Option<i32>,
    said: Option<End>,
    end: Option<End>,
    /// Why the rest of what it says is lost, if it is.
    pub(super) lost: Option<String>,
}

impl Member {
    /// Starts one. In the process that becomes its supervisor this does not return.
    pub(super) fn start(
        start: &Start<'_>,
        extra: Extra<'_>,
        settings: &Settings,
        (ui, proof): (&Ui, &SingleThreaded),
    ) -> Result<Self, CommandError> {
        let Start {
            name,
            sandbox,
            rotation,
            ..
        } = *start;
        let (events, said) = ends(EVENTS)?;
        let logs = ["stdout", "stderr"].map(|stream| sandbox.log(stream, rotation));
        let [output, error] = logs;
        let (output, error) = (output?, error?);
        let [(out, to_out), (err, to_err)] = [ends(PIPE)?, ends(PIPE)?];
        let is_bounded = rotation.size > 0;
        match process::clone(proof, Namespaces::default(), None).map_err(CommandError::new)? {
            Cloned::Parent(child) => {
                let log = |pipe, log| Stream { pipe, log };
                let streams = if is_bounded {
                    vec![log(out, output), log(err, error)]
                } else {
                    Vec::new()
                };
                Ok(Self {
                    name: name.to_owned(),
                    child,
                    events: Lines::new(events),
                    streams,
                    id: None,
                    pid: None,
                    said: None,
                    end: None,
                    lost: None,
                })
            }
            Cloned::Child => {
                let streams = if is_bounded {
                    [to_out.as_fd(), to_err.as_fd()]
                } else {
                    [output.file(), error.file()]
                };
                let report = Report::to(said, start.image.clone());
                let code = become_supervisor((start, extra), settings, (ui, &report), streams);
                process::leave(i32::from(code))
            }
        }
    }

    /// Its name within the task.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its ID, once its task runs.
    pub(super) fn id(&self) -> Option<&ContainerId> {
        self.id.as_ref()
    }

    /// The number of its task for the host, as long as that is its own.
    pub(super) fn pid(&self) -> Option<i32> {
        self.pid.filter(|_| self.end.is_none())
    }

    /// How it ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What may have something for [`Self::attend`].
    pub(super) fn awaited(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let supervisor = self.end.is_none().then(|| self.child.pidfd.as_fd());
        let events = self.events.awaited();
        let streams = self.streams.iter().map(|stream| stream.pipe.as_fd());
        supervisor.into_iter().chain(events).chain(streams)
    }

    /// Takes what there is of all that it waits for; none of it waits.
    pub(super) fn attend(&mut self) -> ucr_sys::Result<()> {
        self.read_events();
        let now = Some(Duration::ZERO);
        if self.end.is_none() && ready::is_readable_within(self.child.pidfd.as_fd(), now)? {
            let ended = process::wait(self.child.pidfd.as_fd())?;
            // What it said last came before its end.
            self.read_events();
            self.end = Some(self.ended(ended));
        }
        self.keep_streams();
        Ok(())
    }

    /// Writes down what the task says.
    fn keep_streams(&mut self) {
        // Whoever could write has ended, so that what is in the pipe is all.
        let is_last = self.end.is_some();
        let lost = &mut self.lost;
        let mut goes_on = |stream: &mut Stream| loop {
            match stream.log.take(stream.pipe.as_fd()) {
                Ok(Taken::Some) if is_last => {}
                Ok(Taken::Some) => break true,
                Ok(Taken::All) => break !is_last,
                Ok(Taken::End) => break false,
                // A task must not stand still because a disk is full: what it says from here on
                // is as if nobody read it.
                Err(error) => {
                    lost.get_or_insert_with(|| CommandError::new(error).message());
                    break false;
                }
            }
        };
        self.streams.retain_mut(&mut goes_on);
    }

    /// Whether all that it said is written, and it is over.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some() && self.streams.is_empty()
    }

    /// Sends a signal to its supervisor, who passes it on.
    pub(super) fn signal(&self, number: Number) -> ucr_sys::Result<()> {
        match self.end {
            None => process::send_signal(self.child.pidfd.as_fd(), number),
            Some(_) => Ok(()),
        }
    }

    /// How it is, for those who are told.
    pub(super) fn status(&self) -> ContainerStatus {
        let end = self.end.as_ref();
        ContainerStatus {
            name: self.name.clone(),
            id: self
                .id
                .as_ref()
                .map(|id| id.as_str().to_owned())
                .unwrap_or_default(),
            pid: self.pid(),
            exit_code: end.map(|end| end.code),
            signal: end.and_then(|end| end.signal),
            oom: end.is_some_and(|end| end.oom),
        }
    }

    fn read_events(&mut self) {
        for line in self.events.take() {
            // What is not understood is of no event that matters here.
            if let Ok(event) = serde_json::from_slice(&line) {
                self.hear(event);
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event.event.as_str() {
            "started" => {
                self.id = event.container.and_then(|id| id.parse().ok());
                self.pid = event.pid;
            }
            "exited" => {
                self.said = Some(End {
                    code: event.exit_code.unwrap_or_default(),
                    signal: event.signal,
                    oom: event.oom.unwrap_or_default(),
                    failure: None,
                    message: event.message,
                });
            }
            "failed" => {
                let code = event.code.unwrap_or_default();
                self.said = Some(End {
                    code: event.exit_code.unwrap_or(125),
                    failure: Some((event.phase, code, event.retryable.unwrap_or_default())),
                    message: event.message,
                    ..End::default()
                });
            }
            // What is left behind, and what else may come, changes nothing for the task.
            _ => {}
        }
    }

    /// The end as it was said, or as it can be seen from here.
    fn ended(&mut self, ended: process::Ended) -> End {
        self.said.take().unwrap_or_else(|| {
            let (code, how) = match ended {
                process::Ended::Exited(status) => (
                    u8::try_from(status).unwrap_or(125),
                    format!("ended with {status}"),
                ),
                process::Ended::Signaled(signal) => (137, format!("was killed by signal {signal}")),
            };
            End {
                code,
                failure: Some(("run".to_owned(), "failed".to_owned(), true)),
                message: Some(format!("the supervisor {how}")),
                ..End::default()
            }
        })
    }
}

/// The two ends of a pipe.
fn ends(size: usize) -> Result<(OwnedFd, OwnedFd), CommandError> {
    let Pipe { reader, writer } = pipe(size).map_err(CommandError::new)?;
    Ok((reader, writer))
}

/// Starts the container in this process; returns only when it does not come to that.
fn become_supervisor(
    (start, extra): (&Start<'_>, Extra<'_>),
    settings: &Settings,
    (ui, report): (&Ui, &Report),
    [output, error]: [BorrowedFd<'_>; 2],
) -> u8 {
    let prepare = || {
        process::die_with_parent()?;
        // Keys at a terminal are for who started us.
        process::new_session()?;
        ucr_sys::output_to(output, error)
    };
    let done = match prepare() {
        Ok(()) => run::run_told(start.args, extra, settings, (ui, report)).map(|_never| 0),
        Err(error) => report.told(Err(CommandError::new(error))),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            ui.say_block(&format!("{}\n", error.message()));
            125
        }
    }
}
