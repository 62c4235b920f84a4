//! Ports of the host: which of them a container gets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use ucr_sys::reserve::{self, Kind};
use ucr_sys::{Errno, random_bytes};

use super::record::HeldPort;
use super::rules::Rule;
use super::{Error, Protocol, Published};

/// The ports that an agent of Mesos offers where nobody says otherwise (Mesos, docs/attributes-resources.md).
pub const OFFERED: &[(u16, u16)] = &[(31_000, 32_000)];

/// A port that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The address of the host; none for all of them, of both versions of IP.
    pub address: Option<IpAddr>,
    /// The port of the host.
    pub host: HostPort,
    /// The port inside; 0 for the same as the host's.
    pub container: u16,
    /// What it carries; several get one port together.
    pub protocols: Vec<Protocol>,
}

/// Which port of the host is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// Any that is offered and free.
    Any,
    /// This one.
    One(u16),
    /// Any of these that is free, first and last.
    Within(u16, u16),
    /// None: it is known inside alone.
    Inside,
}

/// Whether ports are kept from others by us, or by the task itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// By sockets of ours.
    Reserved,
    /// Looked at, and left to the task.
    Free,
}

/// Ports that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) published: Vec<Published>,
    pub(super) held: Vec<HeldPort>,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Why a port is not to be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// This record has it.
    Held(String, HeldPort),
    /// It is none of ours.
    Other(Error),
}

/// Finds ports of the host for `requests`, of those that none of `others` has.
pub(super) fn find(
    requests: &[PortRequest],
    offered: &[(u16, u16)],
    others: &[(String, HeldPort)],
    keep: Keep,
) -> Result<Found, Refused> {
    let mut found = Found::default();
    // Those that have to be this one first: the others find their way around them.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&number| !matches!(requests[number].host, HostPort::One(_)));
    for number in order {
        let request = &requests[number];
        let host = found.find_one(request, offered, others, keep)?;
        for &protocol in &request.protocols {
            let container = match (request.container, host) {
                (0, Some(host)) => host,
                (container, _) => container,
            };
            found.published.push(Published {
                address: request.address,
                host,
                container,
                protocol,
                request: number,
            });
        }
    }
    found.published.sort_by_key(|one| one.request);
    Ok(found)
}

impl Found {
    /// A port for one request; none where it wants none.
    fn find_one(
        &mut self,
        request: &PortRequest,
        offered: &[(u16, u16)],
        others: &[(String, HeldPort)],
        keep: Keep,
    ) -> Result<Option<u16>, Refused> {
        let ranges = match request.host {
            HostPort::Inside => return Ok(None),
            HostPort::One(port) => {
                return self.take(request, port, others, keep).map(|()| Some(port));
            }
            HostPort::Within(first, last) => vec![(first, last)],
            HostPort::Any => offered.to_vec(),
        };
        for port in candidates(&ranges, request.host == HostPort::Any) {
            match self.take(request, port, others, keep) {
                Ok(()) => return Ok(Some(port)),
                Err(Refused::Other(error)) if !is_taken(&error) => {
                    return Err(Refused::Other(error));
                }
                Err(_) => {}
            }
        }
        let ranges = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
        let ranges = ranges.collect::<Vec<_>>().join(", ");
        Err(Refused::Other(Error::NoPort(ranges)))
    }

    /// Takes `port` for all that the request wants it for, or for nothing.
    fn take(
        &mut self,
        request: &PortRequest,
        port: u16,
        others: &[(String, HeldPort)],
        keep: Keep,
    ) -> Result<(), Refused> {
        let mut sockets = Vec::new();
        let mut held = Vec::new();
        for &protocol in &request.protocols {
            let one = HeldPort {
                address: request.address,
                port,
                protocol,
            };
            if let Some((record, _)) = others.iter().find(|(_, other)| other.clashes(&one)) {
                return Err(Refused::Held(record.clone(), one));
            }
            let own = self.held.iter().chain(&held);
            if own.into_iter().any(|other: &HeldPort| other.clashes(&one)) {
                let holder = "this container twice".to_owned();
                let taken = Error::Taken {
                    port,
                    protocol,
                    holder,
                };
                return Err(Refused::Other(taken));
            }
            sockets.extend(reserved(&one).map_err(Refused::Other)?);
            held.push(one);
        }
        self.held.extend(held);
        if keep == Keep::Reserved {
            self.sockets.extend(sockets);
        }
        Ok(())
    }
}

fn is_taken(error: &Error) -> bool {
    match error {
        Error::Taken { .. } => true,
        Error::Reserve { source, .. } => source.errno() == Errno::ADDRINUSE,
        _ => false,
    }
}

/// Every port of `ranges` once; from somewhere in the middle on, if several processes look at once.
fn candidates(ranges: &[(u16, u16)], scattered: bool) -> impl Iterator<Item = u16> + use<> {
    let all: Vec<u16> = ranges
        .iter()
        .flat_map(|&(first, last)| first..=last)
        .collect();
    let start = match all.len() {
        0 => 0,
        _ if !scattered => 0,
        count => usize::from(u16::from_ne_bytes(random_bytes())) % count,
    };
    let count = all.len();
    (0..count).map(move |number| all[(start + number) % count])
}

