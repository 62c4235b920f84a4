//! `--deadline`, `--retry`, `--min-rate`: how patient a pull is.

use std::time::Duration;

use clap::Args;
use ucr::quantity;
use ucr_images::Deadline;
use ucr_puller::http::{Patience, Ranges, Settings};

/// How long and how often trouble is put up with.
#[derive(Debug, Args)]
pub(crate) struct PatienceArgs {
    /// Give up pulling after this time, such as 90s or 10m, whatever it waits for
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    deadline: Option<Deadline>,
    /// How often to repeat a request that fails in a way that may pass
    #[arg(long, value_name = "N", default_value_t = Patience::default().retries)]
    retry: u32,
    /// Wait before the first repetition; each later one waits twice as long [default: 300ms]
    #[arg(long, value_name = "TIME", value_parser = span)]
    retry_delay: Option<Duration>,
    /// Give a transfer up that brings less than this in a second for half a minute
    #[arg(long, value_name = "SIZE", default_value = "1k", value_parser = rate)]
    min_rate: u32,
    /// Whether a large layer is fetched by several requests at once
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    parallel_ranges: When,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// Where it turns out to be faster
    Auto,
    /// Wherever there is enough to share
    Always,
    /// Nowhere
    Never,
}

/// The smallest part where parts are wanted in any case.
const LEAST_PART: u64 = 1024 * 1024;

impl PatienceArgs {
    /// When all must be done; counted from the start of this process.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline.unwrap_or_default()
    }

    /// Makes `transport` as patient as was asked for.
    pub(crate) fn apply(&self, transport: &mut Settings) {
        let usual = Patience::default();
        transport.patience = Patience {
            retries: self.retry,
            first_delay: self.retry_delay.unwrap_or(usual.first_delay),
            deadline: self.deadline(),
            least_rate: self.min_rate,
            ..usual
        };
        transport.ranges = match self.parallel_ranges {
            When::Auto => Ranges::Adaptive,
            When::Always => Ranges::Always(LEAST_PART),
            When::Never => Ranges::Never,
        };
    }
}

fn deadline(text: &str) -> Result<Deadline, String> {
    span(text).map(Deadline::within)
}

fn span(text: &str) -> Result<Duration, String> {
    if let Some(number) = text.strip_suffix("ms") {
        let parsed = number.parse().map(Duration::from_millis);
        return parsed.map_err(|_no_number| format!("\"{text}\" is not a time like 300ms or 10s"));
    }
    let seconds = quantity::seconds(text)?;
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_negative| format!("\"{text}\" is not a time like 90s or 10m"))
}

fn rate(text: &str) -> Result<u32, String> {
    let bytes = quantity::bytes(text)?;
    u32::try_from(bytes).map_err(|_too_large| format!("\"{text}\" is no rate below 4g a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_rates_as_people_write_them() {
        assert_eq!(span("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(span("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(rate("10k"), Ok(10240));
        for wrong in ["", "10", "xms", "-5s", "ms"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert!(rate("5g").is_err());
    }
}
