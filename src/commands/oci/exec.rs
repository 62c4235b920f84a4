//! `ucr oci exec`: another process in a container.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use oci_spec::runtime::Capability;
use ucr_runtime::exec::Changes;
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci::exec::{Exec, What, exec as start};
use ucr_runtime::process::Keeper;

use super::Context;
use super::create::connect;
use crate::beside;
use crate::command_error::CommandError;
use crate::settings::{absolute, need_root};
use crate::streams::terminal_like_ours;

/// What to run, and where.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// File with a process of the runtime specification, as JSON
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return once it runs, and let others look after it
    #[arg(short, long)]
    detach: bool,
    /// File that gets its number
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that gets the caller's side of its terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Working directory inside the container
    #[arg(long, value_name = "DIR", conflicts_with = "process")]
    cwd: Option<PathBuf>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE", conflicts_with = "process")]
    env: Vec<String>,
    /// User to run as, by name or ID of the container, with or without a group
    #[arg(short, long, value_name = "USER[:GROUP]", conflicts_with = "process")]
    user: Option<String>,
    /// Give it a capability besides those it has
    #[arg(short, long, value_name = "CAP", value_parser = capability, conflicts_with = "process")]
    cap: Vec<Capability>,
    /// Let no program grant it privileges
    #[arg(long, conflicts_with = "process")]
    no_new_privs: bool,
    /// Put it into groups besides its user's
    #[arg(
        short = 'g',
        long,
        value_name = "GID",
        value_delimiter = ',',
        conflicts_with = "process"
    )]
    additional_gids: Vec<u32>,
    /// How many descriptors after standard error it gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Container
    #[arg(value_name = "ID")]
    id: ContainerId,
    /// Program to run, and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "process"
    )]
    command: Vec<String>,
}

/// Reads a name of capabilities(7), with or without `CAP_`.
fn capability(text: &str) -> Result<Capability, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    serde_json::from_value(format!("CAP_{name}").into())
        .map_err(|_unknown| "there is no such capability".to_owned())
}

/// Starts the process; returns only when that failed.
///
/// # Errors
/// What could not be found, understood or started.
pub(super) fn exec(args: ExecArgs, context: Context) -> Result<ExitCode, CommandError> {
    need_root("ucr oci", "it enters namespaces and cgroups")?;
    let terminal = args.tty.then(terminal_like_ours);
    let what = match args.process {
        Some(file) => What::File { file, terminal },
        None => What::Changes(Changes {
            arguments: args.command,
            environment: args.env,
            directory: args.cwd,
            user: args.user,
            terminal,
            capabilities: args.cap,
            no_new_privileges: args.no_new_privs,
            groups: args.additional_gids,
        }),
    };
    let request = Exec {
        id: args.id,
        root: context.root,
        what,
        keeper: if args.detach {
            Keeper::Adopter
        } else {
            Keeper::Here
        },
        pid_file: args.pid_file.map(absolute).transpose()?,
        console: args.console_socket.as_deref().map(connect).transpose()?,
        preserved: args.preserve_fds,
        init: beside::executable("ucr-init")?,
    };
    match start(request) {
        Ok(never) => match never {},
        Err(error) => Err(CommandError::new(error)),
    }
}
