//! `ucr certs list`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use ucr_certs::{Entry, Fingerprint, Listing, Timestamp, TrustStore};

use crate::command_error::CommandError;
use crate::output_format::{FormatArgs, columns};
use crate::ui::Ui;

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs list`; fails when a file is damaged.
pub(super) fn list(args: &ListArgs, store: &TrustStore, ui: &Ui) -> Result<ExitCode, CommandError> {
    let listing = store.list().map_err(CommandError::new)?;
    let now = SystemTime::now().into();
    let all = || {
        listing
            .entries
            .iter()
            .map(|entry| as_json(entry, now))
            .collect()
    };
    args.format
        .write(ui, || table(&listing, now), || Value::Array(all()))?;
    for damaged in &listing.damaged {
        ui.say(&format!("ucr: {damaged}, ignoring"));
    }
    for stranger in &listing.strangers {
        let stranger = stranger.display();
        ui.say(&format!(
            "ucr: {stranger} was not put there by ucr certs add, ignoring"
        ));
    }
    Ok(if listing.damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn table(listing: &Listing, now: Timestamp) -> Vec<String> {
    let mut rows = vec![["FINGERPRINT", "DAYS LEFT", "ADDED", "SUBJECT"].map(str::to_owned)];
    rows.extend(listing.entries.iter().map(|entry| {
        let facts = entry.certificate.facts();
        let added = entry.provenance.added.as_deref().unwrap_or("-");
        [
            entry.certificate.fingerprint().short(),
            facts.not_after.days_after(now).to_string(),
            added.chars().take(10).collect(),
            facts.subject.clone(),
        ]
    }));
    columns(&rows)
}

fn as_json(entry: &Entry, now: Timestamp) -> Value {
    let facts = entry.certificate.facts();
    let fingerprint: Fingerprint = entry.certificate.fingerprint();
    json!({
        "fingerprint": format!("sha256:{fingerprint}"),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "notBefore": facts.not_before.to_string(),
        "notAfter": facts.not_after.to_string(),
        "daysLeft": facts.not_after.days_after(now),
        "added": entry.provenance.added,
        "from": entry.provenance.from,
        "file": entry.path,
    })
}
