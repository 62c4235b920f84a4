//! `-p` and `-P`: ports of the host that lead into the container.

use std::net::IpAddr;

use ucr_runtime::network::{HostPort, PortRequest, Protocol};

/// First and last port of several.
type Range = (u16, u16);

/// What one `-p` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    address: Option<IpAddr>,
    /// None for any that is free.
    host: Option<Range>,
    container: Range,
    protocol: Protocol,
}

impl Publication {
    /// Reads `[[IP:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/tcp|udp]`; an address of version 6 stands
    /// in brackets.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not of the form [[IP:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/tcp|udp]"
            )
        };
        let (places, protocol) = protocol(text)?;
        let (address, ports) = match places.strip_prefix('[') {
            Some(rest) => {
                let (address, ports) = rest.split_once("]:").ok_or_else(wrong)?;
                (Some(address), ports)
            }
            None if places.matches(':').count() > 2 => {
                return Err(format!(
                    "{}: an address of version 6 stands in brackets",
                    wrong()
                ));
            }
            None => match places.split_once(':') {
                Some((address, ports)) if ports.contains(':') => (Some(address), ports),
                _ => (None, places),
            },
        };
        let address = address.filter(|address| !address.is_empty());
        let address = address.map(|text| {
            let parsed = text.parse::<IpAddr>();
            parsed.map_err(|_none| format!("\"{text}\" is no IP address"))
        });
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (host, container),
            None if address.is_some() => return Err(wrong()),
            None => ("", ports),
        };
        let host = match host {
            "" | "0" => None,
            host => Some(range(host)?),
        };
        let publication = Self {
            address: address.transpose()?,
            host,
            container: range(container)?,
            protocol,
        };
        publication.check().map(|()| publication)
    }

    /// The port of an image's `EXPOSE`, as `80` or `80-90/udp`.
    fn exposed(text: &str) -> Result<Self, String> {
        let (ports, protocol) = protocol(text)?;
        Ok(Self {
            address: None,
            host: None,
            container: range(ports)?,
            protocol,
        })
    }

    fn check(&self) -> Result<(), String> {
        match self.host {
            Some(host) if count(self.container) > 1 && count(host) != count(self.container) => {
                Err(format!(
                    "{} ports of the host do not fit {} of the container",
                    count(host),
                    count(self.container)
                ))
            }
            _ => Ok(()),
        }
    }

    /// One request for each port of the container.
    fn requests(&self) -> impl Iterator<Item = PortRequest> + use<> {
        let (first, last) = self.container;
        let Self {
            address,
            host,
            protocol,
            ..
        } = *self;
        (first..=last).map(move |container| PortRequest {
            address,
            host: match host {
                None => HostPort::Any,
                Some((host, end)) if first == last && host != end => HostPort::Within(host, end),
                Some((host, _)) => HostPort::One(host + (container - first)),
            },
            container,
            protocols: vec![protocol],
        })
    }

    fn has(&self, container: u16, protocol: Protocol) -> bool {
        (self.container.0..=self.container.1).contains(&container) && self.protocol == protocol
    }
}

/// What is asked for by `-p`, and of `exposed` by `-P` what is not among that.
///
/// # Errors
/// A port of the image's that is none.
pub(crate) fn requests<'e>(
    publications: &[Publication],
    exposed: impl Iterator<Item = &'e str>,
) -> Result<Vec<PortRequest>, String> {
    let mut requests: Vec<_> = publications
        .iter()
        .flat_map(Publication::requests)
        .collect();
    for text in exposed {
        let wrong = |why| format!("the image exposes \"{}\": {why}", text.escape_debug());
        let port = Publication::exposed(text).map_err(wrong)?;
        requests.extend(port.requests().filter(|request| {
            let is_there = |one: &Publication| one.has(request.container, port.protocol);
            !publications.iter().any(is_there)
        }));
    }
    Ok(requests)
}

