//! `ucr`: runs containers out of the store without a daemon, and leaves to `ucr-registry` what
//! needs a registry.

use std::process::ExitCode;

use ucr::beside;
use ucr::cli::{self, Line};
use ucr::commands::{self, run};
use ucr::ui::Ui;

fn main() -> ExitCode {
    let arguments = cli::arguments(std::env::args_os());
    let ui = Ui::new();
    let done = match cli::parse(&arguments) {
        Some(Line::Start(start)) => run::from_line(*start, &ui),
        Some(Line::Local(local)) => commands::local(local.global, local.command, &ui),
        None => Err(beside::become_registry()),
    };
    done.unwrap_or_else(|error| error.report(&ui))
}
