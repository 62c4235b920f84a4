//! `ucr certs`: the certificates that registries are trusted by.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use ucr_certs::{
    AddOutcome, Added, Entry, Fingerprint, FingerprintPrefix, Input, Timestamp, TrustStore,
};

use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::ui::Ui;

/// The most of standard input that is taken for a certificate.
const INPUT_LIMIT: u64 = 16 * 1024 * 1024;

/// What to do with the added certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Trust certificates, in PEM or DER, of files or of standard input ("-")
    Add(AddArgs),
    /// List the added certificates
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Trust a certificate no longer
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
}

/// What to trust.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Files that hold certificates, PEM (one or many) or DER
    #[arg(value_name = "FILE|-", required = true)]
    files: Vec<PathBuf>,
}

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How to write the list
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
}

/// Which to trust no longer.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// SHA-256 fingerprints, or their beginnings
    #[arg(value_name = "FINGERPRINT", required = true)]
    fingerprints: Vec<FingerprintPrefix>,
}

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// One JSON array
    Json,
}

/// Runs `ucr certs …`.
pub(crate) fn certs(
    command: &CertsCommand,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let store = TrustStore::new(&settings.certs_dir);
    match command {
        CertsCommand::Add(args) => add(args, &store, ui),
        CertsCommand::List(args) => list(args, &store, ui),
        CertsCommand::Remove(args) => remove(args, &store, ui),
    }
}

fn add(args: &AddArgs, store: &TrustStore, ui: &Ui) -> Result<ExitCode, CommandError> {
    let inputs = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>, _>>()?;
    let added = store
        .add(&inputs, SystemTime::now().into())
        .map_err(CommandError::new)?;
    for one in added {
        ui.print(&told(&one))?;
        for note in &one.notes {
            ui.say(&format!("  note: {note}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(added: &Added) -> String {
    let what = match added.outcome {
        AddOutcome::Added => "added",
        AddOutcome::AlreadyTrusted => "already trusted",
    };
    let facts = &added.facts;
    let (fingerprint, until) = (added.fingerprint.short(), date(facts.not_after));
    format!(
        "{what} {fingerprint}  {}  (valid until {until})",
        facts.subject
    )
}

fn read(file: &Path) -> Result<Input, CommandError> {
    if file != Path::new("-") {
        return Input::read(file).map_err(CommandError::new);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(INPUT_LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(Input::new("standard input", bytes))
}

fn list(args: &ListArgs, store: &TrustStore, ui: &Ui) -> Result<ExitCode, CommandError> {
    let listing = store.list().map_err(CommandError::new)?;
    let now = SystemTime::now().into();
    match args.format {
        Format::Json => {
            let all: Vec<_> = listing
                .entries
                .iter()
                .map(|entry| as_json(entry, now))
                .collect();
            ui.print(&format!("{:#}", serde_json::Value::from(all)))?;
        }
        Format::Table => {
            ui.print(&row(["FINGERPRINT", "DAYS LEFT", "ADDED", "SUBJECT"]))?;
            for entry in &listing.entries {
                let facts = entry.certificate.facts();
                let days = facts.not_after.days_after(now).to_string();
                let added = entry.provenance.added.as_deref().unwrap_or("-");
                let short = entry.certificate.fingerprint().short();
                ui.print(&row([
                    &short,
                    &days,
                    &added.chars().take(10).collect::<String>(),
                    &facts.subject,
                ]))?;
            }
        }
    }
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

fn row([fingerprint, days, added, subject]: [&str; 4]) -> String {
    format!("{fingerprint:<16}  {days:>9}  {added:<10}  {subject}")
}

fn as_json(entry: &Entry, now: Timestamp) -> serde_json::Value {
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

fn date(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}

fn remove(args: &RemoveArgs, store: &TrustStore, ui: &Ui) -> Result<ExitCode, CommandError> {
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
