//! What is configured for registries: mirrors, who is blocked, who is spoken to in clear.
//!
//! Pure data; nothing in here is asked over the network.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use ucr_images::{Reference, RegistryHost, RegistryHostError};
use url::Url;

use super::endpoint::{Endpoint, Role};
use super::error::Error;
use crate::credentials::AuthScope;

/// Whether a registry may be talked to at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// It may.
    #[default]
    Allowed,
    /// Nothing is ever sent to it.
    Blocked,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// HTTPS, as every registry that nobody named.
    #[default]
    Https,
    /// HTTP in clear, and never with a credential.
    PlainHttp,
}

/// Where copies of a registry's repositories are: a host, and a path that stands before theirs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mirror(AuthScope);

/// The text is no mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not a mirror's HOST[:PORT][/PREFIX]", .text.escape_debug())]
pub struct MirrorError {
    text: String,
}

/// What is configured for one registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrySettings {
    /// Whether it may be talked to.
    pub admission: Admission,
    /// How it is spoken to.
    pub transport: Transport,
    /// Who is asked before it, in this order.
    pub mirrors: Vec<Mirror>,
    /// Servers with another name that may be sent its credentials for a token.
    pub token_realms: Vec<RegistryHost>,
}

/// What is configured, registry by registry; nothing in particular for one that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registries(BTreeMap<RegistryHost, RegistrySettings>);

impl Registries {
    /// Sets what is configured for one registry; gives back what was there before.
    pub fn insert(
        &mut self,
        host: RegistryHost,
        settings: RegistrySettings,
    ) -> Option<RegistrySettings> {
        self.0.insert(host, settings)
    }

    /// Lets one registry be spoken to in clear.
    pub fn speak_plainly_to(&mut self, host: &RegistryHost) {
        self.0.entry(host.clone()).or_default().transport = Transport::PlainHttp;
    }

    /// How a registry is spoken to.
    pub fn transport(&self, host: &RegistryHost) -> Transport {
        self.0
            .get(host)
            .map_or(Transport::Https, |one| one.transport)
    }

    /// Whether a registry may be talked to.
    pub fn admission(&self, host: &RegistryHost) -> Admission {
        self.0
            .get(host)
            .map_or(Admission::Allowed, |one| one.admission)
    }

    /// Servers with another name that may be sent a registry's credentials for a token.
    pub fn token_realms(&self, host: &RegistryHost) -> &[RegistryHost] {
        self.0.get(host).map_or(&[], |one| &one.token_realms)
    }

    /// Who is asked for an image, in this order: the mirrors of its registry, then itself.
    ///
    /// # Errors
    /// When one of them is blocked, or the reference's registry is no host.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, Error> {
        let origin = host_of(reference.registry())?;
        let settings = self.0.get(&origin);
        let repository = reference.repository();
        let mirrors = settings.into_iter().flat_map(|one| &one.mirrors);
        let mirrors = mirrors.map(|Mirror(place)| {
            let repository = match place.path() {
                "" => repository.to_owned(),
                prefix => format!("{prefix}/{repository}"),
            };
            self.endpoint(place.host.clone(), repository, Role::Mirror)
        });
        let origin = self.endpoint(origin.clone(), repository.to_owned(), Role::Registry);
        mirrors.chain([origin]).collect()
    }

    /// The place of a repository at one host.
    ///
    /// # Errors
    /// When it is blocked, or its name cannot stand in a URL.
    pub(super) fn endpoint(
        &self,
        host: RegistryHost,
        repository: String,
        role: Role,
    ) -> Result<Endpoint, Error> {
        self.check_allowed(&host)?;
        Endpoint::new(host.clone(), self.transport(&host), repository, role)
    }

    /// Refuses a place that nobody may be sent to: a blocked one, or one in clear that is not
    /// named as such.
    ///
    /// # Errors
    /// When it is such a place.
    pub(crate) fn check_target(&self, target: &Url) -> Result<(), Error> {
        let host = RegistryHost::of(target);
        if let Some(host) = &host {
            self.check_allowed(host)?;
        }
        let is_plain = host.is_some_and(|host| self.transport(&host) == Transport::PlainHttp);
        if target.scheme() != "https" && !is_plain {
            let url = target.into();
            return Err(Error::NotPlain { url });
        }
        Ok(())
    }

    fn check_allowed(&self, host: &RegistryHost) -> Result<(), Error> {
        match self.admission(host) {
            Admission::Allowed => Ok(()),
            Admission::Blocked => Err(Error::Blocked {
                host: host.to_string(),
            }),
        }
    }
}

