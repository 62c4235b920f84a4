//! Making a connection.

use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ucr_sys::Dir;
use ucr_sys::mount::{Depth, Tree};

use super::bridge::{self, Bridge};
use super::connected::Connected;
use super::inside::{self, Inside};
use super::ports::{self, Found, Keep, PortRequest, Refused};
use super::record::{Folder, Held, HeldPort, Looking, Place, Record};
use super::{
    About, BridgeConfig, CniPlaces, Dns, Error, Interface, NetworkName, Published, cni, give_back,
    rules, table,
};
use crate::id::ContainerId;

/// The folder of the state directory for namespaces that plugins find by a path.
const NAMESPACES: &str = "netns";

/// What a container, or those of a pod together, are to be connected to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The container, or the pod.
    pub id: ContainerId,
    /// Who has its ports, as others are told who want them.
    pub holder: String,
    /// Where the state of all containers is.
    pub state_root: PathBuf,
    /// The networks: one, or several by name.
    pub networks: Vec<Network>,
    /// Ports of the host that lead inside; of the host's own network, those that are kept for it.
    pub ports: Vec<PortRequest>,
    /// Where ports are looked for that may be any, first and last of each range.
    pub offered: Vec<(u16, u16)>,
    /// The bridge.
    pub bridge: BridgeConfig,
    /// Where networks by name are.
    pub cni: CniPlaces,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// That of the host.
    Host,
    /// None but a loopback.
    None,
    /// The bridge of this host.
    Bridge,
    /// One of plugins.
    Named(NetworkName),
}

/// Connects as `request` says. This process has one thread.
///
/// # Errors
///
/// What is asked for cannot be had; nothing of it was made, or all of it is given back.
pub fn connect(request: &Request) -> Result<Connected, Error> {
    match &request.networks[..] {
        [Network::None] if request.ports.is_empty() => {
            Ok(Connected::alone(inside::make()?.namespace))
        }
        [Network::None] => Err(Error::NoPorts("none")),
        [Network::Host] => hold_ports(request),
        [Network::Bridge] => to_bridge(request),
        networks => {
            let named = networks.iter().map(|network| match network {
                Network::Named(name) => Ok(name),
                _ => Err(Error::Together(
                    "host, none and bridge stand for themselves",
                )),
            });
            let named: Vec<&NetworkName> = named.collect::<Result<_, _>>()?;
            if named.is_empty() {
                return Err(Error::Together("no network is named"));
            }
            to_plugins(request, &named)
        }
    }
}

/// A record that is taken, and what is to be written into it.
struct Taken<'l, 'a> {
    held: Held,
    looking: &'l Looking<'a>,
    /// What others have.
    all: &'l [(String, Record)],
    published: &'l [Published],
}

/// Finds ports, waiting for who is about to give one back, and takes a record for them. `complete`
/// writes it, before it makes what is in it.
fn take<'a, T>(
    request: &Request,
    folder: &'a Folder,
    keep: Keep,
    complete: impl Fn(&Taken<'_, 'a>, &mut Record) -> Result<T, Error>,
) -> Result<(Held, Record, Found, T), Error> {
    loop {
        let looking = folder.lock()?;
        let all = folder.all()?;
        let others: Vec<(String, HeldPort)> = all
            .iter()
            .flat_map(|(name, record)| record.ports.iter().map(|port| (name.clone(), *port)))
            .collect();
        let (name, port) = match ports::find(&request.ports, &request.offered, &others, keep) {
            Ok(found) => {
                let mut record = Record {
                    holder: request.holder.clone(),
                    ports: found.held.clone(),
                    ..Record::default()
                };
                let taken = Taken {
                    held: looking.take(&request.id)?,
                    looking: &looking,
                    all: &all,
                    published: &found.published,
                };
                let completed = complete(&taken, &mut record);
                let held = taken.held;
                return match completed {
                    Ok(more) => Ok((held, record, found, more)),
                    Err(error) => {
                        // The first failure is what a person needs to know.
                        drop(give_back::now(&held, &record));
                        Err(error)
                    }
                };
            }
            Err(Refused::Other(error)) => return Err(error),
            Err(Refused::Held(name, port)) => (name, port),
        };
        let dead = looking.inherit(&name)?;
        let record = folder.read(&name)?;
        drop(looking);
        match (dead, record) {
            // Of somebody who was killed: this is the time to give it back.
            (Some((held, record)), _) => give_back::now(&held, &record)?,
            (None, Some(record)) if !record.is_ending => {
                return Err(Error::Taken {
                    port: port.port,
                    protocol: port.protocol,
                    holder: record.holder,
                });
            }
            (None, _) => folder.wait(&name)?,
        }
    }
}

