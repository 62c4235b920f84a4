//! What a container of a task is told, and what runs in it: its definition, merged with its image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ucr_executor::command::{Semantics, merge};
use ucr_executor::environment as variables;
use ucr_executor::task::{Container, SharedVolume, Task, Value, VolumeSource};
use ucr_images::ImageConfig;

use super::agent::Agent;
use super::network::Connection;
use super::secrets::Secrets;
use crate::command_error::CommandError;

/// What runs in a container: program and arguments.
pub(super) fn command(
    container: &Container,
    config: &ImageConfig,
    semantics: Semantics,
) -> Result<Vec<String>, CommandError> {
    let merged = merge(
        &container.command,
        config.entrypoint(),
        config.cmd(),
        semantics,
    );
    merged.map_err(|error| {
        let path = at(&container.path);
        CommandError::sentence(format!("{path}{error}"))
    })
}

/// The place of a container in its document, to be put before what is wrong with it.
fn at(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("{path}: "),
    }
}

/// What is known of a task when its variables are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    /// The task.
    pub(super) task: &'a Task,
    /// The container.
    pub(super) container: &'a Container,
    /// What the agent says.
    pub(super) agent: &'a Agent,
    /// Its networks and ports.
    pub(super) connection: &'a Connection,
    /// Where its secrets are.
    pub(super) secrets: &'a Secrets,
    /// Where it sees its sandbox.
    pub(super) sandbox: &'a Path,
}

impl Surroundings<'_> {
    /// Its variables, but for those of its image that nothing replaces.
    pub(super) fn variables(
        &self,
        config: &ImageConfig,
    ) -> Result<Vec<(String, String)>, CommandError> {
        let sandbox = self.sandbox.to_string_lossy();
        let around = variables::Surroundings {
            host: self.agent.host(),
            addresses: self.connection.addresses(),
            ports: self.connection.resolved(),
            sandbox: &sandbox,
        };
        let layers = variables::environment(self.task, self.container, &around);
        let of_image = |name: &str| {
            let mut all = config.env().iter();
            all.any(|one| one.split('=').next() == Some(name))
        };
        let below = layers.below.iter().filter(|(name, _)| !of_image(name));
        let all = below.chain(&layers.above);
        let resolved = all.map(|(name, value)| {
            let value = self.secrets.resolve(value)?;
            Ok((name.clone(), value.expose().to_owned()))
        });
        resolved.collect()
    }
}

/// What people attached to the task, and to the container.
pub(super) fn labels(task: &Task, container: &Container) -> Vec<(String, String)> {
    let mut all: BTreeMap<&String, &String> = task.labels.iter().collect();
    all.extend(&container.labels);
    let all = all.into_iter();
    all.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The secrets that a container finds in files, which are in memory.
pub(super) fn secret_files(
    (container, sandbox): (&Container, &Path),
    shared: &BTreeMap<String, SharedVolume>,
    secrets: &Secrets,
) -> Result<Vec<(PathBuf, Vec<u8>)>, CommandError> {
    let mut files = Vec::new();
    for volume in &container.volumes {
        let value: Option<&Value> = match &volume.source {
            VolumeSource::Secret(value) => Some(value),
            VolumeSource::Shared(name) => match shared.get(name) {
                Some(SharedVolume::Secret(value)) => Some(value),
                _ => None,
            },
            _ => None,
        };
        if let Some(value) = value {
            let secret = secrets.resolve(value)?;
            let target = sandbox.join(&volume.target);
            files.push((target, secret.expose().as_bytes().to_vec()));
        }
    }
    Ok(files)
}
