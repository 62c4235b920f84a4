//! One place where a repository may be had.

use std::fmt;

use ucr_images::RegistryHost;
use ucr_images::registries::Transport;
use url::Url;

use super::error::Error;

/// Why a place is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It keeps copies.
    Mirror,
    /// The image is named after it.
    Registry,
}

/// A repository at one host, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: RegistryHost,
    transport: Transport,
    repository: String,
    role: Role,
    base: Url,
}

impl Endpoint {
    pub(super) fn new(
        host: RegistryHost,
        transport: Transport,
        repository: String,
        role: Role,
    ) -> Result<Self, Error> {
        let scheme = match transport {
            Transport::Https => "https",
            Transport::PlainHttp => "http",
        };
        let path = match repository.as_str() {
            "" => String::new(),
            repository => format!("{repository}/"),
        };
        let base = format!("{scheme}://{}/v2/{path}", host.api());
        let base = Url::parse(&base).map_err(|source| Error::Url {
            host: host.to_string(),
            source,
        })?;
        Ok(Self {
            host,
            transport,
            repository,
            role,
            base,
        })
    }

    /// Whose name and credentials count.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// How it is spoken to.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The path of the repository there.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Why it is asked.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The URL below which everything of the repository is, `/v2/` for no repository.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a manifest or a blob.
    pub(super) fn url(&self, kind: &str, key: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{kind}/{key}", self.base.path()));
        url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Mirror => write!(f, "the mirror {}/{}", self.host, self.repository),
            Role::Registry => self.host.fmt(f),
        }
    }
}
