//! Ports of an app: those of the host, and those that lead into its container.

use std::collections::BTreeMap;

use super::{networks, values};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{Network, Port, Protocol};

/// What a port carries.
pub(crate) fn protocols(node: &Node<'_>) -> Result<Vec<Protocol>, Error> {
    let both: &[Protocol] = &[Protocol::Udp, Protocol::Tcp];
    let choices = [
        ("tcp", &[Protocol::Tcp][..]),
        ("udp", &[Protocol::Udp]),
        ("udp,tcp", both),
        ("tcp,udp", &[Protocol::Tcp, Protocol::Udp]),
    ];
    node.one_of(&choices).map(<[Protocol]>::to_vec)
}

pub(crate) fn tcp() -> Vec<Protocol> {
    vec![Protocol::Tcp]
}

/// What an app says of ports, as far as it says it.
pub(super) struct Said<'a> {
    /// `container.portMappings`, or the older one of `docker`, or `ipAddress.discovery.ports`.
    pub(super) mappings: Option<Node<'a>>,
    /// Whether those are of `ipAddress.discovery`.
    pub(super) discovered: bool,
    /// Whether the network is said in an older form, whose apps name their ports twice.
    pub(super) older: bool,
}

/// The ports of an app in the order of `$PORT0`, `$PORT1`.
pub(super) fn of_app(
    app: &Fields<'_>,
    said: &Said<'_>,
    networks: &[Network],
) -> Result<Vec<Port>, Error> {
    let fixed = app.is("requirePorts")?;
    if networks == [Network::Host] {
        return of_host(app, said, fixed);
    }
    if fixed {
        // It is of the network of the host alone.
        app.ignore(&["requirePorts"]);
    }
    let definitions = definitions(app)?;
    let ports = match &said.mappings {
        Some(list) if said.discovered => list.each(networks::discovered)?,
        Some(list) => list.each(|node| mapping(node, networks))?,
        None if networks == [Network::None] => Vec::new(),
        None => vec![default_mapping(networks)],
    };
    if networks == [Network::None] && !ports.is_empty() {
        let rule = "lead nowhere: the task has no network";
        return Err(rule_of(said.mappings.as_ref(), rule));
    }
    let Some((name, definitions)) = definitions else {
        return checked(ports);
    };
    if !said.older && !definitions.is_empty() {
        return Err(app.rule(
            name,
            "are ports of the host, and the task has another network: use container.portMappings",
        ));
    }
    // An app of an older form says here how many ports it has, and may say less of them there.
    let mut ports = ports;
    if networks != [Network::None] {
        let missing = definitions.len().saturating_sub(ports.len());
        ports.extend((0..missing).map(|_| default_mapping(networks)));
    }
    app.ignore(&[name]);
    checked(ports)
}

fn rule_of(node: Option<&Node<'_>>, rule: &'static str) -> Error {
    let path = node.map_or("container.portMappings", |node| &node.path);
    Error::Rule {
        path: path.to_owned(),
        rule,
    }
}

/// Ports of the host: those that are said, or any one.
fn of_host(app: &Fields<'_>, said: &Said<'_>, fixed: bool) -> Result<Vec<Port>, Error> {
    if let Some(mappings) = &said.mappings
        && !mappings.list()?.is_empty()
    {
        let rule = "lead into a network of the task's own, and it has that of the host: use portDefinitions, or another network";
        return Err(mappings.rule(rule));
    }
    let ports = match definitions(app)? {
        Some((_, definitions)) => definitions,
        None => vec![Definition::of(0, "portDefinitions")],
    };
    let port = |definition: Definition| Port {
        path: definition.path,
        name: definition.name,
        container: None,
        host: Some(if fixed { definition.number } else { 0 }),
        service: Some(definition.number),
        protocols: definition.protocols,
        labels: definition.labels,
        networks: Vec::new(),
    };
    checked(ports.into_iter().map(port).collect())
}

/// One of `portDefinitions`, or of `ports`.
struct Definition {
    path: String,
    number: u16,
    name: Option<String>,
    protocols: Vec<Protocol>,
    labels: BTreeMap<String, String>,
}

impl Definition {
    fn of(number: u16, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            number,
            name: None,
            protocols: tcp(),
            labels: BTreeMap::new(),
        }
    }
}

static DEFINITION: Known = Known::all(&["port", "name", "protocol", "labels"]);

