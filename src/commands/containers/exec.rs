//! `ucr exec`: another command in a container that runs.

use std::convert::Infallible;
use std::process::ExitCode;

use clap::Args;
use ucr_runtime::exec::{self, Attached, Changes, Error};
use ucr_runtime::state::Found;

use super::{has_ended, look_for};
use crate::command_error::CommandError;
use crate::env_args::EnvArgs;
use crate::settings::{Settings, need_root};
use crate::streams::StreamArgs;
use crate::ui::Ui;
use crate::{beside, remains};

/// Docker's exit code for "it did not come to the task".
const FAILED: u8 = 125;

/// What to run, where, and how it differs from the container's own command.
#[derive(Debug, Args)]
pub struct ExecArgs {
    #[command(flatten)]
    streams: StreamArgs,
    /// Return once it runs; what it writes goes nowhere
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    #[command(flatten)]
    env: EnvArgs,
    /// User to run as, by name or ID of the container, with or without a group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, by name, ID, or the beginning of an ID
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Command to run, and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// Runs `ucr exec`; on success this process becomes who waits for the command.
pub(crate) fn exec(
    args: &ExecArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    match start(args, settings, ui) {
        Err(error) => Err(error.code(FAILED)),
        Ok(never) => match never {},
    }
}

fn start(args: &ExecArgs, settings: &Settings, ui: &Ui) -> Result<Infallible, CommandError> {
    need_root("ucr exec", "containers are root's")?;
    args.streams.check()?;
    let init = beside::executable("ucr-init")?;
    let changes = Changes {
        arguments: args.command.clone(),
        environment: args.env.resolve()?,
        directory: args.workdir.clone().map(Into::into),
        user: args.user.clone(),
        terminal: args.streams.terminal(),
        ..Changes::default()
    };
    let what = "run a command in";
    remains::clear(settings, ui);
    let record = match look_for(settings, &args.container)? {
        Found::Alive(record) => record,
        Found::Ended(ended) => return Err(has_ended(&ended.record, what)),
    };
    args.streams.close_input()?;
    let attached = if args.detach {
        Attached::Nobody
    } else {
        Attached::Caller
    };
    exec::exec(&settings.state, &record, changes, attached, &init).map_err(|error| match error {
        Error::Ended => has_ended(&record, what),
        Error::Paused => CommandError::new(error).hint(format!("ucr resume {}", args.container)),
        error => CommandError::new(error),
    })
}
