//! What a task is connected to, in the forms of now and of Marathon 1.3.

use std::collections::BTreeSet;

use super::{ports, values};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{Network, Port};

static NETWORK: Known = Known {
    read: &["name", "mode"],
    ignored: &["labels"],
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Host,
    Bridge,
    Container,
}

/// Reads `networks` of an app or pod; the host's where there is none.
pub(super) fn read(node: &Node<'_>) -> Result<Vec<Network>, Error> {
    let networks = node.each(network)?;
    let named = |network: &Network| matches!(network, Network::Named(_));
    if networks.len() > 1 && !networks.iter().all(named) {
        let rule = "has one network of the host or a bridge, or else named ones alone";
        return Err(node.rule(rule));
    }
    let mut seen = BTreeSet::new();
    for (index, network) in networks.iter().enumerate() {
        if let Network::Named(name) = network
            && !seen.insert(name)
        {
            return Err(Error::Repeated {
                path: format!("{}[{index}].name", node.path),
                other: "another of them".to_owned(),
                text: name.clone(),
            });
        }
    }
    if networks.is_empty() {
        return Ok(vec![Network::Host]);
    }
    Ok(networks)
}

fn network(node: &Node<'_>) -> Result<Network, Error> {
    let fields = node.fields(&NETWORK)?;
    let modes = [
        ("host", Mode::Host),
        ("container/bridge", Mode::Bridge),
        ("container", Mode::Container),
    ];
    let mode = fields.read("mode", |node| node.one_of(&modes))?;
    let mode = mode.unwrap_or(Mode::Container);
    if mode != Mode::Container && fields.says("name") {
        return Err(fields.rule("name", "belongs to mode container alone"));
    }
    Ok(match mode {
        Mode::Host => Network::Host,
        Mode::Bridge => Network::Bridge,
        Mode::Container => Network::Named(names::network(&fields.need("name", UNNAMED)?)?),
    })
}

const UNNAMED: &str =
    "which network it is, as the agent's files call it; Marathon's default one is not known here";

static IP_ADDRESS: Known = Known {
    read: &["discovery", "networkName"],
    ignored: &["groups", "labels"],
};

/// The older `ipAddress` of an app.
pub(super) struct IpAddress<'a> {
    /// The name of its network.
    pub(super) name: Option<String>,
    /// Its ports that others are told of.
    pub(super) ports: Option<Node<'a>>,
    path: String,
}

static DISCOVERY: Known = Known::all(&["ports"]);

/// Reads `ipAddress`.
pub(super) fn ip_address<'a>(node: &Node<'a>) -> Result<IpAddress<'a>, Error> {
    let fields = node.fields(&IP_ADDRESS)?;
    let discovery = fields.read("discovery", |node| node.fields(&DISCOVERY))?;
    Ok(IpAddress {
        name: fields.read("networkName", names::network)?,
        ports: discovery.and_then(|discovery| discovery.get("ports")),
        path: fields.at("networkName"),
    })
}

/// The networks of an app, by whichever of the forms it uses.
pub(super) fn of_app(
    app: &Fields<'_>,
    docker: Option<&Fields<'_>>,
    address: Option<&IpAddress<'_>>,
) -> Result<Vec<Network>, Error> {
    let older = docker.and_then(|docker| docker.get("network"));
    if let (Some(older), true) = (&older, app.says("networks")) {
        return Err(Error::Together {
            path: older.path.clone(),
            other: app.at("networks"),
            why: "the first is the older form of the second",
        });
    }
    if address.is_some() && app.says("networks") {
        return Err(app.together(
            "ipAddress",
            "networks",
            "the first is the older form of the second",
        ));
    }
    let named = |address: &IpAddress<'_>| match address.name.as_deref() {
        // What Marathon calls the bridge of the agent (`--mesos_bridge_name`).
        Some("mesos-bridge") => Ok(vec![Network::Bridge]),
        Some(name) => Ok(vec![Network::Named(name.to_owned())]),
        None => Err(Error::Missing {
            path: address.path.clone(),
            why: UNNAMED,
        }),
    };
    match (older, address) {
        (Some(older), address) => match older.one_of(&OLDER)? {
            Older::Unnamed(network) => {
                app.ignore(&["ipAddress"]);
                Ok(vec![network.into()])
            }
            Older::User => match address {
                Some(address) => named(address),
                None => Err(Error::Missing {
                    path: "ipAddress.networkName".to_owned(),
                    why: UNNAMED,
                }),
            },
        },
        (None, Some(address)) => named(address),
        (None, None) => Ok(app
            .read("networks", read)?
            .unwrap_or_else(|| vec![Network::Host])),
    }
}

#[derive(Clone, Copy)]
enum Older {
    Unnamed(Unnamed),
    User,
}

#[derive(Clone, Copy)]
enum Unnamed {
    Host,
    Bridge,
    None,
}

impl From<Unnamed> for Network {
    fn from(network: Unnamed) -> Self {
        match network {
            Unnamed::Host => Self::Host,
            Unnamed::Bridge => Self::Bridge,
            Unnamed::None => Self::None,
        }
    }
}

const OLDER: [(&str, Older); 4] = [
    ("HOST", Older::Unnamed(Unnamed::Host)),
    ("BRIDGE", Older::Unnamed(Unnamed::Bridge)),
    ("NONE", Older::Unnamed(Unnamed::None)),
    ("USER", Older::User),
];

/// Reads `networkNames` of a port, each of which must be a network of the task.
pub(super) fn names_of_port(port: &Fields<'_>, networks: &[Network]) -> Result<Vec<String>, Error> {
    let named = networks
        .iter()
        .filter(|network| matches!(network, Network::Named(_)));
    let several = named.count() > 1;
    let names = port.each("networkNames", |node| {
        let name = node.owned()?;
        if networks.contains(&Network::Named(name.clone())) {
            return Ok(name);
        }
        Err(Error::Undefined {
            path: node.path.clone(),
            name,
            place: "networks",
        })
    })?;
    if several && port.has("hostPort") && names.len() != 1 {
        let rule = "must name one network: the port leads into one of several";
        return Err(port.rule("networkNames", rule));
    }
    Ok(names)
}

static DISCOVERED: Known = Known::all(&["number", "name", "protocol", "labels"]);

/// Reads one of the ports of `ipAddress.discovery`.
pub(super) fn discovered(node: &Node<'_>) -> Result<Port, Error> {
    let fields = node.fields(&DISCOVERED)?;
    let number = fields.read("number", |node| node.integer(0..=u16::MAX))?;
    let protocols = fields.read("protocol", ports::protocols)?;
    Ok(Port {
        path: node.path.clone(),
        name: Some(names::port(
            &fields.need("name", "others find the port by it")?,
        )?),
        container: Some(number.unwrap_or_default()),
        host: None,
        service: Some(0),
        protocols: protocols.unwrap_or_else(ports::tcp),
        labels: values::labels(&fields)?,
        networks: Vec::new(),
    })
}
