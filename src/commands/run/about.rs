//! What people know a container by, and how it is ended: `--label`, `--stop-signal`, `--cidfile` …

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use oci_spec::runtime::Spec;
use ucr_images::ImageConfig;
use ucr_runtime::plan::{About, HostConfig, Stop};

use crate::command_error::CommandError;
use crate::quantity;
use crate::signals;

/// What a container is known by, besides its name.
#[derive(Debug, Args)]
pub(super) struct AboutArgs {
    /// Label of the container, for ucr ps --filter
    #[arg(short, long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Signal that asks the task to end [default: the image's, or TERM]
    #[arg(long, value_name = "SIGNAL", value_parser = signals::parse)]
    stop_signal: Option<i32>,
    /// Seconds that ucr stop gives the task before it kills it; -1 for ever
    #[arg(long, value_name = "SECONDS", value_parser = quantity::seconds_or_ever, allow_negative_numbers = true, default_value_t = Stop::default().seconds)]
    stop_timeout: u64,
    /// Kill the container after this many seconds; 0 for never
    #[arg(long, value_name = "SECONDS", value_parser = quantity::seconds_or_time, default_value_t = 0)]
    timeout: u64,
    /// File that the container's ID is written to; it must not exist
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// File that the task's process ID is written to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
}

impl AboutArgs {
    /// What people will know the container by, but for what it may use of the host.
    pub(super) fn of(
        &self,
        (image, image_id): (String, String),
        config: &ImageConfig,
        spec: &Spec,
    ) -> Result<About, CommandError> {
        let of_image = match config.stop_signal() {
            "" => None,
            signal => Some(signals::parse(signal).map_err(|_no_signal| {
                let signal = signal.escape_debug();
                CommandError::sentence(format!("the image's stop signal \"{signal}\" is none"))
                    .hint("--stop-signal TERM, or another")
            })),
        };
        let usual = Stop::default().signal;
        let signal = match self.stop_signal {
            Some(signal) => signal,
            None => of_image.transpose()?.unwrap_or(usual),
        };
        let process = spec.process().as_ref();
        Ok(About {
            image,
            image_id,
            command: process
                .and_then(|process| process.args().clone())
                .unwrap_or_default(),
            labels: self.labels.iter().cloned().collect(),
            stop: Stop {
                signal,
                seconds: self.stop_timeout,
            },
            host: HostConfig::default(),
        })
    }

    /// After how many seconds the container is killed, if ever.
    pub(super) fn timeout(&self) -> Option<u64> {
        Some(self.timeout).filter(|seconds| *seconds > 0)
    }

    /// Where the task's number goes, as an absolute path.
    ///
    /// # Errors
    /// When there is no directory that it could be in, as the task would run by then.
    pub(super) fn pid_file(&self) -> Result<Option<PathBuf>, CommandError> {
        let Some(path) = &self.pidfile else {
            return Ok(None);
        };
        let path = std::path::absolute(path).map_err(CommandError::new)?;
        match path.parent() {
            Some(folder) if folder.is_dir() && !path.is_dir() => Ok(Some(path)),
            _ => Err(CommandError::sentence(format!(
                "cannot write the task's number to {}: there is no directory for it, or one in its place",
                path.display()
            ))),
        }
    }

    /// Writes the container's ID to the file of `--cidfile`, which must not be there yet.
    pub(super) fn write_cidfile(&self, id: &str) -> Result<(), CommandError> {
        let Some(path) = &self.cidfile else {
            return Ok(());
        };
        let file = File::options().write(true).create_new(true).open(path);
        let written = file.and_then(|mut file| file.write_all(id.as_bytes()));
        written.map_err(|error| {
            let (path, error) = (path.display(), ucr_sys::reason(&error));
            CommandError::sentence(format!(
                "cannot write the container's ID to {path}: {error}"
            ))
        })
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err("it has no key".to_owned()),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}
