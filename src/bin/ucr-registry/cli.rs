//! The whole command line as clap sees it, and what becomes of one that is refused.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use ucr::cli::{GlobalArgs, LocalCommand, Start, is_command, log_refusal};
use ucr::commands::run::RunArgs;
use ucr::ui::Ui;

use crate::commands::pull::RunSource;
use crate::commands::{certs, explain, login, logout, prepare, pull, verify};
use crate::docker_words::instead_of;

/// Pull container images from private registries and run them, without a daemon
#[derive(Debug, Parser)]
#[command(name = "ucr", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container, pulling the image when it is missing
    Run(Box<RunArgs<RunSource>>),
    #[command(flatten)]
    Local(LocalCommand),
    /// Pull an image into the store
    Pull(Box<pull::PullArgs>),
    /// Say what a pull would do, and why, without pulling
    Explain(Box<explain::ExplainArgs>),
    /// Keep a password for a registry, once the registry has accepted it
    Login(Box<login::LoginArgs>),
    /// Forget the password for a registry
    Logout(logout::LogoutArgs),
    /// Check that the store holds what was put into it, and repair it
    Verify(Box<verify::VerifyArgs>),
    /// Fetch what a task needs before it starts, for `ucr launch`
    #[command(hide = true)]
    Prepare(Box<prepare::PrepareArgs>),
    /// Tell how the containers of a task are, for `ucr launch`
    #[command(hide = true)]
    Health,
    /// Manage the certificates that registries are trusted by
    #[command(subcommand)]
    Certs(certs::CertsCommand),
}

/// A command line that was not understood, or that only asked for help.
#[derive(Debug)]
pub(crate) struct Refused {
    error: clap::Error,
    runs_task: bool,
}

/// Reads the command line.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, Refused> {
    let is_run = is_command(arguments, "run");
    // What is wrong, or asks for help, is for the whole to say.
    if is_run && let Ok(start) = Start::try_parse_from(arguments) {
        let (global, run) = start.into_parts();
        let command = Command::Run(run);
        return Ok(Cli { global, command });
    }
    Cli::try_parse_from(arguments).map_err(|mut error| {
        if error.kind() == ErrorKind::UnknownArgument {
            // That it be passed on behind "--": it would be taken for the image then.
            error.remove(ContextKind::Suggested);
        }
        Refused {
            error,
            runs_task: is_run || is_command(arguments, "exec"),
        }
    })
}

impl Refused {
    /// What is said: of a word of Docker's what stands in for it, where clap would guess.
    pub(crate) fn text(&self) -> String {
        let unknown = match self.error.kind() {
            ErrorKind::UnknownArgument => self.error.get(ContextKind::InvalidArg),
            ErrorKind::InvalidSubcommand => self.error.get(ContextKind::InvalidSubcommand),
            _ => None,
        };
        match unknown {
            Some(ContextValue::String(word)) if let Some(instead) = instead_of(word) => {
                format!("ucr: there is no \"{word}\"\n  try: {instead}\n")
            }
            _ => self.error.render().to_string(),
        }
    }

    /// Says so, and gives the exit code: Docker's 125 for `run` and `exec`, 2 for the others.
    pub(crate) fn report(self, arguments: &[OsString], ui: &Ui) -> ExitCode {
        match self.error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                ui.print_block(&self.text());
                ExitCode::SUCCESS
            }
            _ => {
                let text = self.text();
                log_refusal(arguments, &text);
                ui.say_block(&text);
                ExitCode::from(if self.runs_task { 125 } else { 2 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_start_is_read_as_the_whole_command_line_is() {
        Start::<RunSource>::command().debug_assert();
        let words = "ucr -v --root /r run -e A=b --rm --name n image -x y";
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let whole = Cli::try_parse_from(&words).unwrap();
        assert_eq!(
            format!("{whole:?}"),
            format!("{:?}", parse(&words).unwrap())
        );
    }

    #[test]
    fn help_is_a_command_too() {
        let asked = ["ucr", "help", "run"].map(OsString::from);
        let refused = parse(&asked).unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::DisplayHelp);
        assert!(refused.error.to_string().contains("--pids-limit"));
    }
}
