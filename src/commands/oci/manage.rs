//! What is done with containers that exist: start, state, kill, delete, list, pause, resume.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci::container::{self, Force, Reach, State};

use super::Context;
use crate::command_error::{CommandError, printable};
use crate::signals;
use crate::ui::Ui;

/// Whom to send what.
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// Send it to every process of the container
    #[arg(short, long)]
    all: bool,
    /// Container
    #[arg(value_name = "ID")]
    id: ContainerId,
    /// Signal, by name or number
    #[arg(value_name = "SIGNAL", default_value = "TERM", value_parser = signals::parse)]
    signal: i32,
}

/// What to delete.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Kill it first if it has not ended; one that does not exist is fine
    #[arg(short, long)]
    force: bool,
    /// Container
    #[arg(value_name = "ID")]
    id: ContainerId,
}

/// How to list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Form of the list
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table, value_name = "FORMAT")]
    format: ListFormat,
    /// Say the IDs alone
    #[arg(short, long)]
    quiet: bool,
}

/// The form of a list.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListFormat {
    /// Columns
    Table,
    /// A JSON array
    Json,
}

/// Starts the program of a container.
///
/// # Errors
/// Why it does not run.
pub(super) fn start(id: &ContainerId, context: &Context) -> Result<ExitCode, CommandError> {
    container::start(&context.root, id).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the state of a container.
///
/// # Errors
/// When there is none.
pub(super) fn state(
    id: &ContainerId,
    context: &Context,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let state = container::state(&context.root, id).map_err(CommandError::new)?;
    match state {
        Some(state) => {
            let text = serde_json::to_string_pretty(&state).map_err(CommandError::new)?;
            ui.print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        None => Err(CommandError::sentence(format!(
            "container {id} is still being created"
        ))),
    }
}

/// Sends a signal.
///
/// # Errors
/// When nobody is there to get it.
pub(super) fn kill(args: &KillArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let reach = if args.all { Reach::All } else { Reach::First };
    container::kill(&context.root, &args.id, args.signal, reach).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes a container.
///
/// # Errors
/// When it has not ended, or something of it cannot be removed.
pub(super) fn delete(
    args: &DeleteArgs,
    context: &Context,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let force = if args.force { Force::Yes } else { Force::No };
    let failed = container::delete(&context.root, &args.id, force).map_err(CommandError::new)?;
    for error in failed {
        ui.say_ignored(&CommandError::new(error));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the containers, and says of which nothing can be read.
///
/// # Errors
/// When the directory of them cannot be read.
pub(super) fn list(args: &ListArgs, context: &Context, ui: &Ui) -> Result<ExitCode, CommandError> {
    let (states, unreadable) = container::list(&context.root).map_err(CommandError::new)?;
    for error in unreadable {
        ui.say(&format!("ucr: {}", CommandError::new(error).message()));
    }
    if args.quiet {
        for state in &states {
            ui.print(state.id.as_str())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match args.format {
        ListFormat::Json => {
            ui.print(&serde_json::to_string(&states).map_err(CommandError::new)?)?;
        }
        ListFormat::Table => {
            for line in table(&states) {
                ui.print(&line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(states: &[State]) -> Vec<String> {
    let row = |state: &State| {
        let bundle = printable(&state.bundle.to_string_lossy());
        let created = state.created.clone().unwrap_or_default();
        let pid = state.pid.to_string();
        [
            state.id.to_string(),
            pid,
            state.status.to_string(),
            bundle,
            created,
        ]
    };
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head)
        .chain(states.iter().map(row))
        .collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Freezes a container.
///
/// # Errors
/// When it does not run, or there is no freezer.
pub(super) fn pause(id: &ContainerId, context: &Context) -> Result<ExitCode, CommandError> {
    container::pause(&context.root, id).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets a frozen container go on.
///
/// # Errors
/// When it is not frozen.
pub(super) fn resume(id: &ContainerId, context: &Context) -> Result<ExitCode, CommandError> {
    container::resume(&context.root, id).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}
