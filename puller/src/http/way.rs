//! The way to a host, for whoever goes it without libcurl: a second look at a certificate.

use ucr_images::Secret;
use url::{Host, Url};

use super::proxy::{Proxies, ProxyKind, ShownProxy};

/// How a connection to a host comes about.
#[derive(Debug, Clone)]
pub enum Way {
    /// Straight.
    Direct,
    /// Through a tunnel that an HTTP proxy opens (RFC 9110, section 9.3.6).
    Tunnel {
        /// The proxy's name or address, IPv6 in brackets.
        host: String,
        /// Its port.
        port: u16,
        /// The value of `Proxy-Authorization`, where it wants one.
        authorization: Option<Secret>,
    },
    /// By a proxy that is spoken to in TLS or SOCKS.
    Other(ShownProxy),
}

impl Proxies {
    /// The way to `host`, a name or an address with IPv6 in brackets, and `port`.
    pub fn way_to(&self, host: &str, port: u16) -> Way {
        let url = Host::parse(host).map(|host| Url::parse(&format!("https://{host}:{port}/")));
        let proxy = match &url {
            Ok(Ok(url)) => self.to(url),
            // Nobody goes to what is no host.
            _ => None,
        };
        match proxy {
            None => Way::Direct,
            Some(proxy) if proxy.kind() == ProxyKind::Http => Way::Tunnel {
                host: proxy.host().to_owned(),
                port: proxy.port(),
                authorization: proxy.credential().map(|credential| credential.basic()),
            },
            Some(proxy) => Way::Other(proxy.shown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(proxy: &str) -> Way {
        let proxies = Proxies::parse("https_proxy", proxy, "near.example").unwrap();
        assert!(matches!(proxies.way_to("near.example", 443), Way::Direct));
        proxies.way_to("[::1]", 5000)
    }

    #[test]
    fn p27_a_second_look_goes_through_the_same_tunnel_with_the_same_proof() {
        let Way::Tunnel {
            host,
            port,
            authorization,
        } = way("http://u:p%40ss@Proxy:3128")
        else {
            panic!("no tunnel");
        };
        assert_eq!((host.as_str(), port), ("proxy", 3128));
        // u:p@ss
        assert_eq!(authorization.unwrap().expose(), "Basic dTpwQHNz");
        assert!(matches!(
            way("proxy"),
            Way::Tunnel {
                authorization: None,
                ..
            }
        ));
        for proxy in ["https://u:wonderland@p", "socks5://u:wonderland@p"] {
            let way = way(proxy);
            assert!(matches!(way, Way::Other(_)), "{way:?}");
            assert!(!format!("{way:?}").contains("wonderland"), "{way:?}");
        }
    }
}
