//! What a task needs before it can run: files that are fetched, and images.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use ucr_executor::health;
use ucr_executor::prepare::{Credential, File, Image as Wish, Pull, Ready, Request, Sandbox};
use ucr_executor::task::{Container, Image, ImageName, Task, TaskCredential, VolumeSource};
use ucr_images::{ImageConfig, ImageName as Name, Platform, Store, StoredImage};
use ucr_sys::signal::{Number, SignalFd};

use super::LaunchArgs;
use super::agent::Agent;
use super::checks;
use super::helper::{self, Prepared};
use super::run_task::Folders;
use super::status::Told;
use crate::beside;
use crate::command_error::CommandError;
use crate::report::Failure;
use crate::settings::Settings;
use crate::store::{ignore, store_failed};
use crate::ui::Ui;

/// What stands for the image of a container that has the files of the host.
const NO_IMAGE: &str = "localhost/host";

/// How often an image is looked for that was there a moment ago.
const ATTEMPTS: usize = 3;

/// How files and images are fetched.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct FetchArgs {
    /// CAfile to trust instead of the distribution's [env: UCR_CAFILE=]
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// File with credentials of this machine, as docker login and podman login write it
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Time that fetching files and images may take in all [default: the agent's]
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Times that a request is repeated that failed in a way that may pass
    #[arg(long, value_name = "N")]
    retry: Option<u32>,
    /// Most that an image may take unpacked
    #[arg(long, value_name = "SIZE")]
    max_unpacked: Option<String>,
}

impl FetchArgs {
    /// In the words of the helper that fetches.
    fn words(&self, agent: &Agent) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: Option<OsString>| {
            if let Some(value) = value {
                words.extend([flag.into(), value]);
            }
        };
        add("--cafile", self.cafile.clone().map(Into::into));
        add("--authfile", self.authfile.clone().map(Into::into));
        let deadline = self.deadline.clone().or_else(|| agent.deadline());
        add("--deadline", deadline.map(Into::into));
        add(
            "--retry",
            self.retry.map(|number| number.to_string().into()),
        );
        add("--max-unpacked", self.max_unpacked.clone().map(Into::into));
        words
    }
}

/// What is needed, and of whom.
pub(super) struct Wanted<'a> {
    /// The command line.
    pub(super) args: &'a LaunchArgs,
    /// The task.
    pub(super) task: &'a Task,
    /// What the agent says.
    pub(super) agent: &'a Agent,
    /// Where files go.
    pub(super) folders: &'a Folders,
}

/// The images of a task, in the store.
#[derive(Debug)]
pub(super) struct Images {
    /// That of each container; none of those that have the host's files.
    pub(super) containers: Vec<Option<StoredImage>>,
    /// What each is called.
    pub(super) names: Vec<String>,
    /// What those say that have none.
    nothing: ImageConfig,
    /// Those of volumes: of which container, and where.
    volumes: Vec<(usize, PathBuf, Name)>,
}

impl Images {
    /// The images that are volumes of a container, by where they are.
    pub(super) fn volumes(&self, index: usize) -> Vec<(PathBuf, Name)> {
        let own = self.volumes.iter().filter(|(one, ..)| *one == index);
        own.map(|(_, target, name)| (target.clone(), name.clone()))
            .collect()
    }

    /// What the image of a container says.
    pub(super) fn config(&self, index: usize) -> &ImageConfig {
        let image = self.containers[index].as_ref();
        image.map_or(&self.nothing, |image| &image.config)
    }

    /// What is to be checked of a container: what its definition says, else what its image says.
    pub(super) fn checks(&self, index: usize, container: &Container) -> checks::Wanted {
        let mut wanted = checks::Wanted {
            health: container.health.clone(),
            measured: container.check.clone(),
        };
        if wanted.health.is_empty() {
            let of_image = self.config(index).healthcheck();
            wanted.health.extend(of_image.map(health::of_image));
        }
        wanted
    }
}

/// Fetches what is missing; the number of the signal that asked to end before all was there.
pub(super) fn make_ready(
    wanted: &Wanted<'_>,
    settings: &Settings,
    (told, signals, ui): (&Told, &SignalFd, &Ui),
) -> Result<Result<Images, Number>, CommandError> {
    let store = Store::open(&settings.root)
        .and_then(|store| store.or_write_below(&settings.state))
        .map_err(store_failed)?;
    ignore(store.sweep_containers(), ui);
    let mut asks = wanted.needs_help(&store)?;
    for _ in 0..ATTEMPTS {
        let mut ready = None;
        if asks {
            let request = wanted.request()?;
            let mut words = beside::global_arguments("launch");
            words.push("prepare".into());
            words.extend(wanted.args.fetch.words(wanted.agent));
            match helper::prepare(&request, &words, (told, signals))? {
                Prepared::Ready(made) => ready = Some(made),
                Prepared::Asked(number) => return Ok(Err(number)),
                Prepared::Failed(failed) => return Err(told_of(&failed)),
            }
        }
        if let Some(images) = wanted.images(&store, ready.as_ref())? {
            return Ok(Ok(images));
        }
        asks = true;
    }
    let text = "the images of the task are removed from the store as soon as they are there";
    Err(CommandError::sentence(text).told_as(Failure::NOT_CACHED))
}

/// What could not be had, as the helper has said it already.
fn told_of(failed: &ucr_executor::prepare::Failed) -> CommandError {
    let text = match failed.path.as_str() {
        "" => failed.message.clone(),
        path => format!("{path}: {}", failed.message),
    };
    CommandError::sentence(text).told_as(Failure::of(&failed.code, &failed.phase, failed.retryable))
}

