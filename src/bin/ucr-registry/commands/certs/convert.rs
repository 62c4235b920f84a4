//! `ucr certs convert`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::{Encoding, write_file};

use super::{counted, read, refuse_own};

/// What to write how.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// File that holds certificates, PEM (one or many) or DER
    #[arg(value_name = "IN|-")]
    input: PathBuf,
    /// File to write, which may be IN itself [default: standard output]
    #[arg(short, long = "out", value_name = "OUT")]
    output: Option<PathBuf>,
    /// Format of the certificates
    #[arg(long, value_enum, default_value_t = To::Pem, value_name = "FORMAT")]
    to: To,
    #[command(flatten)]
    format: FormatArgs,
}

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// Text, for any number of certificates
    Pem,
    /// Bytes, for one certificate
    Der,
}

impl From<To> for Encoding {
    fn from(to: To) -> Self {
        match to {
            To::Pem => Self::Pem,
            To::Der => Self::Der,
        }
    }
}

/// Runs `ucr certs convert`.
pub(super) fn convert(
    args: &ConvertArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    if output.is_none() && args.to == To::Der && ui.is_read() {
        let refused = CommandError::sentence("DER is not for terminals");
        return Err(refused.hint("-o FILE, or a pipe"));
    }
    let input = read(&args.input)?;
    let converted = ucr_certs::convert(&input, args.to.into()).map_err(CommandError::new)?;
    match output {
        None => ui.print_bytes(&converted.bytes)?,
        Some(path) => {
            refuse_own(path.parent(), settings)?;
            write_file(path, &converted.bytes).map_err(CommandError::new)?;
            let count = counted(converted.certificates);
            args.format.write(
                ui,
                || vec![format!("wrote {count} to {}", path.display())],
                || json!({ "certificates": converted.certificates, "file": path }),
            )?;
        }
    }
    if converted.private_keys > 0 {
        let (name, count) = (input.name(), converted.private_keys);
        ui.say(&format!(
            "  note: {name} holds private keys as well: left out {count}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
