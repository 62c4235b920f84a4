//! `ucr launch --explain`: what would be run, without anything being started, fetched or written.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use ucr_executor::environment as variables;
use ucr_executor::task::{
    Container, Image, Network, Port, SharedVolume, Task, Value, VolumeSource,
};
use ucr_images::{Store, StoredImage};

use super::agent::Agent;
use super::flags::{self, Made};
use super::{LaunchArgs, environment, files, run_task};
use crate::command_error::CommandError;
use crate::commands::run;
use crate::settings::Settings;
use crate::ui::Ui;

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// Prints what would be run, as JSON.
pub(super) fn explain(
    args: &LaunchArgs,
    (task, agent): (&Task, &Agent),
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let sandbox = run_task::place(args, task, settings)?;
    let explained = Explained {
        args,
        task,
        agent,
        settings,
        ui,
        sandbox,
    };
    let containers = task.containers.iter();
    let containers = containers.map(|container| explained.container(container));
    let containers: Vec<Json> = containers.collect::<Result<_, _>>()?;
    let ports: Vec<Json> = task.ports.iter().map(|port| explained.port(port)).collect();
    let document = json!({
        "task": task.id,
        "sandbox": explained.sandbox,
        "networks": networks(task),
        "ports": ports,
        "labels": task.labels,
        "gracePeriodSeconds": task.grace.as_secs_f64(),
        "maxCompletionSeconds": task.max_completion.map(|time| time.as_secs_f64()),
        "containers": containers,
        "agent": agent.shown(),
        "ignored": task.ignored,
    });
    let text = serde_json::to_string_pretty(&document).map_err(CommandError::new)?;
    ui.print(&text)?;
    Ok(ExitCode::SUCCESS)
}

struct Explained<'a> {
    args: &'a LaunchArgs,
    task: &'a Task,
    agent: &'a Agent,
    settings: &'a Settings,
    ui: &'a Ui,
    sandbox: PathBuf,
}

