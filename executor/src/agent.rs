//! The settings of the agent that tasks are started on, as Mesos and Marathon are told of them.
//!
//! An agent has each of its flags in a file of that name (`/etc/mesos-slave/resources`), in a
//! variable (`MESOS_RESOURCES`), or, in DC/OS, in lines of files that are read into variables;
//! Marathon likewise (`MARATHON_TASK_LAUNCH_TIMEOUT`). Whoever calls this reads the files; what
//! is given later counts.

mod explain;
mod given;
mod quantity;
mod resources;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use ucr_images::Secret;

pub use self::explain::Line;
pub use self::given::{Given, Origin, Setting};
use crate::task::{Container, Containerizer};

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum AgentError {
    /// A value does not follow its grammar.
    #[error("{name} from {origin} is \"{}\", but must be {wanted}", crate::error::shown(.value))]
    Value {
        /// The flag.
        name: String,
        /// Where it is from.
        origin: Origin,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A file of settings is no text.
    #[error("{} is no text in UTF-8", .0.display())]
    NotText(PathBuf),
    /// Resources that are JSON are wrong.
    #[error("reading the resources from {origin}")]
    Resources {
        /// Where they are from.
        origin: Origin,
        /// What is wrong.
        source: Box<crate::Error>,
    },
    /// A value is in a file that was not read.
    #[error("{name} from {origin} is in a file of its own, which was not read")]
    Elsewhere {
        /// The flag.
        name: String,
        /// Where it is from.
        origin: Origin,
    },
    /// A container is of a type that the agent does not run.
    #[error(
        "{path} is {kind}, which this agent does not run: its containerizers are {listed} (from {origin})"
    )]
    NotListed {
        /// Where the document says so.
        path: String,
        /// The type.
        kind: Containerizer,
        /// Those that it runs.
        listed: String,
        /// Where they are from.
        origin: Origin,
    },
}

/// A configuration of Docker's for all tasks of an agent (`--docker_config`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerConfig {
    /// It is in this file.
    File(PathBuf),
    /// It is this.
    Text(Secret),
}

/// Ranges of ports, from the first to the last of each.
pub type Ranges = Vec<(u16, u16)>;

/// What is set, each with where it is from.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The types of containers that it runs.
    pub containerizers: Setting<Vec<Containerizer>>,
    /// Ports that tasks may have, in order and apart.
    pub ports: Setting<Ranges>,
    /// How long an executor may take to be there; none where nothing is said.
    pub registration_timeout: Option<Setting<Duration>>,
    /// How long Marathon waits for a task to run; none where nothing is said.
    pub launch_timeout: Option<Setting<Duration>>,
    /// The name by which others reach it.
    pub hostname: Option<Setting<String>>,
    /// Credentials for all tasks.
    pub docker_config: Option<Setting<DockerConfig>>,
    /// Where the sandbox is in a container with an image.
    pub sandbox_directory: Setting<PathBuf>,
    /// Where relative files to fetch are.
    pub frameworks_home: Option<Setting<PathBuf>>,
    /// Where fetched files are kept for others.
    pub fetcher_cache_dir: Option<Setting<PathBuf>>,
    /// How many bytes of them.
    pub fetcher_cache_size: Setting<u64>,
    /// How long a fetch may bring nothing.
    pub fetcher_stall_timeout: Setting<Duration>,
    /// Bytes of `/dev/shm` where a task does not say.
    pub shm_size: Option<Setting<u64>>,
    /// Whether processors are a limit, too.
    pub cgroups_enable_cfs: Setting<bool>,
    /// Whether swap is limited with memory.
    pub cgroups_limit_swap: Setting<bool>,
    /// Whether a task that has more on its disk than it asked for is killed.
    pub enforce_disk_quota: Setting<bool>,
    /// How often that is looked at.
    pub disk_watch_interval: Setting<Duration>,
    /// Directories of the host below which missing volumes are made.
    pub force_creation: Setting<Vec<PathBuf>>,
    /// Where profiles of seccomp are.
    pub seccomp_config_dir: Option<Setting<PathBuf>>,
    /// The one that all tasks have that name none.
    pub seccomp_profile: Option<Setting<String>>,
    /// Where CNI's networks are.
    pub cni_config_dir: Option<Setting<PathBuf>>,
    /// Where its plug-ins are.
    pub cni_plugins_dirs: Option<Setting<Vec<PathBuf>>>,
    /// What stands before `HOST` and `PORT…` in Marathon's variables.
    pub env_prefix: Option<Setting<String>>,
    /// Ports by which services are known, where they may have any.
    pub service_ports: Setting<(u16, u16)>,
    /// What is set and means nothing here.
    pub ignored: Vec<Setting<String>>,
}

/// What an agent offers that does not say (`slave/constants.cpp`).
const PORTS: (u16, u16) = (31_000, 32_000);
const CACHE_SIZE: u64 = 2 << 30;
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
const WATCH_INTERVAL: Duration = Duration::from_secs(15);

