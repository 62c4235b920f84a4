//! `NetworkInfo`s of a container, and the ports that lead into it.

use std::collections::BTreeMap;

use super::values;
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::{checked_ports, protocols, tcp};
use crate::names;
use crate::task::{Network, Port, Protocol};

static NETWORK: Known = Known {
    read: &["name", "ip_addresses", "port_mappings"],
    ignored: &["groups", "labels"],
};
static ADDRESS: Known = Known {
    read: &["ip_address"],
    ignored: &["protocol"],
};
static MAPPING: Known = Known::all(&["host_port", "container_port", "protocol"]);

/// What Marathon calls the bridge of an agent (`--mesos_bridge_name`).
const BRIDGE: &str = "mesos-bridge";

/// Networks, and the ports that lead into them.
pub(super) type Said = (Vec<Network>, Vec<Port>);

/// Reads one of `network_infos`; one without a name is the host's.
fn network(node: &Node<'_>) -> Result<(Option<Network>, Vec<Port>), Error> {
    let fields = node.fields(&NETWORK)?;
    fields.each("ip_addresses", |node| {
        let address = node.fields(&ADDRESS)?;
        if address.says("ip_address") {
            let why = "addresses are given out by the network: leave it out";
            return Err(address.unsupported("ip_address", why));
        }
        Ok(())
    })?;
    let name = fields.read("name", names::network)?;
    let mut ports = fields.each("port_mappings", mapping)?;
    if name.is_none() && !ports.is_empty() {
        return Err(fields.missing("name", "ports lead into a network of the task's own"));
    }
    let network = name.map(|name| match name.as_str() {
        BRIDGE => Network::Bridge,
        _ => Network::Named(name),
    });
    if let Some(Network::Named(name)) = &network {
        ports
            .iter_mut()
            .for_each(|port| port.networks = vec![name.clone()]);
    }
    Ok((network, ports))
}

/// Reads `network_infos` of a container of type `MESOS`.
pub(super) fn of_mesos(container: &Fields<'_>) -> Result<Said, Error> {
    let said = container.each("network_infos", network)?;
    let (networks, ports): (Vec<_>, Vec<_>) = said.into_iter().unzip();
    let networks: Vec<Network> = networks.into_iter().flatten().collect();
    if networks.len() > 1 && networks.contains(&Network::Bridge) {
        return Err(container.rule(
            "network_infos",
            "has the bridge, or else other networks alone",
        ));
    }
    let usual = networks.is_empty().then_some(Network::Host);
    Ok((
        networks.into_iter().chain(usual).collect(),
        ports.into_iter().flatten().collect(),
    ))
}

#[derive(Clone, Copy)]
enum Mode {
    Host,
    Bridge,
    None,
    User,
}

/// Reads the network of a container of type `DOCKER`.
pub(super) fn of_docker(container: &Fields<'_>, docker: &Fields<'_>) -> Result<Said, Error> {
    let modes = [
        ("HOST", Mode::Host),
        ("BRIDGE", Mode::Bridge),
        ("NONE", Mode::None),
        ("USER", Mode::User),
    ];
    let mode = docker
        .read("network", |node| node.one_of(&modes))?
        .unwrap_or(Mode::Host);
    let ports = docker.each("port_mappings", mapping)?;
    let (named, more) = of_mesos(container)?;
    if !more.is_empty() && !ports.is_empty() {
        let rule = "has port mappings, and so has docker: leave the ones or the others";
        return Err(container.rule("network_infos", rule));
    }
    let ports: Vec<Port> = ports.into_iter().chain(more).collect();
    if !matches!(mode, Mode::User) && named != [Network::Host] {
        container.ignore(&["network_infos"]);
    }
    let networks = match mode {
        Mode::Host | Mode::None if !ports.is_empty() => {
            return Err(docker.rule(
                "port_mappings",
                "lead into a network of the task's own, and it has none",
            ));
        }
        Mode::Host => vec![Network::Host],
        Mode::None => vec![Network::None],
        Mode::Bridge => vec![Network::Bridge],
        Mode::User => match named.as_slice() {
            [network @ Network::Named(_)] => vec![network.clone()],
            _ => {
                let why = "network USER is one that is named there";
                return Err(container.missing("network_infos", why));
            }
        },
    };
    Ok((networks, ports))
}

fn mapping(node: &Node<'_>) -> Result<Port, Error> {
    let fields = node.fields(&MAPPING)?;
    let port = |name, why| fields.need(name, why)?.integer(0..=u16::MAX);
    Ok(Port {
        path: node.path.clone(),
        name: None,
        container: Some(port("container_port", "it is the port inside")?),
        host: Some(port("host_port", "it is the port of the host")?),
        service: None,
        protocols: fields.read("protocol", protocols)?.unwrap_or_else(tcp),
        labels: BTreeMap::new(),
        networks: Vec::new(),
    })
}

static DISCOVERY: Known = Known {
    read: &["ports"],
    ignored: &[
        "environment",
        "labels",
        "location",
        "name",
        "version",
        "visibility",
    ],
};
static PORTS: Known = Known::all(&["ports"]);
static DISCOVERED: Known = Known {
    read: &["number", "name", "protocol", "labels"],
    ignored: &["visibility"],
};

/// Adds what `discovery` says of ports: their names, and which they are on the network of the host.
pub(super) fn discovered(task: &Fields<'_>, (networks, mut ports): Said) -> Result<Said, Error> {
    let found = task.read("discovery", |node| {
        let discovery = node.fields(&DISCOVERY)?;
        let list = discovery.read("ports", |node| node.fields(&PORTS)?.each("ports", port))?;
        Ok(list.unwrap_or_default())
    })?;
    for port in found.unwrap_or_default() {
        let protocol: Vec<Protocol> = port.protocols.clone();
        let is_same = |other: &&mut Port| {
            (other.host == port.host || other.container == port.host)
                && protocol
                    .iter()
                    .any(|protocol| other.protocols.contains(protocol))
        };
        match ports.iter_mut().find(is_same) {
            Some(same) => {
                same.name = port.name;
                same.labels = port.labels;
            }
            None if networks == [Network::Host] => ports.push(port),
            None => {}
        }
    }
    Ok((networks, checked_ports(ports)?))
}

fn port(node: &Node<'_>) -> Result<Port, Error> {
    let fields = node.fields(&DISCOVERED)?;
    let number = fields
        .need("number", "a port has one")?
        .integer(0..=u16::MAX)?;
    Ok(Port {
        path: node.path.clone(),
        name: fields.read("name", Node::owned)?,
        container: None,
        host: Some(number),
        service: None,
        protocols: fields.read("protocol", protocols)?.unwrap_or_else(tcp),
        labels: values::labels(&fields)?,
        networks: Vec::new(),
    })
}