/// Sockets that have a port to themselves, one for each version of IP that it is wanted of.
fn reserved(port: &HeldPort) -> Result<Vec<OwnedFd>, Error> {
    let HeldPort {
        address,
        port,
        protocol,
    } = *port;
    let kind = match protocol {
        Protocol::Tcp => Kind::Stream,
        Protocol::Udp => Kind::Datagram,
    };
    let addresses = match address {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let mut sockets = Vec::new();
    for one in addresses {
        match reserve::reserve(kind, SocketAddr::new(one, port)) {
            Ok(socket) => sockets.push(socket),
            // This machine has no version 6.
            Err(error)
                if address.is_none()
                    && one.is_ipv6()
                    && [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].contains(&error.errno()) => {}
            Err(source) => {
                return Err(Error::Reserve {
                    port,
                    protocol,
                    source,
                });
            }
        }
    }
    Ok(sockets)
}

/// What leads `published` to a container with these addresses.
pub(super) fn rules(published: &[Published], addresses: &[IpAddr]) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for one in published {
        let Some(port) = one.host else {
            continue;
        };
        if one.address == Some(Ipv6Addr::LOCALHOST.into()) {
            return Err(Error::Loopback);
        }
        let fits = |to: &&IpAddr| {
            one.address
                .is_none_or(|address| address.is_ipv4() == to.is_ipv4())
        };
        let mut targets = addresses.iter().filter(fits).peekable();
        if let (Some(address), None) = (one.address, targets.peek()) {
            return Err(Error::NoVersion(address));
        }
        rules.extend(targets.map(|to| Rule {
            address: one.address.filter(|address| !address.is_unspecified()),
            protocol: one.protocol,
            port,
            to: (*to, one.container),
        }));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: HostPort, protocols: &[Protocol]) -> PortRequest {
        PortRequest {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            host,
            container: 80,
            protocols: protocols.to_vec(),
        }
    }

    fn held(port: u16, protocol: Protocol) -> (String, HeldPort) {
        let port = HeldPort {
            address: None,
            port,
            protocol,
        };
        ("other".to_owned(), port)
    }

    #[test]
    fn one_port_is_found_for_all_protocols_together() {
        let ranges = [(33_101, 33_104)];
        let both = [request(HostPort::Any, &[Protocol::Tcp, Protocol::Udp])];
        let others = [
            held(33_101, Protocol::Tcp),
            held(33_102, Protocol::Udp),
            held(33_103, Protocol::Tcp),
        ];
        let found = find(&both, &ranges, &others, Keep::Reserved).unwrap();
        let hosts: Vec<_> = found.published.iter().map(|one| one.host).collect();
        assert_eq!(hosts, [Some(33_104); 2]);
        assert_eq!((found.held.len(), found.sockets.len()), (2, 2));
        // Another program would find it taken.
        assert!(std::net::TcpListener::bind("127.0.0.1:33104").is_err());
        let none = find(&both, &ranges, &others, Keep::Free);
        assert!(
            matches!(none, Err(Refused::Other(Error::NoPort(_)))),
            "{none:?}"
        );
    }

    #[test]
    fn the_port_that_has_to_be_is_taken_first_and_its_holder_named() {
        let requests = [
            request(HostPort::Within(33_111, 33_112), &[Protocol::Tcp]),
            request(HostPort::One(33_111), &[Protocol::Tcp]),
        ];
        let found = find(&requests, &[], &[], Keep::Reserved).unwrap();
        let hosts: Vec<_> = found.published.iter().map(|one| one.host).collect();
        assert_eq!(hosts, [Some(33_112), Some(33_111)]);
        drop(found);
        let others = [held(33_111, Protocol::Tcp)];
        let clash = find(&requests, &[], &others, Keep::Free);
        assert!(matches!(clash, Err(Refused::Held(record, _)) if record == "other"));
        let twice = [requests[1].clone(), requests[1].clone()];
        let twice = find(&twice, &[], &[], Keep::Free);
        assert!(matches!(twice, Err(Refused::Other(Error::Taken { .. }))));
    }

    #[test]
    fn a_port_inside_is_the_hosts_where_it_is_0_and_none_of_the_hosts_where_none_is_wanted() {
        let mut same = request(HostPort::One(33_121), &[Protocol::Udp]);
        same.container = 0;
        let inside = request(HostPort::Inside, &[Protocol::Tcp]);
        let found = find(&[same, inside], &[], &[], Keep::Free).unwrap();
        assert_eq!(found.published[0].container, 33_121);
        let inside = found.published[1];
        assert_eq!((inside.host, inside.container), (None, 80));
        let to: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let rules = rules(&found.published, &to).unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].to, (to[0], 33_121));
    }

    #[test]
    fn an_address_leads_to_one_of_its_version() {
        let published = |address: &str| Published {
            address: address.parse().ok(),
            host: Some(1),
            container: 2,
            protocol: Protocol::Tcp,
            request: 0,
        };
        let v4: IpAddr = "10.0.0.2".parse().unwrap();
        let both = [v4, "fd00::2".parse().unwrap()];
        assert_eq!(rules(&[published("")], &both).unwrap().len(), 2);
        let any4 = rules(&[published("0.0.0.0")], &both).unwrap();
        assert_eq!((any4.len(), any4[0].address, any4[0].to.0), (1, None, v4));
        let refused = rules(&[published("fd00::7")], &[v4]);
        assert!(matches!(refused, Err(Error::NoVersion(_))));
        let refused = rules(&[published("::1")], &both);
        assert!(matches!(refused, Err(Error::Loopback)));
    }
}
