//! `ucr oci spec`: a configuration to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use oci_spec::runtime::{Root, Spec};

use crate::command_error::CommandError;

/// Where to write it.
#[derive(Debug, Args)]
pub(super) struct SpecArgs {
    /// Directory that gets config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Refused: there are no containers without root yet
    #[arg(long, hide = true)]
    rootless: bool,
}

/// Writes the file, unless one is there.
///
/// # Errors
/// When it cannot be written.
pub(super) fn spec(args: &SpecArgs) -> Result<ExitCode, CommandError> {
    if args.rootless {
        return Err(CommandError::sentence(
            "--rootless is not supported: containers need root",
        ));
    }
    let file = args.bundle.join("config.json");
    let text = serde_json::to_string_pretty(&configuration()).map_err(CommandError::new)?;
    let opened = OpenOptions::new().write(true).create_new(true).open(&file);
    opened
        .and_then(|mut opened| writeln!(opened, "{text}"))
        .map_err(|error| {
            let reason = ucr_sys::reason(&error);
            CommandError::sentence(format!("cannot write {}: {reason}", file.display()))
        })?;
    Ok(ExitCode::SUCCESS)
}

/// A shell in `rootfs`, isolated as `ucr run` does it.
fn configuration() -> Spec {
    let mut spec = ucr_runtime::spec::defaults();
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(true));
    spec.set_root(Some(root)).set_hostname(Some("ucr".into()));
    if let Some(process) = spec.process_mut() {
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        process
            .set_terminal(Some(false))
            .set_args(words(&["sh"]))
            .set_env(words(&[path, "TERM=xterm"]));
    }
    spec
}