/// Holds ports of the host for a task that binds them itself.
fn hold_ports(request: &Request) -> Result<Connected, Error> {
    let folder = Folder::open(&request.state_root)?;
    let (held, record, found, ()) = take(request, &folder, Keep::Free, |taken, record| {
        taken.held.write(record)
    })?;
    // There is no inside, so there they have the same number.
    let ports = found.published.into_iter().map(|one| Published {
        container: one.host.unwrap_or(one.container),
        ..one
    });
    let about = About {
        interfaces: Vec::new(),
        ports: ports.collect(),
    };
    Ok(Connected::new(about, (held, record)))
}

fn to_bridge(request: &Request) -> Result<Connected, Error> {
    let config = &request.bridge;
    let folder = Folder::open(&request.state_root)?;
    // Before others are kept waiting.
    let mut inside = inside::make()?;
    let place =
        |taken: &Taken<'_, '_>, record: &mut Record| place_on_bridge(request, taken, record);
    let (held, record, found, (mut bridge, pending)) =
        take(request, &folder, Keep::Reserved, place)?;
    let number = record.place.as_ref().map_or(0, |place| place.number);
    let mut connected = Connected::new(About::default(), (held, record));
    connected.sockets = found.sockets;
    connected.pending = pending;
    let interface = bridge::connect((config, &mut bridge), number, &mut inside)?;
    connected.about = About {
        interfaces: vec![interface],
        ports: found.published,
    };
    connected.namespace = Some(inside.namespace);
    Ok(connected)
}

/// Finds an address on the bridge, and begins to lead ports to it.
fn place_on_bridge(
    request: &Request,
    taken: &Taken<'_, '_>,
    record: &mut Record,
) -> Result<(Bridge, Option<rules::Pending>), Error> {
    let config = &request.bridge;
    let name = &config.name;
    let bridge = bridge::find_or_make(config, &request.state_root, taken.looking)?;
    let here = taken.all.iter().map(|(_, record)| record);
    let here = here.filter(|record| record.place.as_ref().is_some_and(|at| at.bridge == *name));
    let places = here.clone().flat_map(|record| &record.place);
    let places: Vec<u32> = places.map(|place| place.number).collect();
    let number = config.find_place(&places, taken.looking)?;
    record.place = Some(Place {
        bridge: name.clone(),
        number,
    });
    let addresses: Vec<IpAddr> = config.addresses(number).iter().map(|one| one.0).collect();
    record.rules = ports::rules(taken.published, &addresses)?;
    taken.held.write(record)?;
    if bridge.is_new || !table::is_there(name)? {
        // Made by us before anybody uses the bridge, or again when somebody has flushed all rules:
        // with those of everybody who is there.
        let theirs = here.flat_map(|record| &record.rules);
        let all: Vec<_> = theirs.chain(&record.rules).copied().collect();
        let (v4, v6) = config.networks();
        rules::begin(&rules::table(name, (&v4, v6.as_deref()), &all))?.wait()?;
        return Ok((bridge, None));
    }
    if record.rules.is_empty() {
        return Ok((bridge, None));
    }
    let pending = rules::begin(&rules::adding(name, &record.rules))?;
    Ok((bridge, Some(pending)))
}

