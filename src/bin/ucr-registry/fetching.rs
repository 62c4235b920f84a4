//! Showing how files of a task come, and what is said of one that does not.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ucr::command_error::{CommandError, printable};
use ucr::progress_args::Form;
use ucr::report::{Failure, Line, Report, Stamp, milliseconds};
use ucr::shown;
use ucr::ui::Ui;
use ucr_images::{ErrorKind, Store};
use ucr_puller::fetch::{Error, Event, Failure as Cause, Watcher};

use crate::commands::pull::room;
use crate::progress::about_retrying;
use crate::trust::Trust;

/// What `ucr` is at, by the name that reports have for it.
pub(crate) const PHASE: &str = "fetch";
/// How long at least lies between two lines with bytes.
const PAUSE: Duration = Duration::from_millis(250);

/// Files that come, shown and reported.
#[derive(Debug)]
pub(crate) struct Shown<'r> {
    ui: Ui,
    form: Form,
    stamp: Stamp,
    report: &'r Report,
    told: Cell<Option<Instant>>,
}

impl<'r> Shown<'r> {
    /// As `form` says, and to `report`.
    pub(crate) fn new(form: Form, ui: Ui, report: &'r Report) -> Self {
        Self {
            ui,
            form,
            stamp: Stamp::new(""),
            report,
            told: Cell::new(None),
        }
    }

    /// Whether it is time to tell of bytes once more.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let told = self.told.get();
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
        if is_due {
            self.told.set(Some(now));
        }
        is_due
    }
}

impl Watcher for Shown<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Bytes { done } = event {
            if self.form == Form::Json && self.is_due() {
                let line = Line {
                    event: "bytes",
                    phase: PHASE,
                    bytes: Some(done),
                    ..Line::default()
                };
                self.ui.say_block(&self.stamp.json(line));
            }
            return;
        }
        match self.form {
            Form::None => {}
            Form::Json => self.ui.say_block(&self.stamp.json(line_of(event))),
            Form::Auto | Form::Bar | Form::Plain => self.ui.say(&printable(&text_of(event))),
        }
        self.report.tell(line_of(event));
    }
}

/// What a person is told.
fn text_of(event: Event<'_>) -> String {
    match event {
        Event::Fetching { from } => format!("fetching {from}"),
        Event::Waiting { from } => format!("{from}: waiting for another ucr that fetches it"),
        Event::Fetched { from, size, cached } => {
            let how = if cached { ", from the cache" } else { "" };
            format!("fetched {from}: {}{how}", shown::size(size))
        }
        Event::Unpacked { from, entries } => {
            format!("unpacked {from}: {entries} files and directories")
        }
        Event::Note { from, text } => format!("{from}: {text}"),
        Event::Retrying(retrying) => about_retrying(retrying),
        _ => String::new(),
    }
}

/// What a program is told.
fn line_of(event: Event<'_>) -> Line {
    let mut line = Line {
        phase: PHASE,
        ..Line::default()
    };
    let url = |from: &str| Some(from.to_owned());
    match event {
        Event::Fetching { from } => (line.event, line.url) = ("fetching", url(from)),
        Event::Waiting { from } => (line.event, line.url) = ("fetch-waiting", url(from)),
        Event::Fetched { from, size, .. } => {
            (line.event, line.url) = ("fetched", url(from));
            line.total = Some(size);
        }
        Event::Unpacked { from, .. } => (line.event, line.url) = ("unpacked", url(from)),
        Event::Note { from, text } => {
            (line.event, line.url) = ("fetch-note", url(from));
            line.message = Some(text.to_owned());
        }
        Event::Retrying(retrying) => {
            line.event = "retrying";
            line.message = Some(format!("{}: {}", retrying.what, retrying.why));
            line.wait = Some(milliseconds(retrying.after.as_secs_f64()));
            line.attempt = Some(retrying.attempt);
            line.attempts = Some(retrying.of);
        }
        _ => {}
    }
    line
}

/// What is said of a file that did not come, and what may be tried.
pub(crate) fn failed(error: Error, trust: &Trust, store: &Store) -> CommandError {
    let kind = error.kind();
    let failure = Failure {
        code: kind.code(),
        retryable: kind.is_retryable(),
        phase: PHASE,
        status: error.status(),
        url: Some(error.from().to_owned()),
        ..Failure::SETUP
    };
    let advice = error.http().map(|error| trust.advice(error));
    let hint = match (kind, error.failure()) {
        (ErrorKind::Budget, Cause::TooLarge { .. }) => {
            Some("--max-bytes SIZE with more, or more disk for the task".to_owned())
        }
        (ErrorKind::Budget, _) => Some(
            "--max-unpacked, --max-files or --max-ratio with more, or more disk for the task, if \
             you trust the archive"
                .to_owned(),
        ),
        (ErrorKind::DiskFull, _) => Some(room(store)),
        (ErrorKind::Deadline, _) => Some("--deadline with a longer time".to_owned()),
        (ErrorKind::CredentialMissing, _) => {
            Some("https://NAME:PASSWORD@… in the URI, if the server takes that".to_owned())
        }
        (_, Cause::NoName) => Some("a name for it: destPath, or output_file".to_owned()),
        _ => None,
    };
    CommandError::new(error)
        .told_as(failure)
        .advised(advice.unwrap_or_default())
        .hints(hint)
}
