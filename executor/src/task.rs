//! What is to be run, whoever's format it came in: the joint between formats and containers.
//!
//! Nothing in it is looked up yet: ports may be any, secrets may be references, and what the image
//! says is not known. Paths and numbers are checked, so that whoever uses them need not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ucr_images::Secret;

/// A task: one container, or several that share networks and volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its ID, as the executor knows it; made of the app's where the format has none.
    pub id: String,
    /// Whose format it came in.
    pub format: Format,
    /// The containers: one, but for pods.
    pub containers: Vec<Container>,
    /// What they are connected to; none is the host's network.
    pub networks: Vec<Network>,
    /// Ports of the host that it gets, or that lead into it, in the order of `$PORT0`, `$PORT1`.
    pub ports: Vec<Port>,
    /// Ranges of ports that its own resources offer; empty where the agent's hold.
    pub offered: Vec<(u16, u16)>,
    /// Directories that the containers of a pod share, by name.
    pub shared: BTreeMap<String, SharedVolume>,
    /// What people attached to it.
    pub labels: BTreeMap<String, String>,
    /// How long it may take from being asked to end to being killed.
    pub grace: Duration,
    /// When it is ended, whatever it does.
    pub max_completion: Option<Duration>,
    /// What the format says that means nothing to one task (`instances`, `constraints`), by JSON path.
    pub ignored: Vec<String>,
}

/// Whose format a task came in, with what only that knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// A Marathon app.
    App {
        /// Its ID, as `/group/app`.
        id: String,
        /// Its version, where it says one.
        version: Option<String>,
        /// Whether its image is for the Docker containerizer, which tasks are told of.
        is_docker: bool,
    },
    /// A Marathon pod.
    Pod {
        /// Its ID.
        id: String,
        /// Its version, where it says one.
        version: Option<String>,
    },
    /// A Mesos `TaskInfo`.
    Mesos,
}

/// One container of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its name within the task.
    pub name: String,
    /// Where it stands in the document, as `container`: errors about it begin with that.
    pub path: String,
    /// Which of the agent's containerizers it is for.
    pub containerizer: Containerizer,
    /// Its root file system; none is the host's.
    pub image: Option<Image>,
    /// What runs in it.
    pub command: Command,
    /// Variables, in order; a later one of a name replaces an earlier.
    pub env: Vec<(String, Value)>,
    /// The prefix of `PORT0` and its like, where there is one.
    pub env_prefix: Option<String>,
    /// Who runs it; none is the image's user.
    pub user: Option<String>,
    /// What it may use.
    pub resources: Resources,
    /// What is mounted in it.
    pub volumes: Vec<Volume>,
    /// What is fetched into its sandbox before its image.
    pub fetch: Vec<Uri>,
    /// How its health is told; the first of a task is the one whose failure kills.
    pub health: Vec<HealthCheck>,
    /// What is measured of it without consequences.
    pub check: Option<HealthCheck>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Whether nothing is kept from it.
    pub privileged: bool,
    /// Docker's own flags, in order.
    pub parameters: Vec<Parameter>,
    /// Capabilities, seccomp, IPC, limits of processes.
    pub linux: Linux,
    /// A terminal of its own: lines and columns at first, 0 for unknown.
    pub terminal: Option<(u16, u16)>,
    /// What people attached to it alone, of the containers of a pod.
    pub labels: BTreeMap<String, String>,
}

/// Which of an agent's containerizers a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containerizer {
    /// `docker`.
    Docker,
    /// `mesos`.
    Mesos,
}

impl Containerizer {
    /// Its name in an agent's `--containerizers`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Mesos => "mesos",
        }
    }

    /// The one of that name.
    pub fn of_flag(name: &str) -> Option<Self> {
        [Self::Docker, Self::Mesos]
            .into_iter()
            .find(|one| one.flag() == name)
    }
}

impl fmt::Display for Containerizer {
    /// Its name as a task's type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "DOCKER",
            Self::Mesos => "MESOS",
        })
    }
}

/// The image of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name, as it was written.
    pub name: ImageName,
    /// Whether the registry is asked even where the image is there.
    pub force_pull: bool,
    /// Who asks.
    pub credential: Option<TaskCredential>,
}

/// The name of an image, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A reference to a registry of Docker's kind.
    Docker(String),
    /// An image of AppC's kind.
    Appc {
        /// Its name.
        name: String,
        /// `sha512-…`, where it is known.
        id: Option<String>,
        /// `version`, `os`, `arch` and others.
        labels: BTreeMap<String, String>,
    },
}

/// As whom an image is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCredential {
    /// `credential {principal, secret}`.
    Login {
        /// The name.
        principal: String,
        /// The password.
        secret: Secret,
    },
    /// A `config.json` of Docker's.
    Config(Value),
}

/// A text that may be a secret, kept elsewhere or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text that anybody may see.
    Plain(String),
    /// A secret itself.
    Secret(Secret),
    /// The name of a secret that whoever launches the task has to find.
    Reference {
        /// Its name.
        name: String,
        /// Where the document says so.
        path: String,
    },
}

