//! A pod: several containers that share networks and volumes, and come and go together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::app::GRACE;
use super::values::{self, Secrets};
use super::volumes::{self, PERSISTENT};
use super::{linux, networks, pod_container, ports};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{
    Container, Format, Linux, Network, Port, Seccomp, SharedVolume, Task, Value, VolumeSource,
};

pub(crate) static POD: Known = Known {
    read: &[
        "containers",
        "environment",
        "id",
        "labels",
        "linuxInfo",
        "networks",
        "secrets",
        "user",
        "version",
        "volumes",
    ],
    ignored: &[
        "executorResources",
        "legacySharedCgroups",
        "role",
        "scaling",
        "scheduling",
    ],
};

/// What the containers of a pod have in common.
pub(super) struct Common {
    pub(super) secrets: Secrets,
    pub(super) env: Vec<(String, Value)>,
    pub(super) user: Option<String>,
    pub(super) networks: Vec<Network>,
    pub(super) linux: Linux,
}

/// A container, and what it adds to its pod.
pub(super) struct Member {
    pub(super) container: Container,
    pub(super) ports: Vec<Port>,
    pub(super) grace: Option<Duration>,
}

/// Reads a pod.
pub(crate) fn read(node: &Node<'_>) -> Result<Task, Error> {
    let pod = node.fields(&POD)?;
    let id = names::id(&pod.need("id", "a pod has one, as /group/pod")?)?;
    let secrets = Secrets::read(&pod)?;
    let shared = pod
        .read("volumes", |node| shared(node, &secrets))?
        .unwrap_or_default();
    let common = Common {
        env: values::variables(&pod, "environment", &secrets)?,
        secrets,
        user: pod.read("user", |node| node.filled().map(str::to_owned))?,
        networks: pod
            .read("networks", networks::read)?
            .unwrap_or_else(|| vec![Network::Host]),
        linux: pod.read("linuxInfo", pod_linux)?.unwrap_or_default(),
    };
    let list = pod.need("containers", "a pod has one at least")?;
    let members = members(&list, &common)?;
    let graces = members.iter().filter_map(|member| member.grace);
    let grace = graces.max().unwrap_or(GRACE);
    let (mut containers, mut all) = (Vec::new(), Vec::new());
    for member in members {
        containers.push(member.container);
        all.extend(member.ports);
    }
    are_all_used(&pod, &shared, &containers)?;
    Ok(Task {
        id: names::task_id(&id),
        format: Format::Pod {
            id,
            version: pod.read("version", Node::owned)?,
        },
        containers,
        networks: common.networks,
        ports: checked(all)?,
        offered: Vec::new(),
        shared,
        labels: values::labels(&pod)?,
        grace,
        max_completion: None,
        ignored: Vec::new(),
    })
}

/// Reads the containers, each of which sees the ports of all.
fn members(list: &Node<'_>, common: &Common) -> Result<Vec<Member>, Error> {
    let nodes = list.list()?;
    if nodes.is_empty() {
        return Err(list.rule("must have one container at least"));
    }
    let mut members: Vec<Member> = Vec::new();
    let mut before = 0;
    for node in &nodes {
        let member = pod_container::read(node, common, before)?;
        before += member.ports.len();
        members.push(member);
    }
    let names = members.iter().map(|member| &member.container);
    let names = names.map(|container| {
        (
            format!("{}.name", container.path),
            Some(container.name.clone()),
        )
    });
    ports::are_unique(names)?;
    Ok(members)
}

/// Checks that ports inside are one container's each, too: they share a network.
fn checked(all: Vec<Port>) -> Result<Vec<Port>, Error> {
    let inside = |port: &Port| {
        port.container
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
    };
    ports::are_unique(all.iter().map(|port| (port.path.clone(), inside(port))))?;
    ports::checked(all)
}

fn pod_linux(node: &Node<'_>) -> Result<Linux, Error> {
    let linux = linux::read(node)?;
    if linux.seccomp != Seccomp::Default {
        return Err(Error::Rule {
            path: format!("{}.seccomp", node.path),
            rule: "belongs to each container: say it in its linuxInfo",
        });
    }
    linux::has_no_parent(linux, &format!("{}.ipcInfo.mode", node.path))
}

static VOLUME: Known = Known::all(&["name", "host", "secret", "persistent"]);

fn shared(node: &Node<'_>, secrets: &Secrets) -> Result<BTreeMap<String, SharedVolume>, Error> {
    let mut shared = BTreeMap::new();
    for node in node.list()? {
        let fields = node.fields(&VOLUME)?;
        let name = names::name(&fields.need("name", "containers mount it by its name")?)?;
        let volume = match fields
            .only(&["host", "secret", "persistent"], "a volume is one thing")?
        {
            Some("host") => match volumes::host(&fields.need("host", "")?)? {
                VolumeSource::Host(path) => SharedVolume::Host(path),
                _ => {
                    let rule =
                        "must be absolute: leave it out for a directory that is made for the pod";
                    return Err(fields.rule("host", rule));
                }
            },
            Some("secret") => SharedVolume::Secret(secrets.find(&fields.need("secret", "")?)?),
            Some(_) => return Err(fields.unsupported("persistent", PERSISTENT)),
            None => SharedVolume::Ephemeral,
        };
        if shared.insert(name.clone(), volume).is_some() {
            return Err(Error::Repeated {
                path: fields.at("name"),
                other: "another of the volumes".to_owned(),
                text: name,
            });
        }
    }
    Ok(shared)
}

/// Checks that the volumes that are mounted are those that there are.
fn are_all_used(
    pod: &Fields<'_>,
    shared: &BTreeMap<String, SharedVolume>,
    containers: &[Container],
) -> Result<(), Error> {
    let volumes = containers.iter().flat_map(|container| &container.volumes);
    let mut mounted = BTreeSet::new();
    for volume in volumes {
        let VolumeSource::Shared(name) = &volume.source else {
            continue;
        };
        if !shared.contains_key(name) {
            return Err(Error::Undefined {
                path: format!("{}.name", volume.path),
                name: name.clone(),
                place: "volumes",
            });
        }
        mounted.insert(name);
    }
    if mounted.len() < shared.len() {
        return Err(pod.rule("volumes", "has one that no container mounts"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
