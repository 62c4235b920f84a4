//! As whom to ask: `--principal` with `--secret-file` or `--secret-fd`, `UCR_PRINCIPAL` with
//! `UCR_SECRET`, or the files of `docker login` and `podman login`; never a secret in argv.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command_error::CommandError;
use crate::env_vars;
use crate::settings::variable;
use crate::ui::Ui;
use clap::Args;
use ucr_credentials::CredentialSources;
use ucr_credentials::Found;
use ucr_images::{Credential, Login, Reference, RegistryHost, Secret};

use crate::auth_files;

/// The most that a secret may have: tokens are long, but no longer.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Who to pull as.
#[derive(Debug, Args)]
pub struct CredentialArgs {
    /// Principal (user) to authenticate as; its secret comes by --secret-file, --secret-fd or
    /// $UCR_SECRET
    #[arg(long, value_name = "NAME", env = env_vars::UCR_PRINCIPAL, hide_env_values = true)]
    principal: Option<String>,
    /// File that holds the principal's secret; "-" reads it from standard input
    #[arg(long, value_name = "FILE|-", requires = "principal")]
    secret_file: Option<PathBuf>,
    /// File descriptor from which the principal's secret is read
    #[arg(
        long,
        value_name = "N",
        requires = "principal",
        conflicts_with = "secret_file"
    )]
    secret_fd: Option<u32>,
    /// File with credentials, as `docker login` and `podman login` write it; read before the
    /// usual ones
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

impl CredentialArgs {
    /// Where to look for credentials when a registry asks for one; what was given by flags is
    /// for the registry of `reference` alone.
    ///
    /// # Errors
    /// A principal without a secret, or a secret that cannot be read or is empty.
    pub fn sources(&self, reference: &Reference) -> Result<CredentialSources, CommandError> {
        let mut sources = CredentialSources::default();
        if let Some(found) = self.given()? {
            let host = reference.registry().parse::<RegistryHost>();
            sources = sources.given(host.map_err(CommandError::new)?, found);
        }
        let files = auth_files::to_read(self.authfile.as_deref());
        Ok(files.into_iter().fold(sources, CredentialSources::file))
    }

    /// Says that others can read the secret, where they can.
    pub fn warn(&self, ui: &Ui) {
        let Some(path) = &self.secret_file else {
            return;
        };
        let Ok(metadata) = path.metadata() else {
            // Who reads it says so.
            return;
        };
        let mode = metadata.permissions().mode();
        if metadata.is_file() && mode & 0o077 != 0 {
            let (shown, mode) = (path.display(), mode & 0o7777);
            ui.say(&format!(
                "ucr: others can read the secret in {shown} (mode {mode:04o}); chmod 600 keeps them out"
            ));
        }
    }

    /// Whether what is given can be read once more by the program that this process becomes: a
    /// pipe cannot.
    pub fn is_there_to_stay(&self) -> bool {
        let may_stay = |path: &PathBuf| {
            let is_stdin = path == Path::new("-");
            // One that is missing is missed by the other, too.
            !is_stdin && path.metadata().map_or(true, |data| data.is_file())
        };
        let mut files = self.secret_file.iter().chain(&self.authfile);
        self.secret_fd.is_none() && files.all(may_stay)
    }

    /// The places where credentials are looked for, the first first, for people.
    pub fn places(&self) -> Vec<String> {
        let given = match &self.principal {
            Some(principal) => format!("--principal or $UCR_PRINCIPAL ({principal})"),
            None => "--principal or $UCR_PRINCIPAL (not given)".to_owned(),
        };
        let files = auth_files::to_read(self.authfile.as_deref()).into_iter();
        let files = files.map(|file| match file.path.try_exists() {
            Ok(true) => file.shown,
            Ok(false) => format!("{} (absent)", file.shown),
            Err(error) => format!("{} ({})", file.shown, ucr_sys::reason(&error)),
        });
        [given].into_iter().chain(files).collect()
    }

