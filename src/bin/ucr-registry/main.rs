//! `ucr-registry`: the whole of `ucr`, with what asks registries and reads certificates.
//!
//! `ucr` becomes it with the same command line when it has to; nobody else calls it.

mod budget;
mod caller;
mod checker;
mod cli;
mod commands;
mod docker_words;
mod fetching;
mod injected_certs;
mod inspection;
mod patience;
mod progress;
mod prompt;
mod proxy;
mod report;
mod task_credentials;
mod trust;

use std::process::ExitCode;

use ucr::ui::Ui;

fn main() -> ExitCode {
    ucr_sys_curl::begin();
    ucr_sys::give_back_large_blocks();
    let arguments = ucr::cli::arguments(std::env::args_os());
    let ui = Ui::new();
    let cli = match cli::parse(&arguments) {
        Ok(cli) => cli,
        Err(refused) => return refused.report(&arguments, &ui),
    };
    commands::dispatch(cli, &ui).unwrap_or_else(|error| error.report(&ui))
}
