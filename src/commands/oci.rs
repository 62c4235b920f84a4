//! `ucr oci`: the command line of an OCI runtime, as runc's and crun's.

mod create;
mod exec;
mod features;
mod manage;
mod run;
mod spec;
mod update;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci::log::{Format, Log};

use crate::command_error::CommandError;
use crate::settings::absolute;
use crate::ui::Ui;

/// Where the state of containers is when nobody says.
const ROOT: &str = "/run/ucr/oci";

/// What stands before the verb, and the verb.
#[derive(Debug, Args)]
pub struct OciArgs {
    /// Directory of the state of containers
    #[arg(long, value_name = "DIR", default_value = ROOT)]
    root: PathBuf,
    /// File that gets error messages too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How messages are written into that file
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Taken for the sake of those who pass it: nothing more is said
    #[arg(long, hide = true)]
    debug: bool,
    /// Refused: cgroups are made without systemd
    #[arg(long, hide = true)]
    systemd_cgroup: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// How log messages are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One line of keys and values each
    Text,
    /// One JSON object each
    Json,
}

impl LogFormat {
    fn into_file(self, file: &Path) -> Log {
        Log {
            file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            format: match self {
                Self::Text => Format::Text,
                Self::Json => Format::Json,
            },
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a container whose program waits to be started
    Create(create::CreateArgs),
    /// Start the program of a container that was created
    Start(IdArgs),
    /// Run another process in a container
    Exec(exec::ExecArgs),
    /// Say how a container is, as JSON
    State(IdArgs),
    /// Send a signal to the first process of a container
    Kill(manage::KillArgs),
    /// Remove a container that has ended
    Delete(manage::DeleteArgs),
    /// Create and start a container, wait for its end and delete it
    Run(run::RunArgs),
    /// Write a config.json to begin with
    Spec(spec::SpecArgs),
    /// Change the limits of a container that runs
    Update(update::UpdateArgs),
    /// Say what this runtime can do, as JSON
    Features,
    /// List the containers
    List(manage::ListArgs),
    /// Freeze the processes of a container
    Pause(IdArgs),
    /// Let the processes of a frozen container go on
    Resume(IdArgs),
}

/// Which container.
#[derive(Debug, Args)]
struct IdArgs {
    /// Container
    #[arg(value_name = "ID")]
    id: ContainerId,
}

/// Who asks, and where the containers are.
#[derive(Debug)]
struct Context {
    root: PathBuf,
    log: Option<Log>,
}

/// Does what the command line says; errors go to the log file too.
pub(crate) fn oci(args: OciArgs, ui: &Ui) -> ExitCode {
    let log = args
        .log
        .as_ref()
        .map(|file| args.log_format.into_file(file));
    let done = dispatch(args, log.clone(), ui);
    done.unwrap_or_else(|error| {
        // What cannot be logged is said below.
        if let Some(log) = log {
            drop(log.write(&error.message()));
        }
        error.report(ui)
    })
}

/// Writes why a command line was refused into the log that it names: whoever calls a runtime reads
/// that, and often nothing else.
pub(crate) fn log_refusal(arguments: &[OsString], message: &str) {
    let value_of = |flag: &str| {
        let (alone, with_value) = (OsStr::new(flag), format!("{flag}="));
        let at = arguments.iter().position(|word| word == alone);
        let behind = at.and_then(|at| arguments.get(at + 1)).cloned();
        let mut within = arguments.iter().filter_map(|word| {
            let value = word.as_encoded_bytes().strip_prefix(with_value.as_bytes());
            value.map(|value| OsStr::from_bytes(value).to_owned())
        });
        behind.or_else(|| within.next_back())
    };
    let format = match value_of("--log-format") {
        Some(word) if word == "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
    if let Some(file) = value_of("--log") {
        // It is said on standard error too.
        drop(format.into_file(Path::new(&file)).write(message.trim_end()));
    }
}

fn dispatch(args: OciArgs, log: Option<Log>, ui: &Ui) -> Result<ExitCode, CommandError> {
    if args.systemd_cgroup {
        return Err(CommandError::sentence(
            "--systemd-cgroup is not supported: cgroups are made without systemd",
        )
        .hint("podman --cgroup-manager cgroupfs"));
    }
    let context = Context {
        root: absolute(args.root)?,
        log,
    };
    match args.verb {
        Verb::Create(args) => create::create(args, context),
        Verb::Start(args) => manage::start(&args.id, &context),
        Verb::Exec(args) => exec::exec(args, context),
        Verb::State(args) => manage::state(&args.id, &context, ui),
        Verb::Kill(args) => manage::kill(&args, &context),
        Verb::Delete(args) => manage::delete(&args, &context, ui),
        Verb::Run(args) => run::run(args, &context, ui),
        Verb::Spec(args) => spec::spec(&args),
        Verb::Update(args) => update::update(&args, &context),
        Verb::Features => features::features(ui),
        Verb::List(args) => manage::list(&args, &context, ui),
        Verb::Pause(args) => manage::pause(&args.id, &context),
        Verb::Resume(args) => manage::resume(&args.id, &context),
    }
}
