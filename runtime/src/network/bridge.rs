//! The bridge of all containers that are on it: made by the first, and left to the next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use ipnet::{Ipv4Net, Ipv6Net};
use ucr_sys::{random_bytes, random_suffix};

use super::inside::{self, Inside, ensure, set};
use super::netlink::{self, Link, Mac, Route};
use super::record::Looking;
use super::{Error, Interface};

/// How its address of the Ethernet begins: that of nobody's (2), by `ucr`. So a bridge that was not
/// completed is known as ours.
const OURS: [u8; 4] = [0x02, 0x75, 0x63, 0x72];
/// The interface of a container.
const INSIDE: &str = "eth0";
/// The bridge's own place in its networks.
const GATEWAY: u32 = 1;

/// The bridge, and what addresses its containers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Its name: letters, digits, `_` and `.`, the first a letter; at most 15.
    pub name: String,
    /// Its network of version 4; at most a /8, at least a /30.
    pub subnet: Ipv4Net,
    /// Its network of version 6, at least a /112; none for none.
    pub subnet6: Option<Ipv6Net>,
    /// The largest packet, if it is to be another than usual.
    pub mtu: Option<u32>,
}

impl Default for BridgeConfig {
    /// Networks that neither docker (172.17.0.0/12) nor podman (10.88.0.0/15), LXD or Kubernetes
    /// begin with, and one of version 6 for private use (RFC 4193).
    fn default() -> Self {
        Self {
            name: "ucr0".to_owned(),
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 91, 0, 0), 16),
            subnet6: Some(Ipv6Net::new_assert(
                Ipv6Addr::new(0xfd75, 0x6372, 0x6230, 0, 0, 0, 0, 0),
                64,
            )),
            mtu: None,
        }
    }
}

impl BridgeConfig {
    /// The same bridge, if it can be one.
    ///
    /// # Errors
    ///
    /// What is wrong, in words for a person.
    pub fn checked(self) -> Result<Self, String> {
        let name = &self.name;
        let is_name = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
        // IFNAMSIZ; and nftables takes no more signs for the name of a table.
        if !is_name || name.len() > 15 {
            return Err(format!(
                "\"{name}\" is no name of a bridge: at most 15 of A-Z a-z 0-9 _ ., the first a letter"
            ));
        }
        if !(8..=30).contains(&self.subnet.prefix_len()) {
            return Err(format!(
                "{} is no network of 2 to 2^24 addresses",
                self.subnet
            ));
        }
        if let Some(subnet) = self.subnet6.filter(|subnet| subnet.prefix_len() > 112) {
            return Err(format!(
                "{subnet} has too few addresses: it is a /112 or larger"
            ));
        }
        Ok(Self {
            subnet: self.subnet.trunc(),
            subnet6: self.subnet6.map(|subnet| subnet.trunc()),
            ..self
        })
    }

    /// Those of version 6 that can be had here.
    fn subnet6_here(&self) -> Option<Ipv6Net> {
        self.subnet6.filter(|_| inside::has_version_6())
    }

    /// The addresses at `number`, each with the length of its prefix.
    pub(super) fn addresses(&self, number: u32) -> Vec<(IpAddr, u8)> {
        let v4 = Ipv4Addr::from_bits(self.subnet.network().to_bits() + number);
        let mut addresses = vec![(IpAddr::V4(v4), self.subnet.prefix_len())];
        addresses.extend(self.subnet6_here().map(|subnet| {
            let v6 = Ipv6Addr::from_bits(subnet.network().to_bits() + u128::from(number));
            (IpAddr::V6(v6), subnet.prefix_len())
        }));
        addresses
    }

    /// Finds a place that is in none of `taken`, beginning behind the one that was given last: who
    /// remembers an address for a while then does not take one container for another.
    pub(super) fn find_place(&self, taken: &[u32], looking: &Looking<'_>) -> Result<u32, Error> {
        // Without the network's own address and that of all in it.
        let last = u32::MAX
            .checked_shr(self.subnet.prefix_len().into())
            .unwrap_or(0)
            - 1;
        let after = looking.last_place()?;
        let (low, high) = (GATEWAY + 1..=last.min(after), after.max(GATEWAY) + 1..=last);
        let found = high.chain(low).find(|number| !taken.contains(number));
        let found = found.ok_or_else(|| Error::NoAddress(self.subnet.to_string()))?;
        looking.give_place(found)?;
        Ok(found)
    }

    /// The networks as rules have them.
    pub(super) fn networks(&self) -> (String, Option<String>) {
        let v6 = self.subnet6_here().map(|subnet| subnet.to_string());
        (self.subnet.to_string(), v6)
    }

