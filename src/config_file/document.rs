//! The text of the configuration: its keys, and what they may say.
//!
//! Knows no files and no process, so that the fuzz targets can read it too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use ucr_images::registries::{Admission, Mirror, RegistrySettings, Transport};
use ucr_images::{Registries, RegistryHost};

use crate::gc_config::{GcConfig, age_of, size_of};
use crate::network_config::NetworkTable;

/// What the file may say; a key that is not here is an error, since a setting
/// that was mistyped and ignored is worse than none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigFile {
    /// The store.
    pub(crate) root: Option<PathBuf>,
    /// The state of running containers.
    pub(crate) state: Option<PathBuf>,
    /// The added certificates.
    pub(crate) certs_dir: Option<PathBuf>,
    /// The base CAfile.
    pub(crate) cafile: Option<PathBuf>,
    /// What any image may take.
    #[serde(default)]
    pub(crate) pull: PullTable,
    /// When pulls make room.
    #[serde(default)]
    pub(crate) gc: GcConfig,
    /// What containers are connected by.
    #[serde(default)]
    pub(crate) network: NetworkTable,
    /// How long a registry's word that somebody may have an image counts, as `10m`.
    #[serde(default, deserialize_with = "age_of")]
    pub(crate) auth_cache_ttl: Option<Duration>,
    /// What holds for single registries, by their names as they are written.
    #[serde(default)]
    registry: BTreeMap<Spanned<String>, RegistryTable>,
}

/// `[pull]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PullTable {
    /// The most bytes to fetch.
    #[serde(default, deserialize_with = "size_of")]
    pub max_bytes: Option<u64>,
    /// The most bytes in the layers.
    #[serde(default, deserialize_with = "size_of")]
    pub max_unpacked: Option<u64>,
    /// The most files and directories.
    pub max_files: Option<u64>,
    /// The most layers.
    pub max_layers: Option<usize>,
    /// How many times as large as they came layers may be.
    pub max_ratio: Option<u64>,
    /// Whether foreign layers are fetched.
    pub allow_foreign_layers: Option<bool>,
}

/// `[registry."HOST"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    mirrors: Vec<Mirror>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    plain_http: bool,
    #[serde(default)]
    token_realms: Vec<RegistryHost>,
}

/// What is wrong with a configuration, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The line, counted from 1, where it is known.
    pub(crate) line: Option<usize>,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl ConfigFile {
    /// Reads the text of a configuration.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let parsed: Self = toml::from_str(text).map_err(|error| Wrong {
            line: error.span().and_then(|span| line_of(text, span.start)),
            why: error.message().replace('\n', " "),
        })?;
        parsed.read_registries(text)?;
        Ok(parsed)
    }

    /// What it says of single registries.
    pub(crate) fn registries(&self) -> Registries {
        // Names and doubles were looked at when it was read.
        self.read_registries("").unwrap_or_default()
    }

    fn read_registries(&self, text: &str) -> Result<Registries, Wrong> {
        let mut registries = Registries::default();
        for (name, table) in &self.registry {
            let wrong = |why| Wrong {
                line: line_of(text, name.span().start),
                why,
            };
            let host: RegistryHost = name
                .get_ref()
                .parse()
                .map_err(|error| wrong(format!("{error}")))?;
            let shown = host.to_string();
            if registries.insert(host, table.settings()).is_some() {
                return Err(wrong(format!("a second table for the registry {shown}")));
            }
        }
        Ok(registries)
    }
}

impl RegistryTable {
    fn settings(&self) -> RegistrySettings {
        RegistrySettings {
            admission: if self.blocked {
                Admission::Blocked
            } else {
                Admission::Allowed
            },
            transport: if self.plain_http {
                Transport::PlainHttp
            } else {
                Transport::Https
            },
            mirrors: self.mirrors.clone(),
            token_realms: self.token_realms.clone(),
        }
    }
}

fn line_of(text: &str, at: usize) -> Option<usize> {
    let before = text.get(..at)?;
    Some(before.matches('\n').count() + 1)
}
