//! `ucr certs fetch`: a certificate from the server that presents it, by its fingerprint.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Certificate, Fingerprint, HostPort, Input, Scope};

use super::add::HowArgs;
use crate::inspection::Inspection;
use crate::trust::TrustArgs;

/// Which certificate to fetch.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    how: HowArgs,
    /// The SHA-256 fingerprint that whoever runs the server gave you, all 64 digits of it;
    /// without one, choose on the terminal
    #[arg(long, value_name = "sha256:…")]
    fingerprint: Option<Fingerprint>,
    /// Trust it for all registries [default: for the server that presents it]
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    trust: TrustArgs,
    /// Server to fetch it from
    #[arg(value_name = "HOST[:PORT]")]
    host: HostPort,
}

/// Runs `ucr certs fetch`.
pub(super) fn fetch(
    args: &FetchArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let trust = args.trust.load_if_any(settings, ui)?;
    let inspection = trust.inspect(&args.host);
    let chain = match inspection.seen() {
        Ok(seen) => seen.presented.chain(),
        Err(why) => {
            let text = format!("cannot fetch a certificate from {}: {why}", args.host);
            return Err(CommandError::sentence(text));
        }
    };
    let wanted = match args.fingerprint {
        Some(fingerprint) => presented(chain, fingerprint, &inspection, &args.host)?,
        None => choose(chain, &inspection, &args.host, ui)?,
    };
    let from = format!("fetched from {}", args.host);
    let input = Input::new(&from, wanted.to_pem());
    let scope = if args.all {
        Scope::AllRegistries
    } else {
        Scope::Registry(args.host.clone())
    };
    args.how.add(&[input], scope, settings, ui)?;
    Ok(ExitCode::SUCCESS)
}

fn presented<'a>(
    chain: &'a [Certificate],
    fingerprint: Fingerprint,
    inspection: &Inspection,
    host: &HostPort,
) -> Result<&'a Certificate, CommandError> {
    let mut candidates = chain.iter();
    let found = candidates.find(|certificate| certificate.fingerprint() == fingerprint);
    found.ok_or_else(|| {
        let text =
            format!("{host} presents no certificate with the fingerprint sha256:{fingerprint}");
        told(CommandError::sentence(text), inspection, host)
    })
}

/// Asks the person at the terminal; there has to be one.
fn choose<'a>(
    chain: &'a [Certificate],
    inspection: &Inspection,
    host: &HostPort,
    ui: &Ui,
) -> Result<&'a Certificate, CommandError> {
    if !std::io::stdin().is_terminal() || !ui.is_watched() {
        let text = format!(
            "nobody is here to say which certificate of {host} is the right one (no terminal)"
        );
        let hint = "--fingerprint sha256:…, with the one that whoever runs the server gave you";
        return Err(told(CommandError::sentence(text), inspection, host).hint(hint));
    }
    ui.say(&format!(
        "{host} presents, and nothing but its word vouches for it:"
    ));
    for line in inspection.chain() {
        ui.say(&format!("  {line}"));
    }
    ui.say("Compare the fingerprint with the one that whoever runs the server gave you.");
    ui.ask(&format!(
        "Which one to trust [1-{}, Enter for none]? ",
        chain.len()
    ));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let number: Option<usize> = answer.trim().parse().ok();
    let chosen = number.and_then(|number| chain.get(number.checked_sub(1)?));
    chosen.ok_or_else(|| CommandError::sentence("nothing was added"))
}

fn told(failed: CommandError, inspection: &Inspection, host: &HostPort) -> CommandError {
    let lines = inspection.chain().into_iter();
    lines.fold(failed, |failed, line| {
        failed.note(format!("{host} presents {line}"))
    })
}
