//! How a container is connected, as `ucr ps` and `ucr inspect` show it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use ucr_runtime::network::{About, Interface, Published};

/// The addresses of the host that lead to a port: all of those versions that the container has.
fn places(about: &About, port: &Published) -> Vec<String> {
    match port.address {
        Some(address) => vec![address.to_string()],
        None => {
            let has_v6 = about.addresses().any(|address| address.is_ipv6());
            let all = ["0.0.0.0", "::"].into_iter().take(1 + usize::from(has_v6));
            all.map(str::to_owned).collect()
        }
    }
}

/// Its ports in one line, as Docker has them.
pub(super) fn ports(about: &About) -> String {
    let mut shown = Vec::new();
    for port in &about.ports {
        let inside = format!("{}/{}", port.container, port.protocol);
        let Some(host) = port.host else {
            shown.push(inside);
            continue;
        };
        shown.extend(places(about, port).into_iter().map(|place| {
            let place = match place.contains(':') {
                true => format!("[{place}]"),
                false => place,
            };
            format!("{place}:{host}->{inside}")
        }));
    }
    shown.join(", ")
}

/// With the keys of `docker container inspect`.
pub(super) fn settings(about: &About) -> Value {
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &about.ports {
        let inside = format!("{}/{}", port.container, port.protocol);
        let bindings = ports.entry(inside).or_default();
        if let Some(host) = port.host {
            let places = places(about, port).into_iter();
            bindings
                .extend(places.map(|place| json!({"HostIp": place, "HostPort": host.to_string()})));
        }
    }
    let ports = ports.into_iter().map(|(inside, bindings)| {
        // Of one that the host does not lead to, Docker says nothing.
        let bindings = (!bindings.is_empty()).then_some(bindings);
        (inside, json!(bindings))
    });
    let mut settings = about.interfaces.first().map(endpoint).unwrap_or_default();
    let networks = about.interfaces.iter();
    let networks = networks.map(|one| (one.network.clone(), Value::Object(endpoint(one))));
    settings.insert("Ports".to_owned(), ports.collect());
    settings.insert("Networks".to_owned(), networks.collect());
    Value::Object(settings)
}

fn endpoint(interface: &Interface) -> Map<String, Value> {
    let first = |is_one: fn(&IpAddr) -> bool| {
        let mut addresses = interface.addresses.iter();
        let found = addresses.find(|(address, _)| is_one(address));
        let gateway = interface.gateways.iter().find(|gateway| is_one(gateway));
        (
            found.map_or_else(String::new, |(address, _)| address.to_string()),
            found.map_or(0, |(_, prefix)| *prefix),
            gateway.map_or_else(String::new, ToString::to_string),
        )
    };
    let (v4, prefix4, gateway4) = first(IpAddr::is_ipv4);
    let (v6, prefix6, gateway6) = first(IpAddr::is_ipv6);
    let keys = [
        ("IPAddress", json!(v4)),
        ("IPPrefixLen", json!(prefix4)),
        ("Gateway", json!(gateway4)),
        ("GlobalIPv6Address", json!(v6)),
        ("GlobalIPv6PrefixLen", json!(prefix6)),
        ("IPv6Gateway", json!(gateway6)),
        ("MacAddress", json!(interface.mac)),
    ];
    keys.map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use ucr_runtime::network::Protocol;

    use super::*;

    fn about() -> About {
        let port = |address: &str, host, container| Published {
            address: address.parse().ok(),
            host,
            container,
            protocol: Protocol::Tcp,
            request: 0,
        };
        About {
            interfaces: vec![Interface {
                network: "bridge".to_owned(),
                name: "eth0".to_owned(),
                mac: "02:75:00:00:00:02".to_owned(),
                addresses: vec![
                    ("10.91.0.2".parse().unwrap(), 16),
                    ("fd00::2".parse().unwrap(), 64),
                ],
                gateways: vec!["10.91.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            }],
            ports: vec![
                port("", Some(8080), 80),
                port("127.0.0.1", Some(81), 81),
                port("", None, 82),
            ],
        }
    }

    #[test]
    fn ports_are_shown_as_docker_does() {
        assert_eq!(
            ports(&about()),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:81->81/tcp, 82/tcp"
        );
        assert_eq!(ports(&About::default()), "");
    }

    #[test]
    fn settings_have_dockers_keys() {
        let shown = settings(&about());
        assert_eq!(shown["IPAddress"], "10.91.0.2");
        assert_eq!(shown["GlobalIPv6PrefixLen"], 64);
        assert_eq!(shown["Networks"]["bridge"]["Gateway"], "10.91.0.1");
        let wanted = json!([{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]);
        assert_eq!(shown["Ports"]["80/tcp"], wanted);
        assert_eq!(shown["Ports"]["82/tcp"], Value::Null);
        let none = settings(&About::default());
        assert_eq!(none, json!({"Ports": {}, "Networks": {}}));
    }
}
