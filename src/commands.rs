//! One module for each subcommand: its flags, and what it does.

pub(crate) mod certs;
pub(crate) mod containers;
pub(crate) mod explain;
pub(crate) mod gc;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod oci;
pub(crate) mod pull;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod verify;

use std::process::ExitCode;

use self::containers::{end, exec, pause, ps};
use crate::cli::{Cli, Command};
use crate::command_error::CommandError;
use crate::logging;
use crate::settings::Settings;
use crate::ui::Ui;

/// Does what the command line says.
pub(crate) fn dispatch(cli: Cli, ui: &Ui) -> Result<ExitCode, CommandError> {
    logging::start(cli.global.verbose, cli.global.log_format);
    if let Command::Oci(args) = cli.command {
        // It has nothing to do with the store, nor with its configuration.
        return Ok(oci::oci(*args, ui));
    }
    let settings = Settings::new(cli.global)?;
    match cli.command {
        Command::Oci(args) => Ok(oci::oci(*args, ui)),
        Command::Run(args) => run::run(&args, &settings, ui),
        Command::Exec(args) => exec::exec(&args, &settings),
        Command::Ps(args) => ps::ps(&args, &settings, ui),
        Command::Stop(args) => end::stop(&args, &settings, ui),
        Command::Kill(args) => end::kill(&args, &settings, ui),
        Command::Wait(args) => end::wait(&args, &settings, ui),
        Command::Pause(args) => pause::pause(&args, &settings, ui),
        Command::Resume(args) => pause::resume(&args, &settings, ui),
        Command::Pull(args) => pull::pull(&args, &settings, ui),
        Command::Login(args) => login::login(&args, &settings, ui),
        Command::Logout(args) => logout::logout(&args, ui),
        Command::Images(args) => images::images(&args, &settings, ui),
        Command::Inspect(args) => inspect::inspect(&args, &settings, ui),
        Command::Rmi(args) => rmi::rmi(&args, &settings, ui),
        Command::Unpin(args) => rmi::unpin(&args, &settings, ui),
        Command::Gc(args) => gc::gc(&args, &settings, ui),
        Command::Verify(args) => verify::verify(&args, &settings, ui),
        Command::Explain(args) => explain::explain(&args, &settings, ui),
        Command::Certs(command) => certs::certs(&command, &settings, ui),
    }
}
