//! How a container came out, and what is said of it.

use std::path::PathBuf;

use ucr_sys::process::Ended;

use crate::cgroup::{freezer, group};
use crate::code::Code;
use crate::failure::Failure;
use crate::id::ContainerId;
use crate::network;
use crate::oci;
use crate::plan;
use crate::state;

/// A container that did not start, or was lost from sight.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan cannot be read.
    #[error("cannot read the launch plan")]
    Read(#[source] std::io::Error),
    /// The plan is none, or of another build.
    #[error("cannot use the launch plan")]
    Plan(#[source] plan::Error),
    /// A system call of the supervisor's own.
    #[error("cannot supervise the container")]
    System(#[source] ucr_sys::Error),
    /// The state directory.
    #[error("cannot record the container")]
    State(#[source] state::Error),
    /// The cgroups.
    #[error("cannot limit the container")]
    Cgroup(#[source] group::Error),
    /// A container that stands still and is to end.
    #[error("cannot end the container")]
    Thaw(#[source] freezer::Error),
    /// The state of a container that is handed over.
    #[error("cannot record the container")]
    Record(#[source] oci::record::Error),
    /// A cgroup that another container will remove.
    #[error("the cgroup {0} is that of container {1}, which removes it when it is deleted")]
    Owned(PathBuf, ContainerId),
    /// The ids of its user namespace.
    #[error("cannot set up the namespaces of the container")]
    Namespaces(#[source] ucr_sys::Error),
    /// Its connection.
    #[error("cannot connect the container")]
    Network(#[source] network::Error),
    /// A hook.
    #[error(transparent)]
    Hook(oci::hooks::Error),
    /// The file for the number of the task, or of the first process.
    #[error("cannot write the pid file {0}")]
    PidFile(PathBuf, #[source] std::io::Error),
    /// A step inside the container.
    #[error(transparent)]
    Start(Failure),
    /// The caller's will.
    #[error("a signal asked to end before the command ran")]
    Interrupted,
    /// pid 1 ended without saying why.
    #[error("the container's first process ended during the start: {0}")]
    Lost(String),
}

impl Error {
    /// Docker's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(failure) => failure.exit_code(),
            _ => 125,
        }
    }

    /// What kind of trouble it is, for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::Start(failure) => Code::of_failure(failure),
            Self::Network(error) => error.code(),
            _ => Code::Failed,
        }
    }
}

/// How a container came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The exit code to end with.
    pub code: u8,
    /// How the task ended, if it ran.
    pub ended: Option<Ended>,
    /// Why it did not run, if so.
    pub error: Option<Error>,
    /// What a person should know besides.
    pub notes: Vec<Note>,
    /// What could not be removed.
    pub leftovers: Vec<Leftover>,
}

/// Something worth a line to a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// The kernel ended the task.
    #[error("the task was killed by the kernel: out of memory{}", limit_text(*limit))]
    TaskOutOfMemory {
        /// The limit in bytes.
        limit: Option<u64>,
    },
    /// The kernel ended another process of the container.
    #[error("{count} of the task's processes killed by the kernel: out of memory{}", limit_text(*limit))]
    ProcessOutOfMemory {
        /// How many.
        count: u64,
        /// The limit in bytes.
        limit: Option<u64>,
    },
    /// Its time was over.
    #[error("the container was killed: its time of {seconds} s was over (--timeout)")]
    TimeOver {
        /// How long it might run.
        seconds: u64,
    },
    /// A hook that failed when all was over.
    #[error("{0}")]
    Hook(String),
}

impl Note {
    /// Whether it tells of memory that ran out.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Self::TaskOutOfMemory { .. } | Self::ProcessOutOfMemory { .. }
        )
    }
}

fn limit_text(limit: Option<u64>) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some(limit) = limit else {
        return String::new();
    };
    let unit = UNITS
        .iter()
        .find(|(size, _)| limit >= *size && limit.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!(", limit {} {name}", limit / size),
        None => format!(", limit {limit} bytes"),
    }
}

/// Something that stays behind; the next sweep tries again.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// A cgroup.
    #[error("cannot remove a cgroup")]
    Cgroup(#[source] group::Error),
    /// A tree or the state directory.
    #[error("cannot remove the container's files")]
    Files(#[source] state::Error),
    /// What it was connected by.
    #[error("cannot give the container's network back")]
    Network(#[source] network::Error),
}

/// Docker's exit code for the end of a task, docker-run(1).
pub(super) fn exit_code(ended: Ended) -> u8 {
    match ended {
        // The kernel keeps the low 8 bits, exit(3).
        Ended::Exited(status) => u8::try_from(status & 0xff).unwrap_or(u8::MAX),
        Ended::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(exit_code(Ended::Exited(3)), 3);
        assert_eq!(exit_code(Ended::Signaled(15)), 143);
    }

    #[test]
    fn the_limit_is_named_in_the_largest_whole_unit() {
        let text = |limit| Note::TaskOutOfMemory { limit }.to_string();
        assert_eq!(
            text(Some(64 << 20)),
            "the task was killed by the kernel: out of memory, limit 64 MiB"
        );
        assert_eq!(
            text(Some(1000)),
            "the task was killed by the kernel: out of memory, limit 1000 bytes"
        );
        assert_eq!(
            text(None),
            "the task was killed by the kernel: out of memory"
        );
    }
}
