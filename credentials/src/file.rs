//! An auth file on disk: read when somebody asks for a credential, and changed whole.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use ucr_images::{AuthScope, Login};
use ucr_sys::Dir;

use crate::config::AuthConfig;
use crate::error::Error;

/// The most that an auth file may hold.
const LIMIT: u64 = 4 * 1024 * 1024;
/// Nobody else reads it.
const MODE: u32 = 0o600;

/// How an auth file is written where it has no `auths`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `config.json` of docker, `auth.json` of podman.
    Config,
    /// `.dockercfg`: one object of entries.
    Dockercfg,
}

/// Whether a file has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Somebody named it.
    Required,
    /// It is one of the usual places.
    Usual,
}

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFile {
    /// Where it is.
    pub path: PathBuf,
    /// How people are told of it.
    pub shown: String,
    /// How it is written.
    pub generation: Generation,
    /// Whether it has to be there.
    pub presence: Presence,
}

impl AuthFile {
    /// Reads it; `None` where there is none and none has to be.
    ///
    /// # Errors
    /// A file that cannot be read or understood, or is missing though it was named.
    pub fn read(&self) -> Result<Option<AuthConfig>, Error> {
        let bytes = match read_limited(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if self.presence == Presence::Usual && is_nowhere(&error) => {
                return Ok(None);
            }
            Err(source) => {
                let file = self.shown.clone();
                return Err(Error::Read { file, source });
            }
        };
        let config = AuthConfig::parse_as(&bytes, self.generation);
        config.map(Some).map_err(|why| self.malformed(why))
    }

    /// Keeps a login for `scope`, in place of what was there.
    ///
    /// # Errors
    /// A file that cannot be read, understood or replaced, or one that names a helper for it.
    pub fn keep(&self, scope: &AuthScope, login: &Login) -> Result<(), Error> {
        self.update(|config| {
            self.check_no_helper(config, scope)?;
            config.set(scope, login);
            Ok(())
        })
    }

    /// Removes what is kept for `scope`; whether there was something.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub fn forget(&self, scope: &AuthScope) -> Result<bool, Error> {
        self.update(|config| {
            self.check_no_helper(config, scope)?;
            Ok(config.remove(scope))
        })
    }

    /// Removes all that is kept in it; how many entries that were.
    ///
    /// # Errors
    /// A file that cannot be read, understood or replaced.
    pub fn forget_all(&self) -> Result<usize, Error> {
        self.update(|config| Ok(config.clear()))
    }

    fn check_no_helper(&self, config: &AuthConfig, scope: &AuthScope) -> Result<(), Error> {
        let helper = config.helper_of(&scope.host, scope.path());
        match helper.map_err(|why| self.malformed(why))? {
            None => Ok(()),
            Some(name) => Err(Error::Helped {
                file: self.shown.clone(),
                program: format!("docker-credential-{name}"),
                scope: scope.to_string(),
            }),
        }
    }

    /// Changes it as a whole, or makes it with mode 0600; two changes at once come one after
    /// the other, and nobody sees half of one.
    ///
    /// # Errors
    /// A file that cannot be read, understood or replaced; and those of `change`.
    fn update<T>(
        &self,
        change: impl FnOnce(&mut AuthConfig) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |source| Error::Write {
            file: self.shown.clone(),
            source,
        };
        // A link is followed, so that it stays one.
        let path = self.path.canonicalize().unwrap_or(self.path.clone());
        let shown = || path.display().to_string();
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(ucr_sys::Error::new(
                "open",
                shown(),
                ucr_sys::Errno::ISDIR,
            )));
        };
        let Some(name) = name.to_str() else {
            return Err(failed(ucr_sys::Error::new(
                "open",
                shown(),
                ucr_sys::Errno::ILSEQ,
            )));
        };
        let here = Path::new(".");
        let directory = if directory.as_os_str().is_empty() {
            here
        } else {
            directory
        };
        let dir = Dir::open_or_create(directory).map_err(failed)?;
        // On the directory itself: a lock file would be litter, and podman takes none.
        let _lock = lock(directory).map_err(|error| {
            failed(ucr_sys::Error::from_io(
                "flock",
                directory.display().to_string(),
                &error,
            ))
        })?;
        let present = Self {
            presence: Presence::Usual,
            ..self.clone()
        };
        let mut config = present.read()?.unwrap_or_default();
        let before = config.clone();
        let changed = change(&mut config)?;
        if config != before {
            let json = config.to_json().map_err(|source| Error::Read {
                file: self.shown.clone(),
                source,
            })?;
            dir.replace(name, &json, MODE).map_err(failed)?;
        }
        Ok(changed)
    }

    /// The error that names this file and what is wrong with it.
    pub(super) fn malformed(&self, why: String) -> Error {
        let file = self.shown.clone();
        Error::Malformed { file, why }
    }
}

