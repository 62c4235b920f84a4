//! The configuration file, `/etc/ucr/config.toml`: what flags and environment leave open.

mod document;

use std::io::ErrorKind;
use std::path::Path;

use crate::command_error::CommandError;

use document::Wrong;
pub use document::{ConfigFile, PullTable};

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
        let parsed = Self::parse(&text).map_err(|Wrong { line, why }| {
            let line = line.map_or_else(String::new, |line| format!(", line {line}"));
            CommandError::sentence(format!(
                "the configuration {}{line} is wrong: {why}",
                path.display(),
            ))
        })?;
        parsed.check_absolute(path)?;
        Ok(parsed)
    }

    /// Relative to whatever directory a root's command happens to run in, a path would let
    /// others choose what is trusted.
    fn check_absolute(&self, file: &Path) -> Result<(), CommandError> {
        let paths = [&self.root, &self.state, &self.certs_dir, &self.cafile];
        let mut paths = paths.into_iter().flatten().chain(self.network.paths());
        if let Some(relative) = paths.find(|path| path.is_relative()) {
            return Err(CommandError::sentence(format!(
                "the configuration {} is wrong: {relative:?} is not an absolute path",
                file.display()
            )));
        }
        Ok(())
    }
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
    fn registries_are_read_by_whatever_name_they_have() {
        let text = r#"
            [registry."Docker.io"]
            mirrors = ["mirror.example:5000/hub", "other.example"]
            [registry."plain.example:5000"]
            plain-http = true
            [registry."[::1]:443"]
            blocked = true
            [registry."r.example"]
            token-realms = ["auth.example", "auth.example:8443"]
        "#;
        let registries = read(text).unwrap().registries();
        let host = |text: &str| text.parse::<ucr_images::RegistryHost>().unwrap();
        let mirrors = registries.mirrors(&host("index.docker.io"));
        let shown: Vec<_> = mirrors.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["mirror.example:5000/hub", "other.example"]);
        let plain = registries.transport(&host("plain.example:5000"));
        assert_eq!(plain, ucr_images::registries::Transport::PlainHttp);
        let blocked = registries.admission(&host("[::1]"));
        assert_eq!(blocked, ucr_images::registries::Admission::Blocked);
        let realms = [host("auth.example:443"), host("auth.example:8443")];
        assert_eq!(registries.token_realms(&host("r.example")), realms);
    }

    #[test]
    fn what_is_wrong_with_a_registry_is_an_error_with_its_line() {
        for (text, line, said) in [
            ("[registry.\"r.example\"]\nmirror = []", 2, "mirror"),
            (
                "[registry.\"r.example\"]\nmirrors = [\"https://m\"]",
                2,
                "https://m",
            ),
            (
                "[registry.\"r.example\"]\ntoken-realms = [\"a/b\"]",
                2,
                "a/b",
            ),
            ("[registry.\"r.example\"]\nblocked = 1", 2, "boolean"),
            (
                "\n[registry.\"https://r.example\"]\nblocked = true",
                2,
                "https://r.example",
            ),
            (
                "[registry.\"docker.io\"]\n[registry.\"index.docker.io\"]",
                2,
                "a second table for the registry docker.io",
            ),
        ] {
            let error = read(text).unwrap_err();
            let start = format!("the configuration F, line {line} is wrong");
            assert!(error.starts_with(&start) && error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_images_may_take_is_read_with_units() {
        let text = "[pull]\nmax-bytes = \"2g\"\nmax-files = 1000\nmax-ratio = 50\n";
        let pull = read(text).unwrap().pull;
        assert_eq!(pull.max_bytes, Some(2 << 30));
        assert_eq!((pull.max_files, pull.max_ratio), (Some(1000), Some(50)));
        for (text, said) in [
            ("[pull]\nmax-bytes = \"2 apples\"", "2 apples"),
            ("[pull]\nmax-byte = \"2g\"", "max-byte"),
            ("[pull]\nmax-files = -1", "-1"),
        ] {
            let error = read(text).unwrap_err();
            let start = "the configuration F, line 2 is wrong";
            assert!(error.starts_with(start) && error.contains(said), "{error}");
        }
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
