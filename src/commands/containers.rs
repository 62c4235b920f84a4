//! Commands about containers: those that run, and those that ended within the last day.

pub(crate) mod end;
pub(crate) mod exec;
mod facts;
mod network;
pub(crate) mod pause;
pub(crate) mod ps;

pub(crate) use facts::inspected;

use std::process::ExitCode;

use ucr_runtime::control::Container;
use ucr_runtime::state::{FindError, Found, Record, find};

use crate::command_error::CommandError;
use crate::remains;
use crate::settings::{Settings, need_root};
use crate::ui::Ui;

/// Does `act` to each container that is named, and prints the name; one that fails is told of,
/// and keeps no other from it.
fn each(
    (command, wanted): (&'static str, &[String]),
    settings: &Settings,
    ui: &Ui,
    mut act: impl FnMut(Found) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    need_root(command, "containers are root's")?;
    remains::clear(settings, ui);
    let mut code = ExitCode::SUCCESS;
    for name in wanted {
        match look_for(settings, name).and_then(&mut act) {
            Ok(()) => ui.print(name)?,
            Err(error) => code = error.report(ui),
        }
    }
    Ok(code)
}

/// The same to all of them side by side: what takes its time takes it once.
fn each_at_once(
    (command, wanted): (&'static str, &[String]),
    settings: &Settings,
    ui: &Ui,
    act: impl Fn(Found) -> Result<(), CommandError> + Sync,
) -> Result<ExitCode, CommandError> {
    need_root(command, "containers are root's")?;
    remains::clear(settings, ui);
    let mut code = ExitCode::SUCCESS;
    let done = std::thread::scope(|scope| {
        let act = &act;
        let begun = wanted
            .iter()
            .map(|name| scope.spawn(move || look_for(settings, name).and_then(act)));
        // All of them before the first is waited for.
        let begun: Vec<_> = begun.collect();
        let ended = begun.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.collect::<Vec<_>>()
    });
    for (name, done) in wanted.iter().zip(done) {
        match done {
            Ok(Ok(())) => ui.print(name)?,
            Ok(Err(error)) => code = error.report(ui),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(code)
}

/// Finds a container by name, ID, or the beginning of one.
pub(super) fn look_for(settings: &Settings, wanted: &str) -> Result<Found, CommandError> {
    find(&settings.state, wanted).map_err(|error| match error {
        FindError::None(_) => CommandError::new(error).hint("ucr ps --all shows those there are"),
        error => CommandError::new(error),
    })
}

/// Takes hold of a container that runs.
///
/// # Errors
/// When it has ended, as `what` cannot be done to it then.
pub(super) fn running(
    settings: &Settings,
    found: Found,
    what: &str,
) -> Result<Container, CommandError> {
    let (record, opened) = match found {
        Found::Alive(record) => {
            let opened = Container::open(&settings.state, &record).map_err(CommandError::new)?;
            (record, opened)
        }
        Found::Ended(ended) => (ended.record, None),
    };
    opened.ok_or_else(|| has_ended(&record, what))
}

/// What is said where `what` cannot be done to a container that has ended.
pub(super) fn has_ended(record: &Record, what: &str) -> CommandError {
    let name = record.name.as_deref().unwrap_or(record.id.as_str());
    CommandError::sentence(format!("cannot {what} the container {name}: it has ended"))
}
