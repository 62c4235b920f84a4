//! One container of a pod.

use std::time::Duration;

use super::image;
use super::pod::{Common, Member};
use super::values;
use super::{checks, fetch, linux, networks, ports, resources, volumes};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::task::{
    Command, Container, Containerizer, Ipc, Linux, Network, Port, Protocol, Volume, VolumeSource,
};
use crate::{names, paths};

pub(crate) static CONTAINER: Known = Known::all(&[
    "artifacts",
    "check",
    "endpoints",
    "environment",
    "exec",
    "healthCheck",
    "image",
    "labels",
    "lifecycle",
    "linuxInfo",
    "name",
    "resourceLimits",
    "resources",
    "tty",
    "user",
    "volumeMounts",
]);

/// Reads one of `containers`, in whose pod there are `before` ports of those before it.
pub(super) fn read(node: &Node<'_>, common: &Common, before: usize) -> Result<Member, Error> {
    let fields = node.fields(&CONTAINER)?;
    let image = fields.read("image", |node| image::of_pod(node, &common.secrets))?;
    let ports = fields.each("endpoints", |node| endpoint(node, &common.networks))?;
    let resources = fields.need("resources", "a container of a pod says its cpus and mem")?;
    let mut env = common.env.clone();
    env.extend(values::variables(&fields, "environment", &common.secrets)?);
    let user = fields.read("user", |node| node.filled().map(str::to_owned))?;
    let mounts = fields.each("volumeMounts", mount)?;
    volumes::are_apart(&mounts)?;
    let mut health: Vec<_> = fields
        .read("healthCheck", |node| checks::of_pod(node, &ports))?
        .into_iter()
        .collect();
    let mut check = fields.read("check", |node| checks::check(node, &ports))?;
    // A check knows the ports of its container, the task those of all.
    health
        .iter_mut()
        .chain(&mut check)
        .for_each(|check| checks::shift(check, before));
    let container = Container {
        name: names::name(&fields.need("name", "it tells the containers of a pod apart")?)?,
        path: node.path.clone(),
        containerizer: Containerizer::Mesos,
        command: command(&fields, image.is_some())?,
        image,
        env,
        env_prefix: None,
        user: user.or_else(|| common.user.clone()),
        resources: resources_of(&resources, &fields)?,
        volumes: mounts,
        fetch: fields.each("artifacts", fetch::artifact)?,
        health,
        check,
        hostname: None,
        privileged: false,
        parameters: Vec::new(),
        linux: linux_of(&fields, &common.linux)?,
        terminal: fields.is("tty")?.then_some((0, 0)),
        labels: values::labels(&fields)?,
    };
    Ok(Member {
        container,
        ports,
        grace: fields.read("lifecycle", grace)?.flatten(),
    })
}

static RESOURCES: Known = Known::all(&["cpus", "mem", "disk", "gpus"]);

fn resources_of(node: &Node<'_>, container: &Fields<'_>) -> Result<crate::task::Resources, Error> {
    let limits = container.get("resourceLimits");
    resources::read(&node.fields(&RESOURCES)?, limits.as_ref())
}

/// What a container has of the kernel's, with the pod's where it shares it.
fn linux_of(fields: &Fields<'_>, pod: &Linux) -> Result<Linux, Error> {
    let linux = fields.read("linuxInfo", linux::read)?.unwrap_or_default();
    let size = match linux.ipc {
        Ipc::Shared => pod.shm_size,
        Ipc::Own => linux.shm_size,
    };
    Ok(Linux {
        shm_size: size,
        ..linux
    })
}

static EXEC: Known = Known::all(&["command", "overrideEntrypoint"]);

fn command(container: &Fields<'_>, has_image: bool) -> Result<Command, Error> {
    let Some(exec) = container.get("exec") else {
        if has_image {
            return Ok(Command::default());
        }
        return Err(container.missing("exec", "without an image nothing else says what runs"));
    };
    let fields = exec.fields(&EXEC)?;
    let command = values::command(&fields.need("command", "exec runs one")?)?;
    let overrides = fields.read("overrideEntrypoint", Node::boolean)?;
    if command.shell {
        if overrides == Some(false) {
            let rule = "cannot be false where command.shell is given: a shell takes the entrypoint's place";
            return Err(fields.rule("overrideEntrypoint", rule));
        }
        return Ok(command);
    }
    // Arguments are for the image's entrypoint, unless the first of them takes its place.
    let program = command
        .value
        .filter(|_| overrides == Some(true) || !has_image);
    Ok(Command {
        value: program,
        ..command
    })
}

static MOUNT: Known = Known::all(&["name", "mountPath", "readOnly"]);

fn mount(node: &Node<'_>) -> Result<Volume, Error> {
    let fields = node.fields(&MOUNT)?;
    let name = names::name(&fields.need("name", "it is that of one of the pod's volumes")?)?;
    let target = fields.need("mountPath", "it says where the volume is mounted")?;
    Ok(Volume {
        path: node.path.clone(),
        target: paths::in_container(&target)?,
        source: VolumeSource::Shared(name),
        read_only: fields.is("readOnly")?,
    })
}

static LIFECYCLE: Known = Known::all(&["killGracePeriodSeconds"]);

fn grace(node: &Node<'_>) -> Result<Option<Duration>, Error> {
    let fields = node.fields(&LIFECYCLE)?;
    let seconds = fields.read("killGracePeriodSeconds", |node| {
        node.number(0.0..=4_294_967_295.0)
    })?;
    Ok(seconds.map(Duration::from_secs_f64))
}

static ENDPOINT: Known = Known::all(&[
    "name",
    "containerPort",
    "hostPort",
    "protocol",
    "labels",
    "networkNames",
]);

fn endpoint(node: &Node<'_>, networks: &[Network]) -> Result<Port, Error> {
    let fields = node.fields(&ENDPOINT)?;
    let any_port = |node: &Node<'_>| node.integer(0..=u16::MAX);
    let container = fields.read("containerPort", any_port)?;
    let is_host = networks == [Network::Host];
    let is_named = networks
        .iter()
        .any(|network| matches!(network, Network::Named(_)));
    if is_host && container.is_some() {
        return Err(fields.rule(
            "containerPort",
            "has no meaning on the network of the host: use hostPort",
        ));
    }
    if is_named && container.is_none() {
        return Err(fields.missing("containerPort", "it is reached by an address of its own"));
    }
    let usual = (!is_named).then_some(0);
    Ok(Port {
        path: node.path.clone(),
        name: Some(names::name(
            &fields.need("name", "the containers are told of it by name")?,
        )?),
        container: (!is_host).then(|| container.unwrap_or_default()),
        host: fields.read("hostPort", any_port)?.or(usual),
        service: None,
        protocols: fields
            .read("protocol", protocols)?
            .unwrap_or_else(ports::tcp),
        labels: values::labels(&fields)?,
        networks: networks::names_of_port(&fields, networks)?,
    })
}

fn protocols(node: &Node<'_>) -> Result<Vec<Protocol>, Error> {
    let choices = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocols = node.each(|node| node.one_of(&choices))?;
    let mut apart = protocols.clone();
    apart.sort();
    apart.dedup();
    if apart.is_empty() || apart.len() != protocols.len() {
        return Err(node.rule("must name tcp, udp or both, and each once"));
    }
    Ok(protocols)
}
