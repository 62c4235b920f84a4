//! `ucr launch`: one task for an executor, from its definition to its cleaned-up end.
//!
//! This process stays with the task: it starts a supervisor for each of its containers, keeps what
//! they say, and tells how it goes. When it is killed they die with it.

mod agent;
mod checks;
mod disk;
mod environment;
mod explain;
mod files;
mod flags;
mod helper;
mod keeper;
mod lines;
mod log_file;
mod member;
mod network;
mod prepared;
mod run_task;
mod sandbox;
mod secrets;
mod status;

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ucr_executor::command::Semantics;
use ucr_executor::task::Task;

use self::agent::{Agent, AgentArgs};
use self::files::FetchArgs;
use self::log_file::Rotation;
use self::secrets::Secrets;
use self::status::{Line, Reason, Told};
use crate::command_error::CommandError;
use crate::quantity;
use crate::report::ReportArgs;
use crate::settings::{Settings, need_root};
use crate::ui::Ui;

/// Docker's exit code for "it did not come to the task".
const FAILED: u8 = 125;
/// The most that a task's definition may have.
const LIMIT: u64 = 16 << 20;

/// Which task, where, and how.
#[derive(Debug, Args)]
pub struct LaunchArgs {
    /// The task: a Marathon app or pod, or a Mesos TaskInfo, as JSON; "-" reads standard input
    #[arg(long, value_name = "FILE|-")]
    task: PathBuf,
    /// Directory of the task, with its stdout and stderr [default: $MESOS_DIRECTORY, or sandboxes/TASK in the store]
    #[arg(long, value_name = "DIR")]
    sandbox: Option<PathBuf>,
    /// ID of the task, where its definition has none of its own [default: made of the app's]
    #[arg(long, value_name = "ID")]
    task_id: Option<String>,
    /// Show what would be run, with which image, mounts, ports and environment; start nothing
    #[arg(long)]
    explain: bool,
    /// How the command is merged with the image's entrypoint and command
    #[arg(long, value_enum, value_name = "WHOSE", default_value_t = CommandSemantics::Mesos)]
    cmd_semantics: CommandSemantics,
    /// Size of the files stdout and stderr at which new ones are begun; 0 for never
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, default_value = "10m")]
    log_max_size: i64,
    /// How many files of each are kept
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    log_max_files: u32,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    fetch: FetchArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Whose rules the command of a task is merged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CommandSemantics {
    /// Without an entrypoint, arguments follow the first word of the image's command
    Mesos,
    /// Arguments replace the image's command
    Docker,
}

impl LaunchArgs {
    fn semantics(&self) -> Semantics {
        match self.cmd_semantics {
            CommandSemantics::Mesos => Semantics::Mesos,
            CommandSemantics::Docker => Semantics::Docker,
        }
    }

    fn rotation(&self) -> Rotation {
        Rotation {
            size: u64::try_from(self.log_max_size).unwrap_or_default(),
            files: self.log_max_files,
        }
    }

    /// Reads the task, and completes it by what the agent says.
    fn read(&self) -> Result<(Task, Agent), CommandError> {
        let mut task = self.task()?;
        let agent = self.agent.read()?;
        agent.check(&task)?;
        agent.complete(&mut task)?;
        Ok((task, agent))
    }

    /// Reads the task.
    fn task(&self) -> Result<Task, CommandError> {
        let shown = self.task.display();
        let failed = |error: std::io::Error| {
            let why = ucr_sys::reason(&error);
            CommandError::sentence(format!("cannot read the task {shown}: {why}"))
        };
        let mut bytes = Vec::new();
        let mut input: Box<dyn std::io::Read> = if self.task.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.task).map_err(failed)?)
        };
        let read = input.by_ref().take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(failed)?;
        if bytes.len() as u64 > LIMIT {
            let text = format!("the task {shown} has more than {} MiB", LIMIT >> 20);
            return Err(CommandError::sentence(text));
        }
        let mut task = ucr_executor::read(&bytes).map_err(CommandError::new)?;
        self.name(&mut task);
        Ok(task)
    }

    /// Gives the task the ID that it is told by: its own, or one that no other instance has.
    fn name(&self, task: &mut Task) {
        use ucr_executor::task::Format;
        match (&self.task_id, &task.format) {
            (Some(id), _) => task.id.clone_from(id),
            (None, Format::Mesos) => {}
            (None, Format::App { .. } | Format::Pod { .. }) => {
                task.id = format!("{}.{}", task.id, ucr_sys::random_suffix());
            }
        }
    }
}

/// Runs `ucr launch`.
pub(crate) fn launch(
    args: &LaunchArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let done = launch_told(args, settings, ui);
    done.map_err(|error| error.code(FAILED))
}

fn launch_told(args: &LaunchArgs, settings: &Settings, ui: &Ui) -> Result<ExitCode, CommandError> {
    if args.explain {
        let (task, agent) = args.read()?;
        return explain::explain(args, (&task, &agent), settings, ui);
    }
    need_root(
        "ucr launch",
        "namespaces, cgroups and mounts are root's to make",
    )?;
    let report = args.report.open("")?;
    match args.read() {
        Err(error) => {
            // What cannot be read has no ID that it could be told by.
            let id = args.task_id.clone().unwrap_or_default();
            Told::new(&id, report).tell(Line {
                reason: Some(Reason::Invalid),
                ..Line::failed(error.failure(), error.message())
            });
            Err(error)
        }
        Ok((task, agent)) => {
            let told = Told::new(&task.id, report);
            match run_task::run_task(args, (&task, &agent), settings, (ui, &told)) {
                Ok(code) => Ok(ExitCode::from(code)),
                Err(error) => {
                    told.tell(Line {
                        reason: Some(Reason::Launch),
                        ..Line::failed(error.failure(), error.message())
                    });
                    Err(error)
                }
            }
        }
    }
}
