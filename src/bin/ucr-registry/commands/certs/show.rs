//! `ucr certs show`: everything about certificates, wherever they are.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Certificate, Entry, HostPort, Input, Selector, Timestamp};

use super::{entries, facts, list};
use crate::trust::{Trust, TrustArgs};

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// An added or trusted certificate, the certificates of a file, or those that a server presents
    #[arg(value_name = "FINGERPRINT|NAME|FILE|HOST[:PORT]")]
    what: String,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// A certificate, and its entry when it was added.
struct Shown {
    certificate: Certificate,
    entry: Option<Entry>,
}

/// Runs `ucr certs show`.
pub(super) fn show(
    args: &ShowArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let now = SystemTime::now().into();
    let shown = find(args, settings, ui)?;
    let json = |one: &Shown| match &one.entry {
        Some(entry) => facts::entry(entry, now),
        None => facts::certificate(&one.certificate, now),
    };
    args.format.write(
        ui,
        || shown.iter().flat_map(|one| described(one, now)).collect(),
        || shown.iter().map(json).collect::<Value>(),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A file by its path, a certificate by fingerprint or name, else a server.
fn find(args: &ShowArgs, settings: &Settings, ui: &Ui) -> Result<Vec<Shown>, CommandError> {
    let what = args.what.as_str();
    let bare = |certificate| Shown {
        certificate,
        entry: None,
    };
    if what.contains('/') || Path::new(what).is_file() {
        let contents = Input::read(Path::new(what)).and_then(|input| input.contents());
        let contents = contents.map_err(CommandError::new)?;
        let held = contents.certificates.into_iter().chain(contents.distrusted);
        let shown: Vec<Shown> = held.map(bare).collect();
        if shown.is_empty() {
            let text = format!("{what} holds a private key and no certificate");
            return Err(CommandError::sentence(text));
        }
        return Ok(shown);
    }
    if let Ok(selector) = what.parse::<Selector>() {
        let added = added(&selector, settings, ui)?;
        if !added.is_empty() {
            return Ok(added);
        }
    }
    let trust = args.trust.load_if_any(settings, ui)?;
    if let Ok(selector) = what.parse::<Selector>() {
        let trusted = trusted(&selector, &trust);
        if !trusted.is_empty() {
            return Ok(trusted.into_iter().map(bare).collect());
        }
    }
    let host = what.parse::<HostPort>().map_err(|_no_host| {
        CommandError::sentence(format!(
            "\"{what}\" is no added or trusted certificate, no file and no host"
        ))
        .hint("ucr certs list")
    })?;
    let inspection = trust.inspect(&host);
    let seen = inspection.seen().map_err(|why| {
        CommandError::sentence(format!(
            "\"{what}\" is no certificate and no file, and as a host: {why}"
        ))
    })?;
    Ok(seen.presented.chain().iter().cloned().map(bare).collect())
}

fn added(selector: &Selector, settings: &Settings, ui: &Ui) -> Result<Vec<Shown>, CommandError> {
    let entries = entries(settings, ui)?.into_iter();
    let pointed = entries.filter(|entry| {
        selector.points_at(entry.certificate.fingerprint()) || selector.names(entry)
    });
    Ok(pointed
        .map(|entry| Shown {
            certificate: entry.certificate.clone(),
            entry: Some(entry),
        })
        .collect())
}

/// Certificates of the base CAfile.
fn trusted(selector: &Selector, trust: &Trust) -> Vec<Certificate> {
    let bundle = trust.policy().for_all();
    let anchors = bundle.anchors().iter().map(|anchor| &anchor.certificate);
    let pointed = anchors.filter(|certificate| selector.points_at(certificate.fingerprint()));
    pointed.cloned().collect()
}

fn described(shown: &Shown, now: Timestamp) -> Vec<String> {
    let certificate = &shown.certificate;
    let facts = certificate.facts();
    let names = facts.alternative_names.join(", ");
    let ca = match facts.ca {
        Some(true) => "yes",
        Some(false) => "no",
        None => "it does not say",
    };
    let mut lines = vec![facts.subject.clone()];
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    field("issuer", facts.issuer_or_itself());
    field("sha256", &certificate.fingerprint().to_hex());
    field("serial", &facts.serial);
    field("valid from", &facts.not_before.to_string());
    let left = left(facts.not_after, now);
    field("valid until", &format!("{} ({left})", facts.not_after));
    field("names", &names);
    field("CA", ca);
    if let Some(entry) = &shown.entry {
        field("trusted for", &entry.scope.to_string());
        let name = entry.provenance.name.as_ref().map(ToString::to_string);
        field("name", &name.unwrap_or_default());
        field("origin", &list::origin(entry));
        field("file", &entry.path.display().to_string());
    }
    for note in facts.notes(now) {
        field("note", &note.to_string());
    }
    lines
}

/// How long something is still valid.
fn left(not_after: Timestamp, now: Timestamp) -> String {
    match not_after.days_after(now) {
        1 => "1 day left".to_owned(),
        days @ 0.. => format!("{days} days left"),
        _ => "expired".to_owned(),
    }
}