impl Wanted<'_> {
    /// All images of the task: where the document says so, whose it is, and where it is mounted.
    fn all(&self) -> impl Iterator<Item = (usize, &Image, String, Option<PathBuf>)> {
        let containers = self.task.containers.iter().enumerate();
        containers.flat_map(move |(index, container)| {
            let own = container
                .image
                .iter()
                .map(move |image| (index, image, container.path.clone(), None));
            let volumes = container.volumes.iter().filter_map(move |volume| {
                let VolumeSource::Image(image) = &volume.source else {
                    return None;
                };
                let sandbox = self.folders.containers[index].path();
                let target = self.agent.inside(container, sandbox).join(&volume.target);
                Some((index, image, volume.path.clone(), Some(target)))
            });
            own.chain(volumes)
        })
    }

    /// Whether there is anything that only somebody who asks others can do.
    fn needs_help(&self, store: &Store) -> Result<bool, CommandError> {
        let fetches = |container: &Container| !container.fetch.is_empty();
        if self.task.containers.iter().any(fetches) {
            return Ok(true);
        }
        for (_, image, path, _) in self.all() {
            let stored = stored(store, image, &path)?;
            // Of what is private somebody has to know whether this task may have it.
            if image.force_pull || stored.is_none_or(|stored| stored.private) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn request(&self) -> Result<Request, CommandError> {
        let sandboxes = self.task.containers.iter().zip(&self.folders.containers);
        let sandboxes = sandboxes.map(|(container, sandbox)| Sandbox {
            path: sandbox.path().to_owned(),
            uid: owner(container).0,
            gid: owner(container).1,
            fetch: container.fetch.iter().map(File::from).collect(),
            limit: None,
        });
        let images = self.all().map(|(index, image, path, _)| {
            Ok(Wish {
                reference: reference(image, &path)?.to_owned(),
                pull: if image.force_pull {
                    Pull::Always
                } else {
                    Pull::Missing
                },
                credential: self.credential(image)?,
                sandbox: Some(index),
                path,
            })
        });
        Ok(Request {
            sandboxes: sandboxes.collect(),
            images: images.collect::<Result<_, CommandError>>()?,
            docker_config: self.agent.docker_config(),
            cache: self.agent.cache(),
        })
    }

    fn credential(&self, image: &Image) -> Result<Option<Credential>, CommandError> {
        Ok(match &image.credential {
            None => None,
            Some(TaskCredential::Login { principal, secret }) => Some(Credential::Login {
                principal: principal.clone(),
                secret: secret.clone(),
            }),
            Some(TaskCredential::Config(value)) => {
                Some(Credential::Config(self.args.secrets.resolve(value)?))
            }
        })
    }

    /// All of them, if they are in the store as they were made `ready`: under a name another may
    /// have come meanwhile, which nobody has said that this task may have.
    fn images(&self, store: &Store, ready: Option<&Ready>) -> Result<Option<Images>, CommandError> {
        let containers = &self.task.containers;
        let mut images = Images {
            containers: containers.iter().map(|_| None).collect(),
            names: containers.iter().map(|_| NO_IMAGE.to_owned()).collect(),
            nothing: ImageConfig::default(),
            volumes: Vec::new(),
        };
        for (number, (index, image, path, target)) in self.all().enumerate() {
            let made = ready.and_then(|ready| ready.images.get(number));
            let is_same = |stored: &StoredImage| {
                made.is_none_or(|made| made.manifest == stored.manifest.to_string())
            };
            let Some(stored) = stored(store, image, &path)?.filter(is_same) else {
                return Ok(None);
            };
            match target {
                Some(target) => images.volumes.push((index, target, name(image, &path)?)),
                None => {
                    images.containers[index] = Some(stored);
                    images.names[index] = reference(image, &path)?.to_owned();
                }
            }
        }
        Ok(Some(images))
    }
}

/// The image, if it is in the store.
pub(super) fn stored(
    store: &Store,
    image: &Image,
    path: &str,
) -> Result<Option<StoredImage>, CommandError> {
    let name = name(image, path)?;
    store.image(&name, &Platform::host()).map_err(store_failed)
}

/// The name of an image of a registry's.
fn name(image: &Image, path: &str) -> Result<Name, CommandError> {
    let text = reference(image, path)?;
    let refused = |why: &dyn std::fmt::Display| {
        let text = text.escape_debug();
        CommandError::sentence(format!(
            "{path}: \"{text}\" is no image of a registry: {why}"
        ))
    };
    match text.parse() {
        Ok(name @ Name::Registry(_)) => Ok(name),
        Ok(Name::Local(_)) => Err(refused(&"it is a file")),
        Err(error) => Err(refused(&error)),
    }
}

/// The reference of an image of Docker's kind.
pub(super) fn reference<'i>(image: &'i Image, path: &str) -> Result<&'i str, CommandError> {
    match &image.name {
        ImageName::Docker(name) => Ok(name),
        ImageName::Appc { name, .. } => {
            let name = name.escape_debug();
            let text = format!(
                "{path}: \"{name}\" is an AppC image, which this version of ucr cannot run"
            );
            Err(CommandError::sentence(text))
        }
    }
}

/// Whom the files in a sandbox belong to: the user that is asked for by number, else root.
fn owner(container: &Container) -> (u32, u32) {
    let user = container.user.as_deref().unwrap_or("0");
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => (uid, gid),
        _ => (0, 0),
    }
}
