//! Where credentials are kept: the files of podman and docker, in the order in which they count.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command_error::CommandError;
use crate::env_vars;
use crate::settings::variable;
use ucr_credentials::{AuthFile, Generation, Presence};

/// The files to read, `named` by a flag first (containers-auth.json(5), "Order").
pub fn to_read(named: Option<&Path>) -> Vec<AuthFile> {
    files(named, ucr_sys::user_id(), variable)
}

/// The file that a login is written to: the one that was named, else podman's.
///
/// # Errors
/// When podman's place is not one that there could be.
pub fn to_write(named: Option<&Path>) -> Result<AuthFile, CommandError> {
    let file = named_files(named, variable).into_iter().next();
    let file = file.unwrap_or_else(|| podman_file(ucr_sys::user_id(), &variable));
    if file.path.file_name().is_none() {
        return Err(CommandError::sentence(format!(
            "{} is no file for credentials",
            file.shown
        )));
    }
    Ok(AuthFile {
        presence: Presence::Usual,
        ..file
    })
}

fn files(
    named: Option<&Path>,
    user: u32,
    read: impl Fn(&str) -> Option<OsString>,
) -> Vec<AuthFile> {
    let mut files = named_files(named, &read);
    files.push(podman_file(user, &read));
    let home = read(env_vars::HOME).map(PathBuf::from);
    let docker = match read(env_vars::DOCKER_CONFIG) {
        Some(directory) => Some(usual(PathBuf::from(directory).join("config.json"), None)),
        None => home
            .as_deref()
            .map(|home| usual(home.join(".docker/config.json"), Some(home))),
    };
    files.extend(docker);
    files.extend(home.as_deref().map(|home| AuthFile {
        generation: Generation::Dockercfg,
        ..usual(home.join(".dockercfg"), Some(home))
    }));
    files
}

fn named_files(named: Option<&Path>, read: impl Fn(&str) -> Option<OsString>) -> Vec<AuthFile> {
    let from_variable = read(env_vars::REGISTRY_AUTH_FILE).map(PathBuf::from);
    let paths = [named.map(Path::to_owned), from_variable];
    let required = |path| AuthFile {
        presence: Presence::Required,
        ..usual(path, None)
    };
    paths.into_iter().flatten().map(required).collect()
}

/// Podman's own, in the directory of the user's session or, where there is none, below `/run`.
fn podman_file(user: u32, read: &impl Fn(&str) -> Option<OsString>) -> AuthFile {
    let directory = match read(env_vars::XDG_RUNTIME_DIR) {
        Some(directory) => PathBuf::from(directory).join("containers"),
        None => PathBuf::from(format!("/run/containers/{user}")),
    };
    usual(directory.join("auth.json"), None)
}

fn usual(path: PathBuf, home: Option<&Path>) -> AuthFile {
    let below_home = home.and_then(|home| path.strip_prefix(home).ok());
    AuthFile {
        shown: match below_home {
            Some(below) => format!("~/{}", below.display()),
            None => path.display().to_string(),
        },
        generation: Generation::Config,
        presence: Presence::Usual,
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(named: Option<&str>, set: &[(&str, &str)]) -> Vec<String> {
        let read = |name: &str| {
            let (_, value) = set.iter().find(|(key, _)| *key == name)?;
            Some(OsString::from(value))
        };
        let files = files(named.map(Path::new), 7, read);
        files.into_iter().map(|file| file.shown).collect()
    }

    #[test]
    fn the_order_of_the_files() {
        let all = [
            ("REGISTRY_AUTH_FILE", "/a/auth.json"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("DOCKER_CONFIG", "/d"),
            ("HOME", "/home/u"),
        ];
        let expected = [
            "/flag.json",
            "/a/auth.json",
            "/run/user/7/containers/auth.json",
            "/d/config.json",
            "~/.dockercfg",
        ];
        assert_eq!(shown(Some("/flag.json"), &all), expected);
        let expected = [
            "/run/containers/7/auth.json",
            "~/.docker/config.json",
            "~/.dockercfg",
        ];
        assert_eq!(shown(None, &[("HOME", "/home/u")]), expected);
        assert_eq!(shown(None, &[]), ["/run/containers/7/auth.json"]);
    }
}
