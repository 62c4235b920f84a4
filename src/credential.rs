//! `--principal` with `--secret-file`, or `UCR_PRINCIPAL` with `UCR_SECRET`: never a secret in argv.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Args;
use ucr_puller::{Credential, Secret};

use crate::command_error::CommandError;
use crate::env_vars;
use crate::settings::variable;
use crate::ui::Ui;

/// The most that a secret may have: tokens are long, but no longer.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Who to pull as.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// Principal (user) to authenticate as; its secret comes by --secret-file or $UCR_SECRET
    #[arg(long, value_name = "NAME", env = env_vars::UCR_PRINCIPAL, hide_env_values = true)]
    principal: Option<String>,
    /// File that holds the principal's secret; "-" reads it from standard input
    #[arg(long, value_name = "FILE|-", requires = "principal")]
    secret_file: Option<std::path::PathBuf>,
}

impl CredentialArgs {
    /// The credential that was given, if any.
    ///
    /// # Errors
    /// A principal without a secret, or a secret that cannot be read or is empty.
    pub(crate) fn resolve(&self, ui: &Ui) -> Result<Option<Credential>, CommandError> {
        let Some(principal) = self.principal.clone().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if principal.contains([':', '\n', '\r', '\0']) {
            let text = "a principal cannot have a colon or a line end in it";
            return Err(CommandError::sentence(text));
        }
        let secret = match &self.secret_file {
            Some(path) => from_file(path, ui)?,
            None => from_environment(&principal)?,
        };
        Ok(Some(Credential { principal, secret }))
    }
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

fn from_file(path: &Path, ui: &Ui) -> Result<Secret, CommandError> {
    let shown = if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    };
    let failed = |error: io::Error| {
        CommandError::sentence(format!("cannot read the secret from {shown}: {error}"))
    };
    let bytes = if path == Path::new("-") {
        read_limited(io::stdin().lock()).map_err(failed)?
    } else {
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let mode = mode & 0o7777;
            ui.say(&format!(
                "ucr: others can read the secret in {shown} (mode {mode:04o}), ignoring"
            ));
        }
        read_limited(file).map_err(failed)?
    };
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
