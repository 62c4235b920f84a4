//! Why a container did not start, as it crosses from process to process.
//!
//! pid 1 and the task send a [`Failure`] over a socket and the supervisor gives
//! it words: which step, and as its source what went wrong there.

use serde::{Deserialize, Serialize};

use crate::user;

/// The steps of a start, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Dying with the supervisor.
    Bind,
    /// Keeping mounts of the container from the host.
    Propagation,
    /// How eagerly the kernel kills the task when memory runs out.
    OomScore,
    /// How the task is scheduled.
    Schedule,
    /// Namespaces that exist already, and those of processes and time.
    Namespaces,
    /// The ids of a user namespace.
    Identity,
    /// Settings of the kernel's for the namespaces.
    Sysctls,
    /// Programs of the caller's that run inside.
    Hooks,
    /// The execution domain.
    Personality,
    /// The root file system.
    Rootfs,
    /// The ids of its layers' files.
    LayerIds,
    /// What files of it get.
    Additions,
    /// The mounts of the spec.
    Mounts,
    /// Directories of other containers.
    Volumes,
    /// Device files.
    Devices,
    /// The terminal of the task.
    Terminal,
    /// Paths hidden from the task.
    Masks,
    /// Paths that the task may not write.
    ReadOnly,
    /// User and groups.
    User,
    /// The working directory, made and opened.
    Directory,
    /// Leaving the host's file system.
    Pivot,
    /// Host name and domain name.
    Hostname,
    /// The loopback interface.
    Network,
    /// The network that it is connected to.
    Connection,
    /// Waiting for the cgroups, and hiding what is above them.
    Cgroup,
    /// The working directory, entered.
    EnterDirectory,
    /// Limits, identity and privileges of the task.
    Privileges,
    /// The program.
    Execute,
    /// Looking after the task while it runs.
    Watch,
}

impl Step {
    /// What the step was to do, to follow "cannot".
    fn purpose(self) -> &'static str {
        match self {
            Self::Bind => "bind the container to its supervisor",
            Self::Propagation => "keep the container's mounts apart from the host's",
            Self::OomScore => "set the task's oom_score_adj",
            Self::Schedule => "set how the task is scheduled",
            Self::Namespaces => "enter the namespaces",
            Self::Identity => "become root of the user namespace",
            Self::Sysctls => "set the sysctl",
            Self::Hooks => "run the hooks",
            Self::Personality => "set the personality",
            Self::Rootfs => "mount the root file system",
            Self::LayerIds => {
                "show files with the ids of a user namespace (the kernel has to be Linux 5.19 or \
                 later, and the store on a file system that takes ID-mapped mounts; else use \
                 --userns host) in the layer"
            }
            Self::Additions => "add to",
            Self::Mounts => "mount",
            Self::Volumes => "share the volume",
            Self::Devices => "set up /dev",
            Self::Terminal => "make a terminal for the task",
            Self::Masks => "hide paths from the task",
            Self::ReadOnly => "make paths read-only",
            Self::User => "find the user",
            Self::Directory | Self::EnterDirectory => "enter the working directory",
            Self::Pivot => "leave the host's file system",
            Self::Hostname => "set the host name",
            Self::Network => "set up the loopback interface",
            Self::Connection => "join the network",
            Self::Cgroup => "enter the cgroups",
            Self::Privileges => "set the task's limits and privileges",
            Self::Execute => "run",
            Self::Watch => "look after the task",
        }
    }
}

/// What went wrong in a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Cause {
    /// A system call.
    #[error("{}", ucr_sys::failed(call, operands, ucr_sys::Errno::from_raw_os_error(*errno)))]
    System {
        /// Its name.
        call: String,
        /// What it was applied to.
        operands: String,
        /// Its error number.
        errno: i32,
    },
    /// A link of the image where it must not have one (CVE-2019-16884, CVE-2026-41579).
    #[error("it is or contains a symbolic link in the image; it must be an ordinary directory")]
    Link,
    /// A place that a link of the image made another one.
    #[error("links of the image lead it to the root itself, or into /proc or /sys")]
    Led,
    /// A directory where a file is there already.
    #[error("it is a file in the image, and a directory is to be mounted there")]
    OverFile,
    /// A file where a directory is there already.
    #[error("it is a directory in the image, and a file is to be mounted there")]
    OverDirectory,
    /// A mount of the caller's over or in `/proc` (CVE-2015-3630).
    #[error("nothing may be mounted over or in /proc")]
    OverProc,
    /// A path of the host that is not the device it should be (CVE-2025-31133).
    #[error("it is not the device {0}:{1}")]
    NotTheDevice(u32, u32),
    /// A file of the image's that leads to one of procfs or sysfs.
    #[error("it leads to a file of the kernel's, as those in /proc and /sys")]
    MadeUp,
    /// What is to get text is a directory, a device, a FIFO or a socket.
    #[error("it is not a regular file")]
    NotFile,
    /// What is to get text has more bytes already than this.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// The working directory is a file, or a device.
    #[error("it is not a directory")]
    NotDirectory,
    /// The working directory turned out not to be inside (CVE-2024-21626).
    #[error("it is outside the container")]
    Outside,
    /// A mount that is to have the container's ids, which has none of its own.
    #[error("there are no ids to map: neither the mount nor the container has any")]
    NoIds,
    /// An id that the container's user namespace does not have.
    #[error(
        "the user namespace of the container has no {0} (--uidmap and --gidmap say which it has)"
    )]
    NotMapped(String),
    /// A name of `/proc/sys` that would change the host.
    #[error("it is not a setting of the container's own namespaces")]
    NotNamespaced,
    /// The supervisor ended before it let the container go on.
    #[error("the supervisor ended")]
    Orphaned,
    /// A user that cannot be honoured.
    #[error(transparent)]
    User(user::Error),
    /// A limit above that of the one who starts the task.
    #[error(
        "{name} cannot be {}: ucr itself has {}, and more takes CAP_SYS_RESOURCE",
        number(*.asked),
        number(*.own)
    )]
    LimitTooHigh {
        /// Its name, as in getrlimit(2).
        name: String,
        /// The hard limit that was asked for; `u64::MAX` is none.
        asked: u64,
        /// The hard limit of this process.
        own: u64,
    },
    /// A profile that AppArmor does not know.
    #[error("the AppArmor profile {0} is not loaded (apparmor_parser -r FILE loads one)")]
    NoProfile(String),
    /// No file of the program's name.
    #[error("no such file or directory")]
    NotFound,
    /// No file of the program's name in any directory of `PATH`.
    #[error("executable file not found in PATH")]
    NotInPath,
    /// The program is a directory.
    #[error("it is a directory")]
    IsDirectory,
    /// The program has no permission to be executed, or a directory on the way no search permission.
    #[error("permission denied: not executable for this user")]
    NotExecutable,
    /// The kernel does not know the format.
    #[error(
        "not a program that this machine can run (no executable header, or another architecture)"
    )]
    Format,
    /// The file is there but the interpreter that it names is not.
    #[error("its interpreter is missing: {0}")]
    NoInterpreter(String),
    /// The program's process ended without a word.
    #[error("{0}")]
    Ended(String),
}

