//! `ucr certs`: the certificates that registries are trusted by.

mod add;
mod check;
mod convert;
mod expiring;
mod export;
mod facts;
mod fetch;
mod install;
mod list;
mod remove;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use ucr::command_error::CommandError;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Entry, HostPort, Input, Scope, TrustStore};

use crate::trust::trust_stores;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Trust certificates, for all registries or for one
    Add(add::AddArgs),
    /// List the added certificates
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show everything about certificates: added ones, a file's, or a server's
    #[command(visible_alias = "inspect")]
    Show(show::ShowArgs),
    /// Trust certificates no longer
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
    /// Connect to registries and say whether, by what and why (not) they are trusted
    Check(check::CheckArgs),
    /// Trust a certificate that a server presents, by its fingerprint
    Fetch(fetch::FetchArgs),
    /// List the added certificates that expire soon; exit code 1 if any does
    Expiring(expiring::ExpiringArgs),
    /// Write certificates of a file, or of standard input ("-"), in another format
    Convert(convert::ConvertArgs),
    /// Write what is trusted for other programs
    Export(export::ExportArgs),
    /// Put the added certificates into another program's CAfile
    Install(install::InstallArgs),
    /// Take what "install" put into a CAfile out of it
    Uninstall(install::UninstallArgs),
}

/// Runs `ucr certs …`.
pub(crate) fn certs(
    command: &CertsCommand,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    match command {
        CertsCommand::Add(args) => add::add(args, settings, ui),
        CertsCommand::List(args) => list::list(args, settings, ui),
        CertsCommand::Show(args) => show::show(args, settings, ui),
        CertsCommand::Remove(args) => remove::remove(args, settings, ui),
        CertsCommand::Check(args) => check::check(args, settings, ui),
        CertsCommand::Fetch(args) => fetch::fetch(args, settings, ui),
        CertsCommand::Expiring(args) => expiring::expiring(args, settings, ui),
        CertsCommand::Convert(args) => convert::convert(args, settings, ui),
        CertsCommand::Export(args) => export::export(args, settings, ui),
        CertsCommand::Install(args) => install::install(args, settings, ui),
        CertsCommand::Uninstall(args) => install::uninstall(args, ui),
    }
}

/// Reads a file, or standard input for `-`.
fn read(file: &Path) -> Result<Input, CommandError> {
    if file != Path::new("-") {
        return Input::read(file).map_err(CommandError::new);
    }
    Ok(Input::read_from("standard input", std::io::stdin().lock())?)
}

/// One registry, or all of them.
fn scope_of(registry: Option<&HostPort>) -> Scope {
    registry
        .cloned()
        .map_or(Scope::AllRegistries, Scope::Registry)
}

/// The certificates that were added; a damaged one is said and passed over.
fn entries(settings: &Settings, ui: &Ui) -> Result<Vec<Entry>, CommandError> {
    let listing = list::everything(settings)?;
    ui.say_passed_over(&listing.damaged);
    Ok(listing.entries)
}

/// "1 certificate", "2 certificates".
fn counted(certificates: usize) -> String {
    let plural = if certificates == 1 { "" } else { "s" };
    format!("{certificates} certificate{plural}")
}

/// Keeps what is written for others out of a trust store, where it would be trusted by `ucr`, or
/// damage what is.
fn refuse_own(directory: Option<&Path>, settings: &Settings) -> Result<(), CommandError> {
    let stores = trust_stores(settings);
    let mut stores = stores.iter().map(TrustStore::directory);
    match stores.find(|store| directory.is_some_and(|directory| is_same(directory, store))) {
        None => Ok(()),
        Some(store) => Err(CommandError::sentence(format!(
            "{} holds the added certificates themselves, and nothing else is written there",
            store.display()
        ))
        .hint("a directory of its own")),
    }
}

/// Whether two paths lead to the same place, which exists; the parent of a bare name is here.
fn is_same(one: &Path, other: &Path) -> bool {
    let here = |path: &Path| path.as_os_str().is_empty().then_some(Path::new("."));
    let real = |path: &Path| here(path).unwrap_or(path).canonicalize().ok();
    real(one).is_some_and(|place| real(other) == Some(place))
}