    /// What is written on the bridge once it is complete: whose it is, and with which addresses.
    fn alias(&self, state_root: &Path) -> String {
        let (v4, v6) = self.networks();
        let v6 = v6.map_or_else(String::new, |v6| format!(" {v6}"));
        format!("ucr {} {v4}{v6}", state_root.display())
    }
}

/// The bridge, and whether it was made just now.
pub(super) struct Bridge {
    pub(super) link: Link,
    pub(super) is_new: bool,
    pub(super) route: Route,
}

/// Finds the bridge, or makes it. Nobody else looks for something free meanwhile.
pub(super) fn find_or_make(
    config: &BridgeConfig,
    state_root: &Path,
    _looking: &Looking<'_>,
) -> Result<Bridge, Error> {
    let mut route = Route::open()?;
    let alias = config.alias(state_root);
    let there = route.link(&config.name)?;
    let is_new = match &there {
        None => true,
        Some(link) if link.alias == alias && link.is_bridge => false,
        Some(link) if link.is_bridge && link.mac.starts_with(&OURS) && link.alias.is_empty() => {
            // Whoever made it was killed before it was complete.
            route.ask(
                "remove an incomplete bridge",
                vec![netlink::remove(link.index)],
            )?;
            true
        }
        Some(link) if link.is_bridge && link.mac.starts_with(&OURS) => {
            return Err(Error::OtherBridge {
                name: config.name.clone(),
                made: link.alias.clone(),
                wanted: alias,
            });
        }
        Some(_) => return Err(Error::NotOurs(config.name.clone())),
    };
    if is_new {
        make(config, &alias, &mut route)?;
    }
    let link = match there.filter(|_| !is_new) {
        Some(link) => link,
        None => existing(&config.name, &mut route)?,
    };
    Ok(Bridge {
        link,
        is_new,
        route,
    })
}

fn make(config: &BridgeConfig, alias: &str, route: &mut Route) -> Result<(), Error> {
    if let Some((network, device)) = overlap(&config.subnet) {
        return Err(Error::Overlaps(
            config.subnet.to_string(),
            format!("{device} ({network})"),
        ));
    }
    let [one, other] = random_bytes();
    let mac: Mac = [OURS[0], OURS[1], OURS[2], OURS[3], one, other];
    let name = &config.name;
    route.ask(
        &format!("make the bridge {name}"),
        vec![netlink::new_bridge(name, mac, config.mtu)],
    )?;
    let link = existing(name, route)?;
    let addresses = config.addresses(GATEWAY).into_iter();
    let mut requests: Vec<_> = addresses
        .map(|(address, prefix)| netlink::new_address(link.index, address, prefix))
        .collect();
    requests.push(netlink::set_up(link.index));
    route.ask(&format!("give the bridge {name} its addresses"), requests)?;
    let_through(config)?;
    route.ask(
        &format!("mark the bridge {name}"),
        vec![netlink::set_alias(link.index, alias)],
    )
}

fn existing(name: &str, route: &mut Route) -> Result<Link, Error> {
    let gone = || {
        let error = std::io::ErrorKind::NotFound.into();
        Error::Netlink(format!("find {name}, made just now"), error)
    };
    route.link(name)?.ok_or_else(gone)
}

/// Lets this host be a router, for containers and for what is published of them.
fn let_through(config: &BridgeConfig) -> Result<(), Error> {
    let name = &config.name;
    // With rules that keep everybody but this host out of its loopback (`rules`).
    set(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    ensure("net/ipv4/ip_forward", "1")?;
    if config.subnet6_here().is_none() {
        return Ok(());
    }
    // A container is no router for this host (CVE-2020-13401).
    set(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding");
    if forwarding.is_ok_and(|text| text.trim() == "1") {
        return Ok(());
    }
    keep_own_router()?;
    set("net/ipv6/conf/all/forwarding", "1")
}

/// A host that forwards does not listen to routers, ip-sysctl "accept_ra", unless it is told so: else
/// one that has its own default route of version 6 from a router would lose it.
fn keep_own_router() -> Result<(), Error> {
    let places = Path::new("/proc/sys/net/ipv6/conf");
    let failed = |error| Error::Sysctl(places.to_path_buf(), "listed", error);
    for entry in std::fs::read_dir(places)
        .map_err(failed)?
        .filter_map(Result::ok)
    {
        let path = entry.path().join("accept_ra");
        let listens = std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == "1");
        let name = entry.file_name().to_string_lossy().into_owned();
        if listens && name != "all" && name != "default" {
            set(&format!("net/ipv6/conf/{name}/accept_ra"), "2")?;
        }
    }
    Ok(())
}

/// A network of this host that has addresses of `subnet`, and its interface.
fn overlap(subnet: &Ipv4Net) -> Option<(Ipv4Net, String)> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    routes.lines().skip(1).find_map(|line| {
        let (network, device) = parse_route(line)?;
        // The default route is for what nobody has.
        let both = network.contains(subnet) || subnet.contains(&network);
        (network.prefix_len() > 0 && both).then_some((network, device))
    })
}