impl From<&ucr_sys::Error> for Cause {
    fn from(error: &ucr_sys::Error) -> Self {
        Self::System {
            call: error.call().into(),
            operands: error.operands().into(),
            errno: error.errno().raw_os_error(),
        }
    }
}

impl From<ucr_sys::Error> for Cause {
    fn from(error: ucr_sys::Error) -> Self {
        Self::from(&error)
    }
}

/// A limit as people write it; `u64::MAX` is none.
fn number(limit: u64) -> String {
    match limit {
        u64::MAX => "unlimited".to_owned(),
        limit => limit.to_string(),
    }
}

/// A step that failed, on what, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("cannot {}{}", step.purpose(), operand_text(operand))]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The path, program or name that it was about; empty when there is one only.
    pub operand: Vec<u8>,
    /// What went wrong.
    #[source]
    pub cause: Cause,
}

/// Longest operand that crosses; a failure has to fit into one message whole.
const OPERAND_MAX: usize = 4096;

impl Failure {
    /// A failure of `step` on `operand`; of a very long one, on its first 4 KiB.
    pub fn new(step: Step, operand: impl AsRef<[u8]>, cause: impl Into<Cause>) -> Self {
        let operand = operand.as_ref();
        let mut cause = cause.into();
        if let Cause::System { operands, .. } = &mut cause {
            operands.truncate(operands.floor_char_boundary(OPERAND_MAX));
        }
        Self {
            step,
            operand: operand[..operand.len().min(OPERAND_MAX)].to_vec(),
            cause,
        }
    }

    /// Docker's exit code for it: 127 not found, 126 cannot be invoked, 125 the rest.
    pub fn exit_code(&self) -> u8 {
        match (self.step, &self.cause) {
            (Step::Execute, Cause::NotFound | Cause::NotInPath) => 127,
            (Step::Execute, _) => 126,
            _ => 125,
        }
    }
}

fn operand_text(operand: &[u8]) -> String {
    if operand.is_empty() {
        return String::new();
    }
    format!(" {:?}", String::from_utf8_lossy(operand))
}

/// Names the step and its operand on the way of an error out.
pub(crate) trait During<T> {
    /// Adds the step, and the operand on which it failed.
    fn during(self, step: Step, operand: impl AsRef<[u8]>) -> Result<T, Failure>;
}

impl<T, E: Into<Cause>> During<T> for Result<T, E> {
    fn during(self, step: Step, operand: impl AsRef<[u8]>) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(step, operand, cause))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let code = |step, cause| Failure::new(step, "x", cause).exit_code();
        assert_eq!(code(Step::Execute, Cause::NotInPath), 127);
        assert_eq!(code(Step::Execute, Cause::NotExecutable), 126);
        assert_eq!(code(Step::Execute, Cause::NoInterpreter("/x".into())), 126);
        assert_eq!(code(Step::Mounts, Cause::Link), 125);
    }

    #[test]
    fn long_operands_are_cut() {
        let errno = ucr_sys::Errno::NAMETOOLONG;
        let long = "\u{e4}".repeat(100_000);
        let cause = ucr_sys::Error::new("execve", format!("x{long}"), errno);
        let failure = Failure::new(Step::Execute, &long, cause);
        assert_eq!(failure.operand.len(), OPERAND_MAX);
        assert!(failure.to_string().len() < 2 * OPERAND_MAX);
        let cause = failure.source().expect("source").to_string();
        assert!(cause.len() < 2 * OPERAND_MAX, "{}", cause.len());
    }

    #[test]
    fn the_message_names_the_step_and_the_source_the_call() {
        let errno = ucr_sys::Errno::NOSPC;
        let failure = Failure::new(
            Step::Mounts,
            "/data",
            ucr_sys::Error::new("move_mount", "3, 4", errno),
        );
        assert_eq!(failure.to_string(), "cannot mount \"/data\"");
        let source = failure.source().expect("source").to_string();
        assert_eq!(source, "move_mount(3, 4): No space left on device");
    }
}
