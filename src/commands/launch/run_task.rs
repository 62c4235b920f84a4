//! A task from its definition to its end: sandbox, images, network, containers.

use std::path::{Path, PathBuf};

use ucr_executor::task::{Container, Task, VolumeSource};
use ucr_sys::process::SingleThreaded;
use ucr_sys::signal::SignalFd;

use super::LaunchArgs;
use super::agent::Agent;
use super::disk::Disk;
use super::environment;
use super::files::{self, Images};
use super::flags::{self, Made};
use super::keeper::Keeper;
use super::member::{Member, Start};
use super::network::{self, Connection};
use super::sandbox::Sandbox;
use super::status::{Line, State, Told};
use crate::command_error::CommandError;
use crate::commands::run::{Extra, Files};
use crate::remains;
use crate::settings::{Settings, variable};
use crate::ui::Ui;

/// What a command that a signal ended gives, beside the signal's number.
const BY_SIGNAL: i32 = 128;

/// Runs a task to its end; gives what the command ends with.
pub(super) fn run_task(
    args: &LaunchArgs,
    (task, agent): (&Task, &Agent),
    settings: &Settings,
    (ui, told): (&Ui, &Told),
) -> Result<u8, CommandError> {
    let proof = SingleThreaded::check().map_err(CommandError::new)?;
    let signals = SignalFd::for_all().map_err(CommandError::new)?;
    told.tell(Line::new(State::Starting));
    remains::clear_claims(settings, ui);
    if let Err(error) = network::sweep(settings) {
        ui.say_ignored(&error);
    }
    let folders = Folders::make(args, task, settings)?;
    let wanted = files::Wanted {
        args,
        task,
        agent,
        folders: &folders,
    };
    let images = match files::make_ready(&wanted, settings, (told, &signals, ui))? {
        Ok(images) => images,
        Err(number) => {
            let code = u8::try_from(BY_SIGNAL + number).unwrap_or(u8::MAX);
            told.tell(Line {
                exit_code: Some(code),
                ..Line::new(State::Killed)
            });
            return Ok(code);
        }
    };
    let connection = Connection::make(task, agent, settings)?;
    let whole = Whole {
        args,
        task,
        agent,
        settings,
        folders: &folders,
        images: &images,
    };
    let (done, connection) = whole.run(connection, (ui, told, &signals), &proof);
    let ended = connection.end(&proof);
    let cleared = folders.clear();
    let code = done?;
    for error in [ended, cleared].into_iter().filter_map(Result::err) {
        ui.say_ignored(&error);
    }
    Ok(code)
}

/// All that the containers of a task are made of.
struct Whole<'a> {
    args: &'a LaunchArgs,
    task: &'a Task,
    agent: &'a Agent,
    settings: &'a Settings,
    folders: &'a Folders,
    images: &'a Images,
}

impl Whole<'_> {
    /// Starts the containers and keeps them. Gives the connection back, whatever comes of it.
    fn run(
        &self,
        mut connection: Connection,
        (ui, told, signals): (&Ui, &Told, &SignalFd),
        proof: &SingleThreaded,
    ) -> (Result<u8, CommandError>, Connection) {
        let mut members = Vec::new();
        let mut failed = None;
        for index in 0..self.task.containers.len() {
            match self.start(index, &mut connection, ui, proof) {
                Ok(member) => members.push(member),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut keeper = Keeper::new(
            (self.task, self.settings, told),
            signals,
            &connection,
            members,
            self.disk(),
        );
        keeper.check(self.images);
        let done = match failed {
            // Those that were started already end with it.
            Some(error) => keeper.give_up().and(Err(error)),
            None => keeper.keep(),
        };
        (done, connection)
    }

    fn start(
        &self,
        index: usize,
        connection: &mut Connection,
        ui: &Ui,
        proof: &SingleThreaded,
    ) -> Result<Member, CommandError> {
        let container = &self.task.containers[index];
        let (sandbox, config) = (&self.folders.containers[index], self.images.config(index));
        let inside = self.agent.inside(container, sandbox.path());
        let command = environment::command(container, config, self.args.semantics())?;
        let surroundings = environment::Surroundings {
            task: self.task,
            container,
            agent: self.agent,
            connection,
            secrets: &self.args.secrets,
            sandbox: inside,
        };
        let env = surroundings.variables(config)?;
        let made = Made {
            container,
            config,
            image: &self.images.names[index],
            command: &command,
            env: &env,
            sandbox: sandbox.path(),
            inside,
            own: &own_volumes(container, sandbox)?,
            shared: &self.folders.shared,
            labels: &environment::labels(self.task, container),
            name: &self.container_name(container),
            agent: self.agent.limits(),
            network: connection.word(),
        };
        let args = flags::run_args(&made)?;
        let extra = Extra {
            files: match container.image {
                Some(_) => Files::OfImage,
                None => Files::OfHost,
            },
            network: connection.join()?,
            secrets: environment::secret_files(
                (container, inside),
                &self.task.shared,
                &self.args.secrets,
            )?,
            given: given(container, inside),
            images: self.images.volumes(index),
        };
        let start = Start {
            name: &container.name,
            args: &args,
            image: self.images.names[index].clone(),
            sandbox,
            rotation: self.args.rotation(),
        };
        Member::start(&start, extra, self.settings, (ui, proof))
    }

    /// What `ucr ps` and others call it: the task's ID, and its own name in a pod.
    fn container_name(&self, container: &Container) -> String {
        match self.task.containers.len() {
            1 => container_name(&self.task.id),
            _ => container_name(&format!("{}.{}", self.task.id, container.name)),
        }
    }

    fn disk(&self) -> Option<Disk> {
        let sizes = self.task.containers.iter().map(|one| one.resources.disk);
        let limit: f64 = sizes.sum();
        if limit <= 0.0 || !self.agent.watches_disk() {
            return None;
        }
        let folder = self.folders.task.folder().try_clone_to_owned().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of MiB that is not negative, which ends at the largest"
        )]
        let bytes = (limit * f64::from(1 << 20)) as u64;
        Some(Disk::new(vec![folder], bytes, self.agent.disk_interval()))
    }
}