impl Explained<'_> {
    fn container(&self, container: &Container) -> Result<Json, CommandError> {
        let stored = self.stored(container.image.as_ref(), &container.path)?;
        let command = match &stored {
            Some(stored) => {
                let semantics = self.args.semantics();
                Some(environment::command(container, &stored.config, semantics)?)
            }
            // What it is merged with is not known.
            None => None,
        };
        let spec = match (&stored, &command) {
            (Some(stored), Some(command)) => self.spec(container, stored, command)?,
            _ => Json::Null,
        };
        let fetch = container.fetch.iter().map(|uri| uri.value.clone());
        Ok(json!({
            "name": container.name,
            "image": self.image(container, stored.as_ref())?,
            "command": command,
            "asked": {
                "shell": container.command.shell,
                "value": container.command.value,
                "arguments": container.command.arguments,
            },
            "user": container.user.as_deref().or(stored.as_ref().map(|it| it.config.user())),
            "environment": self.variables(container, stored.as_ref()),
            "volumes": self.volumes(container),
            "fetch": fetch.collect::<Vec<_>>(),
            "healthChecks": container.health.len(),
            "spec": spec,
        }))
    }

    /// The image, if it is in a store that can be read.
    fn stored(
        &self,
        image: Option<&Image>,
        path: &str,
    ) -> Result<Option<StoredImage>, CommandError> {
        let Some(image) = image else {
            return Ok(None);
        };
        // Who is not root sees no store, and is told of what the definition says.
        match Store::open(&self.settings.root) {
            Ok(store) => files::stored(&store, image, path),
            Err(_) => Ok(None),
        }
    }

    fn image(
        &self,
        container: &Container,
        stored: Option<&StoredImage>,
    ) -> Result<Json, CommandError> {
        let Some(image) = &container.image else {
            return Ok(Json::Null);
        };
        let credential = image.credential.as_ref().map(|_| REDACTED);
        Ok(json!({
            "reference": files::reference(image, &container.path)?,
            "inStore": stored.is_some(),
            "id": stored.map(|stored| stored.id.to_string()),
            "manifest": stored.map(|stored| stored.manifest.to_string()),
            "forcePull": image.force_pull,
            "credential": credential,
        }))
    }

    fn spec(
        &self,
        container: &Container,
        stored: &StoredImage,
        command: &[String],
    ) -> Result<Json, CommandError> {
        let image = container.image.as_ref();
        let image = image.map(|image| files::reference(image, &container.path));
        let name = run_task::container_name(&self.task.id);
        let env = self.variables(container, Some(stored));
        let env: Vec<(String, String)> = env
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let made = Made {
            container,
            config: &stored.config,
            image: image.transpose()?.unwrap_or_default(),
            command,
            env: &env,
            sandbox: &self.sandbox,
            inside: self.agent.inside(container, &self.sandbox),
            own: &[],
            shared: &self.shared(),
            labels: &environment::labels(self.task, container),
            name: &name,
            agent: self.agent.limits(),
            network: network_word(self.task),
        };
        let args = flags::run_args(&made)?;
        let spec = run::explain(&args, &stored.config, self.settings, self.ui)?;
        serde_json::to_value(spec).map_err(CommandError::new)
    }

    /// Directories of a pod, where they would be.
    fn shared(&self) -> Vec<(String, PathBuf)> {
        let shared = self.task.shared.iter();
        shared
            .map(|(name, volume)| match volume {
                SharedVolume::Host(path) => (name.clone(), path.clone()),
                _ => (name.clone(), PathBuf::from("/").join(name)),
            })
            .collect()
    }

    /// What the task would be told, without secrets; ports that are not known yet are 0.
    fn variables(&self, container: &Container, stored: Option<&StoredImage>) -> Json {
        let ports = self.task.ports.iter().map(|port| variables::Resolved {
            host: port.host,
            container: port.container,
        });
        let ports: Vec<_> = ports.collect();
        let sandbox = self
            .agent
            .inside(container, &self.sandbox)
            .to_string_lossy();
        let around = variables::Surroundings {
            host: self.agent.host(),
            addresses: &[],
            ports: &ports,
            sandbox: &sandbox,
        };
        let layers = variables::environment(self.task, container, &around);
        let shown = |(name, value): (String, Value)| {
            let value = match value {
                Value::Plain(text) => text,
                Value::Secret(_) | Value::Reference { .. } => REDACTED.to_owned(),
            };
            (name, Json::String(value))
        };
        let of_image = stored.map(|stored| stored.config.env()).unwrap_or_default();
        let of_image = of_image.iter().filter_map(|one| one.split_once('='));
        let of_image =
            of_image.map(|(name, value)| (name.to_owned(), Json::String(value.to_owned())));
        let below = layers.below.into_iter().map(shown);
        let above = layers.above.into_iter().map(shown);
        Json::Object(below.chain(of_image).chain(above).collect())
    }

    fn port(&self, port: &Port) -> Json {
        let protocols = port
            .protocols
            .iter()
            .map(|one| format!("{one:?}").to_lowercase());
        let offered = self.agent.offered(self.task);
        json!({
            "name": port.name,
            "containerPort": port.container,
            "hostPort": port.host,
            "offered": if port.host == Some(0) { Some(offered) } else { None },
            "servicePort": port.service,
            "protocol": protocols.collect::<Vec<_>>().join(","),
        })
    }
}

fn networks(task: &Task) -> Vec<&str> {
    if task.networks.is_empty() {
        return vec!["host"];
    }
    task.networks.iter().map(word).collect()
}

fn network_word(task: &Task) -> &str {
    task.networks.first().map_or("host", word)
}

fn word(network: &Network) -> &str {
    match network {
        Network::Host => "host",
        Network::None => "none",
        Network::Bridge => "bridge",
        Network::Named(name) => name,
    }
}

impl Explained<'_> {
    fn volumes(&self, container: &Container) -> Vec<Json> {
        let inside = self.agent.inside(container, &self.sandbox);
        let own = json!({ "target": inside, "source": self.sandbox, "readOnly": false });
        let others = container.volumes.iter().map(|volume| {
            let source = match &volume.source {
                VolumeSource::Host(path) => path.display().to_string(),
                VolumeSource::Sandbox(below) => format!("{} in the sandbox", below.display()),
                VolumeSource::Shared(name) => format!("the pod's volume {name}"),
                VolumeSource::Image(image) => format!("the image {:?}", image.name),
                VolumeSource::Secret(_) => "a secret".to_owned(),
            };
            json!({
                "target": inside.join(&volume.target),
                "source": source,
                "readOnly": volume.read_only,
            })
        });
        std::iter::once(own).chain(others).collect()
    }
}
