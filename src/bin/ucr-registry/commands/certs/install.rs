//! `ucr certs install` and `ucr certs uninstall`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{
    Certificate, Entry, InstallError, InstallOutcome, Installed, LockedCafile, Scope, Uninstalled,
};

use super::{counted, list, refuse_own};

/// Where to put the added certificates.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// CAfile of another program, which is changed in place
    #[arg(long, value_name = "CAFILE")]
    into: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

/// Where to take them out.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// CAfile that they were installed into
    #[arg(long, alias = "into", value_name = "CAFILE")]
    from: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs install`.
pub(super) fn install(
    args: &InstallArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    refuse_own(args.into.parent(), settings)?;
    let cafile = LockedCafile::open(&args.into).map_err(advise)?;
    let listing = list::everything(settings)?;
    ui.say_passed_over(&listing.damaged);
    let (certificates, others) = for_all(&listing.entries);
    // Nothing to install takes ours out, but only when it is known that there is nothing.
    if certificates.is_empty() && !listing.damaged.is_empty() {
        let file = args.into.display();
        return Err(CommandError::sentence(format!(
            "no added certificate can be read, so {file} stays as it is"
        )));
    }
    let installed = cafile.install(&certificates).map_err(advise)?;
    let json = || {
        json!({
            "outcome": match installed.outcome {
                InstallOutcome::Installed => "installed",
                InstallOutcome::Replaced => "replaced",
                InstallOutcome::Unchanged => "unchanged",
                InstallOutcome::Emptied => "emptied",
            },
            "certificates": installed.certificates,
            "alsoElsewhere": installed.also_elsewhere,
            "file": args.into,
            "target": installed.target,
            "backup": installed.backup,
        })
    };
    args.format
        .write(ui, || vec![told_installed(&installed, args)], json)?;
    if installed.also_elsewhere > 0 {
        let count = installed.also_elsewhere;
        ui.say(&format!(
            "  note: it holds {count} of them elsewhere too, where an upgrade may drop them"
        ));
    }
    if others > 0 {
        ui.say(&format!(
            "  note: left out {}, trusted for one registry alone",
            counted(others)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The certificates for all registries, and how many there are for single ones.
fn for_all(entries: &[Entry]) -> (Vec<Certificate>, usize) {
    let counting = |entry: &&Entry| entry.scope == Scope::AllRegistries;
    let certificates = entries.iter().filter(counting);
    let certificates: Vec<_> = certificates
        .map(|entry| entry.certificate.clone())
        .collect();
    let others = entries.len() - certificates.len();
    (certificates, others)
}

/// Runs `ucr certs uninstall`.
pub(super) fn uninstall(args: &UninstallArgs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let uninstalled = ucr_certs::uninstall(&args.from).map_err(advise)?;
    let json = || {
        json!({
            "outcome": match uninstalled.certificates {
                Some(_) => "uninstalled",
                None => "unchanged",
            },
            "certificates": uninstalled.certificates.unwrap_or(0),
            "file": args.from,
            "target": uninstalled.target,
            "backup": uninstalled.backup,
        })
    };
    args.format
        .write(ui, || vec![told_uninstalled(&uninstalled, args)], json)?;
    Ok(ExitCode::SUCCESS)
}

fn told_installed(installed: &Installed, args: &InstallArgs) -> String {
    let count = counted(installed.certificates);
    let file = args.into.display();
    let what = match installed.outcome {
        InstallOutcome::Unchanged => return format!("{file} already holds {count} of ucr's"),
        InstallOutcome::Emptied => {
            return format!("took what {file} held of ucr's out: nothing is added any more");
        }
        InstallOutcome::Installed => format!("installed {count} into {file}"),
        InstallOutcome::Replaced => format!("replaced ucr's certificates in {file} by {count}"),
    };
    match &installed.backup {
        Some(backup) => format!("{what}, backup {}", backup.display()),
        None => what,
    }
}

fn told_uninstalled(uninstalled: &Uninstalled, args: &UninstallArgs) -> String {
    let file = args.from.display();
    match (uninstalled.certificates, &uninstalled.backup) {
        (None, _) => format!("{file} holds no certificate of ucr's"),
        (Some(count), None) => format!("took {} out of {file}", counted(count)),
        (Some(count), Some(backup)) => format!(
            "took {} out of {file}, backup {} stays",
            counted(count),
            backup.display()
        ),
    }
}

/// Adds to a failure what its reader may try.
fn advise(error: InstallError) -> CommandError {
    let hint = match &error {
        InstallError::NothingAdded => Some("ucr certs add CA.crt".to_owned()),
        InstallError::NotPem { file } => Some(format!("ucr certs convert {file} -o {file}")),
        _ => None,
    };
    CommandError::new(error).hints(hint)
}
