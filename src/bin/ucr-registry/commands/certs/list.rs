//! `ucr certs list`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;
use ucr::command_error::CommandError;
use ucr::output_format::{FormatArgs, columns};
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Entry, Listing, Timestamp};

use super::facts;
use crate::trust::trust_stores;

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs list`; fails when a file is damaged.
pub(super) fn list(
    args: &ListArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let listing = everything(settings)?;
    let now = SystemTime::now().into();
    let json = || {
        listing
            .entries
            .iter()
            .map(|entry| facts::entry(entry, now))
            .collect::<Value>()
    };
    args.format.write(ui, || table(&listing, now), json)?;
    ui.say_passed_over(&listing.damaged);
    for stranger in &listing.strangers {
        // Its name is not one that we gave, and may hold anything.
        let stranger = stranger.display().to_string();
        ui.say(&format!(
            "ucr: {stranger:?} was not put there by ucr certs add, ignoring"
        ));
    }
    Ok(if listing.damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What all trust stores hold that count for this caller.
pub(super) fn everything(settings: &Settings) -> Result<Listing, CommandError> {
    let mut all = Listing::default();
    for store in trust_stores(settings) {
        let listing = store.list().map_err(CommandError::new)?;
        all.entries.extend(listing.entries);
        all.damaged.extend(listing.damaged);
        all.strangers.extend(listing.strangers);
    }
    Ok(all)
}

fn table(listing: &Listing, now: Timestamp) -> Vec<String> {
    let head = [
        "FINGERPRINT",
        "NAME",
        "REGISTRY",
        "DAYS LEFT",
        "SUBJECT",
        "ISSUER",
        "ORIGIN",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(listing.entries.iter().map(|entry| {
        let facts = entry.certificate.facts();
        let name = entry.provenance.name.as_ref();
        [
            entry.certificate.fingerprint().short(),
            name.map_or_else(|| "-".to_owned(), ToString::to_string),
            entry
                .scope
                .registry()
                .map_or_else(|| "all".to_owned(), ToString::to_string),
            facts.not_after.days_after(now).to_string(),
            facts.subject.clone(),
            facts.issuer_or_itself().to_owned(),
            origin(entry),
        ]
    }));
    columns(&rows)
}

/// Where a certificate came from, who added it and on which day.
pub(super) fn origin(entry: &Entry) -> String {
    let provenance = &entry.provenance;
    let by = provenance.by.as_ref().map(|by| format!("by {by}"));
    let day = provenance
        .added
        .as_ref()
        .map(|added| added.chars().take(10).collect());
    let parts = [provenance.from.clone(), by, day];
    parts
        .into_iter()
        .flatten()
        .collect::<Vec<String>>()
        .join(", ")
}
