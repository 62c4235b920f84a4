//! `--security-opt`: what Docker's does, or an error, never something less (security.md S32).

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use ucr_runtime::spec::{SeccompProfile, SeccompProfileError, SeccompRequest};

use crate::command_error::CommandError;

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// What filters system calls.
    Seccomp(SeccompChoice),
    /// Whether programs can get privileges that the container began without.
    NoNewPrivileges(NewPrivileges),
    /// The profile of AppArmor that confines it.
    AppArmor(String),
    /// That there shall be no label of SELinux, of which `ucr` sets none.
    Unlabelled,
}

/// What filters the system calls of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SeccompChoice {
    /// Docker's default profile.
    Default,
    /// Nothing.
    Unconfined,
    /// A profile in Docker's form, in a file.
    File(PathBuf),
}

/// Whether setuid programs and file capabilities have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewPrivileges {
    Allowed,
    Denied,
}

impl SecurityOption {
    /// Reads `KEY=VALUE`, or `KEY:VALUE` as older Dockers have it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        match (key, value) {
            ("no-new-privileges", None | Some("true")) => {
                Ok(Self::NoNewPrivileges(NewPrivileges::Denied))
            }
            ("no-new-privileges", Some("false")) => {
                Ok(Self::NoNewPrivileges(NewPrivileges::Allowed))
            }
            ("no-new-privileges", _) => Err("it is neither true nor false".to_owned()),
            ("seccomp", Some("unconfined")) => Ok(Self::Seccomp(SeccompChoice::Unconfined)),
            ("seccomp", Some("builtin")) => Ok(Self::Seccomp(SeccompChoice::Default)),
            ("seccomp", Some(file)) if !file.is_empty() => {
                Ok(Self::Seccomp(SeccompChoice::File(file.into())))
            }
            ("seccomp", _) => Err("it needs unconfined, builtin or a file".to_owned()),
            ("label", Some("disable")) => Ok(Self::Unlabelled),
            ("label", _) => Err(
                "ucr sets no SELinux labels, so that only label=disable can be honoured".to_owned(),
            ),
            ("apparmor", Some(profile)) if !profile.is_empty() => {
                Ok(Self::AppArmor(profile.to_owned()))
            }
            ("apparmor", _) => Err("it needs the name of a profile, or unconfined".to_owned()),
            _ => Err("it is none of seccomp, no-new-privileges, label and apparmor".to_owned()),
        }
    }
}

/// What the options come to; of two about the same, the later one.
#[derive(Debug)]
pub(crate) struct Security {
    seccomp: Filter,
    new_privileges: NewPrivileges,
    apparmor: Option<String>,
}

/// A [`SeccompChoice`] whose file is read.
#[derive(Debug)]
enum Filter {
    Default,
    Unconfined,
    Profile(SeccompProfile),
}

/// A file that is no profile.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the seccomp profile {}", file.display())]
struct BadProfile {
    file: PathBuf,
    #[source]
    source: SeccompProfileError,
}

/// What holds where no option says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    /// Docker's default profile, and no new privileges.
    Confined,
    /// Neither.
    Unconfined,
}

impl Security {
    /// Takes the options together and reads the profile that they name.
    ///
    /// # Errors
    /// A profile that cannot be read or understood.
    pub(crate) fn read(options: &[SecurityOption], usual: Usual) -> Result<Self, CommandError> {
        let (mut seccomp, mut new_privileges) = match usual {
            Usual::Confined => (&SeccompChoice::Default, NewPrivileges::Denied),
            Usual::Unconfined => (&SeccompChoice::Unconfined, NewPrivileges::Allowed),
        };
        let mut apparmor = None;
        for option in options {
            match option {
                SecurityOption::Seccomp(choice) => seccomp = choice,
                SecurityOption::NoNewPrivileges(choice) => new_privileges = *choice,
                SecurityOption::AppArmor(profile) => apparmor = Some(profile.clone()),
                SecurityOption::Unlabelled => {}
            }
        }
        let seccomp = match seccomp {
            SeccompChoice::Default => Filter::Default,
            SeccompChoice::Unconfined => Filter::Unconfined,
            SeccompChoice::File(file) => Filter::Profile(read_profile(file)?),
        };
        Ok(Self {
            seccomp,
            new_privileges,
            apparmor,
        })
    }

    /// Puts it into a spec whose capabilities are final; what is left is in the answer.
    pub(crate) fn apply(&self, spec: &mut Spec) -> SeccompRequest {
        if let Some(process) = spec.process_mut() {
            let denied = self.new_privileges == NewPrivileges::Denied;
            process.set_no_new_privileges(Some(denied));
            process.set_apparmor_profile(self.apparmor.clone());
        }
        match &self.seccomp {
            Filter::Default => SeccompRequest::SpecOrDefault,
            Filter::Unconfined => SeccompRequest::Spec,
            Filter::Profile(profile) => {
                let seccomp = profile.resolve(spec);
                if let Some(linux) = spec.linux_mut() {
                    linux.set_seccomp(Some(seccomp));
                }
                SeccompRequest::Spec
            }
        }
    }
}

fn read_profile(file: &Path) -> Result<SeccompProfile, CommandError> {
    let bytes = std::fs::read(file).map_err(|error| {
        let (file, error) = (file.display(), ucr_sys::reason(&error));
        CommandError::sentence(format!("cannot read the seccomp profile {file}: {error}"))
    })?;
    SeccompProfile::parse(&bytes).map_err(|source| {
        CommandError::new(BadProfile {
            file: file.to_owned(),
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_dockers() {
        use SecurityOption as O;

        let file = |name: &str| Ok(O::Seccomp(SeccompChoice::File(name.into())));
        for (text, wanted) in [
            (
                "seccomp=unconfined",
                Ok(O::Seccomp(SeccompChoice::Unconfined)),
            ),
            (
                "seccomp:unconfined",
                Ok(O::Seccomp(SeccompChoice::Unconfined)),
            ),
            ("seccomp=builtin", Ok(O::Seccomp(SeccompChoice::Default))),
            ("seccomp=/a:b=c.json", file("/a:b=c.json")),
            (
                "no-new-privileges",
                Ok(O::NoNewPrivileges(NewPrivileges::Denied)),
            ),
            (
                "no-new-privileges:true",
                Ok(O::NoNewPrivileges(NewPrivileges::Denied)),
            ),
            (
                "no-new-privileges=false",
                Ok(O::NoNewPrivileges(NewPrivileges::Allowed)),
            ),
            ("label=disable", Ok(O::Unlabelled)),
            ("apparmor=unconfined", Ok(O::AppArmor("unconfined".into()))),
        ] {
            assert_eq!(O::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn s32_what_cannot_be_honoured_is_refused() {
        for text in [
            "",
            "seccomp",
            "seccomp=",
            "no-new-privileges=maybe",
            "label=type:spc_t",
            "label",
            "apparmor=",
            "systempaths=unconfined",
            "unmask=ALL",
        ] {
            assert!(SecurityOption::parse(text).is_err(), "{text}");
        }
    }
}
