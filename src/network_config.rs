//! The table `[network]` of the configuration: the bridge, the ports that are offered, and where
//! networks of plugins are.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use ucr_runtime::network::{BridgeConfig, CniPlaces, OFFERED};

/// What it says; everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkTable {
    /// The name of the bridge.
    #[serde(default, deserialize_with = "bridge_of")]
    bridge: Option<String>,
    /// Its network of version 4.
    #[serde(default, deserialize_with = "subnet_of")]
    subnet: Option<String>,
    /// Its network of version 6, or none.
    #[serde(default, deserialize_with = "subnet6_of")]
    subnet6: Option<String>,
    /// Its largest packet.
    mtu: Option<u32>,
    /// Ports of the host for those who want any.
    #[serde(default, deserialize_with = "ports_of")]
    ports: Option<Vec<(u16, u16)>>,
    /// Directories of configurations of networks.
    cni_config: Option<Vec<PathBuf>>,
    /// Directories of their plugins.
    cni_plugins: Option<Vec<PathBuf>>,
}

impl NetworkTable {
    /// The bridge.
    pub(crate) fn bridge(&self) -> BridgeConfig {
        // Looked at when it was read.
        self.changed(BridgeConfig::default()).unwrap_or_default()
    }

    fn changed(&self, usual: BridgeConfig) -> Result<BridgeConfig, String> {
        let mut config = BridgeConfig {
            mtu: self.mtu,
            ..usual
        };
        if let Some(name) = &self.bridge {
            config.name.clone_from(name);
        }
        let no_network = |text: &String| format!("\"{text}\" is no network as 10.91.0.0/16");
        if let Some(text) = &self.subnet {
            config.subnet = text.parse().map_err(|_none| no_network(text))?;
        }
        if let Some(text) = &self.subnet6 {
            config.subnet6 = match text.as_str() {
                "none" => None,
                text => Some(text.parse().map_err(|_none| {
                    format!("\"{text}\" is neither none nor a network as fd00:1::/64")
                })?),
            };
        }
        config.checked()
    }

    /// Ports for those who want any, first and last of each range.
    pub(crate) fn offered(&self) -> Vec<(u16, u16)> {
        self.ports.clone().unwrap_or_else(|| OFFERED.to_vec())
    }

    /// Where networks of plugins are.
    pub(crate) fn cni(&self) -> CniPlaces {
        let usual = CniPlaces::default();
        CniPlaces {
            configurations: self.cni_config.clone().unwrap_or(usual.configurations),
            plugins: self.cni_plugins.clone().unwrap_or(usual.plugins),
        }
    }

    /// The same, with other places of plugins where `variable` names them, between colons.
    #[must_use]
    pub(crate) fn with_plugins(self, variable: Option<std::ffi::OsString>) -> Self {
        let named = variable.map(|paths| std::env::split_paths(&paths).collect());
        Self {
            cni_plugins: named.or(self.cni_plugins),
            ..self
        }
    }

    /// The paths in it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let both = [&self.cni_config, &self.cni_plugins];
        both.into_iter().flatten().flatten()
    }
}

/// Reads a text that a table with nothing else would be right with.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    table: fn(String) -> NetworkTable,
    text: fn(NetworkTable) -> Option<String>,
) -> Result<Option<String>, D::Error> {
    let table = table(String::deserialize(deserializer)?);
    match table.changed(BridgeConfig::default()) {
        Ok(_) => Ok(text(table)),
        Err(why) => Err(de::Error::custom(why)),
    }
}

fn bridge_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let table = |bridge| NetworkTable {
        bridge: Some(bridge),
        ..NetworkTable::default()
    };
    checked(deserializer, table, |table| table.bridge)
}

fn subnet_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let table = |subnet| NetworkTable {
        subnet: Some(subnet),
        ..NetworkTable::default()
    };
    checked(deserializer, table, |table| table.subnet)
}

fn subnet6_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let table = |subnet6| NetworkTable {
        subnet6: Some(subnet6),
        ..NetworkTable::default()
    };
    checked(deserializer, table, |table| table.subnet6)
}

fn ports_of<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<(u16, u16)>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let ranges = texts.iter().map(|text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = first.parse().ok().zip(last.parse().ok());
        let range = range.filter(|(first, last)| 0 < *first && first <= last);
        range.ok_or_else(|| {
            de::Error::custom(format!("\"{text}\" is no range of ports as 31000-32000"))
        })
    });
    ranges.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_and_the_ports_are_read() {
        let text = "bridge = \"br.1\"\nsubnet = \"10.7.1.1/24\"\nsubnet6 = \"none\"\nmtu = 1400\n\
            ports = [\"8000-9000\", \"31000\"]\ncni-config = [\"/a\"]\n";
        let table: NetworkTable = toml::from_str(text).unwrap();
        let bridge = table.bridge();
        assert_eq!((bridge.name.as_str(), bridge.mtu), ("br.1", Some(1400)));
        assert_eq!(
            (bridge.subnet.to_string().as_str(), bridge.subnet6),
            ("10.7.1.0/24", None)
        );
        assert_eq!(table.offered(), [(8000, 9000), (31_000, 31_000)]);
        assert_eq!(table.cni().configurations, [PathBuf::from("/a")]);
        assert_eq!(table.cni().plugins, CniPlaces::default().plugins);
        let named = table.with_plugins(Some("/x:/y".into()));
        assert_eq!(named.cni().plugins, ["/x", "/y"].map(PathBuf::from));
        let usual = NetworkTable::default();
        assert_eq!(
            (usual.bridge(), usual.offered()),
            (BridgeConfig::default(), OFFERED.to_vec())
        );
    }

    #[test]
    fn i48_what_is_no_bridge_is_refused() {
        for text in [
            "bridge = \"../x\"",
            "bridge = \"a;b\"",
            "subnet = \"10.0.0.0\"",
            "subnet = \"10.0.0.0/31\"",
            "subnet = \"fd00::/64\"",
            "subnet6 = \"fd00::/120\"",
            "ports = [\"0-1\"]",
            "ports = [\"2-1\"]",
            "ports = \"1-2\"",
            "name = \"x\"",
        ] {
            assert!(toml::from_str::<NetworkTable>(text).is_err(), "{text}");
        }
    }
}
