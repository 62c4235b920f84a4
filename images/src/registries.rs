//! What is configured for registries: mirrors, who is blocked, who is spoken to in clear.
//!
//! Pure data; nothing in here is asked over the network.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::{AuthScope, Reference, RegistryHost, RegistryHostError};

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

/// A repository of one host: where an image may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who has it.
    pub host: RegistryHost,
    /// The path of the repository there.
    pub repository: String,
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

    /// Where copies of a registry's repositories are, in the order in which they are asked.
    pub fn mirrors(&self, host: &RegistryHost) -> &[Mirror] {
        self.0.get(host).map_or(&[], |one| &one.mirrors)
    }

    /// Where an image may be, in the order in which it is asked for: the mirrors of its registry,
    /// then that itself, as the last one.
    ///
    /// # Errors
    /// When the reference's registry is no host.
    pub fn places(&self, reference: &Reference) -> Result<Vec<Place>, RegistryHostError> {
        let origin: RegistryHost = reference.registry().parse()?;
        let repository = reference.repository();
        let mirrors = self.mirrors(&origin).iter().map(|mirror| Place {
            host: mirror.host().clone(),
            repository: match mirror.prefix() {
                "" => repository.to_owned(),
                prefix => format!("{prefix}/{repository}"),
            },
        });
        let mut places: Vec<_> = mirrors.collect();
        places.push(Place {
            host: origin,
            repository: repository.to_owned(),
        });
        Ok(places)
    }

    /// Servers with another name that may be sent a registry's credentials for a token.
    pub fn token_realms(&self, host: &RegistryHost) -> &[RegistryHost] {
        self.0.get(host).map_or(&[], |one| &one.token_realms)
    }
}

impl Mirror {
    /// Who has the copies.
    pub fn host(&self) -> &RegistryHost {
        &self.0.host
    }

    /// What stands before the path of a repository, empty where nothing does.
    pub fn prefix(&self) -> &str {
        self.0.path()
    }
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
