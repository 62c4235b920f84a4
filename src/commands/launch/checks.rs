//! `ucr-registry health`: how a task is, as found out by a process that exists only where that is
//! asked for.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ucr_executor::health::{Check, Request, Told};
use ucr_executor::task::HealthCheck;
use ucr_sys::descriptors;

use super::lines::Lines;
use super::network::Connection;
use crate::beside;
use crate::command_error::CommandError;
use crate::settings::Settings;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether it is about health, or something that is only measured.
    pub(super) is_health: bool,
    /// Whether all is well.
    pub(super) healthy: bool,
    /// Whether that is the end of the task.
    pub(super) kills: bool,
    /// In words.
    pub(super) message: Option<String>,
}

/// The process that checks. It ends with this.
#[derive(Debug)]
pub(super) struct Checks {
    child: Child,
    lines: Lines,
    /// Checks before this one are about health.
    first_measured: usize,
}

/// What is to be checked of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// What its health is told by.
    pub(super) health: Vec<HealthCheck>,
    /// What is only measured.
    pub(super) measured: Option<HealthCheck>,
}

/// Where a container is.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Its ID.
    pub(super) container: &'a str,
    /// Its networks.
    pub(super) connection: &'a Connection,
    /// Its network namespace, unless it is the host's.
    pub(super) namespace: Option<PathBuf>,
    /// Where its state is.
    pub(super) settings: &'a Settings,
}

impl Checks {
    /// Starts it for what is wanted of one container, if that is anything.
    pub(super) fn start(wanted: &Wanted, place: &Place<'_>) -> Result<Option<Self>, CommandError> {
        let all: Vec<&HealthCheck> = wanted.health.iter().chain(&wanted.measured).collect();
        if all.is_empty() {
            return Ok(None);
        }
        let resolved = all
            .iter()
            .map(|check| Check::resolve(check, |port, ipv6| place.connection.probed(port, ipv6)));
        let checks = resolved
            .collect::<Result<_, _>>()
            .map_err(CommandError::new)?;
        let (root, state) = (&place.settings.root, &place.settings.state);
        let text = |path: &Path| path.display().to_string();
        let request = Request {
            container: place.container.to_owned(),
            ucr: beside::executable("ucr")?,
            arguments: vec!["--root".into(), text(root), "--state".into(), text(state)],
            network: place.namespace.clone(),
            checks,
        };
        let mut command = Command::new(beside::executable("ucr-registry")?);
        command
            .args(beside::global_arguments("launch"))
            .arg("health");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = serde_json::to_vec(&request).map_err(CommandError::new)?;
        line.push(b'\n');
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(&line)?;
        }
        let output = child.stdout.take().map(OwnedFd::from);
        let output = output.ok_or_else(|| CommandError::sentence("ucr-registry has no output"))?;
        descriptors::never_wait(output.as_fd()).map_err(CommandError::new)?;
        Ok(Some(Self {
            child,
            lines: Lines::new(output),
            first_measured: wanted.health.len(),
        }))
    }

    /// What may have something for [`Self::attend`].
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.lines.awaited()
    }

    /// Takes what has been found out.
    pub(super) fn attend(&mut self) -> Vec<Verdict> {
        let lines = self.lines.take();
        let told = lines
            .iter()
            .filter_map(|line| serde_json::from_slice(line).ok());
        told.map(|told: Told| Verdict {
            is_health: told.check < self.first_measured,
            healthy: told.healthy,
            kills: told.kill,
            message: Some(told.message).filter(|text| !text.is_empty()),
        })
        .collect()
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        // Closing its input ends it too; what it does just now is nobody's concern any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
