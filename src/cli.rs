//! The command line as clap sees it, and what becomes of one that is refused.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::commands::containers::{end, exec, pause, ps};
use crate::commands::{
    certs, explain, gc, images, inspect, login, logout, oci, pull, rmi, run, verify,
};
use crate::env_vars;
use crate::logging::LogFormat;
use crate::ui::Ui;

/// Pull container images from private registries and run them, without a daemon
#[derive(Debug, Parser)]
#[command(name = "ucr", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What stands before the subcommand.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Directory of the store [default: /var/lib/ucr]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_ROOT)]
    pub(crate) root: Option<PathBuf>,
    /// Directory of the state of running containers [default: /run/ucr]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_STATE)]
    pub(crate) state: Option<PathBuf>,
    /// Directory of the certificates added with `ucr certs add` [default: /etc/ucr/certs]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_CERTS_DIR)]
    pub(crate) certs_dir: Option<PathBuf>,
    /// Configuration file [default: /etc/ucr/config.toml, if it exists]
    #[arg(long, value_name = "FILE", env = env_vars::UCR_CONFIG)]
    pub(crate) config: Option<PathBuf>,
    /// Say more on stderr; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How log messages are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container, pulling the image when it is missing
    Run(Box<run::RunArgs>),
    /// Run a command in a container that runs
    Exec(exec::ExecArgs),
    /// List containers
    Ps(ps::PsArgs),
    /// End containers: ask their tasks to, and kill what is left after a while
    Stop(end::StopArgs),
    /// Send a signal to the tasks of containers, KILL unless another is named
    Kill(end::KillArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(end::WaitArgs),
    /// Let containers stand still
    Pause(pause::PauseArgs),
    /// Let containers go on that stand still
    #[command(alias = "unpause")]
    Resume(pause::PauseArgs),
    /// Pull an image into the store
    Pull(Box<pull::PullArgs>),
    /// Say what a pull would do, and why, without pulling
    Explain(Box<explain::ExplainArgs>),
    /// Keep a password for a registry, once the registry has accepted it
    Login(Box<login::LoginArgs>),
    /// Forget the password for a registry
    Logout(logout::LogoutArgs),
    /// List the images in the store
    Images(images::ImagesArgs),
    /// Show everything about images and containers, as JSON
    Inspect(inspect::InspectArgs),
    /// Remove names of images, and layers that nobody needs then
    Rmi(rmi::RmiArgs),
    /// Take pins away that `ucr pull --pin` has set
    Unpin(rmi::UnpinArgs),
    /// Make room in the store
    Gc(gc::GcArgs),
    /// Check that the store holds what was put into it, and repair it
    Verify(Box<verify::VerifyArgs>),
    /// Be an OCI runtime, for podman, containerd and others, as runc and crun are
    #[command(version)]
    Oci(Box<oci::OciArgs>),
    /// Manage the certificates that registries are trusted by
    #[command(subcommand)]
    Certs(certs::CertsCommand),
}

/// The command line of a start: without the flags of the other commands, which take longer to
/// build than these to parse.
#[derive(Debug, Parser)]
#[command(name = "ucr", disable_help_subcommand = true)]
struct StartCli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: StartCommand,
}

#[derive(Debug, Subcommand)]
enum StartCommand {
    Run(Box<run::RunArgs>),
}

impl From<StartCli> for Cli {
    fn from(start: StartCli) -> Self {
        let StartCommand::Run(run) = start.command;
        Self {
            global: start.global,
            command: Command::Run(run),
        }
    }
}

/// A command line that was not understood, or that only asked for help.
#[derive(Debug)]
pub(crate) struct Refused {
    error: clap::Error,
    runs_task: bool,
}

/// The name of a link to `ucr` that behaves as `ucr oci`.
const OCI_NAME: &str = "ucr-oci";

/// The command line, with the word `oci` in it where the program was called by that name.
pub(crate) fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new(OCI_NAME)) {
        arguments.insert(1, "oci".into());
    }
    arguments
}

/// Reads the command line.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, Refused> {
    let is_run = is_command(arguments, "run");
    // What is wrong, or asks for help, is for the whole to say.
    if is_run && let Ok(start) = StartCli::try_parse_from(arguments) {
        return Ok(start.into());
    }
    Cli::try_parse_from(arguments).map_err(|error| Refused {
        error,
        runs_task: is_run || is_command(arguments, "exec"),
    })
}

impl Refused {
    /// Says so, and gives the exit code: Docker's 125 for `run` and `exec`, 2 for the others.
    pub(crate) fn report(self, ui: &Ui) -> ExitCode {
        let text = self.error.render();
        match self.error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                ui.print_block(&text.to_string());
                ExitCode::SUCCESS
            }
            _ => {
                ui.say_block(&text.to_string());
                ExitCode::from(if self.runs_task { 125 } else { 2 })
            }
        }
    }
}

/// Whether the first word behind the program's name that is no flag, nor a flag's value, is `command`.
fn is_command(arguments: &[OsString], command: &str) -> bool {
    let takes_value = [
        "--root",
        "--state",
        "--certs-dir",
        "--config",
        "--log-format",
    ]
    .map(OsStr::new);
    let mut rest = arguments.iter().skip(1);
    while let Some(word) = rest.next() {
        if takes_value.contains(&word.as_os_str()) {
            rest.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return word == command;
        }
    }
    false
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
        StartCli::command().debug_assert();
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

    #[test]
    fn run_is_recognised_behind_global_flags() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let is_run = |text| is_command(&words(text), "run");
        assert!(is_run("ucr --root run -v run --nonsense"));
        assert!(!is_run("ucr --root run pull run"));
    }

    #[test]
    fn a_link_of_the_right_name_is_an_oci_runtime() {
        let words = |text: &str| arguments(text.split(' ').map(OsString::from));
        let oci = ["/usr/bin/ucr-oci", "oci", "--root", "x"].map(OsString::from);
        assert_eq!(words("/usr/bin/ucr-oci --root x"), oci);
        assert_eq!(words("ucr run"), ["ucr", "run"].map(OsString::from));
    }
}
