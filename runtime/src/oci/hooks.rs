//! Programs of the configuration's that run at points of a container's life.
//!
//! runtime-spec config.md "POSIX-platform Hooks": the state is on their standard input, and of the
//! environment they have what the configuration says.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The hooks of one container, each list in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// After the namespaces are made, before the root is entered; outside. Deprecated.
    pub prestart: Vec<Hook>,
    /// As `prestart`, after it.
    pub create_runtime: Vec<Hook>,
    /// Then, inside the namespaces, with the host's files.
    pub create_container: Vec<Hook>,
    /// Just before the program runs, inside.
    pub start_container: Vec<Hook>,
    /// Just after, outside.
    pub poststart: Vec<Hook>,
    /// After the container is deleted, outside.
    pub poststop: Vec<Hook>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program, absolute.
    pub path: PathBuf,
    /// Its arguments, its own name first; empty for the path alone.
    pub arguments: Vec<String>,
    /// Its environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// After how many seconds it is killed.
    pub timeout: Option<u64>,
}

/// When hooks run, in the words of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// `prestart`.
    Prestart,
    /// `createRuntime`.
    CreateRuntime,
    /// `createContainer`.
    CreateContainer,
    /// `startContainer`.
    StartContainer,
    /// `poststart`.
    Poststart,
    /// `poststop`.
    Poststop,
}

impl Moment {
    /// The key in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("the {} hook {} failed: {reason}", moment.name(), path.display())]
pub struct Error {
    /// When it ran.
    pub moment: Moment,
    /// The program.
    pub path: PathBuf,
    /// What it said and how it ended.
    pub reason: String,
}

/// How much of what a hook says is kept for the message.
const SAID_MAX: usize = 1024;

/// Runs `hooks` one after the other, each with `state` on its standard input.
///
/// # Errors
///
/// [`Error`] of the first that cannot be run, does not exit with 0, or takes longer than it may;
/// those after it do not run.
pub fn run(moment: Moment, hooks: &[Hook], state: &str) -> Result<(), Error> {
    for hook in hooks {
        run_one(hook, state).map_err(|reason| Error {
            moment,
            path: hook.path.clone(),
            reason,
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str) -> Result<(), String> {
    let said = ucr_sys::memfd::scratch("ucr-hook").map_err(|error| error.to_string())?;
    let error = said.try_clone().map_err(|error| text(&error))?;
    // A file, no pipe: one that does not read its state is free not to.
    let state = ucr_sys::memfd::sealed("ucr-state", state.as_bytes());
    let state = state.map_err(|error| error.to_string())?;
    let mut command = command(hook);
    let spawned = command
        .stdin(state)
        .stdout(Stdio::null())
        .stderr(error)
        .spawn();
    let mut child = spawned.map_err(|error| text(&error))?;
    match wait(&mut child, hook.timeout.map(Duration::from_secs))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{}{}", how(status), said_text(said))),
        None => {
            // It may have ended in between: then there is nothing to kill.
            drop(child.kill());
            drop(child.wait());
            let seconds = hook.timeout.unwrap_or_default();
            Err(format!("it took longer than {seconds} seconds"))
        }
    }
}

fn command(hook: &Hook) -> Command {
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.arguments.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for entry in &hook.environment {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
    }
    command
}

fn wait(child: &mut Child, patience: Option<Duration>) -> Result<Option<ExitStatus>, String> {
    match patience {
        None => child.wait().map(Some).map_err(|error| text(&error)),
        Some(patience) => {
            ucr_sys::child::wait_for(child, patience).map_err(|error| error.to_string())
        }
    }
}

fn said_text(mut said: File) -> String {
    let mut bytes = Vec::new();
    let limit = u64::try_from(SAID_MAX).unwrap_or(u64::MAX);
    let read = said
        .rewind()
        .and_then(|()| said.take(limit).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    match read {
        Ok(_) if !text.trim().is_empty() => format!(": {}", text.trim().escape_debug()),
        _ => String::new(),
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn text(error: &std::io::Error) -> String {
    ucr_sys::reason(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            arguments: ["sh", "-c", script].map(ToOwned::to_owned).into(),
            environment: vec!["A=b=c".into()],
            timeout: None,
        }
    }

    #[test]
    fn a_hook_has_the_state_and_its_own_environment_alone() {
        let temp = tempfile::tempdir().expect("tempdir");
        let out = temp.path().join("out");
        let script = format!("cat > {0}; echo \"$A${{HOME-none}}\" >> {0}", out.display());
        run(Moment::Prestart, &[sh(&script)], "{}\n").expect("run");
        assert_eq!(std::fs::read_to_string(out).expect("read"), "{}\nb=cnone\n");
    }

    #[test]
    fn the_first_that_fails_is_named_with_its_own_words() {
        let hooks = [sh("echo no luck >&2; exit 3"), sh("exit 4")];
        let error = run(Moment::CreateRuntime, &hooks, "").expect_err("fails");
        assert_eq!(
            error.to_string(),
            "the createRuntime hook /bin/sh failed: exit status 3: no luck"
        );
    }

    #[test]
    fn one_that_takes_too_long_is_killed() {
        let mut hook = sh("exec sleep 1000");
        hook.timeout = Some(0);
        let error = run(Moment::Poststop, &[hook], "").expect_err("too long");
        assert!(
            error.to_string().ends_with("longer than 0 seconds"),
            "{error}"
        );
    }

    #[test]
    fn one_that_does_not_read_does_no_harm() {
        run(Moment::Poststart, &[sh("exit 0")], &"x".repeat(1 << 20)).expect("run");
    }
}
