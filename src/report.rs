//! `--report FILE` and `--status-fd N`: what happens, as JSON lines for whoever started `ucr`.
//!
//! docs/report.md is their description; its tables are held against the code by the tests here.

mod line;

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use ucr_images::{ErrorKind, StoredImage};
use ucr_runtime::code::Code;
use ucr_runtime::launch;

use ucr_sys::descriptors;

use crate::command_error::CommandError;
pub(crate) use line::now;
pub use line::{Line, Stamp, milliseconds};

/// What a command can be at, as docs/report.md has it.
const PHASES: [&str; 12] = [
    "setup", "resolve", "auth", "tls", "download", "verify", "unpack", "store", "launch", "run",
    "cleanup", "fetch",
];

/// How long a reader may keep a command waiting that has no room for a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is to be told what happens.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// File that gets a line of JSON for each thing that happens (docs/report.md)
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// File descriptor that gets the same; 3 or more, and the container does not get it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    status_fd: Option<i32>,
}

/// Those who are told what happens.
#[derive(Debug)]
pub struct Report {
    stamp: Stamp,
    sinks: Mutex<Vec<OwnedFd>>,
}

/// What a program is told of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable name of what failed.
    pub code: &'static str,
    /// Whether the same may succeed later, or on another machine.
    pub retryable: bool,
    /// What `ucr` was at.
    pub phase: &'static str,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// Where it failed.
    pub host: Option<String>,
    /// What was asked for, without a query.
    pub url: Option<String>,
    /// The layer that failed.
    pub layer: Option<String>,
}

impl Failure {
    /// Of what the command was given: flags, files, the caller's rights.
    pub const SETUP: Self = Self::own("setup", "setup");
    /// Of an image that is not in the store, and may not be pulled.
    pub const NOT_CACHED: Self = Self::own("not-cached", "store");

    const fn own(code: &'static str, phase: &'static str) -> Self {
        Self {
            code,
            retryable: false,
            phase,
            status: None,
            host: None,
            url: None,
            layer: None,
        }
    }

    /// As another process has told it, in the words that there are.
    pub(crate) fn of(code: &str, phase: &str, retryable: bool) -> Self {
        let kinds = ErrorKind::ALL.map(ErrorKind::code).into_iter();
        let own = [Self::SETUP.code, Self::NOT_CACHED.code];
        let mut codes = kinds.chain(Code::ALL.map(Code::name)).chain(own);
        let found = codes.find(|known| *known == code);
        let phase = PHASES.into_iter().find(|known| *known == phase);
        Self {
            retryable,
            ..Self::own(
                found.unwrap_or(Self::SETUP.code),
                phase.unwrap_or(Self::SETUP.phase),
            )
        }
    }

    /// Of a launch that did not come to a container.
    pub fn launch(code: Code) -> Self {
        Self {
            retryable: code.is_retryable(),
            ..Self::own(code.name(), "launch")
        }
    }
}

impl From<&ucr_images::store::Error> for Failure {
    fn from(error: &ucr_images::store::Error) -> Self {
        let kind = error.kind();
        Self {
            retryable: kind.is_retryable(),
            ..Self::own(kind.code(), "store")
        }
    }
}

impl ReportArgs {
    /// Opens what is to be written to, for a command about `image`.
    ///
    /// # Errors
    /// A file that cannot be opened, or a descriptor that is not there for writing.
    pub fn open(&self, image: impl Into<String>) -> Result<Report, CommandError> {
        let mut sinks = Vec::new();
        if let Some(path) = &self.report {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|error| {
                let (path, why) = (path.display(), ucr_sys::reason(&error));
                CommandError::sentence(format!("cannot write the report {path}: {why}"))
            })?;
            sinks.push(file.into());
        }
        if let Some(number) = self.status_fd {
            let taken = ucr_sys::line::take(number).map_err(|error| {
                let why = ucr_sys::reason(&error.errno().into());
                CommandError::sentence(format!(
                    "cannot write to file descriptor {number} (--status-fd): {why}"
                ))
                .hint(format!(
                    "open it for writing where ucr is started, as {number}>FILE in a shell"
                ))
            })?;
            sinks.push(taken);
        }
        Ok(Report {
            stamp: Stamp::new(image),
            sinks: Mutex::new(sinks),
        })
    }
}

impl ReportArgs {
    /// Lets the program that this process becomes open the same again.
    ///
    /// # Errors
    /// A descriptor that is not open.
    pub fn pass_on(&self) -> Result<(), CommandError> {
        let kept = self.status_fd.map(descriptors::keep_number_across_exec);
        kept.transpose().map(drop).map_err(CommandError::new)
    }
}

impl Report {
    /// For nobody.
    pub fn nobody() -> Self {
        Self {
            stamp: Stamp::new(""),
            sinks: Mutex::default(),
        }
    }

