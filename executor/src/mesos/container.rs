//! `ContainerInfo`.

use super::networks::{self, Said};
use super::{image, linux, volumes};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::{are_apart, parameter};
use crate::names;
use crate::task::{Containerizer, Image, Linux, Network, Parameter, Volume};

static CONTAINER: Known = Known::all(&[
    "docker",
    "hostname",
    "linux_info",
    "mesos",
    "network_infos",
    "rlimit_info",
    "tty_info",
    "type",
    "volumes",
]);
static DOCKER: Known = Known::all(&[
    "force_pull_image",
    "image",
    "network",
    "parameters",
    "port_mappings",
    "privileged",
    "volume_driver",
]);
static MESOS: Known = Known::all(&["image"]);

/// What a container says.
pub(super) struct Container {
    pub(super) containerizer: Containerizer,
    pub(super) image: Option<Image>,
    pub(super) volumes: Vec<Volume>,
    pub(super) hostname: Option<String>,
    pub(super) privileged: bool,
    pub(super) parameters: Vec<Parameter>,
    pub(super) linux: Linux,
    pub(super) terminal: Option<(u16, u16)>,
    pub(super) networks: Said,
}

impl Container {
    /// A task on the host's own files.
    pub(super) fn of_host() -> Self {
        Self {
            containerizer: Containerizer::Mesos,
            image: None,
            volumes: Vec::new(),
            hostname: None,
            privileged: false,
            parameters: Vec::new(),
            linux: Linux::default(),
            terminal: None,
            networks: (vec![Network::Host], Vec::new()),
        }
    }

    /// Reads a `ContainerInfo`.
    pub(super) fn read(node: &Node<'_>) -> Result<Self, Error> {
        let fields = node.fields(&CONTAINER)?;
        let kinds = [
            ("MESOS", Containerizer::Mesos),
            ("DOCKER", Containerizer::Docker),
        ];
        let kind = fields
            .need("type", "it is MESOS or DOCKER")?
            .one_of(&kinds)?;
        fields.only(&["mesos", "docker"], "a container is of one type")?;
        let volumes = fields.each("volumes", volumes::read)?;
        are_apart(&volumes)?;
        let mut linux = fields.read("linux_info", linux::read)?.unwrap_or_default();
        linux.rlimits = fields
            .read("rlimit_info", linux::rlimits)?
            .unwrap_or_default();
        let container = Self {
            containerizer: kind,
            volumes,
            hostname: fields.read("hostname", hostname)?,
            linux,
            terminal: fields.read("tty_info", linux::terminal)?,
            ..Self::of_host()
        };
        match kind {
            Containerizer::Mesos => container.of_mesos(&fields),
            Containerizer::Docker => container.of_docker(&fields),
        }
    }

    fn of_mesos(self, fields: &Fields<'_>) -> Result<Self, Error> {
        if fields.says("docker") {
            return Err(fields.rule(
                "docker",
                "belongs to type DOCKER: put the image into mesos.image",
            ));
        }
        let mesos = fields.read("mesos", |node| node.fields(&MESOS))?;
        let image = mesos
            .map(|mesos| mesos.read("image", image::read))
            .transpose()?;
        Ok(Self {
            image: image.flatten(),
            networks: networks::of_mesos(fields)?,
            ..self
        })
    }

    fn of_docker(self, fields: &Fields<'_>) -> Result<Self, Error> {
        let docker = fields.need("docker", "it holds what a container of type DOCKER is")?;
        let docker = docker.fields(&DOCKER)?;
        if docker.says("volume_driver") {
            let why = "drivers of volumes are Docker's plug-ins: name a directory of the host";
            return Err(docker.unsupported("volume_driver", why));
        }
        let image = docker.need("image", "it names the image")?;
        Ok(Self {
            image: Some(Image {
                name: names::docker_image(&image)?,
                force_pull: docker.is("force_pull_image")?,
                credential: None,
            }),
            privileged: docker.is("privileged")?,
            parameters: docker.each("parameters", parameter)?,
            networks: networks::of_docker(fields, &docker)?,
            ..self
        })
    }
}

/// A name of a host (RFC 1123), as long as the kernel takes one.
fn hostname(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    if !text.starts_with(ends)
        || !text.ends_with(ends)
        || !text.chars().all(inner)
        || text.len() > 64
    {
        return Err(node.grammar(
            text,
            "the name of a host, of at most 64 letters, digits, dots and dashes",
        ));
    }
    Ok(text.to_owned())
}
