//! Interfaces, addresses and routes, by rtnetlink(7).

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::Error;

/// An address of the Ethernet.
pub(super) type Mac = [u8; 6];

/// What talks to the kernel about the interfaces of one namespace: that in which it was opened.
#[derive(Debug)]
pub(super) struct Route {
    socket: Socket,
    sequence: u32,
}

/// What is known of an interface.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) is_bridge: bool,
    pub(super) mac: Vec<u8>,
    /// What somebody wrote on it.
    pub(super) alias: String,
    pub(super) mtu: u32,
}

/// A request, and the flags that it needs besides.
pub(super) type Asked = (RouteNetlinkMessage, u16);

impl Route {
    /// For the namespace that this thread is in.
    pub(super) fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::Netlink("ask the kernel".to_owned(), error))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Asks for all of `requests` in order, for the purpose `to`; the first refusal is told.
    pub(super) fn ask(&mut self, to: &str, requests: Vec<Asked>) -> Result<(), Error> {
        let failed = |error| Error::Netlink(to.to_owned(), error);
        self.send(requests)
            .and_then(|()| self.settled())
            .map_err(failed)
    }

    /// The interface `name`, if there is one.
    pub(super) fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let asked = vec![(RouteNetlinkMessage::GetLink(message), 0)];
        let mut found = None;
        let answered = self.send(asked).and_then(|()| {
            self.answers(|answer| {
                if let RouteNetlinkMessage::NewLink(message) = answer {
                    found = Some(Link::of(&message));
                }
            })
        });
        match answered {
            Ok(()) => Ok(found),
            Err(error) if error.raw_os_error() == Some(NO_DEVICE) => Ok(None),
            Err(error) => Err(Error::Netlink(format!("look for {name}"), error)),
        }
    }

    fn send(&mut self, requests: Vec<Asked>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (message, flags) in requests {
            self.sequence += 1;
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
            message.finalize();
            let begin = bytes.len();
            // The next one begins at a multiple of four, netlink(7).
            bytes.resize(begin + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[begin..begin + message.buffer_len()]);
        }
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Waits for the answers to all that was sent.
    fn settled(&mut self) -> io::Result<()> {
        self.answers(|_| {})
    }

    /// Hands on what comes until the last request is answered; the first refusal is the result.
    fn answers(&mut self, mut hear: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        let mut refused = None;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
                let message = message.map_err(io::Error::other)?;
                let length = message.header.length as usize;
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => hear(answer),
                    NetlinkPayload::Error(error) => {
                        if error.code.is_some() {
                            refused.get_or_insert(error.to_io());
                        }
                        if message.header.sequence_number == self.sequence {
                            return refused.map_or(Ok(()), Err);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// `ENODEV`.
const NO_DEVICE: i32 = 19;

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::LinkInfo(infos) => {
                    link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                }
                _ => {}
            }
        }
        link
    }
}

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

fn up(message: &mut LinkMessage) {
    message.header.flags |= LinkFlags::Up;
    message.header.change_mask |= LinkFlags::Up;
}

/// A new bridge.
pub(super) fn new_bridge(name: &str, mac: Mac, mtu: Option<u32>) -> Asked {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    (RouteNetlinkMessage::NewLink(message), NEW)
}

/// The two ends of a cable: `name` is a port of the bridge `bridge`, the other one, `inside`, in the
/// namespace of that descriptor.
pub(super) fn new_cable(
    (name, bridge): (&str, &Link),
    (inside, mac, namespace): (&str, Mac, i32),
) -> Asked {
    let mtu = LinkAttribute::Mtu(bridge.mtu);
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(inside.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        mtu.clone(),
        LinkAttribute::NetNsFd(namespace),
    ];
    let mut message = LinkMessage::default();
    up(&mut message);
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Controller(bridge.index),
        mtu,
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    (RouteNetlinkMessage::NewLink(message), NEW)
}

/// Lets the bridge send back through its port `name` what came in by it: a container that asks for a
/// port of the host which leads to itself, where the bridge's own traffic is filtered (br_netfilter).
pub(super) fn send_back(name: &str) -> Asked {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                true,
            )])),
        ]),
    ];
    (RouteNetlinkMessage::NewLink(message), 0)
}

/// Sets an interface up.
pub(super) fn set_up(index: u32) -> Asked {
    let mut message = LinkMessage::default();
    message.header.index = index;
    up(&mut message);
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// Writes `alias` on an interface.
pub(super) fn set_alias(index: u32, alias: &str) -> Asked {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
        .attributes
        .push(LinkAttribute::IfAlias(alias.to_owned()));
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// Removes an interface.
pub(super) fn remove(index: u32) -> Asked {
    let mut message = LinkMessage::default();
    message.header.index = index;
    (RouteNetlinkMessage::DelLink(message), 0)
}

/// Gives an interface an address, which is used at once.
pub(super) fn new_address(index: u32, address: IpAddr, prefix: u8) -> Asked {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V4(v4) => {
            message.attributes.push(AddressAttribute::Local(address));
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let broadcast = (v4.to_bits() | hosts).into();
            message
                .attributes
                .push(AddressAttribute::Broadcast(broadcast));
        }
        // Nobody else has it: no second of waiting for those who could say so.
        IpAddr::V6(_) => {
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            message.attributes.push(flags);
        }
    }
    (RouteNetlinkMessage::NewAddress(message), NEW)
}

/// Sends all that goes nowhere else to `gateway`.
pub(super) fn new_default_route(index: u32, gateway: IpAddr) -> Asked {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let address = match gateway {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    message.attributes = vec![RouteAttribute::Gateway(address), RouteAttribute::Oif(index)];
    (RouteNetlinkMessage::NewRoute(message), NEW)
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
