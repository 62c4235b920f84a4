//! `ucr oci create`: a container whose program waits to be started.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci::create::{Create, create as make};
use ucr_runtime::oci::plan::Keyring;
use ucr_sys::descriptors;

use super::Context;
use crate::beside;
use crate::command_error::CommandError;
use crate::settings::{absolute, need_root};

/// What to make.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    pub(super) shared: SharedArgs,
    /// Container, a name that is not taken yet
    #[arg(value_name = "ID")]
    pub(super) id: ContainerId,
}

/// What `create` and `run` both take.
#[derive(Debug, Args)]
pub(super) struct SharedArgs {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// File that gets the number of the first process
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Socket that gets the caller's side of the program's terminal
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// The same, open already
    #[arg(long, value_name = "N", hide = true, conflicts_with = "console_socket")]
    console_fd: Option<i32>,
    /// Descriptors after the standard three that the program keeps
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// Leave the program the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Refused: the root is always entered by pivot_root
    #[arg(long, hide = true)]
    pub(super) no_pivot: bool,
}

/// Makes the container; returns only when that failed.
///
/// # Errors
/// What could not be understood or planned.
pub(super) fn create(args: CreateArgs, context: Context) -> Result<ExitCode, CommandError> {
    need_root("ucr oci", "it makes namespaces and cgroups")?;
    let shared = args.shared;
    if shared.no_pivot {
        return Err(CommandError::sentence(
            "--no-pivot is not supported: without pivot_root the host's files can be reached",
        ));
    }
    let console = console(&shared)?;
    let request = Create {
        id: args.id,
        root: context.root,
        bundle: shared.bundle,
        pid_file: shared.pid_file.map(absolute).transpose()?,
        preserved: shared.preserve_fds,
        console,
        keyring: if shared.no_new_keyring {
            Keyring::Callers
        } else {
            Keyring::New
        },
        log: context.log,
        init: beside::executable("ucr-init")?,
    };
    match make(request) {
        Ok(never) => match never {},
        Err(error) => Err(CommandError::new(error)),
    }
}

/// The way to whoever shows the terminal.
fn console(shared: &SharedArgs) -> Result<Option<OwnedFd>, CommandError> {
    if let Some(number) = shared.console_fd {
        return descriptors::duplicate(number)
            .map(Some)
            .map_err(CommandError::new);
    }
    shared.console_socket.as_deref().map(connect).transpose()
}

/// Connects to the socket of who shows a terminal.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, CommandError> {
    let connected = UnixStream::connect(path).map_err(|error| {
        let (path, error) = (path.display(), ucr_sys::reason(&error));
        CommandError::sentence(format!(
            "cannot connect to the console socket {path}: {error}"
        ))
    });
    connected.map(OwnedFd::from)
}
