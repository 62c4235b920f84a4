//! `ucr certs remove`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{HostPort, Removed, Scope, Selector, TrustStore};

/// Which to trust no longer.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// SHA-256 fingerprints or their beginnings, or names: a name stands for all that bear it
    #[arg(value_name = "FINGERPRINT|NAME", required = true)]
    selectors: Vec<Selector>,
    /// Only what was added for this registry alone [default: wherever it counts]
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<HostPort>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs remove`.
pub(super) fn remove(
    args: &RemoveArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let store = TrustStore::new(settings.own_certs());
    let scope = args.registry.clone().map(Scope::Registry);
    let mut removed = Vec::new();
    let mut outcome = Ok(ExitCode::SUCCESS);
    for selector in &args.selectors {
        match store.remove(selector, scope.as_ref()) {
            Ok(more) => removed.extend(more),
            Err(error) => {
                outcome = Err(CommandError::new(error).hint("ucr certs list"));
                break;
            }
        }
    }
    // What was removed is told, also when the next one could not be.
    args.format.write(
        ui,
        || removed.iter().map(told).collect(),
        || removed.iter().map(as_json).collect(),
    )?;
    outcome
}

fn told(removed: &Removed) -> String {
    let facts = removed.facts.as_ref();
    let subject = facts.map_or("(its file was damaged)", |facts| &facts.subject);
    let alone = match removed.scope.registry() {
        Some(registry) => format!("  (for {registry})"),
        None => String::new(),
    };
    format!("removed {}  {subject}{alone}", removed.fingerprint.short())
}

fn as_json(removed: &Removed) -> serde_json::Value {
    json!({
        "fingerprint": format!("sha256:{}", removed.fingerprint),
        "subject": removed.facts.as_ref().map(|facts| &facts.subject),
        "registry": removed.scope.registry().map(ToString::to_string),
    })
}
