//! `ucr logout`: forgets what `ucr login`, or podman's, has kept.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::ui::Ui;
use ucr_images::AuthScope;

use super::login::{not_logged_in, others_with};
use ucr::auth_files;

/// What to forget.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// File that the credential is kept in [default: $REGISTRY_AUTH_FILE, or podman's auth.json]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Forget all credentials of that file
    #[arg(long, conflicts_with = "scope")]
    all: bool,
    /// Registry, and path if there was one
    #[arg(value_name = "HOST[:PORT][/PATH]", required_unless_present = "all")]
    scope: Option<AuthScope>,
}

/// Runs `ucr logout`.
pub(crate) fn logout(args: &LogoutArgs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let file = auth_files::to_write(args.authfile.as_deref())?;
    let Some(scope) = &args.scope else {
        let count = file.forget_all().map_err(CommandError::new)?;
        let plural = if count == 1 { "" } else { "s" };
        ui.say(&format!(
            "{count} credential{plural} removed from {}",
            file.shown
        ));
        return Ok(ExitCode::SUCCESS);
    };
    let removed = file.forget(scope).map_err(CommandError::new)?;
    let elsewhere = others_with(scope, &file);
    if !removed {
        let nobody = not_logged_in(scope);
        return Err(elsewhere.iter().fold(nobody, |error, file| {
            error.note(format!(
                "{file} has a credential for it, which is not ours to change"
            ))
        }));
    }
    ui.say(&format!(
        "logged out of {scope}, removed from {}",
        file.shown
    ));
    for file in elsewhere {
        ui.say(&format!("ucr: {file} still has a credential for {scope}"));
    }
    Ok(ExitCode::SUCCESS)
}
