//! `ucr certs expiring`: what monitoring wants to know.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::quantity;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Entry, Timestamp};

use super::{facts, list};
use crate::inspection::validity;

/// What counts as soon.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExpiringArgs {
    /// How soon is too soon, such as 30d, 2w or 12h
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = quantity::seconds)]
    within: i64,
    #[command(flatten)]
    format: FormatArgs,
}

/// The exit code when it is not known whether something expires.
const UNKNOWN: u8 = 2;

/// Runs `ucr certs expiring`: exit code 1, and a line each, when something is; 2 when that is
/// not known.
pub(super) fn expiring(
    args: &ExpiringArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let now: Timestamp = SystemTime::now().into();
    let limit = Timestamp::from_unix(now.as_unix().saturating_add(args.within));
    let listing = list::everything(settings).map_err(|error| error.code(UNKNOWN))?;
    let soon = |entry: &&Entry| entry.certificate.facts().not_after <= limit;
    let mut expiring: Vec<&Entry> = listing.entries.iter().filter(soon).collect();
    expiring.sort_by_key(|entry| entry.certificate.facts().not_after);
    args.format.write(
        ui,
        || expiring.iter().map(|entry| told(entry, now)).collect(),
        || {
            expiring
                .iter()
                .map(|entry| facts::entry(entry, now))
                .collect::<Value>()
        },
    )?;
    ui.say_passed_over(&listing.damaged);
    Ok(match (expiring.is_empty(), listing.damaged.is_empty()) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(UNKNOWN),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn told(entry: &Entry, now: Timestamp) -> String {
    let facts = entry.certificate.facts();
    format!(
        "{}  {}  {}  ({})",
        entry.certificate.fingerprint().short(),
        validity(facts.not_after, now),
        facts.subject,
        entry.scope
    )
}
