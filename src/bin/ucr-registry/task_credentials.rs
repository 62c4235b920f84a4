//! As whom a task's images are asked for, by what the task itself says and has.
//!
//! All of it was written by the task: it is read below its sandbox, and no program is run because
//! it says so.

use std::path::Path;

use ucr::command_error::CommandError;
use ucr::credential::check_principal;
use ucr::report::Failure;
use ucr_credentials::{AuthConfig, AuthFile, CredentialSources, Found, Generation, Presence};
use ucr_executor::prepare;
use ucr_images::{Credential, ErrorKind, Login, Reference, RegistryHost};
use ucr_sys::inroot::{InRoot, host_place};
use ucr_sys::{Errno, Error};

/// The most that an auth file may hold.
const LIMIT: u64 = 4 * 1024 * 1024;
/// Where programs look that have the sandbox as their home, as Mesos' fetcher does.
const IN_SANDBOX: [&str; 2] = [".docker/config.json", ".dockercfg"];

/// What a task says and has.
#[derive(Debug, Default)]
pub(crate) struct TaskCredentials {
    given: Option<(RegistryHost, Found)>,
    configs: Vec<(String, AuthConfig)>,
    /// The agent's own, asked last.
    last: Option<AuthFile>,
}

impl TaskCredentials {
    /// Those of an image: what stands beside its name, what its sandbox has, and what the agent
    /// says of all.
    ///
    /// # Errors
    /// What cannot be read, or is no configuration.
    pub(crate) fn of(
        (image, reference): (&prepare::Image, &Reference),
        sandbox: Option<&Path>,
        agents: Option<&Path>,
    ) -> Result<Self, CommandError> {
        let mut own = Self::default();
        match &image.credential {
            Some(prepare::Credential::Login { principal, secret }) => {
                check_principal(principal)?;
                let host = reference.registry().parse::<RegistryHost>();
                let credential = Credential::Login(Login {
                    principal: principal.clone(),
                    secret: secret.clone(),
                });
                let source = format!("the credential of the task ({})", image.path);
                let found = Found { credential, source };
                own.given = Some((host.map_err(CommandError::new)?, found));
            }
            Some(prepare::Credential::Config(text)) => {
                let shown = format!("the docker configuration of the task ({})", image.path);
                own.add(shown, text.expose().as_bytes())?;
            }
            None => {}
        }
        if let Some(sandbox) = sandbox {
            own.add_of_sandbox(sandbox)?;
        }
        own.last = agents.map(|path| AuthFile {
            path: path.to_owned(),
            shown: path.display().to_string(),
            generation: Generation::Config,
            presence: Presence::Required,
        });
        Ok(own)
    }

    /// Adds them to the usual places, before which they count.
    pub(crate) fn add_to(&self, mut sources: CredentialSources) -> CredentialSources {
        if let Some((host, found)) = &self.given {
            sources = sources.given(host.clone(), found.clone());
        }
        for (shown, config) in &self.configs {
            sources = sources.config(shown.as_str(), config.clone());
        }
        self.last
            .iter()
            .cloned()
            .fold(sources, CredentialSources::file)
    }

    fn add_of_sandbox(&mut self, sandbox: &Path) -> Result<(), CommandError> {
        let root = InRoot::new(host_place(sandbox).map_err(CommandError::new)?);
        for name in IN_SANDBOX {
            let shown = format!("{name} in the sandbox");
            match root.read(Path::new(name), LIMIT) {
                Ok(bytes) => self.add(shown, &bytes)?,
                Err(error) if is_nowhere(&error) => {}
                Err(error) => return Err(unreadable(CommandError::new(error))),
            }
        }
        Ok(())
    }

    fn add(&mut self, shown: String, text: &[u8]) -> Result<(), CommandError> {
        // One without "auths" is of the older generation.
        let config = AuthConfig::parse_as(text, Generation::Dockercfg).map_err(|why| {
            unreadable(CommandError::sentence(format!(
                "the credentials in {shown} cannot be understood: {why}"
            )))
        })?;
        self.configs.push((shown, config));
        Ok(())
    }
}

/// There is no such file, or what should be a directory above it is none.
fn is_nowhere(error: &Error) -> bool {
    matches!(error.errno(), Errno::NOENT | Errno::NOTDIR)
}