impl Agent {
    /// The settings of what is given; of one flag what is given last.
    ///
    /// # Errors
    /// When a value of a flag that matters here cannot be what it must be.
    pub fn new(given: Vec<Given>) -> Result<Self, AgentError> {
        let mut given = given::Latest::of(given);
        let path = |given: &Given| given.path();
        let agent = Self {
            containerizers: given
                .read("containerizers", containerizers)?
                .unwrap_or_else(|| {
                    Setting::usual(vec![Containerizer::Docker, Containerizer::Mesos])
                }),
            ports: given
                .read("resources", resources::ports)?
                .unwrap_or_else(|| Setting::usual(vec![PORTS])),
            registration_timeout: given.read("executor_registration_timeout", Given::duration)?,
            launch_timeout: given.read("marathon.task_launch_timeout", Given::milliseconds)?,
            hostname: given.read("hostname", Given::filled)?,
            docker_config: given.read("docker_config", docker_config)?,
            sandbox_directory: given
                .read("sandbox_directory", path)?
                .unwrap_or_else(|| Setting::usual("/mnt/mesos/sandbox".into())),
            frameworks_home: given.read("frameworks_home", path)?,
            fetcher_cache_dir: given.read("fetcher_cache_dir", path)?,
            fetcher_cache_size: given
                .read("fetcher_cache_size", Given::bytes)?
                .unwrap_or_else(|| Setting::usual(CACHE_SIZE)),
            fetcher_stall_timeout: given
                .read("fetcher_stall_timeout", Given::duration)?
                .unwrap_or_else(|| Setting::usual(STALL_TIMEOUT)),
            shm_size: given.read("default_container_shm_size", Given::bytes)?,
            cgroups_enable_cfs: given.boolean("cgroups_enable_cfs")?,
            cgroups_limit_swap: given.boolean("cgroups_limit_swap")?,
            enforce_disk_quota: given.boolean("enforce_container_disk_quota")?,
            disk_watch_interval: given
                .read("container_disk_watch_interval", Given::duration)?
                .unwrap_or_else(|| Setting::usual(WATCH_INTERVAL)),
            force_creation: given
                .read("host_path_volume_force_creation", Given::paths)?
                .unwrap_or_else(|| Setting::usual(Vec::new())),
            seccomp_config_dir: given.read("seccomp_config_dir", path)?,
            seccomp_profile: given.read("seccomp_profile_name", Given::filled)?,
            cni_config_dir: given.read("network_cni_config_dir", path)?,
            cni_plugins_dirs: given.read("network_cni_plugins_dir", Given::paths)?,
            env_prefix: given.read("marathon.env_vars_prefix", Given::filled)?,
            service_ports: service_ports(&mut given)?,
            ignored: Vec::new(),
        };
        Ok(Self {
            ignored: given.rest(),
            ..agent
        })
    }

    /// How long a pull may take: until the executor must be there, or Marathon gives up.
    ///
    /// None where neither is said: Mesos' own minute is what made pulls fail (retz/retz#48).
    pub fn deadline(&self) -> Option<&Setting<Duration>> {
        let timeouts = self.registration_timeout.iter().chain(&self.launch_timeout);
        timeouts.min_by_key(|timeout| timeout.value)
    }

    /// Checks that a container is of a type that the agent runs.
    ///
    /// # Errors
    /// When it is not.
    pub fn admit(&self, container: &Container) -> Result<(), AgentError> {
        let listed = &self.containerizers;
        if listed.value.contains(&container.containerizer) {
            return Ok(());
        }
        Err(AgentError::NotListed {
            path: format!("{}.type", container.path),
            kind: container.containerizer,
            listed: names(&listed.value),
            origin: listed.origin.clone(),
        })
    }
}

/// The names of containerizers, in order.
fn names(containerizers: &[Containerizer]) -> String {
    let names: Vec<_> = containerizers.iter().map(|one| one.flag()).collect();
    names.join(",")
}

fn containerizers(given: &Given) -> Result<Vec<Containerizer>, AgentError> {
    let wanted = "docker and mesos, in order and with a comma between";
    let mut all = Vec::new();
    for name in given.value().split(',').map(str::trim) {
        match Containerizer::of_flag(name) {
            Some(one) if !all.contains(&one) => all.push(one),
            _ => return Err(given.wrong(wanted)),
        }
    }
    Ok(all)
}

fn docker_config(given: &Given) -> Result<DockerConfig, AgentError> {
    let value = given.value();
    match given.file() {
        Some(path) => Ok(DockerConfig::File(path.to_owned())),
        // Its value is never repeated: there are passwords in it.
        None if value.trim_start().starts_with('{') => Ok(DockerConfig::Text(Secret::new(value))),
        None => Err(AgentError::Value {
            name: given.name().to_owned(),
            origin: given.origin().clone(),
            value: "…".to_owned(),
            wanted: "the path of a config.json of Docker's, or what is in one",
        }),
    }
}

fn service_ports(given: &mut given::Latest) -> Result<Setting<(u16, u16)>, AgentError> {
    let (usual_first, usual_last) = crate::ports::SERVICE_PORTS;
    let first = given.read("marathon.local_port_min", Given::port)?;
    let last = given.read("marathon.local_port_max", Given::port)?;
    let origin = last
        .as_ref()
        .or(first.as_ref())
        .map(|setting| setting.origin.clone());
    let first = first.map_or(usual_first, |setting| setting.value);
    let last = last.map_or(usual_last, |setting| setting.value);
    Ok(Setting {
        value: (first, last),
        origin: origin.unwrap_or(Origin::Default),
    })
}

#[cfg(test)]
mod tests;
