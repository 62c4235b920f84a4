//! `ucr certs export`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{
    Certificate, DockerDirError, Entry, HostPort, RegistryFile, RegistryOutcome, TrustBundle,
    annotated_pem, exported_registries, write_docker_dir, write_file, write_hash_dir,
};

use super::{counted, entries, is_same, refuse_own};
use crate::trust::TrustArgs;

const CAFILE_COMMENT: &[u8] = b"# Everything that ucr trusts, written by `ucr certs export`.\n";

/// What to write for whom.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Registry to write certificates for, with --docker-dir; may be repeated
    #[arg(
        long = "registry",
        value_name = "HOST[:PORT]",
        conflicts_with_all = ["to_cafile", "hash_dir"]
    )]
    registries: Vec<HostPort>,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// One place to write to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Write everything that is trusted into one file ("-" for standard output)
    #[arg(id = "to_cafile", long = "cafile", value_name = "OUT|-")]
    cafile: Option<PathBuf>,
    /// Write everything that is trusted into a directory for $SSL_CERT_DIR
    #[arg(long, value_name = "DIR")]
    hash_dir: Option<PathBuf>,
    /// Write the added certificates into dockerd's certs.d, for each --registry and each one there
    #[arg(long, value_name = "DIR")]
    docker_dir: Option<PathBuf>,
}

/// Which CAfile trust begins with; `--cafile` is what is written here.
#[derive(Debug, Args)]
#[command(mut_arg("cafile", |argument| argument.long("base")))]
struct BaseArgs {
    #[command(flatten)]
    trust: TrustArgs,
}

/// Runs `ucr certs export`.
pub(super) fn export(
    args: &ExportArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let target = &args.target;
    if let Some(path) = &target.cafile {
        export_cafile(args, path, settings, ui)?;
    } else if let Some(directory) = &target.hash_dir {
        export_hash_dir(args, directory, settings, ui)?;
    } else if let Some(directory) = &target.docker_dir {
        export_docker_dir(args, directory, settings, ui)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn export_cafile(
    args: &ExportArgs,
    path: &Path,
    settings: &Settings,
    ui: &Ui,
) -> Result<(), CommandError> {
    let bundle = args.base.trust.load(settings, ui)?.policy().for_all();
    let certificates = certificates(&bundle);
    let count = certificates.len();
    let text = [CAFILE_COMMENT, &annotated_pem(certificates)].concat();
    if path == Path::new("-") {
        return Ok(ui.print_bytes(&text)?);
    }
    refuse_own(path.parent(), settings)?;
    if bundle
        .sources()
        .iter()
        .any(|source| is_same(&source.path, path))
    {
        let refused = CommandError::sentence(format!(
            "{} is what trust begins with, and is not written to",
            path.display()
        ));
        return Err(refused.hint("another file, or ucr certs install --into that one"));
    }
    write_file(path, &text).map_err(CommandError::new)?;
    args.format.write(
        ui,
        || vec![format!("wrote {} to {}", counted(count), path.display())],
        || json!({ "certificates": count, "file": path }),
    )
}

fn export_hash_dir(
    args: &ExportArgs,
    directory: &Path,
    settings: &Settings,
    ui: &Ui,
) -> Result<(), CommandError> {
    refuse_own(Some(directory), settings)?;
    let bundle = args.base.trust.load(settings, ui)?.policy().for_all();
    let written = write_hash_dir(directory, &certificates(&bundle)).map_err(CommandError::new)?;
    let told = || {
        let count = counted(written.certificates);
        let what = format!("wrote {count} to {}", directory.display());
        match written.removed {
            0 => what,
            removed => format!("{what}, removed {removed} trusted no longer"),
        }
    };
    let as_json = || {
        json!({
            "certificates": written.certificates,
            "removed": written.removed,
            "directory": directory,
        })
    };
    args.format.write(ui, || vec![told()], as_json)
}

fn export_docker_dir(
    args: &ExportArgs,
    directory: &Path,
    settings: &Settings,
    ui: &Ui,
) -> Result<(), CommandError> {
    refuse_own(Some(directory), settings)?;
    // Those of an earlier export are renewed, or removed, whether they are named now or not.
    let exported = exported_registries(directory).map_err(CommandError::new)?;
    let named = [args.registries.as_slice(), &exported].concat();
    let wanted = by_registry(&named, &entries(settings, ui)?);
    let files = write_docker_dir(directory, &wanted).map_err(|error| {
        let hint = matches!(error, DockerDirError::NoRegistry { .. });
        let name_one = hint.then_some("--registry HOST[:PORT], for each registry");
        CommandError::new(error).hints(name_one)
    })?;
    if files
        .iter()
        .all(|file| file.outcome == RegistryOutcome::Nothing)
    {
        let refused = CommandError::sentence("no certificate was added, so there is none to write");
        return Err(refused.hint("ucr certs add CA.crt"));
    }
    let all = || Value::Array(files.iter().map(as_json).collect());
    args.format
        .write(ui, || files.iter().map(told).collect(), all)
}

fn told(file: &RegistryFile) -> String {
    let path = file.path.display();
    match file.outcome {
        RegistryOutcome::Written { certificates } => {
            format!("wrote {} to {path}", counted(certificates))
        }
        RegistryOutcome::Removed => format!("removed {path}, no certificate being left for it"),
        RegistryOutcome::Nothing => format!("no certificate for {path}"),
    }
}

fn as_json(file: &RegistryFile) -> Value {
    let (outcome, certificates) = match file.outcome {
        RegistryOutcome::Written { certificates } => ("written", certificates),
        RegistryOutcome::Removed => ("removed", 0),
        RegistryOutcome::Nothing => ("nothing", 0),
    };
    json!({
        "registry": file.registry.to_string(),
        "outcome": outcome,
        "certificates": certificates,
        "file": file.path,
    })
}

fn certificates(bundle: &TrustBundle) -> Vec<&Certificate> {
    let anchors = bundle.anchors().iter();
    anchors.map(|anchor| &anchor.certificate).collect()
}

/// What counts for each registry: those that are named, and those with certificates of their own.
fn by_registry(named: &[HostPort], entries: &[Entry]) -> Vec<(HostPort, Vec<Certificate>)> {
    let own = entries.iter().filter_map(|entry| entry.scope.registry());
    let registries: BTreeSet<&HostPort> = named.iter().chain(own).collect();
    let counting = |registry: &HostPort| {
        let covering = entries.iter().filter(|entry| entry.scope.covers(registry));
        covering.map(|entry| entry.certificate.clone()).collect()
    };
    let registries = registries.into_iter();
    registries
        .map(|registry| (registry.clone(), counting(registry)))
        .collect()
}
