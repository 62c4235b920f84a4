//! `ucr certs remove`.

use std::process::ExitCode;

use clap::Args;
use ucr_certs::{FingerprintPrefix, TrustStore};

use crate::command_error::CommandError;
use crate::ui::Ui;

/// Which to trust no longer.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// SHA-256 fingerprints, or their beginnings
    #[arg(value_name = "FINGERPRINT", required = true)]
    fingerprints: Vec<FingerprintPrefix>,
}

/// Runs `ucr certs remove`.
pub(super) fn remove(
    args: &RemoveArgs,
    store: &TrustStore,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    for prefix in &args.fingerprints {
        let removed = store.remove(prefix).map_err(CommandError::new)?;
        let subject = removed
            .facts
            .map_or_else(String::new, |facts| facts.subject);
        ui.print(&format!(
            "removed {}  {subject}",
            removed.fingerprint.short()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
