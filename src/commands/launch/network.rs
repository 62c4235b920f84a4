//! What a task is connected to, and the ports that it got.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ucr_executor::environment::Resolved;
use ucr_executor::task::{self, ProbePort, Task};
use ucr_runtime::network::{self, Connected, End, HostPort, Joining, PortRequest, Request};

use ucr_sys::process::SingleThreaded;

use super::agent::Agent;
use super::status;
use crate::command_error::CommandError;
use crate::commands::run::failed;
use crate::held_file::{HeldFile, HeldFiles};
use crate::settings::Settings;

/// The folder of the state directory with a file for each servicePort that was given.
const FOLDER: &str = "service-ports";

/// The networks of a task for as long as it lives.
#[derive(Debug)]
pub(super) struct Connection {
    connected: Option<Connected>,
    /// What came of each of the task's ports, in order.
    resolved: Vec<Resolved>,
    /// What each is known by in the cluster.
    services: Vec<Option<u16>>,
    held: Vec<HeldFile>,
    addresses: Vec<IpAddr>,
    /// What `--network` says.
    word: String,
}

impl Connection {
    /// Connects a task, and gives it its ports.
    pub(super) fn make(
        task: &Task,
        agent: &Agent,
        settings: &Settings,
    ) -> Result<Self, CommandError> {
        let networks = networks(task)?;
        let word = networks.first().map_or("host", network_word).to_owned();
        let ports = task.ports.iter().map(|port| asked(port, agent, task));
        let ports: Vec<PortRequest> = ports.collect::<Result<_, _>>()?;
        let is_host = matches!(networks.first(), None | Some(network::Network::Host));
        let mut connection = Self {
            connected: None,
            resolved: Vec::new(),
            services: Vec::new(),
            held: Vec::new(),
            addresses: Vec::new(),
            word,
        };
        if !(is_host && ports.is_empty()) {
            let request = Request {
                id: record_id(&task.id)?,
                holder: format!("task {}", task.id),
                state_root: settings.state.clone(),
                networks,
                ports,
                offered: agent.offered(task),
                bridge: settings.network.bridge(),
                cni: agent.cni(settings.network.cni()),
            };
            let connected = network::connect(&request).map_err(failed)?;
            connection.addresses = connected.about().addresses().collect();
            connection.connected = Some(connected);
        }
        connection.assign((task, agent), settings)?;
        Ok(connection)
    }

    /// Puts together what each port came out as.
    fn assign(
        &mut self,
        (task, agent): (&Task, &Agent),
        settings: &Settings,
    ) -> Result<(), CommandError> {
        for (index, port) in task.ports.iter().enumerate() {
            let published = self.connected.iter().flat_map(Connected::ports);
            let found = published.into_iter().find(|one| one.request == index);
            let is_host = port.container.is_none();
            self.resolved.push(Resolved {
                host: found.and_then(|one| one.host),
                container: found.map(|one| one.container).filter(|_| !is_host),
            });
            let service = match port.service {
                Some(0) => Some(self.service_port(agent.service_ports(), settings)?),
                given => given,
            };
            self.services.push(service);
        }
        Ok(())
    }

    /// A port that no other task of this agent is known by.
    fn service_port(
        &mut self,
        (first, last): (u16, u16),
        settings: &Settings,
    ) -> Result<u16, CommandError> {
        let folder = HeldFiles::open(&settings.state, FOLDER)?;
        let count = u32::from(last - first) + 1;
        let start = u16::from_ne_bytes(ucr_sys::random_bytes());
        for step in 0..count {
            let offset = (u32::from(start) + step) % count;
            // It is below `count`.
            let port = first + u16::try_from(offset).unwrap_or_default();
            if let Some(held) = folder.take(&port.to_string())? {
                self.held.push(held);
                return Ok(port);
            }
        }
        Err(CommandError::sentence(format!(
            "all service ports from {first} to {last} are taken"
        )))
    }

    /// For the start of one container; none where it has the host's network.
    pub(super) fn join(&mut self) -> Result<Option<(&Connected, Joining)>, CommandError> {
        let has_own = self.word != "host";
        let Some(connected) = self.connected.as_mut().filter(|_| has_own) else {
            return Ok(None);
        };
        // The rules are being made by a child of this process, and of no supervisor.
        connected.wait().map_err(failed)?;
        let joining = connected.join(End::ByCaller).map_err(failed)?;
        Ok(Some((connected, joining)))
    }