fn to_plugins(request: &Request, names: &[&NetworkName]) -> Result<Connected, Error> {
    let refused = |name: &NetworkName, error| Error::Cni(name.to_string(), error);
    let lists = names.iter().map(|name| {
        let found = cni::find(&request.cni, name);
        found.map_err(|error| refused(name, error))
    });
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    let maps = lists.iter().position(cni::List::maps_ports);
    let asks_host = |port: &PortRequest| port.host != ports::HostPort::Inside;
    if maps.is_none() && request.ports.iter().any(asks_host) {
        return Err(Error::NoPorts(
            "one whose plugins do not map ports (capability portMappings)",
        ));
    }
    let folder = Folder::open(&request.state_root)?;
    let inside = inside::make()?;
    let path = request
        .state_root
        .join(NAMESPACES)
        .join(request.id.as_str());
    let attach = |taken: &Taken<'_, '_>, record: &mut Record| {
        let lists = lists.iter().cloned().enumerate();
        let attachments = lists.map(|(number, list)| {
            // The first one that can leads ports inside: the host has each of them once.
            let mappings = (maps == Some(number)).then(|| mappings(taken.published));
            let mappings = mappings.filter(|all| !all.is_empty());
            let capabilities: Vec<_> = mappings
                .map(|all| ("portMappings", Value::Array(all)))
                .into_iter()
                .collect();
            let interface = format!("eth{number}");
            let container = (request.id.as_str(), path.as_path(), interface);
            list.attachment(&request.cni, container, &capabilities)
        });
        let attachments: Vec<_> = attachments.collect();
        for attachment in &attachments {
            attachment
                .check()
                .map_err(|error| refused(&attachment.network, error))?;
        }
        // Only now: what was not begun needs no plugins to be given back.
        record.namespace = Some(path.clone());
        record.attachments = attachments;
        taken.held.write(record)
    };
    let (held, record, found, ()) = take(request, &folder, Keep::Reserved, attach)?;
    let mut connected = Connected::new(About::default(), (held, record));
    connected.sockets = found.sockets;
    bind(&inside, &request.state_root, &path)?;
    connected.about.ports = found.published;
    for number in 0..connected.record.attachments.len() {
        let attachment = &mut connected.record.attachments[number];
        let name = attachment.network.clone();
        attachment.add().map_err(|error| refused(&name, error))?;
        let result = attachment.result.clone().unwrap_or_default();
        connected.write()?;
        let (interface, dns) = understood(&result, &name, &format!("eth{number}"))
            .map_err(|why| refused(&name, cni::Error::Answer(name.to_string(), why)))?;
        connected.about.interfaces.push(interface);
        connected.add_dns(dns);
    }
    connected.namespace = Some(inside.namespace);
    Ok(connected)
}

/// What the plugin `portmap` takes.
fn mappings(published: &[Published]) -> Vec<Value> {
    let mapping = |one: &Published| {
        let host = one.host?;
        let address = one
            .address
            .map_or_else(String::new, |address| address.to_string());
        Some(json!({
            "hostPort": host,
            "containerPort": one.container,
            "protocol": one.protocol,
            "hostIP": address,
        }))
    };
    published.iter().filter_map(mapping).collect()
}

/// Gives a namespace a path.
fn bind(inside: &Inside, state_root: &Path, path: &Path) -> Result<(), Error> {
    let failed = |error| Error::Bind(path.to_path_buf(), error);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let folder = Dir::open_or_create(state_root).and_then(|state| state.dir_or_create(NAMESPACES));
    let folder = folder.map_err(failed)?;
    folder.replace_soon(name, b"", 0o600).map_err(failed)?;
    let namespace = format!("/proc/self/fd/{}", inside.namespace.as_raw_fd());
    let target = ucr_sys::at::place(std::os::fd::AsFd::as_fd(&folder), name.as_bytes());
    let target = target.map_err(failed)?;
    Tree::copy_of(Path::new(&namespace), Depth::One)
        .and_then(|tree| tree.attach(std::os::fd::AsFd::as_fd(&target)))
        .map_err(failed)
}

