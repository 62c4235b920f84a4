//! Settings as they are found, with where.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::AgentError;
use super::quantity;

/// Where a setting is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A flag of ours.
    Flag(String),
    /// A file that holds it alone.
    File(PathBuf),
    /// A line of a file.
    Line {
        /// The file.
        path: PathBuf,
        /// The variable.
        variable: String,
    },
    /// The environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line { path, variable } => write!(f, "{variable} in {}", path.display()),
            Self::Variable(variable) => write!(f, "{variable} in the environment"),
        }
    }
}

/// A value, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// What is set.
    pub value: T,
    /// Where it is from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// What holds where nothing is said.
    pub(super) fn usual(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }
}

/// A setting, as it was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The flag of the agent, or that of Marathon after `marathon.`.
    name: String,
    value: String,
    origin: Origin,
}

impl fmt::Debug for Given {
    /// Without its value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.name, self.origin)
    }
}

impl Given {
    /// A flag of ours that takes the place of the agent's.
    pub fn flag(name: &str, value: &str) -> Self {
        Self {
            name: name.replace('-', "_"),
            value: value.to_owned(),
            origin: Origin::Flag(name.to_owned()),
        }
    }

    /// A variable of the environment, if it is a flag of Mesos' or Marathon's.
    pub fn variable(name: &str, value: &str) -> Option<Self> {
        Some(Self {
            name: flag_of(name)?,
            value: value.to_owned(),
            origin: Origin::Variable(name.to_owned()),
        })
    }

    /// A file that is named after a flag and holds its value, as in `/etc/mesos-slave`.
    ///
    /// One whose name begins with `?` is a flag without a value; `?no-` sets it to false.
    ///
    /// # Errors
    /// When it is no text.
    pub fn file_of_flag(path: &Path, bytes: &[u8]) -> Result<Self, AgentError> {
        let value = text(path, bytes)?.trim().to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, value) = match name.strip_prefix('?') {
            None => (name.as_ref(), value),
            Some(flag) => match flag.strip_prefix("no-") {
                Some(flag) => (flag, "false".to_owned()),
                None => (flag, "true".to_owned()),
            },
        };
        Ok(Self {
            name: name.to_owned(),
            value,
            origin: Origin::File(path.to_owned()),
        })
    }

    /// The lines of a file that are read into variables, as those of DC/OS
    /// (`EnvironmentFile` in systemd.exec(5)).
    ///
    /// # Errors
    /// When it is no text.
    pub fn lines(path: &Path, bytes: &[u8]) -> Result<Vec<Self>, AgentError> {
        let text = text(path, bytes)?.replace("\\\n", "");
        let line = |line: &str| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (variable, value) = line
                .split_once('=')
                .filter(|_| !line.starts_with(['#', ';']))?;
            Some(Self {
                name: flag_of(variable.trim())?,
                value: unquoted(value.trim()),
                origin: Origin::Line {
                    path: path.to_owned(),
                    variable: variable.trim().to_owned(),
                },
            })
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// The same with what is in the file that it names.
    ///
    /// # Errors
    /// When that is no text.
    pub fn with_file(self, bytes: &[u8]) -> Result<Self, AgentError> {
        let path = self.file().unwrap_or_else(|| Path::new("")).to_owned();
        Ok(Self {
            value: text(&path, bytes)?.trim().to_owned(),
            origin: Origin::File(path),
            ..self
        })
    }

    /// The file that holds the value, where it is said to be in one: by `file://`, or by its path
    /// alone of flags whose value cannot be one.
    pub fn file(&self) -> Option<&Path> {
        let path = self.value.strip_prefix("file://");
        let known = ["docker_config", "resources"].contains(&self.name.as_str());
        let path = path.or_else(|| Some(self.value.as_str()).filter(|_| known))?;
        path.starts_with('/').then(|| Path::new(path))
    }

    /// The flag.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn wrong(&self, wanted: &'static str) -> AgentError {
        AgentError::Value {
            name: self.name.clone(),
            origin: self.origin.clone(),
            value: self.value.clone(),
            wanted,
        }
    }

    pub(super) fn filled(&self) -> Result<String, AgentError> {
        let is_filled = !self.value.is_empty() && !self.value.contains('\0');
        is_filled
            .then(|| self.value.clone())
            .ok_or_else(|| self.wrong("a text"))
    }

    pub(super) fn path(&self) -> Result<PathBuf, AgentError> {
        let path = PathBuf::from(&self.value);
        let is_path = path.is_absolute() && !self.value.contains('\0');
        is_path
            .then_some(path)
            .ok_or_else(|| self.wrong("an absolute path"))
    }

    /// Paths with colons between them.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, AgentError> {
        let all: Vec<PathBuf> = self.value.split(':').map(PathBuf::from).collect();
        let are_paths = all.iter().all(|path| path.is_absolute()) && !self.value.contains('\0');
        are_paths
            .then_some(all)
            .ok_or_else(|| self.wrong("absolute paths with colons between"))
    }

    pub(super) fn duration(&self) -> Result<Duration, AgentError> {
        let duration = quantity::duration(&self.value);
        duration.ok_or_else(|| self.wrong("a duration, as 10mins or 90secs"))
    }

    pub(super) fn milliseconds(&self) -> Result<Duration, AgentError> {
        let milliseconds = self.value.parse().ok().map(Duration::from_millis);
        milliseconds.ok_or_else(|| self.wrong("a number of milliseconds"))
    }

    pub(super) fn bytes(&self) -> Result<u64, AgentError> {
        let bytes = quantity::bytes(&self.value);
        bytes.ok_or_else(|| self.wrong("a number of bytes, as 2GB or 64MB"))
    }

    pub(super) fn port(&self) -> Result<u16, AgentError> {
        let port = self.value.parse().ok().filter(|port| *port != 0);
        port.ok_or_else(|| self.wrong("a port"))
    }

    pub(super) fn boolean(&self) -> Result<bool, AgentError> {
        match self.value.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }
}

fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, AgentError> {
    let text = std::str::from_utf8(bytes).ok();
    text.ok_or_else(|| AgentError::NotText(path.to_owned()))
}

/// The flag that a variable sets.
fn flag_of(variable: &str) -> Option<String> {
    let agents = variable.strip_prefix("MESOS_").map(str::to_ascii_lowercase);
    let marathons = variable.strip_prefix("MARATHON_");
    agents.or_else(|| marathons.map(|flag| format!("marathon.{}", flag.to_ascii_lowercase())))
}

/// A value without the quotes around it; within double ones a backslash marks the next character.
fn unquoted(value: &str) -> String {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = inner('\'') {
        return inner.to_owned();
    }
    let Some(inner) = inner('"') else {
        return value.to_owned();
    };
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        let marked = (c == '\\').then(|| characters.next()).flatten();
        plain.push(marked.unwrap_or(c));
    }
    plain
}

/// Of each flag what was given last.
pub(super) struct Latest(BTreeMap<String, Given>);

impl Latest {
    pub(super) fn of(given: Vec<Given>) -> Self {
        Self(
            given
                .into_iter()
                .map(|given| (given.name.clone(), given))
                .collect(),
        )
    }

    /// Takes a flag, and reads it where it is given.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Given) -> Result<T, AgentError>,
    ) -> Result<Option<Setting<T>>, AgentError> {
        let Some(given) = self.0.remove(name) else {
            return Ok(None);
        };
        Ok(Some(Setting {
            value: read(&given)?,
            origin: given.origin,
        }))
    }

    /// A flag that is false where it is not given.
    pub(super) fn boolean(&mut self, name: &str) -> Result<Setting<bool>, AgentError> {
        let setting = self.read(name, Given::boolean)?;
        Ok(setting.unwrap_or_else(|| Setting::usual(false)))
    }

    /// The names of those that nobody took.
    pub(super) fn rest(self) -> Vec<Setting<String>> {
        let name = |given: Given| Setting {
            value: given.name,
            origin: given.origin,
        };
        self.0.into_values().map(name).collect()
    }
}
