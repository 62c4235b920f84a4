//! `ucr certs add`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use ucr_certs::{AddOutcome, Added, TrustStore};

use super::{date, read};
use crate::command_error::CommandError;
use crate::ui::Ui;

/// What to trust.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Files that hold certificates, PEM (one or many) or DER
    #[arg(value_name = "FILE|-", required = true)]
    files: Vec<PathBuf>,
}

/// Runs `ucr certs add`.
pub(super) fn add(args: &AddArgs, store: &TrustStore, ui: &Ui) -> Result<ExitCode, CommandError> {
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
