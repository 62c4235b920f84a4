//! The `container` of an app.

use super::values::Secrets;
use super::{image, linux, volumes};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::task::{Containerizer, Image, Linux, Parameter, Volume};

static CONTAINER: Known = Known::all(&[
    "type",
    "docker",
    "appc",
    "volumes",
    "portMappings",
    "linuxInfo",
]);

static DOCKER: Known = Known::all(&[
    "image",
    "network",
    "portMappings",
    "forcePullImage",
    "privileged",
    "parameters",
    "credential",
    "pullConfig",
]);

/// What `container` says.
pub(super) struct Container<'a> {
    pub(super) containerizer: Containerizer,
    pub(super) image: Option<Image>,
    pub(super) volumes: Vec<Volume>,
    pub(super) linux: Linux,
    pub(super) privileged: bool,
    pub(super) parameters: Vec<Parameter>,
    /// `container.docker`, which has the network in older apps.
    pub(super) docker: Option<Fields<'a>>,
    /// The list of port mappings, wherever it is.
    pub(super) mappings: Option<Node<'a>>,
}

impl<'a> Container<'a> {
    /// A task on the host's own files.
    pub(super) fn of_host() -> Self {
        Self {
            containerizer: Containerizer::Mesos,
            image: None,
            volumes: Vec::new(),
            linux: Linux::default(),
            privileged: false,
            parameters: Vec::new(),
            docker: None,
            mappings: None,
        }
    }

    /// Reads `container`.
    pub(super) fn read(node: &Node<'a>, secrets: &Secrets) -> Result<Self, Error> {
        let fields = node.fields(&CONTAINER)?;
        let kinds = [
            ("DOCKER", Containerizer::Docker),
            ("MESOS", Containerizer::Mesos),
        ];
        let kind = fields.read("type", |node| node.one_of(&kinds))?;
        let containerizer = kind.unwrap_or(Containerizer::Docker);
        fields.only(&["docker", "appc"], "a container has one image")?;
        let docker = fields.read("docker", |node| node.fields(&DOCKER))?;
        if docker.is_none() && containerizer == Containerizer::Docker {
            return Err(no_docker(&fields));
        }
        let image = match &docker {
            Some(docker) => Some(image::docker(docker, secrets)?),
            None => fields.read("appc", image::appc)?,
        };
        let linux = fields.read("linuxInfo", linux::read)?.unwrap_or_default();
        let volumes = fields.each("volumes", |node| volumes::read(node, secrets))?;
        volumes::are_apart(&volumes)?;
        let parameters = docker
            .as_ref()
            .map(|docker| docker.each("parameters", parameter));
        Ok(Self {
            containerizer,
            image,
            volumes,
            linux: linux::has_no_parent(linux, "container.linuxInfo.ipcInfo.mode")?,
            privileged: docker
                .as_ref()
                .map_or(Ok(false), |docker| docker.is("privileged"))?,
            parameters: parameters.transpose()?.unwrap_or_default(),
            mappings: mappings(&fields, docker.as_ref())?,
            docker,
        })
    }
}

/// Why a container of type `DOCKER` is none.
fn no_docker(fields: &Fields<'_>) -> Error {
    if fields.says("appc") {
        return fields.rule("appc", "belongs to type MESOS: say so");
    }
    let why = "a container of type DOCKER has an image; for the host's own files use type MESOS";
    fields.missing("docker", why)
}

/// The port mappings, of whichever form.
fn mappings<'a>(
    fields: &Fields<'a>,
    docker: Option<&Fields<'a>>,
) -> Result<Option<Node<'a>>, Error> {
    let newer = fields.get("portMappings");
    let older = docker.and_then(|docker| docker.get("portMappings"));
    match (newer, older) {
        (Some(newer), Some(older)) => {
            let has_some = |node: &Node<'_>| Ok::<_, Error>(!node.list()?.is_empty());
            match (has_some(&newer)?, has_some(&older)?) {
                (true, true) => Err(Error::Together {
                    path: older.path,
                    other: newer.path,
                    why: "the first is the older form of the second",
                }),
                (false, true) => Ok(Some(older)),
                _ => Ok(Some(newer)),
            }
        }
        (newer, older) => Ok(newer.or(older)),
    }
}

static PARAMETER: Known = Known::all(&["key", "value"]);

/// A flag of `docker run`.
pub(crate) fn parameter(node: &Node<'_>) -> Result<Parameter, Error> {
    let fields = node.fields(&PARAMETER)?;
    let key = fields.need("key", "it is a flag of docker run")?;
    let value = fields.need("value", "the flag has one")?;
    let text = key.filled()?;
    let is_flag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !text.chars().all(is_flag) || text.starts_with('-') {
        return Err(key.grammar(text, "a flag of docker run, without its dashes"));
    }
    Ok(Parameter {
        path: key.path.clone(),
        key: text.to_owned(),
        value: value.owned()?,
    })
}