/// Makes the directories of the sandbox that a container has as volumes.
fn own_volumes(
    container: &Container,
    sandbox: &Sandbox,
) -> Result<Vec<(PathBuf, PathBuf)>, CommandError> {
    let below = container
        .volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Sandbox(below) => Some(below),
            _ => None,
        });
    let made = below.map(|below| {
        let directory = sandbox.directory(below)?;
        Ok((below.clone(), directory.path().to_owned()))
    });
    made.collect()
}

/// The directories in a container that its user may write to: the sandbox, and its parts.
fn given(container: &Container, sandbox: &Path) -> Vec<PathBuf> {
    let parts = container
        .volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Sandbox(_) => Some(sandbox.join(&volume.target)),
            _ => None,
        });
    std::iter::once(sandbox.to_owned()).chain(parts).collect()
}

/// A name for containers and files, made of an ID that has other characters too.
pub(super) fn container_name(id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = id.trim_start_matches('/').chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    // Room for what others put before and behind it.
    name.chars().take(100).collect()
}

/// Where the sandbox of a task is, as an absolute path.
pub(super) fn place(
    args: &LaunchArgs,
    task: &Task,
    settings: &Settings,
) -> Result<PathBuf, CommandError> {
    let said = args.sandbox.clone();
    let said = said.or_else(|| variable("MESOS_DIRECTORY").map(PathBuf::from));
    let name = container_name(&task.id);
    let place = said.unwrap_or_else(|| settings.root.join("sandboxes").join(name));
    Ok(std::path::absolute(place)?)
}

/// The directories of a task.
#[derive(Debug)]
pub(super) struct Folders {
    /// The task's own.
    pub(super) task: Sandbox,
    /// Those of its containers; the same if it has one.
    pub(super) containers: Vec<Sandbox>,
    /// Directories that a pod's containers share.
    pub(super) shared: Vec<(String, PathBuf)>,
}

/// The folder of a pod's sandbox with what lasts as long as the pod.
const VOLUMES: &str = "volumes";

impl Folders {
    fn make(args: &LaunchArgs, task: &Task, settings: &Settings) -> Result<Self, CommandError> {
        let whole = Sandbox::open(&place(args, task, settings)?)?;
        let own = |container: &Container| match task.containers.len() {
            1 => whole.directory(Path::new(".")),
            _ => whole.of_container(&container_name(&container.name)),
        };
        let containers = task.containers.iter().map(own).collect::<Result<_, _>>()?;
        let mut shared = Vec::new();
        for (name, volume) in &task.shared {
            use ucr_executor::task::SharedVolume;
            let path = match volume {
                SharedVolume::Host(path) => path.clone(),
                SharedVolume::Ephemeral => {
                    let below = PathBuf::from(VOLUMES).join(container_name(name));
                    whole.directory(&below)?.path().to_owned()
                }
                SharedVolume::Secret(_) => continue,
            };
            shared.push((name.clone(), path));
        }
        Ok(Self {
            task: whole,
            containers,
            shared,
        })
    }

    /// Removes what lasts only as long as the task.
    fn clear(&self) -> Result<(), CommandError> {
        let folder = self.task.folder();
        let removed = ucr_sys::tree::remove_tree(folder, VOLUMES.as_bytes());
        removed.map_err(CommandError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s48_an_id_becomes_a_name_that_is_no_path() {
        for (id, name) in [
            ("/group/app.1", "group_app.1"),
            ("../../etc/passwd", "etc_passwd"),
            ("inky.8f", "inky.8f"),
            ("a b\nc", "a_b_c"),
        ] {
            assert_eq!(container_name(id), name);
        }
        assert_eq!(container_name(&"x".repeat(1000)).len(), 100);
    }
}