fn lock(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

/// There is no such file, or what should be a directory above it is none.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use ucr_images::Secret;

    fn file(path: PathBuf, presence: Presence) -> AuthFile {
        AuthFile {
            shown: "the file".to_owned(),
            generation: Generation::Config,
            path,
            presence,
        }
    }

    fn login(principal: &str) -> Login {
        Login {
            principal: principal.to_owned(),
            secret: Secret::new("wonderland"),
        }
    }

    fn scope(text: &str) -> AuthScope {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_named_file_has_to_be_there() {
        let temp = tempfile::tempdir().unwrap();
        let missing = temp.path().join("none");
        assert!(
            file(missing.clone(), Presence::Usual)
                .read()
                .unwrap()
                .is_none()
        );
        assert!(file(missing, Presence::Required).read().is_err());
        let directory = file(temp.path().to_owned(), Presence::Usual)
            .read()
            .unwrap_err();
        assert_eq!(
            directory.to_string(),
            "cannot read the credentials in the file"
        );
    }

    #[test]
    fn changes_at_once_are_all_kept_in_a_file_of_mode_0600() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("containers/auth.json");
        let file = file(path.clone(), Presence::Usual);
        std::thread::scope(|threads| {
            for number in 0..8 {
                let file = &file;
                threads.spawn(move || {
                    let scope = scope(&format!("r{number}.example"));
                    file.update(|config| Ok(config.set(&scope, &login("alice"))))
                        .unwrap();
                });
            }
        });
        let config = file.read().unwrap().unwrap();
        assert_eq!(config.scopes().len(), 8);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn a_link_stays_one_and_no_change_writes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let (link, target) = (temp.path().join("link"), temp.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        File::create(&target).unwrap();
        let file = file(link.clone(), Presence::Usual);
        file.update(|config| Ok(config.remove(&scope("r.example"))))
            .unwrap();
        assert_eq!(target.metadata().unwrap().len(), 0);
        file.update(|config| Ok(config.set(&scope("r.example"), &login("alice"))))
            .unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert!(target.metadata().unwrap().len() > 0);
    }

    #[test]
    fn what_a_helper_keeps_is_left_to_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("auth.json");
        let content = b"{\"credHelpers\":{\"r.example\":\"pass\"}}";
        io::Write::write_all(&mut File::create(&path).unwrap(), content).unwrap();
        let file = file(path, Presence::Usual);
        let refused = file
            .keep(&scope("r.example/x"), &login("alice"))
            .unwrap_err();
        assert!(
            refused.to_string().contains("docker-credential-pass"),
            "{refused}"
        );
        assert!(file.forget(&scope("r.example")).is_err());
        file.keep(&scope("s.example"), &login("alice")).unwrap();
        assert!(file.forget(&scope("s.example")).unwrap());
        assert_eq!(file.forget_all().unwrap(), 0);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("auth.json");
        io::Write::write_all(&mut File::create(&path).unwrap(), b"{\"auths\":").unwrap();
        let file = file(path.clone(), Presence::Usual);
        let failed = file.update(|config| Ok(config.clear())).unwrap_err();
        assert!(
            failed
                .to_string()
                .starts_with("the credentials in the file cannot be understood")
        );
        assert_eq!(std::fs::read(path).unwrap(), b"{\"auths\":");
    }
}