    /// For those who are told of this too, about `image`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn about(&self, image: impl Into<String>) -> Result<Self, CommandError> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = sinks.iter().map(OwnedFd::try_clone);
        Ok(Self {
            stamp: self.stamp.about(image),
            sinks: Mutex::new(copies.collect::<Result<_, _>>()?),
        })
    }

    /// Tells the end of a command that failed, and passes the error on.
    ///
    /// # Errors
    /// The command's own.
    pub fn told<T>(&self, done: Result<T, CommandError>) -> Result<T, CommandError> {
        if let Err(error) = &done {
            self.failed(error);
        }
        done
    }

    fn failed(&self, error: &CommandError) {
        let Failure {
            code,
            retryable,
            phase,
            status,
            host,
            url,
            layer,
        } = error.failure().clone();
        self.tell(Line {
            event: "failed",
            phase,
            code: Some(code),
            retryable: Some(retryable),
            status,
            host,
            url,
            layer,
            message: Some(error.message()),
            ..Line::default()
        });
    }

    /// Tells that an image is all there.
    pub fn pulled(&self, image: &StoredImage) {
        self.tell(Line {
            event: "pulled",
            phase: "store",
            id: Some(image.id.to_string()),
            manifest: Some(image.manifest.to_string()),
            ..Line::default()
        });
    }

    /// What a container's supervisor needs to go on with the report, if anybody reads it.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn hand_over(&self) -> Result<Option<launch::Report>, CommandError> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if sinks.is_empty() {
            return Ok(None);
        }
        let copies = sinks.iter().map(OwnedFd::try_clone);
        Ok(Some(launch::Report {
            sinks: copies.collect::<Result<_, _>>()?,
            image: self.stamp.image().to_owned(),
            began: self.stamp.began(),
        }))
    }

    /// For whoever reads from `sink`, of a command about `image`.
    pub(crate) fn to(sink: OwnedFd, image: impl Into<String>) -> Self {
        Self {
            stamp: Stamp::new(image),
            sinks: Mutex::new(vec![sink]),
        }
    }

    /// Tells a line.
    pub fn tell(&self, line: Line) {
        self.tell_text(&self.stamp.json(line));
    }

    /// Tells a line that somebody else has made, with its end.
    pub(crate) fn tell_text(&self, text: &str) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that has gone, or takes nothing, is no reason not to go on.
        sinks.retain(|sink| ucr_sys::line::write(sink.as_fd(), text.as_bytes(), PATIENCE).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The rows of the table below a heading: what stands in each cell, without its quotes.
    fn table(heading: &str) -> Vec<Vec<&'static str>> {
        let text = include_str!("../docs/report.md");
        let (_, below) = text.split_once(heading).unwrap();
        let lines = below.lines().skip_while(|line| !line.starts_with('|'));
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        let cells = rows.map(|row| row.trim_matches('|').split('|'));
        cells
            .map(|cells| cells.map(|cell| cell.trim().trim_matches('`')).collect())
            .collect()
    }

    #[test]
    fn every_code_is_in_the_documented_table_and_no_other() {
        let of_kinds = ErrorKind::ALL.map(|kind| (kind.code(), kind.is_retryable()));
        let of_starts = Code::ALL.map(|code| (code.name(), code.is_retryable()));
        let own = [Failure::SETUP, Failure::NOT_CACHED].map(|one| (one.code, one.retryable));
        let all = of_kinds.into_iter().chain(of_starts).chain(own);
        let known: BTreeMap<&str, bool> = all.collect();
        let documented: BTreeMap<&str, bool> = table("## Codes")
            .into_iter()
            .map(|row| (row[0], row[1] == "yes"))
            .collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn every_field_is_in_the_documented_table_and_no_other() {
        let line = Line {
            code: Some(""),
            retryable: Some(true),
            status: Some(1),
            host: Some(String::new()),
            url: Some(String::new()),
            id: Some(String::new()),
            manifest: Some(String::new()),
            layer: Some(String::new()),
            layers: Some(1),
            bytes: Some(1),
            total: Some(1),
            pid: Some(1),
            wait: Some(1.0),
            attempt: Some(1),
            attempts: Some(1),
            message: Some(String::new()),
            ..Line::default()
        };
        let value: serde_json::Value = serde_json::from_str(&Stamp::new("x").json(line)).unwrap();
        let mut known: Vec<_> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        known.extend(["container", "exit_code", "signal", "oom", "ip", "ports"]);
        known.sort_unstable();
        let mut documented: Vec<_> = table("## Fields").into_iter().map(|row| row[0]).collect();
        documented.sort_unstable();
        assert_eq!(documented, known);
    }
}
