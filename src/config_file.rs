//! The configuration file, `/etc/ucr/config.toml`: what flags and environment leave open.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::command_error::CommandError;
use crate::gc_config::GcConfig;

/// What the file may say; a key that is not here is an error, since a setting
/// that was mistyped and ignored is worse than none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    /// The store.
    pub(crate) root: Option<PathBuf>,
    /// The state of running containers.
    pub(crate) state: Option<PathBuf>,
    /// The added certificates.
    pub(crate) certs_dir: Option<PathBuf>,
    /// The base CAfile.
    pub(crate) cafile: Option<PathBuf>,
    /// When pulls make room.
    #[serde(default)]
    pub(crate) gc: GcConfig,
}

impl ConfigFile {
    /// Reads the file that was named, or the usual one if there is one.
    ///
    /// # Errors
    /// A named file that is missing, and any that cannot be read or understood.
    pub(crate) fn read(named: Option<&Path>, usual: &Path) -> Result<Self, CommandError> {
        let path = named.unwrap_or(usual);
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
                return Ok(Self::default());
            }
            Err(error) => {
                let (path, why) = (path.display(), ucr_sys::reason(&error));
                return Err(CommandError::sentence(format!(
                    "cannot read the configuration {path}: {why}"
                )));
            }
            Ok(text) => text,
        };
        let parsed = Self::parse(&text).map_err(|error| {
            let (line, why) = (line_of(&text, &error), error.message());
            CommandError::sentence(format!(
                "the configuration {}{line} is wrong: {}",
                path.display(),
                why.replace('\n', " ")
            ))
        })?;
        parsed.check_absolute(path)?;
        Ok(parsed)
    }

    /// Relative to whatever directory a root's command happens to run in, a path would let
    /// others choose what is trusted.
    fn check_absolute(&self, file: &Path) -> Result<(), CommandError> {
        let paths = [&self.root, &self.state, &self.certs_dir, &self.cafile];
        let mut paths = paths.into_iter().flatten();
        if let Some(relative) = paths.find(|path| path.is_relative()) {
            return Err(CommandError::sentence(format!(
                "the configuration {} is wrong: {relative:?} is not an absolute path",
                file.display()
            )));
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let parsed: Self = toml::from_str(text)?;
        Ok(parsed)
    }
}

fn line_of(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map(|span| span.start);
    let before = start.and_then(|start| text.get(..start));
    before.map_or_else(String::new, |before| {
        format!(", line {}", before.matches('\n').count() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), text.as_bytes()).unwrap();
        let read = ConfigFile::read(Some(file.path()), Path::new("/no/such"));
        read.map_err(|error| {
            let message = error.message();
            message.replace(&file.path().display().to_string(), "F")
        })
    }

    #[test]
    fn what_is_known_is_read() {
        let config =
            read("# comment\nroot = \"/a\"\ncerts-dir = \"/b\"\ncafile = \"/c\"\n").unwrap();
        assert_eq!(config.root.as_deref(), Some(Path::new("/a")));
        assert_eq!(config.certs_dir.as_deref(), Some(Path::new("/b")));
        assert_eq!(config.cafile.as_deref(), Some(Path::new("/c")));
        assert_eq!(read("").unwrap(), ConfigFile::default());
    }

    #[test]
    fn what_is_not_known_is_an_error_with_its_line() {
        let error = read("root = \"/a\"\ncafiles = \"/c\"\n").unwrap_err();
        assert!(
            error.starts_with("the configuration F, line 2 is wrong"),
            "{error}"
        );
        assert!(error.contains("cafiles"), "{error}");
        let error = read("cafile = \"ca.pem\"").unwrap_err();
        let said = "the configuration F is wrong: \"ca.pem\" is not an absolute path";
        assert_eq!(error, said);
        assert!(read("root = 1").is_err());
        assert!(read("root = \"").is_err());
    }

    #[test]
    fn only_a_named_file_has_to_exist() {
        let missing = Path::new("/no/such/config.toml");
        assert!(ConfigFile::read(None, missing).is_ok());
        let error = ConfigFile::read(Some(missing), missing).unwrap_err();
        assert_eq!(
            error.message(),
            "cannot read the configuration /no/such/config.toml: No such file or directory"
        );
    }
}
