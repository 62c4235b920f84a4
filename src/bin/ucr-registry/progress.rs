//! Showing how a pull goes on: bars for a person, lines for a log, JSON for a program, or nothing.

mod bars;
mod json;
mod lines;

use std::time::Duration;

use ucr::command_error::printable;
use ucr::progress_args::Form;
use ucr::report::Report;
use ucr::shown;
use ucr::ui::Ui;
use ucr_images::another_ucr;
use ucr_puller::http::Retrying;
use ucr_puller::{Event, Progress};

use self::bars::Bars;
use self::json::JsonLines;
use self::lines::Lines;
use crate::report::PullReport;

/// What shows the progress of a pull of `image` that `report` is told of too.
pub(crate) fn watch<'r>(form: Form, ui: Ui, image: &str, report: &'r Report) -> Watched<'r> {
    let shown: Box<dyn Progress> = match form {
        Form::None => Box::new(()),
        Form::Bar => Box::new(Bars::new(image)),
        Form::Auto | Form::Plain => Box::new(Lines::new(ui, image)),
        Form::Json => Box::new(JsonLines::new(ui, image)),
    };
    let report = PullReport::new(report);
    Watched { shown, report }
}

/// What shows what happens after all is there, when there is nothing to draw bars of.
pub(crate) fn watch_settling<'r>(
    form: Form,
    ui: Ui,
    image: &str,
    report: &'r Report,
) -> Watched<'r> {
    let form = match form {
        Form::Bar => Form::Plain,
        form => form,
    };
    watch(form, ui, image, report)
}

/// A pull that is shown, and reported.
pub(crate) struct Watched<'r> {
    shown: Box<dyn Progress>,
    report: PullReport<'r>,
}

impl Progress for Watched<'_> {
    fn event(&self, event: Event<'_>) {
        self.shown.event(event);
        self.report.event(event);
    }
}

/// That a layer is fetched though it is there.
const PROVING: &str = "already here; fetched again to show that it is ours to have";

/// That a layer is waited for.
fn about_waiting(holder: Option<u32>, done: u64, size: u64) -> String {
    format!(
        "waiting for {} that is pulling it, {} of {}",
        another_ucr(holder),
        shown::size(done),
        shown::size(size)
    )
}

/// That nothing comes from the process that is waited for.
fn about_stalling(holder: Option<u32>, since: Duration) -> String {
    format!(
        "{} has got nothing of it for {} s",
        another_ucr(holder),
        since.as_secs()
    )
}

/// That the process that is waited for does not write to the disk what it has pulled.
fn about_settling(holder: Option<u32>, since: Duration) -> String {
    format!(
        "waiting for {} to write its layers to the disk, for {} s now",
        another_ucr(holder),
        since.as_secs()
    )
}

/// That a request is repeated.
pub(crate) fn about_retrying(retrying: &Retrying) -> String {
    let Retrying {
        what,
        why,
        after,
        attempt,
        of,
    } = retrying;
    printable(&format!(
        "{what}: {why}; again in {after:.1?} (attempt {attempt} of {of})"
    ))
}
