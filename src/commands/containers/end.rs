//! `ucr kill`, `ucr stop` and `ucr wait`: ending containers, and knowing how they ended.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ucr_runtime::control::Container;
use ucr_runtime::state::{self, Found};

use super::{each, each_at_once, look_for, running};
use crate::command_error::CommandError;
use crate::settings::{Settings, need_root};
use crate::ui::Ui;
use crate::{quantity, remains, signals};

/// Which containers get which signal.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Signal for the task, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signals::parse)]
    signal: i32,
    /// Containers, by name, ID, or the beginning of an ID
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Runs `ucr kill`.
pub(crate) fn kill(
    args: &KillArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    each(("ucr kill", &args.containers), settings, ui, |found| {
        let container = running(settings, found, "send a signal to")?;
        container.signal(args.signal).map_err(CommandError::new)
    })
}

/// Which containers are stopped, and how patiently.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds until what has not ended is killed, -1 for ever [default: what ucr run was told, else 10]
    #[arg(short, long, value_name = "SECONDS", value_parser = quantity::seconds_or_ever, allow_negative_numbers = true, alias = "timeout")]
    time: Option<u64>,
    /// Signal to ask with instead of the container's own
    #[arg(short, long, value_name = "SIGNAL", value_parser = signals::parse)]
    signal: Option<i32>,
    /// Containers, by name, ID, or the beginning of an ID
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Runs `ucr stop`; a container that has ended already is no error, as with Docker.
pub(crate) fn stop(
    args: &StopArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    each_at_once(("ucr stop", &args.containers), settings, ui, |found| {
        let Found::Alive(record) = found else {
            return Ok(());
        };
        let opened = Container::open(&settings.state, &record).map_err(CommandError::new)?;
        let usual = record.about.stop;
        let signal = args.signal.unwrap_or(usual.signal);
        let time = Duration::from_secs(args.time.unwrap_or(usual.seconds));
        let stopped = opened.map(|container| container.stop(signal, time));
        stopped.transpose().map(drop).map_err(CommandError::new)
    })
}

/// Which containers are waited for.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Containers, by name, ID, or the beginning of an ID
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Runs `ucr wait`: prints the exit code of each container once it has ended.
pub(crate) fn wait(
    args: &WaitArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    need_root(
        "ucr wait",
        "the state of containers is closed to all but root",
    )?;
    remains::clear(settings, ui);
    let found = args.containers.iter().map(|name| look_for(settings, name));
    // All are found before the first is waited for: names may be used again.
    let found = found.collect::<Result<Vec<_>, _>>()?;
    for one in found {
        ui.print(&exit_code(one, settings, ui)?.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(found: Found, settings: &Settings, ui: &Ui) -> Result<u8, CommandError> {
    let record = match found {
        Found::Ended(ended) => return Ok(ended.exit_code),
        Found::Alive(record) => record,
    };
    let opened = Container::open(&settings.state, &record).map_err(CommandError::new)?;
    if let Some(container) = opened {
        container.wait(None).map_err(CommandError::new)?;
        // Whose supervisor was killed meanwhile has its end written down by who clears it away.
        remains::clear(settings, ui);
    }
    let ended = state::list_ended(&settings.state).map_err(CommandError::new)?;
    let ended = ended.into_iter().find(|ended| ended.record.id == record.id);
    ended.map(|ended| ended.exit_code).ok_or_else(|| {
        let id = record.id.as_str();
        CommandError::sentence(format!(
            "nobody knows how the container {id} ended: nothing was written down, or it was forgotten"
        ))
    })
}