/// What a plugin's result says of the interface inside.
fn understood(
    result: &Value,
    network: &NetworkName,
    name: &str,
) -> Result<(Interface, Dns), String> {
    let mut interface = Interface {
        network: network.to_string(),
        name: name.to_owned(),
        ..Interface::default()
    };
    let interfaces = result["interfaces"].as_array().into_iter().flatten();
    let own = |one: &&Value| one["name"] == json!(name) && one["sandbox"] != json!("");
    let mut own = interfaces.filter(own);
    interface.mac = own
        .next()
        .and_then(|one| one["mac"].as_str())
        .unwrap_or_default()
        .to_owned();
    for ip in result["ips"].as_array().into_iter().flatten() {
        let text = ip["address"].as_str().unwrap_or_default();
        let address: ipnet::IpNet = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
        interface
            .addresses
            .push((address.addr(), address.prefix_len()));
        let gateway = ip["gateway"].as_str().filter(|text| !text.is_empty());
        if let Some(text) = gateway {
            let gateway = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
            interface.gateways.push(gateway);
        }
    }
    let dns = match &result["dns"] {
        Value::Null => Dns::default(),
        dns => serde_json::from_value(dns.clone()).map_err(|error| format!("dns: {error}"))?,
    };
    Ok((interface, dns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(networks: &[Network], ports: Vec<PortRequest>) -> Request {
        Request {
            id: "c".parse().unwrap(),
            holder: "container c".to_owned(),
            state_root: "/no/such".into(),
            networks: networks.to_vec(),
            ports,
            offered: vec![],
            bridge: BridgeConfig::default(),
            cni: CniPlaces {
                configurations: vec![],
                plugins: vec![],
            },
        }
    }

    #[test]
    fn what_cannot_be_had_together_is_refused() {
        let named = Network::Named("n".parse().unwrap());
        for networks in [
            &[][..],
            &[Network::Host, named.clone()],
            &[named.clone(), Network::Bridge],
        ] {
            let refused = connect(&request(networks, vec![]));
            assert!(matches!(refused, Err(Error::Together(_))), "{networks:?}");
        }
        let port = PortRequest {
            address: None,
            host: ports::HostPort::Any,
            container: 80,
            protocols: vec![super::super::Protocol::Tcp],
        };
        let refused = connect(&request(&[Network::None], vec![port]));
        assert!(matches!(refused, Err(Error::NoPorts("none"))));
        let missing = connect(&request(&[named], vec![]));
        assert!(matches!(missing, Err(Error::Cni(..))));
    }

    #[test]
    fn a_result_of_a_plugin_is_understood_in_every_version() {
        let name: NetworkName = "n".parse().unwrap();
        let result = json!({
            "cniVersion": "0.3.1",
            "interfaces": [{"name": "br", "mac": "00:00:00:00:00:01"},
                {"name": "eth0", "mac": "00:00:00:00:00:02", "sandbox": "/x"}],
            "ips": [{"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 1},
                {"address": "fd00::3/64"}],
            "dns": {"nameservers": ["10.1.2.1"], "search": ["x.example"]},
        });
        let (interface, dns) = understood(&result, &name, "eth0").unwrap();
        assert_eq!(interface.mac, "00:00:00:00:00:02");
        assert_eq!(interface.addresses.len(), 2);
        assert_eq!(interface.addresses[0], ("10.1.2.3".parse().unwrap(), 24));
        assert_eq!(interface.gateways.len(), 1);
        assert_eq!(dns.nameservers, ["10.1.2.1"]);
        assert!(understood(&json!({"ips": [{"address": "x"}]}), &name, "eth0").is_err());
        assert!(understood(&json!({}), &name, "eth0").is_ok());
    }
}