    fn given(&self) -> Result<Option<Found>, CommandError> {
        let Some(principal) = self.principal.clone().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        check_principal(&principal)?;
        let (secret, source) = match (&self.secret_file, self.secret_fd) {
            (Some(path), _) => {
                let source = format!("--secret-file {}", path.display());
                (from_file(path)?, source)
            }
            (None, Some(fd)) => {
                let shown = format!("file descriptor {fd}");
                (from_fd(fd, &shown)?, shown)
            }
            (None, None) => (from_environment(&principal)?, "$UCR_SECRET".to_owned()),
        };
        let credential = Credential::Login(Login { principal, secret });
        Ok(Some(Found { credential, source }))
    }
}

/// Refuses a name that the Basic scheme cannot carry (RFC 7617, section 2).
pub fn check_principal(principal: &str) -> Result<(), CommandError> {
    if principal.contains([':', '\n', '\r', '\0']) {
        let text = "a principal cannot have a colon or a line end in it";
        return Err(CommandError::sentence(text));
    }
    Ok(())
}

fn from_environment(principal: &str) -> Result<Secret, CommandError> {
    let value = variable(env_vars::UCR_SECRET).ok_or_else(|| {
        CommandError::sentence(format!("there is no secret for principal \"{principal}\""))
            .hint("--secret-file FILE, or --secret-file - to read it from standard input")
            .hint("the environment variable UCR_SECRET")
    })?;
    value
        .into_string()
        .map(Secret::new)
        .map_err(|_not_utf8| CommandError::sentence("the secret in $UCR_SECRET is not valid UTF-8"))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn from_file(path: &Path) -> Result<Secret, CommandError> {
    if path == Path::new("-") {
        return from_standard_input();
    }
    let shown = shown(path);
    let file = File::open(path).map_err(|error| cannot_read(&shown, &error))?;
    read(file, &shown)
}

/// The secret on standard input, without the line end that `echo` puts behind it.
pub fn from_standard_input() -> Result<Secret, CommandError> {
    read(io::stdin().lock(), "standard input")
}

/// By its name in procfs, which opens files and pipes anew: nobody else's place in them moves.
fn from_fd(fd: u32, shown: &str) -> Result<Secret, CommandError> {
    let file = File::open(format!("/proc/self/fd/{fd}"));
    read(file.map_err(|error| cannot_read(shown, &error))?, shown)
}

fn cannot_read(shown: &str, error: &io::Error) -> CommandError {
    CommandError::sentence(format!("cannot read the secret from {shown}: {error}"))
}

fn read(from: impl Read, shown: &str) -> Result<Secret, CommandError> {
    let bytes = read_limited(from).map_err(|error| cannot_read(shown, &error))?;
    let text = String::from_utf8(bytes).map_err(|_not_utf8| {
        CommandError::sentence(format!("the secret in {shown} is not valid UTF-8"))
    })?;
    // Editors and `echo` end a file with a line end that is no part of the secret.
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(CommandError::sentence(format!(
            "there is no secret in {shown}"
        )));
    }
    Ok(Secret::new(secret))
}

fn read_limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(SECRET_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SECRET_LIMIT {
        return Err(io::Error::other(format!(
            "it has more than {SECRET_LIMIT} bytes"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p42_one_line_end_behind_a_secret_is_no_part_of_it() {
        for (given, secret) in [
            ("s", "s"),
            ("s\n", "s"),
            ("s\r\n", "s"),
            ("s\n\n", "s\n"),
            (" s ", " s "),
            ("gr\u{fc}n\u{20ac}\n", "gr\u{fc}n\u{20ac}"),
        ] {
            let found = read(given.as_bytes(), "the file").unwrap();
            assert_eq!(found.expose(), secret, "{given:?}");
        }
    }

    #[test]
    fn p42_what_is_no_secret_is_refused_by_its_place() {
        let long = vec![b'x'; 64 * 1024 + 1];
        for (given, said) in [
            (&b""[..], "there is no secret in the file"),
            (b"\n", "there is no secret in the file"),
            (b"\r\n", "there is no secret in the file"),
            (b"\xff", "the secret in the file is not valid UTF-8"),
            (
                &long,
                "cannot read the secret from the file: it has more than 65536 bytes",
            ),
        ] {
            let error = read(given, "the file").unwrap_err();
            assert_eq!(error.message(), said);
        }
        let most = read(&long[1..], "the file").unwrap();
        assert_eq!(most.expose().len(), 64 * 1024);
    }
}