fn any_port(node: &Node<'_>) -> Result<u16, Error> {
    node.integer(0..=u16::MAX)
}

fn definition(node: &Node<'_>) -> Result<Definition, Error> {
    let fields = node.fields(&DEFINITION)?;
    Ok(Definition {
        path: node.path.clone(),
        number: fields.read("port", any_port)?.unwrap_or_default(),
        name: fields.read("name", names::port)?,
        protocols: fields.read("protocol", protocols)?.unwrap_or_else(tcp),
        labels: values::labels(&fields)?,
    })
}

/// The ports that an app says in one form or the other, or in both with the same numbers.
fn definitions(app: &Fields<'_>) -> Result<Option<(&'static str, Vec<Definition>)>, Error> {
    let definitions = app.read("portDefinitions", |node| node.each(definition))?;
    let older = app.read("ports", |node| {
        node.each(|node| Ok(Definition::of(any_port(node)?, &node.path)))
    })?;
    let numbers = |all: &[Definition]| all.iter().map(|one| one.number).collect::<Vec<_>>();
    if let Some(all) = definitions.as_ref().or(older.as_ref()) {
        are_unique(all.iter().map(|one| (one.path.clone(), number(one.number))))?;
    }
    match (definitions, older) {
        (Some(definitions), Some(older)) => {
            if !definitions.is_empty()
                && !older.is_empty()
                && numbers(&definitions) != numbers(&older)
            {
                let why = "the second is the older form of the first, and has other numbers";
                return Err(app.together("portDefinitions", "ports", why));
            }
            let is_newer = !definitions.is_empty() || older.is_empty();
            let newer = ("portDefinitions", definitions);
            Ok(Some(if is_newer { newer } else { ("ports", older) }))
        }
        (Some(definitions), None) => Ok(Some(("portDefinitions", definitions))),
        (None, older) => Ok(older.map(|older| ("ports", older))),
    }
}

/// A number that no other port may have; 0 is any.
fn number(port: u16) -> Option<String> {
    (port != 0).then(|| port.to_string())
}

static MAPPING: Known = Known::all(&[
    "containerPort",
    "hostPort",
    "servicePort",
    "protocol",
    "name",
    "labels",
    "networkNames",
]);

fn mapping(node: &Node<'_>, networks: &[Network]) -> Result<Port, Error> {
    let fields = node.fields(&MAPPING)?;
    let host = fields.read("hostPort", any_port)?;
    Ok(Port {
        path: node.path.clone(),
        name: fields.read("name", names::port)?,
        container: Some(fields.read("containerPort", any_port)?.unwrap_or_default()),
        host: host.or(unsaid_host_port(networks)),
        service: Some(fields.read("servicePort", any_port)?.unwrap_or_default()),
        protocols: fields.read("protocol", protocols)?.unwrap_or_else(tcp),
        labels: values::labels(&fields)?,
        networks: networks::names_of_port(&fields, networks)?,
    })
}

/// A bridge is reached through the host alone, so that a port of it leads there; others have
/// addresses of their own.
pub(super) fn unsaid_host_port(networks: &[Network]) -> Option<u16> {
    networks.contains(&Network::Bridge).then_some(0)
}

fn default_mapping(networks: &[Network]) -> Port {
    Port {
        path: "container.portMappings".to_owned(),
        name: None,
        container: Some(0),
        host: unsaid_host_port(networks),
        service: Some(0),
        protocols: tcp(),
        labels: BTreeMap::new(),
        networks: Vec::new(),
    }
}

/// Checks that no two ports have one name, or one port of the host.
pub(crate) fn checked(ports: Vec<Port>) -> Result<Vec<Port>, Error> {
    are_unique(
        ports
            .iter()
            .map(|port| (port.path.clone(), port.name.clone())),
    )?;
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let carried = ports
            .iter()
            .filter(|port| port.protocols.contains(&protocol));
        are_unique(carried.map(|port| (port.path.clone(), port.host.and_then(number))))?;
    }
    Ok(ports)
}

/// Checks that no text is there twice, of those that say where they stand.
pub(super) fn are_unique(
    texts: impl Iterator<Item = (String, Option<String>)>,
) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for (path, text) in texts {
        let Some(text) = text else {
            continue;
        };
        if let Some(other) = seen.insert(text.clone(), path.clone()) {
            return Err(Error::Repeated { path, other, text });
        }
    }
    Ok(())
}
