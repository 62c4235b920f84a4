//! `ucr oci run`: create, start, wait, delete.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Args;
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci::bundle::Bundle;
use ucr_runtime::oci::container::{self, Force};
use ucr_runtime::process::Caller;
use ucr_sys::execution::adopt_orphans;
use ucr_sys::process::{self, Child, Ended, Pid};
use ucr_sys::{descriptors, message};

use super::Context;
use super::create::SharedArgs;
use crate::command_error::CommandError;
use crate::settings::need_root;
use crate::ui::Ui;

/// What to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    shared: SharedArgs,
    /// Leave it running, and return once its program does
    #[arg(short, long)]
    detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    keep: bool,
    /// Container, a name that is not taken yet
    #[arg(value_name = "ID")]
    id: ContainerId,
}

/// Runs the container; the exit code is that of its program, or 128 and the number of a signal.
///
/// # Errors
/// Why it does not run.
pub(super) fn run(args: RunArgs, context: &Context, ui: &Ui) -> Result<ExitCode, CommandError> {
    need_root("ucr oci", "it makes namespaces and cgroups")?;
    // `create` becomes another program, and the container's first process is its child: adopted
    // here, it can be waited for.
    adopt_orphans().map_err(CommandError::new)?;
    let mut caller = Caller::new().map_err(CommandError::new)?;
    let (ours, theirs) = message::pair().map_err(CommandError::new)?;
    let created = create(&args, context, theirs)?;
    if !created.success() {
        // It has said why, and logged it.
        return Ok(ExitCode::FAILURE);
    }
    let master = message::receive(ours.as_fd()).map_err(CommandError::new)?;
    let ended = caller
        .show_terminal(master.and_then(|(_, master)| master))
        .map_err(CommandError::new)
        .and_then(|()| start_and_wait(&args, context, &mut caller));
    // Before anything is said on it.
    caller.leave_terminal().map_err(CommandError::new)?;
    if args.detach && ended.is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.keep {
        let failed = container::delete(&context.root, &args.id, Force::Yes);
        for error in failed.map_err(CommandError::new)? {
            ui.say_ignored(&CommandError::new(error));
        }
    }
    let code = match ended? {
        None => 0,
        Some(Ended::Exited(status)) => status & 0xff,
        Some(Ended::Signaled(signal)) => 128 + signal,
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Calls this program for `create`; a terminal that nobody else shows is sent to `console`.
fn create(
    args: &RunArgs,
    context: &Context,
    console: OwnedFd,
) -> Result<std::process::ExitStatus, CommandError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("oci").arg("--root").arg(&context.root);
    if let Some(log) = &context.log {
        let format = match log.format {
            ucr_runtime::oci::log::Format::Text => "text",
            ucr_runtime::oci::log::Format::Json => "json",
        };
        command.arg("--log").arg(&log.file);
        command.args(["--log-format", format]);
    }
    let shared = &args.shared;
    command.arg("create").arg("--bundle").arg(&shared.bundle);
    if let Some(file) = &shared.pid_file {
        command.arg("--pid-file").arg(file);
    }
    match &shared.console_socket {
        Some(socket) => drop(command.arg("--console-socket").arg(socket)),
        None if !args.detach && wants_terminal(&shared.bundle) => {
            descriptors::keep_across_exec(console.as_fd()).map_err(CommandError::new)?;
            command.arg(format!("--console-fd={}", console.as_raw_fd()));
        }
        None => {}
    }
    command.arg(format!("--preserve-fds={}", shared.preserve_fds));
    for (given, flag) in [
        (shared.no_new_keyring, "--no-new-keyring"),
        (shared.no_pivot, "--no-pivot"),
    ] {
        if given {
            command.arg(flag);
        }
    }
    Ok(command.arg(args.id.as_str()).status()?)
}

/// Whether the program is to have a terminal; what is wrong with its configuration `create` says.
fn wants_terminal(bundle: &Path) -> bool {
    let bundle = Bundle::read(bundle).ok();
    let process = bundle.and_then(|bundle| bundle.spec.process().clone());
    process
        .and_then(|process| process.terminal())
        .unwrap_or(false)
}

fn start_and_wait(
    args: &RunArgs,
    context: &Context,
    caller: &mut Caller,
) -> Result<Option<Ended>, CommandError> {
    let state = container::state(&context.root, &args.id).map_err(CommandError::new)?;
    let pid = state.map_or(0, |state| state.pid);
    let first = process::open(pid).map_err(CommandError::new)?;
    container::start(&context.root, &args.id).map_err(CommandError::new)?;
    let (Some(pid), Some(pidfd), false) = (Pid::from_raw(pid), first, args.detach) else {
        return Ok(None);
    };
    let first = Child { pid, pidfd };
    caller.wait_for_end(&first).map_err(CommandError::new)?;
    let ended = process::wait(first.pidfd.as_fd()).map_err(CommandError::new)?;
    Ok(Some(ended))
}
