//! `ucr certs add`, and what `fetch` shares with it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{
    AddOutcome, Added, Addition, CertName, Dates, Error, HostPort, Input, Scope, TrustStore,
};

use super::{read, scope_of};
use crate::caller;

/// What to trust.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    how: HowArgs,
    /// Trust it for this registry alone [default: for all]
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<HostPort>,
    /// Files that hold certificates: PEM (one or many), DER, PKCS#7, or OpenSSL's TRUSTED
    /// CERTIFICATE, told apart by content; "-" is standard input
    #[arg(value_name = "FILE|-", required = true)]
    files: Vec<PathBuf>,
}

/// How to add a certificate, and what to call it.
#[derive(Debug, Args)]
pub(super) struct HowArgs {
    /// What to call it, for `remove` and `show`
    #[arg(long, value_name = "NAME")]
    name: Option<CertName>,
    /// Add it although it is expired, or not valid yet
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs add`.
pub(super) fn add(args: &AddArgs, settings: &Settings, ui: &Ui) -> Result<ExitCode, CommandError> {
    let inputs = args.files.iter().map(|file| read(file));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    args.how
        .add(&inputs, scope_of(args.registry.as_ref()), settings, ui)?;
    Ok(ExitCode::SUCCESS)
}

impl HowArgs {
    /// Adds the certificates of `inputs`, and tells what became of each.
    pub(super) fn add(
        &self,
        inputs: &[Input],
        scope: Scope,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<(), CommandError> {
        let addition = Addition {
            inputs,
            scope: scope.clone(),
            name: self.name.clone(),
            by: Some(caller::name()),
            now: SystemTime::now().into(),
            dates: if self.force {
                Dates::Ignored
            } else {
                Dates::Checked
            },
        };
        let store = TrustStore::new(settings.own_certs());
        let added = store.add(&addition).map_err(advise)?;
        let lines = || added.iter().map(|one| told(one, &scope)).collect();
        let json = || added.iter().map(|one| as_json(one, &scope)).collect();
        self.format.write(ui, lines, json)?;
        for one in &added {
            self.say_notes(one, ui);
        }
        Ok(())
    }

    fn say_notes(&self, added: &Added, ui: &Ui) {
        let short = added.fingerprint.short();
        for note in &added.notes {
            ui.say(&format!("  note: {short}: {note}"));
        }
        if let (Some(name), AddOutcome::AlreadyTrusted) = (&self.name, added.outcome) {
            ui.say(&format!(
                "  note: {short}: it is not called {name} now; ucr certs remove {short} first"
            ));
        }
    }
}

fn advise(error: Error) -> CommandError {
    let out_of_time = matches!(error, Error::OutOfTime { .. });
    let failed = CommandError::new(error);
    if out_of_time {
        return failed.hint("--force, to trust it nevertheless");
    }
    failed
}

fn told(added: &Added, scope: &Scope) -> String {
    let what = outcome(added);
    let alone = match (scope.registry(), added.outcome) {
        (Some(registry), AddOutcome::Added) => format!(", for {registry} alone"),
        _ => String::new(),
    };
    format!(
        "{what} {}  {}  (valid until {}{alone})",
        added.fingerprint.short(),
        added.facts.subject,
        added.facts.not_after.day(),
    )
}

fn as_json(added: &Added, scope: &Scope) -> Value {
    json!({
        "fingerprint": format!("sha256:{}", added.fingerprint),
        "outcome": outcome(added).replace(' ', "-"),
        "subject": added.facts.subject,
        "notAfter": added.facts.not_after.to_string(),
        "registry": scope.registry().map(ToString::to_string),
        "from": added.from,
        "notes": added.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn outcome(added: &Added) -> &'static str {
    match added.outcome {
        AddOutcome::Added => "added",
        AddOutcome::AlreadyTrusted => "already trusted",
    }
}
