//! Networks that plugins make, by the Container Network Interface.
//!
//! <https://github.com/containernetworking/cni/blob/main/SPEC.md>, versions 0.3 to 1.1: a network is a
//! list of plugins, programs that are run one after the other with their configuration and what came
//! of those before. What was added is taken away by the same plugins the other way round, for which
//! everything that it takes is in an [`Attachment`].

#[cfg(feature = "launch")]
mod file;
mod plugin;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[cfg(feature = "launch")]
pub(super) use file::{List, find};
pub(super) use plugin::Command;

/// Versions of the specification that are spoken.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Where networks and their plugins are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Directories of configurations; the first that has a network counts.
    pub configurations: Vec<PathBuf>,
    /// Directories of plugins.
    pub plugins: Vec<PathBuf>,
}

impl Default for Places {
    /// Those of the specification's own library, and of Debian's plugins.
    fn default() -> Self {
        Self {
            configurations: vec!["/etc/cni/net.d".into()],
            plugins: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
        }
    }
}

/// The name of a network: it begins with a letter or digit, and is no path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        if is_word(&text) {
            Ok(Self(text))
        } else {
            Err(Error::Name(text))
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether the specification takes it for a name, and a file name is no way out of its directory.
fn is_word(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// What goes wrong with a network of plugins.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is none.
    #[error(
        "{0:?} is not the name of a network: 1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit"
    )]
    Name(String),
    /// No configuration of that name.
    #[error("there is none of that name in {places}{others}")]
    Missing {
        /// Where there is none.
        places: String,
        /// Which there are.
        others: String,
    },
    /// A configuration that cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// A configuration that is no JSON.
    #[error("{0} is no configuration of a network")]
    Json(PathBuf, #[source] serde_json::Error),
    /// A configuration that breaks the specification.
    #[error("{0}: {1}")]
    Configuration(PathBuf, String),
    /// A plugin that is nowhere.
    #[error("there is no plugin {0} in {1}")]
    NoPlugin(String, String),
    /// A plugin that cannot be run.
    #[error("cannot run the plugin {0}")]
    Run(PathBuf, #[source] std::io::Error),
    /// A plugin that refused, in its own words.
    #[error("{command} of the plugin {plugin}: {words}")]
    Refused {
        /// Its name.
        plugin: String,
        /// What it was to do.
        command: &'static str,
        /// What it said.
        words: String,
    },
    /// What a plugin answered is no result.
    #[error("the plugin {0} answered what is no result: {1}")]
    Answer(String, String),
}

impl Error {
    /// Whether the request or the configuration is wrong, rather than what happened.
    pub(super) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Run(..) | Self::Refused { .. } | Self::Read(..))
    }
}

/// A network that was added to a container, and all that it takes to remove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    pub network: Name,
    /// The version of the specification that its configuration is in.
    pub version: String,
    /// The configuration of each plugin, as it gets it but for what came before.
    pub plugins: Vec<Value>,
    /// Where plugins are.
    pub places: Vec<PathBuf>,
    /// The container.
    pub container: String,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// The interface inside.
    pub interface: String,
    /// What came of it, once all is added.
    pub result: Option<Value>,
}

impl Attachment {
    /// Whether all its plugins are there: one that is not could not take anything away either.
    #[cfg(feature = "launch")]
    pub(super) fn check(&self) -> Result<(), Error> {
        let kinds = self.plugins.iter().map(plugin::kind);
        kinds
            .map(|kind| plugin::find(self, kind))
            .try_for_each(|found| found.map(drop))
    }

    /// Adds it, plugin by plugin; after a failure it is to be removed.
    #[cfg(feature = "launch")]
    pub(super) fn add(&mut self) -> Result<(), Error> {
        for number in 0..self.plugins.len() {
            let before = self.result.take();
            self.result = Some(self.run(Command::Add, number, before.as_ref())?);
        }
        Ok(())
    }

    /// Takes it away, the last plugin first; each has its turn, and the first failure is told.
    pub(super) fn remove(&self) -> Result<(), Error> {
        // Earlier versions do not have it here, and refuse it.
        let has_result = !self.version.starts_with("0.3.");
        let result = self.result.as_ref().filter(|_| has_result);
        let removed = (0..self.plugins.len())
            .rev()
            .map(|number| self.run(Command::Del, number, result).map(drop));
        let failed: Vec<Error> = removed.filter_map(Result::err).collect();
        failed.into_iter().next().map_or(Ok(()), Err)
    }

    fn run(&self, command: Command, number: usize, before: Option<&Value>) -> Result<Value, Error> {
        let mut configuration = self.plugins[number].clone();
        if let Value::Object(keys) = &mut configuration {
            keys.insert("name".to_owned(), json!(self.network));
            keys.insert("cniVersion".to_owned(), json!(self.version));
            if let Some(before) = before {
                keys.insert("prevResult".to_owned(), before.clone());
            }
        }
        plugin::run(self, command, &configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i48_the_name_of_a_network_is_no_path() {
        for text in ["a", "my-net_1.x", "0"] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
        for text in [
            "", ".", "..", "../x", "a/b", "/etc", "-a", "a b", "a\n", "a\0",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        let quoted = serde_json::from_str::<Name>("\"../x\"");
        assert!(quoted.is_err());
    }
}