fn protocol(text: &str) -> Result<(&str, Protocol), String> {
    match text.rsplit_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((ports, protocol)) => Ok((ports, protocol.to_ascii_lowercase().parse()?)),
    }
}

fn range(text: &str) -> Result<Range, String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u16>().ok()).flatten();
        number.filter(|number| *number > 0)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!(
            "\"{text}\" is no port, and no range of ports, from 1 to 65535"
        )),
    }
}

fn count((first, last): Range) -> u32 {
    u32::from(last - first) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Vec<PortRequest>) {
        let publication = Publication::parse(text).unwrap();
        let address = publication.address.map(|address| address.to_string());
        (
            address.unwrap_or_default(),
            publication.requests().collect(),
        )
    }

    #[test]
    fn ports_are_published_in_dockers_forms() {
        for (text, address, host, container, protocol) in [
            ("80", "", HostPort::Any, 80, Protocol::Tcp),
            ("80/udp", "", HostPort::Any, 80, Protocol::Udp),
            ("8080:80", "", HostPort::One(8080), 80, Protocol::Tcp),
            ("0:80", "", HostPort::Any, 80, Protocol::Tcp),
            (":80", "", HostPort::Any, 80, Protocol::Tcp),
            (
                "8000-8010:80/TCP",
                "",
                HostPort::Within(8000, 8010),
                80,
                Protocol::Tcp,
            ),
            (
                "127.0.0.1:8080:80",
                "127.0.0.1",
                HostPort::One(8080),
                80,
                Protocol::Tcp,
            ),
            (
                "127.0.0.1::80",
                "127.0.0.1",
                HostPort::Any,
                80,
                Protocol::Tcp,
            ),
            (
                "[::1]:8080:80",
                "::1",
                HostPort::One(8080),
                80,
                Protocol::Tcp,
            ),
            (
                "[fd00::1]::53/udp",
                "fd00::1",
                HostPort::Any,
                53,
                Protocol::Udp,
            ),
        ] {
            let (of, requests) = parsed(text);
            assert_eq!((of.as_str(), requests.len()), (address, 1), "{text}");
            let PortRequest {
                host: asked,
                container: inside,
                protocols,
                ..
            } = &requests[0];
            let asked = (*asked, *inside, &protocols[..]);
            assert_eq!(asked, (host, container, &[protocol][..]), "{text}");
        }
    }

    #[test]
    fn ranges_are_published_pairwise() {
        let (_, requests) = parsed("8000-8002:80-82/udp");
        let pairs: Vec<_> = requests
            .iter()
            .map(|one| (one.host, one.container))
            .collect();
        let one = HostPort::One;
        assert_eq!(pairs, [(one(8000), 80), (one(8001), 81), (one(8002), 82)]);
        let (_, requests) = parsed("80-82");
        assert!(requests.iter().all(|one| one.host == HostPort::Any) && requests.len() == 3);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            ":",
            "a",
            "0",
            "80:0",
            "65536",
            "80:65536",
            "+80",
            "-1",
            "80-79",
            "1-2:3-5",
            "80/sctp",
            "80/",
            "::1:80:80",
            "[::1]80",
            "[::1]:80",
            "[x]:80:80",
            "x:80:80",
            "1:2:3:4",
            "127.0.0.1:80",
            "80 ",
            "8 0",
        ] {
            assert!(Publication::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_an_image_exposes_is_published_once() {
        let given = [Publication::parse("8080:80").unwrap()];
        let all = requests(&given, ["80/tcp", "53/udp", "9000-9001"].into_iter()).unwrap();
        let ports: Vec<_> = all.iter().map(|one| (one.container, one.host)).collect();
        let any = HostPort::Any;
        let wanted = [
            (80, HostPort::One(8080)),
            (53, any),
            (9000, any),
            (9001, any),
        ];
        assert_eq!(ports, wanted);
        assert!(requests(&[], ["../80"].into_iter()).is_err());
    }
}
