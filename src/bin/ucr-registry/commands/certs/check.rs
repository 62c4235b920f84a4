//! `ucr certs check`: real handshakes with registries, as a pull makes them, and why they fail.

mod report;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::HostPort;

use self::report::Report;
use crate::trust::TrustArgs;

/// Whom to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Registries to connect to
    #[arg(value_name = "HOST[:PORT]", required = true)]
    hosts: Vec<HostPort>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr certs check`; exit code 0 only when a pull from each of them would work.
pub(super) fn check(
    args: &CheckArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let trust = Arc::new(args.trust.load_if_any(settings, ui)?);
    // All at once: one that does not answer takes its time.
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let trust = &trust;
        let look = |host| scope.spawn(move || Report::of(host, trust, &settings.registries));
        let looks: Vec<_> = args.hosts.iter().map(look).collect();
        let reports = looks.into_iter().map(|look| look.join());
        reports.collect::<Result<_, _>>()
    })
    .map_err(|_panic| CommandError::sentence("a check did not come to its end"))?;
    args.format.write(
        ui,
        || reports.iter().flat_map(Report::lines).collect(),
        || reports.iter().map(Report::as_json).collect(),
    )?;
    Ok(if reports.iter().all(Report::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
