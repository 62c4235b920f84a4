//! `ucr`: pulls container images from private registries and runs them, without a daemon.
//!
//! This package is the command line only: arguments become settings, settings
//! become a library call, its outcome becomes output and an exit code.

mod auth_files;
mod budget;
mod caller;
mod cdi;
mod cli;
mod command_error;
mod commands;
mod config_file;
mod container_spec;
mod credential;
mod env_args;
mod env_vars;
mod gc_config;
mod held_file;
mod host_files;
mod image_arg;
mod injected_certs;
mod inspection;
mod logging;
mod names;
mod output_format;
mod patience;
mod progress;
mod prompt;
mod proxy;
mod quantity;
mod report;
mod security;
mod settings;
mod shown;
mod signals;
mod streams;
mod trust;
mod ui;
mod userns;

use std::process::ExitCode;

fn main() -> ExitCode {
    ucr_sys_curl::begin();
    ucr_sys::give_back_large_blocks();
    let arguments = cli::arguments(std::env::args_os());
    let ui = ui::Ui::new();
    let cli = match cli::parse(&arguments) {
        Ok(cli) => cli,
        Err(refused) => return refused.report(&ui),
    };
    match commands::dispatch(cli, &ui) {
        Ok(code) => code,
        Err(error) => error.report(&ui),
    }
}
