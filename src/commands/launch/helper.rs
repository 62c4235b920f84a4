//! `ucr-registry prepare`: what a task needs of other machines, fetched by who has libcurl.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use ucr_executor::prepare::{Answer, Failed, Ready, Request};
use ucr_sys::pipe::{Pipe, pipe};
use ucr_sys::ready::{self, For};
use ucr_sys::signal::{Number, SignalFd};

use super::lines::Lines;
use super::status::{Line, State, Told};
use crate::beside;
use crate::command_error::CommandError;

/// Room for what it says.
const ROOM: usize = 64 * 1024;
/// Signals that ask a task to end.
const ENDING: [Number; 2] = [2, 15];

/// What came of it.
#[derive(Debug)]
pub(super) enum Prepared {
    /// All is there.
    Ready(Ready),
    /// Something cannot be had.
    Failed(Failed),
    /// The task was asked to end before.
    Asked(Number),
}

/// A line of its report.
#[derive(Debug, Deserialize)]
struct Event {
    event: String,
    image: Option<String>,
    layer: Option<String>,
    bytes: Option<u64>,
    total: Option<u64>,
    message: Option<String>,
}

/// Has `request` done, and tells how it goes on.
pub(super) fn prepare(
    request: &Request,
    arguments: &[OsString],
    (told, signals): (&Told, &SignalFd),
) -> Result<Prepared, CommandError> {
    let Pipe { reader, writer } = pipe(ROOM).map_err(CommandError::new)?;
    let mut command = Command::new(beside::executable("ucr-registry")?);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
        .arg("--status-fd")
        .arg(writer.as_raw_fd().to_string());
    ucr_sys::descriptors::keep_across_exec(std::os::fd::AsFd::as_fd(&writer))
        .map_err(CommandError::new)?;
    let mut child = command.spawn()?;
    drop(writer);
    send(&mut child, request)?;
    let answers = child.stdout.take().map(std::os::fd::OwnedFd::from);
    let answers = answers.ok_or_else(|| CommandError::sentence("ucr-registry has no output"))?;
    ucr_sys::descriptors::never_wait(std::os::fd::AsFd::as_fd(&answers))
        .map_err(CommandError::new)?;
    let mut streams = Streams {
        answers: Lines::new(answers),
        events: Lines::new(reader),
    };
    let answer = listen(&mut streams, (told, signals));
    if !matches!(answer, Ok(Some(Prepared::Ready(_) | Prepared::Failed(_)))) {
        // It may be in the middle of something, which the next one goes on with.
        child.kill()?;
    }
    let status = child.wait()?;
    answer?.ok_or_else(|| {
        CommandError::sentence(format!("ucr-registry ended without an answer ({status})"))
    })
}

fn send(child: &mut Child, request: &Request) -> Result<(), CommandError> {
    let text = serde_json::to_vec(request).map_err(CommandError::new)?;
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(&text));
    match sent {
        // It says itself why it does not read.
        Some(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

struct Streams {
    answers: Lines,
    events: Lines,
}

/// Until it has answered, or will not; or the task is asked to end.
fn listen(
    streams: &mut Streams,
    (told, signals): (&Told, &SignalFd),
) -> Result<Option<Prepared>, CommandError> {
    loop {
        let own = std::iter::once(std::os::fd::AsFd::as_fd(signals));
        let awaited = own
            .chain(streams.answers.awaited())
            .chain(streams.events.awaited());
        let awaited: Vec<_> = awaited.map(|fd| (fd, For::Reading)).collect();
        ready::wait_any(&awaited, None).map_err(CommandError::new)?;
        for line in streams.events.take() {
            if let Ok(event) = serde_json::from_slice(&line) {
                tell(told, event);
            }
        }
        if let Some(line) = streams.answers.take().first() {
            let answer = serde_json::from_slice(line).map_err(CommandError::new)?;
            return Ok(Some(match answer {
                Answer::Ready(ready) => Prepared::Ready(ready),
                Answer::Failed(failed) => Prepared::Failed(failed),
            }));
        }
        if streams.answers.awaited().is_none() {
            return Ok(None);
        }
        while let Some(number) = signals.next().map_err(CommandError::new)? {
            if ENDING.contains(&number) {
                return Ok(Some(Prepared::Asked(number)));
            }
        }
    }
}

fn tell(told: &Told, event: Event) {
    // How it ends is told from its answer.
    if event.event == "failed" {
        return;
    }
    let what = event.layer.or(event.image);
    let message = event.message.or_else(|| {
        let words = [Some(event.event.replace('-', " ")), what];
        Some(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    });
    told.tell(Line {
        bytes: event.bytes,
        total: event.total,
        message,
        ..Line::new(State::Starting)
    });
}
