//! Where credentials are looked for, and in which order.

use std::fmt;

use ucr_images::{Credential, Deadline, RegistryHost};

use crate::config::{AuthConfig, Kept};
use crate::error::Error;
use crate::file::AuthFile;
use crate::helper::Helper;

/// A credential, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// Where it was found, as people are told.
    pub source: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.credential, self.source)
    }
}

/// Knows which credential is for a repository.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Looks for the credential for `repository` of the registry at `host`.
    ///
    /// Asked when a registry wants a proof, not before: looking may start a program. Asked
    /// again when what was found has expired.
    ///
    /// # Errors
    /// A place that cannot be looked at.
    fn find(&self, host: &RegistryHost, repository: &str) -> Result<Option<Found>, Error>;
}

/// Nowhere.
impl CredentialSource for () {
    fn find(&self, _host: &RegistryHost, _repository: &str) -> Result<Option<Found>, Error> {
        Ok(None)
    }
}

/// The places that count, the first that has something for a repository first.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    given: Option<(RegistryHost, Found)>,
    configs: Vec<(String, AuthConfig)>,
    files: Vec<AuthFile>,
    deadline: Deadline,
}

impl CredentialSources {
    /// Adds a credential that was given for one registry: it is for that registry and no
    /// mirror of another name.
    #[must_use]
    pub fn given(mut self, host: RegistryHost, found: Found) -> Self {
        self.given = Some((host, found));
        self
    }

    /// Adds a configuration that belongs to this one task, called `shown` in messages.
    ///
    /// The task wrote it: no helper is run that it names, which would run as this process does.
    #[must_use]
    pub fn config(mut self, shown: impl Into<String>, config: AuthConfig) -> Self {
        self.configs.push((shown.into(), config));
        self
    }

    /// Lets no helper take longer than until then.
    #[must_use]
    pub fn until(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds a file, to be read when it is needed.
    #[must_use]
    pub fn file(mut self, file: AuthFile) -> Self {
        self.files.push(file);
        self
    }
}

impl CredentialSource for CredentialSources {
    fn find(&self, host: &RegistryHost, repository: &str) -> Result<Option<Found>, Error> {
        if let Some((given_for, found)) = &self.given
            && given_for == host
        {
            return Ok(Some(found.clone()));
        }
        for (shown, config) in &self.configs {
            let found = self.find_in(config, (shown, Helpers::Refused), (host, repository))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        for file in &self.files {
            let Some(config) = file.read()? else { continue };
            let named = (file.shown.as_str(), Helpers::Run);
            let found = self.find_in(&config, named, (host, repository))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Whether the helpers that a configuration names are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Helpers {
    /// They are: it is the caller's own.
    Run,
    /// They are not: it is a stranger's.
    Refused,
}

impl CredentialSources {
    fn find_in(
        &self,
        config: &AuthConfig,
        (shown, helpers): (&str, Helpers),
        (host, repository): (&RegistryHost, &str),
    ) -> Result<Option<Found>, Error> {
        let kept = config.find(host, repository);
        let kept = kept.map_err(|why| Error::Malformed {
            file: shown.to_owned(),
            why,
        })?;
        match kept {
            None => Ok(None),
            Some(Kept::Here { key, credential }) => Ok(Some(Found {
                credential,
                source: format!("{shown}, entry {}", key.escape_debug()),
            })),
            Some(Kept::ByHelper(name)) => {
                let program = format!("docker-credential-{name}");
                if helpers == Helpers::Refused {
                    let file = shown.to_owned();
                    return Err(Error::HelperRefused { program, file });
                }
                let helper = Helper {
                    program: &program,
                    file: shown,
                };
                let credential = helper.get(host, self.deadline)?;
                Ok(credential.map(|credential| Found {
                    credential,
                    source: format!("{program}, named in {shown}"),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{Generation, Presence};

    fn config(key: &str, user: &str) -> AuthConfig {
        let document = format!("{{\"auths\":{{\"{key}\":{{\"username\":\"{user}\"}}}}}}");
        AuthConfig::parse(document.as_bytes()).unwrap()
    }

    fn find(sources: &CredentialSources, host: &str) -> Option<String> {
        let found = sources.find(&host.parse().unwrap(), "team/app").unwrap();
        found.map(|found| found.to_string())
    }

    #[test]
    fn s48_no_helper_is_run_that_a_task_names() {
        for document in [
            r#"{"credHelpers": {"a.example": "evil"}}"#,
            r#"{"credsStore": "evil"}"#,
        ] {
            let config = AuthConfig::parse(document.as_bytes()).unwrap();
            let sources = CredentialSources::default().config("the task's file", config);
            let host = "a.example".parse().unwrap();
            let refused = sources.find(&host, "team/app").unwrap_err();
            let said = "the task's file names docker-credential-evil for the credential: no \
                        program is run because a task says so";
            assert_eq!(refused.to_string(), said);
        }
        // Where the credential itself is there, none is needed.
        let document = r#"{"credsStore": "evil", "auths": {"a.example": {"username": "u"}}}"#;
        let config = AuthConfig::parse(document.as_bytes()).unwrap();
        let sources = CredentialSources::default().config("the task's file", config);
        assert!(find(&sources, "a.example").is_some());
    }

    #[test]
    fn the_first_place_that_has_something_counts() {
        let given = Found {
            credential: Credential::login("flag", "x"),
            source: "--secret-file".to_owned(),
        };
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "{{\"auths\":{{\"b.example/team\":{{\"username\":\"f\"}}}}}}"
        )
        .unwrap();
        let sources = CredentialSources::default()
            .given("a.example".parse().unwrap(), given)
            .config("the task", config("a.example/team/app", "task"))
            .config("the task", config("c.example", "task"))
            .file(AuthFile {
                path: file.path().to_owned(),
                shown: "~/.docker/config.json".to_owned(),
                generation: Generation::Config,
                presence: Presence::Usual,
            });
        let expected = [
            ("a.example", Some("principal \"flag\" from --secret-file")),
            ("a.example:5000", None),
            (
                "b.example",
                Some("principal \"f\" from ~/.docker/config.json, entry b.example/team"),
            ),
            (
                "c.example",
                Some("principal \"task\" from the task, entry c.example"),
            ),
            ("d.example", None),
        ];
        for (host, found) in expected {
            assert_eq!(find(&sources, host).as_deref(), found, "{host}");
        }
    }
}