    /// Its own addresses.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// What came of its ports.
    pub(super) fn resolved(&self) -> &[Resolved] {
        &self.resolved
    }

    /// Its kind, as `--network` says it.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// Its ports, for those who are told.
    pub(super) fn ports(&self, task: &Task) -> Vec<status::Port> {
        let both = task.ports.iter().zip(&self.resolved).zip(&self.services);
        both.map(|((port, resolved), service)| status::Port {
            name: port.name.clone(),
            host_port: resolved.host,
            container_port: resolved.container,
            service_port: *service,
            protocol: words(&port.protocols),
            labels: port.labels.clone(),
        })
        .collect()
    }

    /// Where a check asks: on the container's own loopback, or the host's.
    pub(super) fn probed(&self, port: ProbePort, ipv6: bool) -> Option<SocketAddr> {
        let number = match port {
            ProbePort::Number(number) => number,
            ProbePort::Index(index) => {
                let resolved = self.resolved.get(index)?;
                resolved.container.or(resolved.host)?
            }
        };
        let loopback = if ipv6 {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::from(Ipv4Addr::LOCALHOST)
        };
        Some(SocketAddr::new(loopback, number))
    }

    /// The network namespace of the process `pid` for the checks, unless it is the host's.
    pub(super) fn namespace(&self, pid: Option<i32>) -> Option<PathBuf> {
        let pid = pid.filter(|_| self.word != "host")?;
        Some(format!("/proc/{pid}/ns/net").into())
    }

    /// Gives all back.
    pub(super) fn end(self, proof: &SingleThreaded) -> Result<(), CommandError> {
        let ended = self.connected.map(|connected| connected.end(proof));
        ended.transpose().map(drop).map_err(failed)
    }
}

/// Removes the service ports of tasks that were killed.
pub(super) fn sweep(settings: &Settings) -> Result<(), CommandError> {
    HeldFiles::sweep(&settings.state, FOLDER, "")
}

/// The name of the task's record among the networks: its ID, or a hash of one that is no file name.
fn record_id(task: &str) -> Result<ucr_runtime::id::ContainerId, CommandError> {
    super::run_task::container_name(task)
        .parse()
        .map_err(CommandError::new)
}

fn networks(task: &Task) -> Result<Vec<network::Network>, CommandError> {
    let one = |network: &task::Network| -> Result<_, CommandError> {
        Ok(match network {
            task::Network::Host => network::Network::Host,
            task::Network::None => network::Network::None,
            task::Network::Bridge => network::Network::Bridge,
            task::Network::Named(name) => {
                let name = name.parse().map_err(CommandError::new)?;
                network::Network::Named(name)
            }
        })
    };
    let all: Vec<_> = task.networks.iter().map(one).collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Ok(vec![network::Network::Host]);
    }
    Ok(all)
}

fn network_word(network: &network::Network) -> &str {
    match network {
        network::Network::Host => "host",
        network::Network::None => "none",
        network::Network::Bridge => "bridge",
        network::Network::Named(name) => name.as_str(),
    }
}

/// What the task asks of one port; a port of its own choice has to be one that is offered.
fn asked(port: &task::Port, agent: &Agent, task: &Task) -> Result<PortRequest, CommandError> {
    let offered = agent.offered(task);
    let is_offered = |number: u16| {
        offered
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&number))
    };
    let host = match port.host {
        None => HostPort::Inside,
        Some(0) => HostPort::Any,
        Some(number) if is_offered(number) => HostPort::One(number),
        Some(number) => {
            let ranges = offered
                .iter()
                .map(|(first, last)| format!("{first}-{last}"));
            let ranges = ranges.collect::<Vec<_>>().join(", ");
            let text = format!(
                "{}: port {number} is not among those that are offered ({ranges})",
                port.path
            );
            return Err(CommandError::sentence(text).hint("--resources 'ports(*):[FIRST-LAST]'"));
        }
    };
    Ok(PortRequest {
        address: None,
        host,
        container: port.container.unwrap_or_default(),
        protocols: port
            .protocols
            .iter()
            .map(|one| match one {
                task::Protocol::Tcp => network::Protocol::Tcp,
                task::Protocol::Udp => network::Protocol::Udp,
            })
            .collect(),
    })
}

fn words(protocols: &[task::Protocol]) -> String {
    let words = protocols.iter().map(|one| match one {
        task::Protocol::Tcp => "tcp",
        task::Protocol::Udp => "udp",
    });
    words.collect::<Vec<_>>().join(",")
}
