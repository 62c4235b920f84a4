//! `ucr certs`: the certificates that registries are trusted by.

mod add;
mod convert;
mod export;
mod install;
mod list;
mod remove;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use ucr_certs::{Certificate, Input, Timestamp, TrustStore};

use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::ui::Ui;

/// The most of standard input that is taken for a certificate.
const INPUT_LIMIT: u64 = 16 * 1024 * 1024;

/// What to do with the added certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Trust certificates, in PEM or DER, of files or of standard input ("-")
    Add(add::AddArgs),
    /// List the added certificates
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Trust a certificate no longer
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
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
    let store = TrustStore::new(&settings.certs_dir);
    match command {
        CertsCommand::Add(args) => add::add(args, &store, ui),
        CertsCommand::List(args) => list::list(args, &store, ui),
        CertsCommand::Remove(args) => remove::remove(args, &store, ui),
        CertsCommand::Convert(args) => convert::convert(args, ui),
        CertsCommand::Export(args) => export::export(args, &store, ui),
        CertsCommand::Install(args) => install::install(args, &store, ui),
        CertsCommand::Uninstall(args) => install::uninstall(args, ui),
    }
}

/// Reads a file, or standard input for `-`.
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

/// The certificates that were added, none of them damaged.
fn added(store: &TrustStore) -> Result<Vec<Certificate>, CommandError> {
    let listing = store.list().map_err(CommandError::new)?;
    if let Some(damaged) = listing.damaged.into_iter().next() {
        return Err(CommandError::new(damaged));
    }
    let entries = listing.entries.into_iter();
    Ok(entries.map(|entry| entry.certificate).collect())
}

/// "1 certificate", "2 certificates".
fn counted(certificates: usize) -> String {
    let plural = if certificates == 1 { "" } else { "s" };
    format!("{certificates} certificate{plural}")
}

/// The day of a moment.
fn date(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}
