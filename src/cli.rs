//! The command line as clap sees it, but for what needs a registry.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::commands::containers::{end, exec, pause, ps};
use crate::commands::{gc, images, inspect, launch, oci, rmi, run};
use crate::env_vars;
use crate::logging::LogFormat;
use crate::source::StoreOnly;

/// What stands before the subcommand.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Directory of the store [default: /var/lib/ucr]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_ROOT)]
    pub root: Option<PathBuf>,
    /// Directory of the state of running containers [default: /run/ucr]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_STATE)]
    pub state: Option<PathBuf>,
    /// Directory of the certificates added with `ucr certs add` [default: /etc/ucr/certs]
    #[arg(long, value_name = "DIR", env = env_vars::UCR_CERTS_DIR)]
    pub certs_dir: Option<PathBuf>,
    /// Configuration file [default: /etc/ucr/config.toml, if it exists]
    #[arg(long, value_name = "FILE", env = env_vars::UCR_CONFIG)]
    pub config: Option<PathBuf>,
    /// Say more on stderr; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How log messages are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// What to do that needs no registry.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Run a task for an executor: a Marathon app or pod, or a Mesos TaskInfo
    Launch(Box<launch::LaunchArgs>),
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
    /// Be an OCI runtime, for podman, containerd and others, as runc and crun are
    #[command(version)]
    Oci(Box<oci::OciArgs>),
}

/// A command line of one of these.
#[derive(Debug, Parser)]
#[command(name = "ucr", disable_help_subcommand = true)]
pub struct Local {
    /// What stands before it.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// Which.
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// The command line of a start: without the flags of the other commands, which take longer to
/// build than these to parse.
#[derive(Debug, Parser)]
#[command(name = "ucr", disable_help_subcommand = true)]
pub struct Start<S: Args> {
    /// What stands before it.
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    command: StartCommand<S>,
}

#[derive(Debug, Subcommand)]
enum StartCommand<S: Args> {
    Run(Box<run::RunArgs<S>>),
}

impl<S: Args> Start<S> {
    /// Its two halves.
    pub fn into_parts(self) -> (GlobalArgs, Box<run::RunArgs<S>>) {
        let StartCommand::Run(run) = self.command;
        (self.global, run)
    }
}

/// A command line that needs no registry, or may do without.
#[derive(Debug)]
pub enum Line {
    /// `ucr run`.
    Start(Box<Start<StoreOnly>>),
    /// Any other.
    Local(Box<Local>),
}

/// Reads a command line; `None` is for `ucr-registry`, which also says what is wrong, and helps.
pub fn parse(arguments: &[OsString]) -> Option<Line> {
    if is_command(arguments, "run") {
        let start = Start::try_parse_from(arguments).ok()?;
        return Some(Line::Start(Box::new(start)));
    }
    Local::try_parse_from(arguments)
        .ok()
        .map(Box::new)
        .map(Line::Local)
}

/// The name of a link to `ucr` that behaves as `ucr oci`.
const OCI_NAME: &str = "ucr-oci";

/// The command line, with the word `oci` in it where the program was called by that name.
pub fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new(OCI_NAME)) {
        // What help calls it, too: it is what can be typed.
        arguments.splice(..1, ["ucr".into(), "oci".into()]);
    }
    arguments
}

/// Tells whoever called `ucr oci` why its command line was refused, where they asked to be told.
pub fn log_refusal(arguments: &[OsString], message: &str) {
    if is_command(arguments, "oci") {
        oci::log_refusal(arguments, message);
    }
}

/// Whether the first word behind the program's name that is no flag, nor a flag's value, is `command`.
pub fn is_command(arguments: &[OsString], command: &str) -> bool {
    let rest = arguments.get(1..).unwrap_or_default();
    command_at(rest).is_some_and(|at| rest[at] == command)
}

/// The words that stand before `command`, if that is what the command line has.
pub(crate) fn global_arguments<'a>(words: &'a [OsString], command: &str) -> &'a [OsString] {
    match command_at(words) {
        Some(at) if words[at] == command => &words[..at],
        _ => &[],
    }
}

/// Where the first word is that is no flag, nor a flag's value.
fn command_at(words: &[OsString]) -> Option<usize> {
    let takes_value = [
        "--root",
        "--state",
        "--certs-dir",
        "--config",
        "--log-format",
    ]
    .map(OsStr::new);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if takes_value.contains(&word.as_os_str()) {
            at += 1;
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Local::command().debug_assert();
        Start::<StoreOnly>::command().debug_assert();
    }

    #[test]
    fn what_needs_a_registry_or_help_is_for_the_other_executable() {
        for line in [
            "ucr pull x",
            "ucr run --deadline 1m x",
            "ucr run --inject-ca x",
            "ucr run",
            "ucr help run",
            "ucr ps --help",
            "ucr nonsense",
            "ucr --version",
        ] {
            assert!(parse(&words(line)).is_none(), "{line}");
        }
        assert!(matches!(parse(&words("ucr ps -a")), Some(Line::Local(_))));
        let start = "ucr --root /r run -q --platform linux/arm64 --name n x ls --cafile";
        assert!(matches!(parse(&words(start)), Some(Line::Start(_))));
    }

    #[test]
    fn run_is_recognised_behind_global_flags() {
        let is_run = |text| is_command(&words(text), "run");
        assert!(is_run("ucr --root run -v run --nonsense"));
        assert!(!is_run("ucr --root run pull run"));
    }

    #[test]
    fn a_link_of_the_right_name_is_an_oci_runtime() {
        let read = |text| arguments(words(text).into_iter());
        let oci = ["ucr", "oci", "--root", "x"].map(OsString::from);
        assert_eq!(read("/usr/bin/ucr-oci --root x"), oci);
        assert_eq!(read("ucr run"), ["ucr", "run"].map(OsString::from));
    }
}