/// The host of a reference's registry.
fn host_of(registry: &str) -> Result<RegistryHost, Error> {
    registry
        .parse()
        .map_err(|source: RegistryHostError| Error::Host { source })
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let wrong = || MirrorError {
            text: text.to_owned(),
        };
        if text.contains("://") || text.ends_with('/') {
            return Err(wrong());
        }
        text.parse().map(Self).map_err(|_wrong| wrong())
    }
}

impl TryFrom<String> for Mirror {
    type Error = MirrorError;

    fn try_from(text: String) -> Result<Self, MirrorError> {
        text.parse()
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> RegistryHost {
        text.parse().unwrap()
    }

    fn blocked() -> RegistrySettings {
        RegistrySettings {
            admission: Admission::Blocked,
            ..RegistrySettings::default()
        }
    }

    fn mirrored(mirrors: &[&str]) -> RegistrySettings {
        RegistrySettings {
            mirrors: mirrors.iter().map(|text| text.parse().unwrap()).collect(),
            ..RegistrySettings::default()
        }
    }

    fn endpoints(registries: &Registries, image: &str) -> Result<Vec<String>, Error> {
        let endpoints = registries.endpoints(&image.parse().unwrap())?;
        let shown = endpoints.iter().map(|one| format!("{}", one.base()));
        Ok(shown.collect())
    }

    #[test]
    fn s75_a_host_of_no_spelling_of_ours_is_not_spoken_to_in_clear() {
        let registries = Registries::default();
        for (target, allowed) in [
            ("http://-x.example/", false),
            ("http://a..example/", false),
            ("http://r.example/", false),
            ("https://-x.example/", true),
        ] {
            let checked = registries.check_target(&Url::parse(target).unwrap());
            assert_eq!(checked.is_ok(), allowed, "{target}");
        }
    }

    #[test]
    fn mirrors_come_first_with_their_prefix_and_in_their_order() {
        let mut registries = Registries::default();
        let mirrors = mirrored(&["m.example:5000/hub", "n.example"]);
        registries.insert(host("index.docker.io"), mirrors);
        registries.speak_plainly_to(&host("n.example"));
        let expected = [
            "https://m.example:5000/v2/hub/library/busybox/",
            "http://n.example/v2/library/busybox/",
            "https://registry-1.docker.io/v2/library/busybox/",
        ];
        assert_eq!(endpoints(&registries, "busybox").unwrap(), expected);
        let other = endpoints(&registries, "docker.io.evil.example/x").unwrap();
        assert_eq!(other, ["https://docker.io.evil.example/v2/x/"]);
    }

    #[test]
    fn who_is_blocked_is_no_endpoint_by_whatever_name() {
        let mut registries = Registries::default();
        registries.insert(host("docker.io"), blocked());
        registries.insert(host("127.0.0.1"), blocked());
        registries.insert(host("r.example"), mirrored(&["0x7f000001/x"]));
        for image in [
            "busybox",
            "index.docker.io/x",
            "r.example/x",
            "127.0.0.1:443/x",
        ] {
            let refused = endpoints(&registries, image);
            assert!(matches!(refused, Err(Error::Blocked { .. })), "{image}");
        }
        assert!(endpoints(&registries, "127.0.0.1:5000/x").is_ok());
    }

    #[test]
    fn a_place_in_clear_must_be_named() {
        let mut registries = Registries::default();
        registries.speak_plainly_to(&host("plain.example:5000"));
        registries.insert(host("blocked.example"), blocked());
        let check = |url: &str| registries.check_target(&Url::parse(url).unwrap());
        assert!(check("https://any.example/x").is_ok());
        assert!(check("http://plain.example:5000/x").is_ok());
        for url in [
            "http://plain.example/x",
            "http://any.example:5000/x",
            "https://blocked.example/x",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_mirror_is_a_host_and_a_path() {
        for text in [
            "",
            "https://m.example",
            "m.example/",
            "m.example/A",
            "m/../x",
            "m.example:x",
        ] {
            assert!(text.parse::<Mirror>().is_err(), "{text}");
        }
        assert_eq!(
            "M.example:443/a/b".parse::<Mirror>().unwrap().to_string(),
            "m.example/a/b"
        );
    }
}
