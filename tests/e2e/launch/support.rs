//! A task that is launched, and what was told of it.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::env::{APP, Home, TestEnv};
use crate::images;
use crate::output::Output;

/// An environment with a busybox as [`APP`], which may be had by the user who may.
pub(crate) fn busybox() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

/// A Mesos app of `env`'s image that runs a line of shell.
pub(crate) fn app(env: &TestEnv, line: &str) -> Value {
    json!({
        "id": "/test/app",
        "cmd": line,
        "cpus": 0.1,
        "mem": 64,
        "container": { "type": "MESOS", "docker": { "image": env.reference(APP) } },
    })
}

/// `ucr launch` of `task`, as the user who may, with its sandbox in the environment.
pub(crate) fn command(env: &TestEnv, task: &Value, flags: &[&str]) -> Command {
    // Each its own: several may be launched at once.
    let name = format!("task-{}.json", TASKS.fetch_add(1, Ordering::Relaxed));
    env.write(&name, serde_json::to_string(task).unwrap());
    let mut command = env.command(&["launch", "--task", &env.shown(&name)]);
    command
        .args([
            "--sandbox",
            &env.shown("sandbox"),
            "--report",
            &env.shown("report"),
        ])
        .args(flags);
    env.as_user(&mut command);
    command
}

/// How many tasks this test has written down.
static TASKS: AtomicUsize = AtomicUsize::new(0);

/// A task that has ended.
#[derive(Debug)]
pub(crate) struct Launched {
    /// How the command ended.
    pub(crate) output: Output,
    /// What was told, in order.
    pub(crate) told: Vec<Value>,
}

impl Launched {
    /// The states that were told, each once where it was told several times running.
    pub(crate) fn states(&self) -> Vec<&str> {
        let mut states: Vec<&str> = self
            .told
            .iter()
            .map(|line| line["state"].as_str().unwrap())
            .collect();
        states.dedup();
        states
    }

    /// The last line.
    pub(crate) fn last(&self) -> &Value {
        self.told.last().unwrap()
    }

    /// The first line of a state.
    #[track_caller]
    pub(crate) fn first(&self, state: &str) -> &Value {
        let found = self.told.iter().find(|line| line["state"] == state);
        found.unwrap_or_else(|| panic!("no {state} in {self:#?}"))
    }

    /// It must have ended with `code` in `state`.
    #[track_caller]
    pub(crate) fn ended(self, state: &str, code: i32) -> Self {
        assert_eq!(self.last()["state"], state, "{self:#?}");
        assert_eq!(self.output.code, code, "{self:#?}");
        self
    }
}

/// Launches a task and waits for its end.
#[track_caller]
pub(crate) fn launch(env: &TestEnv, task: &Value, flags: &[&str]) -> Launched {
    // Of this task alone.
    drop(std::fs::remove_file(env.path("report")));
    let output = Output::of(&mut command(env, task, flags));
    Launched {
        told: told(env),
        output,
    }
}

/// What is in the report.
pub(crate) fn told(env: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(env.path("report")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A file of the sandbox.
#[track_caller]
pub(crate) fn sandbox(env: &TestEnv, name: &str) -> String {
    std::fs::read_to_string(env.path("sandbox").join(name)).unwrap()
}

/// A task that is watched while it lives, line by line.
#[derive(Debug)]
pub(crate) struct Watched {
    child: Child,
    lines: BufReader<std::io::PipeReader>,
    told: Vec<Value>,
}

impl Watched {
    /// Launches a task.
    pub(crate) fn launch(env: &TestEnv, task: &Value, flags: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = command(env, task, flags);
        // The pipe's number is the helper's to know: it is standard error's copy in a shell.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$0\" \"$@\" --status-fd 3 3>&1 >/dev/null"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .current_dir(env.path("."))
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped());
        command.stdin(Stdio::null());
        Self {
            child: shell.spawn().unwrap(),
            lines: BufReader::new(reader),
            told: Vec::new(),
        }
    }

    /// Waits until `state` is told.
    #[track_caller]
    pub(crate) fn until(&mut self, state: &str) -> Value {
        self.until_line(|line| line["state"] == state)
    }

    /// Waits for a line.
    #[track_caller]
    pub(crate) fn until_line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).unwrap();
            assert!(count > 0, "it ended after {:#?}", self.told);
            let line: Value = serde_json::from_str(&line).unwrap();
            self.told.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Launched {
        let rest: Vec<Value> = self
            .lines
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        self.told.extend(rest);
        Launched {
            output: Output::from(self.child.wait_with_output().unwrap()),
            told: self.told,
        }
    }
}

/// A path of the sandbox.
pub(crate) fn in_sandbox(env: &TestEnv, name: &str) -> PathBuf {
    env.path("sandbox").join(name)
}

/// A FIFO `ready` in the sandbox, which is the task's working directory: it opens when the task
/// writes to it.
#[derive(Debug)]
pub(crate) struct Ready(PathBuf);

impl Ready {
    /// Makes it, and the sandbox.
    pub(crate) fn new(env: &TestEnv) -> Self {
        let path = env.make_dir("sandbox").join("ready");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        Self(path)
    }

    /// Waits until the task says that it is.
    pub(crate) fn wait(&self) {
        std::fs::read(&self.0).unwrap();
    }

    /// Says something to a task that reads it.
    pub(crate) fn say(&self, text: &str) {
        let fifo = std::fs::OpenOptions::new().write(true).open(&self.0);
        fifo.unwrap().write_all(text.as_bytes()).unwrap();
    }
}

/// A process that runs now, to be waited for by who is not its parent.
#[derive(Debug)]
pub(crate) struct Ended(rustix::fd::OwnedFd);

impl Ended {
    /// Takes hold of the process whose number was told.
    pub(crate) fn of(pid: &Value) -> Self {
        let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        Self(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap())
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) {
        let mut ended = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut ended, None).unwrap();
    }
}
