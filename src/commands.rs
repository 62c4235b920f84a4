//! One module for each subcommand: its flags, and what it does.

pub(crate) mod containers;
pub mod gc;
pub mod images;
pub(crate) mod inspect;
pub(crate) mod launch;
pub(crate) mod oci;
pub(crate) mod rmi;
pub mod run;

use std::process::ExitCode;

use self::containers::{end, exec, pause, ps};
use crate::cli::{GlobalArgs, LocalCommand};
use crate::command_error::CommandError;
use crate::logging;
use crate::settings::Settings;
use crate::ui::Ui;

/// Starts the log, and finds out what is set.
///
/// # Errors
/// A configuration that cannot be read or understood.
pub fn begin(global: GlobalArgs) -> Result<Settings, CommandError> {
    logging::start(global.verbose, global.log_format);
    Settings::new(global)
}

/// Does what needs no registry.
///
/// # Errors
/// The command's own.
pub fn local(global: GlobalArgs, command: LocalCommand, ui: &Ui) -> Result<ExitCode, CommandError> {
    match command {
        LocalCommand::Launch(args) => launch::launch(&args, &begin(global)?, ui),
        LocalCommand::Exec(args) => exec::exec(&args, &begin(global)?, ui),
        LocalCommand::Ps(args) => ps::ps(&args, &begin(global)?, ui),
        LocalCommand::Stop(args) => end::stop(&args, &begin(global)?, ui),
        LocalCommand::Kill(args) => end::kill(&args, &begin(global)?, ui),
        LocalCommand::Wait(args) => end::wait(&args, &begin(global)?, ui),
        LocalCommand::Pause(args) => pause::pause(&args, &begin(global)?, ui),
        LocalCommand::Resume(args) => pause::resume(&args, &begin(global)?, ui),
        LocalCommand::Images(args) => images::images(&args, &begin(global)?, ui),
        LocalCommand::Inspect(args) => inspect::inspect(&args, &begin(global)?, ui),
        LocalCommand::Rmi(args) => rmi::rmi(&args, &begin(global)?, ui),
        LocalCommand::Unpin(args) => rmi::unpin(&args, &begin(global)?, ui),
        LocalCommand::Gc(args) => gc::gc(&args, &begin(global)?, ui),
        LocalCommand::Oci(args) => {
            // It has nothing to do with the store, nor with its configuration.
            logging::start(global.verbose, global.log_format);
            Ok(oci::oci(*args, ui))
        }
    }
}
