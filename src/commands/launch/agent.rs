//! The settings of the agent: its files, and flags of ours that take their place.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};
use ucr_executor::agent::{self, DockerConfig, Given, Origin};
use ucr_executor::prepare::Cache;
use ucr_executor::task::{Container, Ipc, Seccomp, Task, Uri, Volume, VolumeSource};
use ucr_runtime::network::CniPlaces;
use ucr_sys::inroot::read_within;

use super::flags;
use crate::command_error::CommandError;
use crate::settings::variable;

/// Where an agent's flags are, one in a file.
const CONFIG: &str = "/etc/mesos-slave";
/// DC/OS' files of them, in lines.
const DCOS: [&str; 3] = [
    "/opt/mesosphere/etc/mesos-slave-common",
    "/opt/mesosphere/etc/mesos-slave",
    "/opt/mesosphere/etc/marathon",
];
/// Variables of the environment that have a say, as those of the agent and of Marathon do.
const VARIABLES: [&str; 2] = ["MARATHON_TASK_LAUNCH_TIMEOUT", "MARATHON_ENV_VARS_PREFIX"];
/// The most that a file of settings may have.
const LIMIT: u64 = 1 << 20;

/// What is said of the agent.
#[derive(Clone, Debug, Args)]
pub(super) struct AgentArgs {
    /// Directory with the agent's flags, one in a file [default: /etc/mesos-slave and DC/OS's files, if they exist]
    #[arg(long, value_name = "DIR")]
    agent_config: Option<PathBuf>,
    /// Ports that tasks may have, as ports(*):[8000-9000, 31000-32000] or as JSON
    #[arg(long, value_name = "RESOURCES")]
    resources: Option<String>,
    /// Name of this host, as others reach it: $HOST of tasks
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

/// What an agent says.
#[derive(Debug)]
pub(super) struct Agent {
    set: agent::Agent,
    host: String,
}

impl AgentArgs {
    /// Reads what there is.
    pub(super) fn read(&self) -> Result<Agent, CommandError> {
        let mut given = Vec::new();
        match &self.agent_config {
            Some(folder) => given.extend(files_of(folder)?),
            None => {
                for file in DCOS
                    .map(Path::new)
                    .into_iter()
                    .filter(|file| file.is_file())
                {
                    given.extend(Given::lines(file, &read(file)?).map_err(CommandError::new)?);
                }
                if Path::new(CONFIG).is_dir() {
                    given.extend(files_of(Path::new(CONFIG))?);
                }
            }
        }
        for name in VARIABLES {
            let value = variable(name).and_then(|value| value.into_string().ok());
            given.extend(value.and_then(|value| Given::variable(name, &value)));
        }
        let flags = [("resources", &self.resources), ("hostname", &self.host)];
        for (name, value) in flags {
            given.extend(value.as_ref().map(|value| Given::flag(name, value)));
        }
        let given = given.into_iter().map(with_file).collect::<Result<_, _>>()?;
        let set = agent::Agent::new(given).map_err(CommandError::new)?;
        let host = set.hostname.as_ref().map(|set| set.value.clone());
        Ok(Agent {
            host: host.unwrap_or_else(ucr_sys::hostname),
            set,
        })
    }
}

/// The settings in a folder of files that are called as the flags are.
fn files_of(folder: &Path) -> Result<Vec<Given>, CommandError> {
    let failed = |error: std::io::Error| {
        let (folder, why) = (folder.display(), ucr_sys::reason(&error));
        CommandError::sentence(format!(
            "cannot read the agent's settings in {folder}: {why}"
        ))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let read = files
        .iter()
        .map(|file| Given::file_of_flag(file, &read(file)?).map_err(CommandError::new));
    read.collect()
}

/// The same, with what is in the file that it names.
fn with_file(given: Given) -> Result<Given, CommandError> {
    // Credentials are read by who needs them.
    let named = given.file().filter(|_| given.name() != "docker_config");
    match named.map(Path::to_owned) {
        Some(file) => given.with_file(&read(&file)?).map_err(CommandError::new),
        None => Ok(given),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    let opened = File::open(file).map_err(|error| {
        let (file, why) = (file.display(), ucr_sys::reason(&error));
        CommandError::sentence(format!("cannot read the agent's setting {file}: {why}"))
    })?;
    read_within(&opened, file, LIMIT).map_err(CommandError::new)
}

impl Agent {
    /// Refuses a task that this agent does not run.
    pub(super) fn check(&self, task: &Task) -> Result<(), CommandError> {
        let admitted = task.containers.iter().map(|one| self.set.admit(one));
        admitted
            .collect::<Result<(), _>>()
            .map_err(CommandError::new)
    }

    /// Says of the containers of a task what the agent says where their definition does not.
    pub(super) fn complete(&self, task: &mut Task) -> Result<(), CommandError> {
        for container in &mut task.containers {
            let linux = &mut container.linux;
            if linux.ipc == Ipc::Shared {
                let path = &container.path;
                let text =
                    format!("{path}: containers share no IPC; /dev/shm and queues are their own");
                return Err(CommandError::sentence(text));
            }
            if let (None, Some(size)) = (linux.shm_size, &self.set.shm_size) {
                linux.shm_size = u32::try_from(size.value >> 20).ok();
            }
            if let (Seccomp::Default, Some(usual)) = (&linux.seccomp, &self.set.seccomp_profile) {
                linux.seccomp = Seccomp::Profile(usual.value.clone());
            }
            if let Seccomp::Profile(name) = &mut linux.seccomp {
                *name = self.profile(name, &container.path)?;
            }
            let prefix = self.set.env_prefix.as_ref().map(|set| set.value.clone());
            container.env_prefix = container.env_prefix.take().or(prefix);
            for uri in &mut container.fetch {
                self.find_file(uri);
            }
            let is_written = |volume: &&Volume| {
                matches!(volume.source, VolumeSource::Image(_)) && !volume.read_only
            };
            if let Some(volume) = container.volumes.iter().find(is_written) {
                let path = &volume.path;
                let text = format!("{path}: an image that is a volume can only be read");
                return Err(CommandError::sentence(text).hint("mode RO"));
            }
        }
        Ok(())
    }

    /// The file of a profile of seccomp, which a name has to be in the agent's directory.
    fn profile(&self, name: &str, path: &str) -> Result<String, CommandError> {
        let folder = self.set.seccomp_config_dir.as_ref().map(|set| &set.value);
        let is_name = !name.contains('/') && !name.starts_with('.');
        match (folder, is_name) {
            (Some(folder), true) => Ok(folder.join(name).display().to_string()),
            (None, _) => Err(CommandError::sentence(format!(
                "{path}: the profile of seccomp \"{}\" is nowhere: the agent has no seccomp_config_dir",
                name.escape_debug()
            ))),
            (Some(_), false) => Err(CommandError::sentence(format!(
                "{path}: \"{}\" is no name of a profile of seccomp",
                name.escape_debug()
            ))),
        }
    }

    /// Gives a relative path the directory that it counts from (`--frameworks_home`).
    fn find_file(&self, uri: &mut Uri) {
        let is_relative = !uri.value.contains("://") && !uri.value.starts_with('/');
        if let (true, Some(home)) = (is_relative, &self.set.frameworks_home) {
            uri.value = home.value.join(&uri.value).display().to_string();
        }
    }

    /// Where a container sees its sandbox, which is at `sandbox` on this host.
    pub(super) fn inside<'s>(&'s self, container: &Container, sandbox: &'s Path) -> &'s Path {
        match container.image {
            Some(_) => &self.set.sandbox_directory.value,
            None => sandbox,
        }
    }

    /// Where what others may have too is kept of what is fetched.
    pub(super) fn cache(&self) -> Cache {
        Cache {
            directory: self
                .set
                .fetcher_cache_dir
                .as_ref()
                .map(|set| set.value.clone()),
            limit: self.set.fetcher_cache_size.value,
        }
    }

    /// Where CNI's networks and plug-ins are, if the agent says so.
    pub(super) fn cni(&self, usual: CniPlaces) -> CniPlaces {
        let configurations = self
            .set
            .cni_config_dir
            .as_ref()
            .map(|set| vec![set.value.clone()]);
        let plugins = self
            .set
            .cni_plugins_dirs
            .as_ref()
            .map(|set| set.value.clone());
        CniPlaces {
            configurations: configurations.unwrap_or(usual.configurations),
            plugins: plugins.unwrap_or(usual.plugins),
        }
    }

    /// Whether a task that has more on its disk than it asked for is killed: unless the agent
    /// says that it is not.
    pub(super) fn watches_disk(&self) -> bool {
        let set = &self.set.enforce_disk_quota;
        set.value || set.origin == Origin::Default
    }

    /// Its name, as others reach it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The ports that the task may have: what its own resources say, else what the agent offers.
    pub(super) fn offered(&self, task: &Task) -> Vec<(u16, u16)> {
        if task.offered.is_empty() {
            self.set.ports.value.clone()
        } else {
            task.offered.clone()
        }
    }

    /// How long fetching may take, in the words of `--deadline`.
    pub(super) fn deadline(&self) -> Option<String> {
        let deadline = self.set.deadline()?;
        Some(format!("{}ms", deadline.value.as_millis()))
    }

    /// The file with credentials for all tasks.
    pub(super) fn docker_config(&self) -> Option<PathBuf> {
        match &self.set.docker_config.as_ref()?.value {
            DockerConfig::File(path) => Some(path.clone()),
            DockerConfig::Text(_) => None,
        }
    }

    /// How often the disk is looked at.
    pub(super) fn disk_interval(&self) -> Duration {
        self.set.disk_watch_interval.value
    }

    /// What it says of the limits of all tasks.
    pub(super) fn limits(&self) -> flags::Agent {
        flags::Agent {
            limits_cpus: self.set.cgroups_enable_cfs.value,
            limits_swap: self.set.cgroups_limit_swap.value,
            made: self.set.force_creation.value.clone(),
        }
    }

    /// Where servicePorts of 0 come from.
    pub(super) fn service_ports(&self) -> (u16, u16) {
        self.set.service_ports.value
    }

    /// All of it, with where each value is from.
    pub(super) fn shown(&self) -> Vec<Json> {
        let lines = self.set.explain().into_iter();
        lines
            .map(|line| {
                json!({
                    "name": line.name,
                    "value": line.value,
                    "origin": line.origin.to_string(),
                })
            })
            .collect()
    }
}