/// A line of /proc/net/route: numbers are hexadecimal, in the order of the network's bytes.
fn parse_route(line: &str) -> Option<(Ipv4Net, String)> {
    let mut fields = line.split_ascii_whitespace();
    let device = fields.next()?;
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let destination = number(fields.next()?)?;
    let mask = number(fields.nth(5)?)?;
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    let network = Ipv4Net::new(Ipv4Addr::from_bits(destination), prefix).ok()?;
    Some((network, device.to_owned()))
}

/// Connects the namespace to the bridge, at the place `number`.
pub(super) fn connect(
    (config, bridge): (&BridgeConfig, &mut Bridge),
    number: u32,
    inside: &mut Inside,
) -> Result<Interface, Error> {
    let addresses = config.addresses(number);
    let gateways: Vec<IpAddr> = config.addresses(GATEWAY).iter().map(|one| one.0).collect();
    let [a, b, c, d] = number.to_be_bytes();
    // The same for the same address: who remembers it is right.
    let mac: Mac = [0x02, 0x75, a, b, c, d];
    let name = format!("veth{}", &random_suffix()[..8]);
    let namespace = inside.namespace.as_raw_fd();
    let cable = netlink::new_cable((&name, &bridge.link), (INSIDE, mac, namespace));
    let to = format!("connect the container to {}", config.name);
    bridge
        .route
        .ask(&to, vec![cable, netlink::send_back(&name)])?;
    let link = existing(INSIDE, &mut inside.route)?;
    let mut requests = vec![netlink::set_up(link.index)];
    let own = addresses.iter();
    requests
        .extend(own.map(|(address, prefix)| netlink::new_address(link.index, *address, *prefix)));
    let routes = gateways.iter();
    requests.extend(routes.map(|gateway| netlink::new_default_route(link.index, *gateway)));
    inside
        .route
        .ask("give the container its addresses", requests)?;
    Ok(Interface {
        network: "bridge".to_owned(),
        name: INSIDE.to_owned(),
        mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
        addresses,
        gateways,
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::Folder;
    use super::*;

    #[test]
    fn places_are_given_in_turn_and_end() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let looking = folder.lock().unwrap();
        let config = BridgeConfig {
            subnet: "10.0.0.0/29".parse().unwrap(),
            ..BridgeConfig::default()
        };
        let mut taken = vec![];
        let next = |taken: &[u32]| config.find_place(taken, &looking);
        // 0 is the network, 1 the bridge, 7 everybody.
        for number in 2..=6 {
            assert_eq!(next(&taken).unwrap(), number);
            taken.push(number);
        }
        assert!(matches!(next(&taken), Err(Error::NoAddress(_))));
        taken.retain(|number| *number != 3);
        assert_eq!(next(&taken).unwrap(), 3);
        taken.retain(|number| *number != 2);
        // Not 3, which was given last and is free again.
        assert_eq!(next(&taken[..3]).unwrap(), 2);
        assert_eq!(config.addresses(6)[0].0.to_string(), "10.0.0.6");
    }

    #[test]
    fn i48_the_name_of_a_bridge_is_a_word() {
        let named = |name: &str| BridgeConfig {
            name: name.to_owned(),
            ..BridgeConfig::default()
        };
        assert!(named("ucr0.1_x").checked().is_ok());
        for name in [
            "",
            "../x",
            "a b",
            "a;b",
            "a\"b",
            "0a",
            "a-b",
            "abcdefghijklmnop",
            "a\n",
        ] {
            assert!(named(name).checked().is_err(), "{name:?}");
        }
        let small = BridgeConfig {
            subnet: "10.0.0.0/31".parse().unwrap(),
            ..BridgeConfig::default()
        };
        assert!(small.checked().is_err());
    }

    #[test]
    fn a_route_is_read_as_the_kernel_writes_it() {
        let line = "eth0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let (network, device) = parse_route(line).unwrap();
        assert_eq!(
            (network.to_string().as_str(), device.as_str()),
            ("10.89.0.0/24", "eth0")
        );
        assert!(parse_route("nonsense").is_none());
    }
}
