//! One module for each subcommand that needs a registry or certificates: its flags, and what it does.

pub(crate) mod certs;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod prepare;
pub(crate) mod pull;
pub(crate) mod verify;

use std::process::ExitCode;

use ucr::command_error::CommandError;
use ucr::commands::{begin, local, run};
use ucr::ui::Ui;

use crate::cli::{Cli, Command};

/// Does what the command line says.
pub(crate) fn dispatch(Cli { global, command }: Cli, ui: &Ui) -> Result<ExitCode, CommandError> {
    match command {
        Command::Local(command) => local(global, command, ui),
        Command::Run(args) => run::run(&args, &begin(global)?, ui),
        Command::Pull(args) => pull::pull(&args, &begin(global)?, ui),
        Command::Login(args) => login::login(&args, &begin(global)?, ui),
        Command::Logout(args) => begin(global).and_then(|_settings| logout::logout(&args, ui)),
        Command::Verify(args) => verify::verify(&args, &begin(global)?, ui),
        Command::Explain(args) => explain::explain(&args, &begin(global)?, ui),
        Command::Prepare(args) => prepare::prepare(&args, &begin(global)?, ui),
        Command::Health => begin(global).and_then(|_settings| health::health(ui)),
        Command::Certs(command) => certs::certs(&command, &begin(global)?, ui),
    }
}
