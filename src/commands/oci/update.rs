//! `ucr oci update`: other limits for a container that runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};
use ucr_runtime::id::ContainerId;
use ucr_runtime::oci;

use super::Context;
use crate::command_error::CommandError;
use crate::quantity;

/// The most that is read of a file of limits.
const RESOURCES_MAX: u64 = 1 << 20;

/// Which limits, and of whom; what is not said stays as it is.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// File with resources of the runtime specification, as JSON; - is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of reads and writes against others, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Length of a period, in microseconds
    #[arg(long, value_name = "N")]
    cpu_period: Option<u64>,
    /// Processor time in each period, in microseconds; negative is unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Weight against others
    #[arg(long, value_name = "N", alias = "cpu-shares")]
    cpu_share: Option<u64>,
    /// Period of real-time scheduling, in microseconds
    #[arg(long, value_name = "N")]
    cpu_rt_period: Option<u64>,
    /// Time in each such period, in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// Processors, such as 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory, such as 64m; -1 is unlimited
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory that is left to it when it runs short
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 is unlimited
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Processes and threads; -1 is unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Container
    #[arg(value_name = "ID")]
    id: ContainerId,
}

/// Changes the limits.
///
/// # Errors
/// What cannot be read, or the limit that cannot be changed.
pub(super) fn update(args: &UpdateArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let resources = args.resources()?;
    let file = args.resources.as_deref();
    let file = file.unwrap_or(Path::new("the command line"));
    let updated = oci::update::update(&context.root, &args.id, (file, &resources));
    updated.map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}

impl UpdateArgs {
    /// The file's, and what the flags say instead.
    fn resources(&self) -> Result<Value, CommandError> {
        let mut resources = self.in_file()?;
        for (group, name, value) in [
            ("blockIO", "weight", json!(self.blkio_weight)),
            ("cpu", "period", json!(self.cpu_period)),
            ("cpu", "quota", json!(self.cpu_quota)),
            ("cpu", "shares", json!(self.cpu_share)),
            ("cpu", "realtimePeriod", json!(self.cpu_rt_period)),
            ("cpu", "realtimeRuntime", json!(self.cpu_rt_runtime)),
            ("cpu", "cpus", json!(self.cpuset_cpus)),
            ("cpu", "mems", json!(self.cpuset_mems)),
            ("memory", "limit", json!(self.memory)),
            ("memory", "reservation", json!(self.memory_reservation)),
            ("memory", "swap", json!(self.memory_swap)),
            ("pids", "limit", json!(self.pids_limit)),
        ] {
            if !value.is_null() {
                let of_group = resources.entry(group).or_insert_with(|| json!({}));
                of_group[name] = value;
            }
        }
        Ok(resources.into())
    }

    fn in_file(&self) -> Result<Map<String, Value>, CommandError> {
        let Some(path) = &self.resources else {
            return Ok(Map::new());
        };
        let mut text = Vec::new();
        let read = match path.to_str() {
            Some("-") => io::stdin().take(RESOURCES_MAX).read_to_end(&mut text),
            _ => File::open(path).and_then(|file| file.take(RESOURCES_MAX).read_to_end(&mut text)),
        };
        let failed = |why: String| {
            CommandError::sentence(format!(
                "cannot read the resources of {}: {why}",
                path.display()
            ))
        };
        read.map_err(|error| failed(ucr_sys::reason(&error)))?;
        match serde_json::from_slice(&text) {
            Ok(Value::Object(resources)) => Ok(resources),
            Ok(_) => Err(failed("they are no JSON object".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn size(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        _ => quantity::bytes(text),
    }
}
