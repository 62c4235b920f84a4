//! Secrets that a task's definition only names: the executor says where they are.

use std::path::PathBuf;

use clap::Args;
use ucr_executor::task::Value;
use ucr_images::Secret;
use ucr_sys::inroot::{InRoot, read_within};

use crate::command_error::CommandError;

/// The most that a secret may have (DC/OS takes no more either).
const LIMIT: u64 = 1 << 20;

/// Where the secrets are that the definition names.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Secrets {
    /// File with the secret that the task's definition calls NAME
    #[arg(long = "secret", value_name = "NAME=FILE", value_parser = named)]
    named: Vec<(String, PathBuf)>,
    /// Directory with a file for each secret, called as the task's definition calls it
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
}

impl Secrets {
    /// The secret, or the text that is none.
    ///
    /// # Errors
    /// When nobody said where it is, or it cannot be read.
    pub(super) fn resolve(&self, value: &Value) -> Result<Secret, CommandError> {
        match value {
            Value::Plain(text) => Ok(Secret::new(text.clone())),
            Value::Secret(secret) => Ok(secret.clone()),
            Value::Reference { name, path } => self.find(name).map_err(|why| {
                let text = format!("{path}: the secret \"{}\" {why}", name.escape_debug());
                CommandError::sentence(text)
                    .hint("--secret NAME=FILE says where it is, --secrets-dir DIR for all")
            }),
        }
    }

    fn find(&self, name: &str) -> Result<Secret, String> {
        let named = self.named.iter().rev().find(|(one, _)| one == name);
        let bytes = match (named, &self.secrets_dir) {
            (Some((_, file)), _) => {
                let opened = ucr_sys::ready::open(file).map_err(|error| error.to_string());
                let read = opened.and_then(|opened| {
                    read_within(&opened, file, LIMIT).map_err(|error| error.to_string())
                });
                read.map_err(|why| format!("cannot be read: {why}"))?
            }
            (None, Some(folder)) => below(folder, name)?,
            (None, None) => return Err("is not known here".to_owned()),
        };
        let text = String::from_utf8(bytes).map_err(|_not_utf8| "is no text".to_owned())?;
        Ok(Secret::new(text))
    }
}

/// A file of the folder, wherever its name would lead to.
fn below(folder: &std::path::Path, name: &str) -> Result<Vec<u8>, String> {
    let opened = ucr_sys::Dir::open(folder).map_err(|error| error.to_string())?;
    let fd = std::os::fd::AsFd::as_fd(&opened).try_clone_to_owned();
    let root = InRoot::new(fd.map_err(|error| ucr_sys::reason(&error))?);
    let path = std::path::Path::new(name);
    let read = root.read(path, LIMIT);
    read.map_err(|error| format!("cannot be read in {}: {error}", folder.display()))
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("it is not of the form NAME=FILE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &std::path::Path, name: &str, text: &str) {
        let folder = ucr_sys::Dir::open(folder).unwrap();
        folder.replace(name, text.as_bytes(), 0o644).unwrap();
    }

    fn reference(name: &str) -> Value {
        Value::Reference {
            name: name.to_owned(),
            path: "env.X.secret".to_owned(),
        }
    }

    #[test]
    fn a_secret_is_where_the_executor_says() {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), "one", "1");
        put(temp.path(), "two", "2");
        let secrets = Secrets {
            named: vec![("/a/b".to_owned(), temp.path().join("one"))],
            secrets_dir: Some(temp.path().to_owned()),
        };
        assert_eq!(secrets.resolve(&reference("/a/b")).unwrap().expose(), "1");
        assert_eq!(secrets.resolve(&reference("two")).unwrap().expose(), "2");
        let plain = Value::Plain("x".to_owned());
        assert_eq!(secrets.resolve(&plain).unwrap().expose(), "x");
        let error = secrets.resolve(&reference("three")).unwrap_err().message();
        assert!(
            error.starts_with("env.X.secret: the secret \"three\" "),
            "{error}"
        );
    }

    #[test]
    fn s5_a_name_does_not_lead_out_of_the_directory_of_secrets() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("secrets");
        std::fs::create_dir(&folder).unwrap();
        put(temp.path(), "outside", "no");
        std::os::unix::fs::symlink(temp.path().join("outside"), folder.join("link")).unwrap();
        let secrets = Secrets {
            named: Vec::new(),
            secrets_dir: Some(folder),
        };
        for name in ["../outside", "link", "/proc/self/environ", ""] {
            assert!(secrets.resolve(&reference(name)).is_err(), "{name}");
        }
    }
}
