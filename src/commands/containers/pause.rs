//! `ucr pause` and `ucr resume`: containers that stand still for a while.

use std::process::ExitCode;

use clap::Args;

use super::{each, running};
use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::ui::Ui;

/// Which containers.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Containers, by name, ID, or the beginning of an ID
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Runs `ucr pause`: no process of the container runs until `ucr resume`.
pub(crate) fn pause(
    args: &PauseArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    each(("ucr pause", &args.containers), settings, ui, |found| {
        let container = running(settings, found, "pause")?;
        container.freeze().map_err(CommandError::new)
    })
}

/// Runs `ucr resume`.
pub(crate) fn resume(
    args: &PauseArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    each(("ucr resume", &args.containers), settings, ui, |found| {
        let container = running(settings, found, "resume")?;
        container.thaw().map_err(CommandError::new)
    })
}