/// What runs in a container, before it is merged with the image's entrypoint and command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Whether `value` is for `/bin/sh -c`.
    pub shell: bool,
    /// A program, or a line for the shell.
    pub value: Option<String>,
    /// Arguments.
    pub arguments: Vec<String>,
    /// The working directory; none is the image's.
    pub directory: Option<String>,
}

/// What a container may use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Processors.
    pub cpus: f64,
    /// Memory in MiB.
    pub mem: f64,
    /// Disk in MiB; 0 for unlimited.
    pub disk: f64,
    /// GPUs.
    pub gpus: u32,
    /// More than `cpus` that it may use when nobody else wants it; none is `cpus` itself.
    pub cpus_limit: Option<Limit>,
    /// More than `mem` that it may use; none is `mem` itself.
    pub mem_limit: Option<Limit>,
}

/// The most of a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So much.
    To(f64),
    /// All there is.
    Unlimited,
}

/// Something that is mounted in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Where the document says so.
    pub path: String,
    /// Where it is in the container: absolute, or below the sandbox.
    pub target: PathBuf,
    /// What it is.
    pub source: VolumeSource,
    /// Whether it can be read alone.
    pub read_only: bool,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSource {
    /// A file or directory of the host, absolute.
    Host(PathBuf),
    /// A directory of the task's sandbox, made where it is missing; relative, without `..`.
    Sandbox(PathBuf),
    /// A directory that a pod's containers share, by name.
    Shared(String),
    /// The root file system of an image, of the same kinds as a container's.
    Image(Image),
    /// A secret, as a file.
    Secret(Value),
}

/// A directory of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedVolume {
    /// Made for the pod, and gone with it.
    Ephemeral,
    /// The host's.
    Host(PathBuf),
    /// A secret, as a file.
    Secret(Value),
}

/// A network that a task is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// That of the host.
    Host,
    /// None but its own loopback.
    None,
    /// The bridge of this agent.
    Bridge,
    /// A network of CNI's, by name.
    Named(String),
}

/// A port that a task asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where the document says so.
    pub path: String,
    /// Its name, for `$PORT_NAME`.
    pub name: Option<String>,
    /// The port inside; none for the network of the host, 0 for the same as the host's.
    pub container: Option<u16>,
    /// The port of the host; 0 for any that is offered, none where no port leads inside.
    pub host: Option<u16>,
    /// What it is known by in the cluster; 0 for any.
    pub service: Option<u16>,
    /// What it carries.
    pub protocols: Vec<Protocol>,
    /// What people attached to it.
    pub labels: BTreeMap<String, String>,
    /// The networks that it is of, where that is said.
    pub networks: Vec<String>,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A file that is fetched into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Where the document says so.
    pub path: String,
    /// The URI.
    pub value: String,
    /// Whether an archive is unpacked, too.
    pub extract: bool,
    /// Whether it can be run; then it is not unpacked.
    pub executable: bool,
    /// Whether others who want it may have the same copy.
    pub cache: bool,
    /// Its name below the sandbox; none is the last part of the URI.
    pub output: Option<PathBuf>,
}

/// How the health of a container is told.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// Where the document says so.
    pub path: String,
    /// What is done.
    pub probe: Probe,
    /// From the task's start to the first.
    pub delay: Duration,
    /// From the end of one to the next.
    pub interval: Duration,
    /// After which it has failed.
    pub timeout: Duration,
    /// From the task's start, while failures do not count and it was never healthy.
    pub grace: Duration,
    /// Failures one after the other that kill; none for never.
    pub kill_after: Option<u32>,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Runs a command in the container; 0 is healthy.
    Command(Command),
    /// Asks a web server; 200 to 399 is healthy.
    Http {
        /// Whether by TLS.
        tls: bool,
        /// Which port.
        port: ProbePort,
        /// The path, and query.
        path: String,
        /// By version 6 of IP.
        ipv6: bool,
    },
    /// Connects.
    Tcp {
        /// Which port.
        port: ProbePort,
        /// By version 6 of IP.
        ipv6: bool,
    },
}

/// The port of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePort {
    /// This one, as it is seen in the container's network.
    Number(u16),
    /// The task's port with this index.
    Index(usize),
}

/// A flag of `docker run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Where the document has its key.
    pub path: String,
    /// Its name, without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What a container has of the kernel's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linux {
    /// Capabilities in force; none for the usual.
    pub effective: Option<Vec<String>>,
    /// Capabilities that can ever be had; none for those in force.
    pub bounding: Option<Vec<String>>,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// Whose IPC it has.
    pub ipc: Ipc,
    /// Size of `/dev/shm` in MiB.
    pub shm_size: Option<u32>,
    /// Limits of processes: name as `nofile`, soft and hard; none for unlimited.
    pub rlimits: Vec<(String, Option<(u64, u64)>)>,
}

/// The filter of a container's system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The usual one.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile of the agent's, by name.
    Profile(String),
}

/// Whose System V IPC, message queues and `/dev/shm` a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipc {
    /// Its own, or what the command line does without being told.
    #[default]
    Own,
    /// That of its pod.
    Shared,
}