fn unreadable(error: CommandError) -> CommandError {
    let kind = ErrorKind::CredentialUnreadable;
    error.told_as(Failure {
        code: kind.code(),
        retryable: kind.is_retryable(),
        phase: "auth",
        ..Failure::SETUP
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use ucr_credentials::CredentialSource as _;
    use ucr_images::Secret;

    use super::*;

    fn image(credential: Option<prepare::Credential>) -> prepare::Image {
        prepare::Image {
            path: "container.docker".to_owned(),
            reference: "r.example/team/app".to_owned(),
            pull: prepare::Pull::Missing,
            credential,
            sandbox: None,
        }
    }

    fn config(user: &str) -> String {
        format!("{{\"auths\":{{\"r.example\":{{\"username\":\"{user}\"}}}}}}")
    }

    /// Whom the registry would be told of, by what is there.
    fn who(
        credential: Option<prepare::Credential>,
        sandbox: Option<&Path>,
        agents: Option<&Path>,
    ) -> Result<Option<String>, String> {
        let image = image(credential);
        let reference: Reference = image.reference.parse().unwrap();
        let own = TaskCredentials::of((&image, &reference), sandbox, agents);
        let own = own.map_err(|error| error.message())?;
        let sources = own.add_to(CredentialSources::default());
        let found = sources.find(&"r.example".parse().unwrap(), "team/app");
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map(|found| found.to_string()))
    }

    #[test]
    fn i15_what_the_task_says_comes_before_what_its_sandbox_has_and_the_agents_own_last() {
        let temp = tempfile::tempdir().unwrap();
        let agents = temp.path().join("agent.json");
        ucr_sys::Dir::open(temp.path())
            .unwrap()
            .replace("agent.json", config("agent").as_bytes(), 0o600)
            .unwrap();
        let sandbox = ucr_sys::Dir::open_or_create(temp.path().join("sandbox")).unwrap();
        let (path, agents) = (Some(sandbox.path()), Some(agents.as_path()));
        let is = |found: Result<Option<String>, String>, user: &str| {
            let found = found.unwrap().unwrap();
            assert!(
                found.starts_with(&format!("principal \"{user}\" from")),
                "{found}"
            );
        };
        is(who(None, path, agents), "agent");
        let old = b"{\"https://r.example/v1/\":{\"username\":\"old\"}}";
        sandbox.replace(".dockercfg", old, 0o644).unwrap();
        is(who(None, path, agents), "old");
        let docker = sandbox.dir_or_create(".docker").unwrap();
        docker
            .replace("config.json", config("new").as_bytes(), 0o644)
            .unwrap();
        is(who(None, path, agents), "new");
        let given = prepare::Credential::Config(Secret::new(config("given")));
        is(who(Some(given), path, agents), "given");
        let login = prepare::Credential::Login {
            principal: "login".to_owned(),
            secret: Secret::new("x"),
        };
        is(who(Some(login), path, agents), "login");
        assert_eq!(who(None, None, None), Ok(None));
    }

    #[test]
    fn a_link_of_a_sandbox_leads_nowhere_outside() {
        let temp = tempfile::tempdir().unwrap();
        let outside = ucr_sys::Dir::open(temp.path()).unwrap();
        outside
            .replace("secret.json", config("outside").as_bytes(), 0o600)
            .unwrap();
        let sandbox = temp.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        symlink(temp.path().join("secret.json"), sandbox.join(".dockercfg")).unwrap();
        symlink("..", sandbox.join(".docker")).unwrap();
        outside
            .replace("config.json", config("outside").as_bytes(), 0o600)
            .unwrap();
        assert_eq!(who(None, Some(&sandbox), None), Ok(None));
        fs::remove_file(sandbox.join(".dockercfg")).unwrap();
        symlink("/proc/self/fd/0", sandbox.join(".dockercfg")).unwrap();
        assert_eq!(who(None, Some(&sandbox), None), Ok(None));
    }

    #[test]
    fn what_a_sandbox_has_that_is_no_file_or_no_configuration_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let sandbox = ucr_sys::Dir::open(temp.path()).unwrap();
        sandbox
            .replace(".dockercfg", b"{\"auths\":", 0o644)
            .unwrap();
        let said = who(None, Some(temp.path()), None).unwrap_err();
        assert!(
            said.starts_with("the credentials in .dockercfg in the sandbox"),
            "{said}"
        );
        sandbox.remove(".dockercfg").unwrap();
        sandbox.create_dir(".dockercfg").unwrap();
        assert!(who(None, Some(temp.path()), None).is_err());
    }

    #[test]
    fn s48_no_helper_is_run_that_a_sandbox_names() {
        let temp = tempfile::tempdir().unwrap();
        let sandbox = ucr_sys::Dir::open(temp.path()).unwrap();
        sandbox
            .replace(".dockercfg", b"{\"credsStore\":\"evil\"}", 0o644)
            .unwrap();
        let said = who(None, Some(temp.path()), None).unwrap_err();
        assert!(
            said.contains("no program is run because a task says so"),
            "{said}"
        );
    }
}
