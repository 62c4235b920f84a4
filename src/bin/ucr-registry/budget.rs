//! `--max-bytes`, `--max-unpacked`, …: what an image may take; `[pull]` in the configuration says
//! it for all of them.

use clap::Args;
use ucr::config_file::PullTable;
use ucr::gc_config::size;
use ucr_puller::{Budget, Limit};

/// What the image may take.
#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// Refuse an image of which more would have to be fetched, such as 500m or 2g
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_bytes: Option<u64>,
    /// Refuse an image whose layers turn out to have more in them, uncompressed
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_unpacked: Option<u64>,
    /// Refuse an image whose layers turn out to have more files and directories in them
    #[arg(long, value_name = "N")]
    max_files: Option<u64>,
    /// Refuse an image of more layers [default: 499, the most that can be stacked]
    #[arg(long, value_name = "N")]
    max_layers: Option<usize>,
    /// Refuse layers that become so many times as large, once that is above 512 MiB [default: 200]
    #[arg(long, value_name = "N")]
    max_ratio: Option<u64>,
}

impl BudgetArgs {
    /// What was asked for here, else what the configuration says, else the usual.
    pub(crate) fn budget(&self, config: &PullTable) -> Budget {
        let usual = Budget::default();
        Budget {
            max_bytes: self.max_bytes.or(config.max_bytes),
            max_unpacked: self.max_unpacked.or(config.max_unpacked),
            max_files: self.max_files.or(config.max_files),
            max_layers: self
                .max_layers
                .or(config.max_layers)
                .unwrap_or(usual.max_layers),
            max_ratio: self
                .max_ratio
                .or(config.max_ratio)
                .unwrap_or(usual.max_ratio),
            ..usual
        }
    }
}

/// What to try when `limit` was in the way.
pub(crate) fn advice(limit: Limit) -> String {
    let (flag, value) = match limit {
        Limit::Bytes => ("max-bytes", "SIZE"),
        Limit::Unpacked => ("max-unpacked", "SIZE"),
        Limit::Files => ("max-files", "N"),
        Limit::Layers => ("max-layers", "N"),
        Limit::Ratio => ("max-ratio", "N"),
    };
    format!(
        "--{flag} {value} with more, if you trust the image ({flag} in [pull] of the configuration)"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        budget: BudgetArgs,
    }

    #[test]
    fn flags_win_over_the_configuration_and_both_over_the_usual() {
        let line = ["ucr", "--max-bytes", "1k", "--max-files", "7"];
        let line = Line::try_parse_from(line).unwrap();
        let config = PullTable {
            max_bytes: Some(5),
            max_unpacked: Some(6),
            max_layers: Some(100),
            ..PullTable::default()
        };
        let expected = Budget {
            max_bytes: Some(1024),
            max_unpacked: Some(6),
            max_files: Some(7),
            max_layers: 100,
            ..Budget::default()
        };
        assert_eq!(line.budget.budget(&config), expected);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for wrong in ["-1", "x", ""] {
            let line = ["ucr", &format!("--max-unpacked={wrong}")];
            assert!(Line::try_parse_from(line).is_err(), "{wrong}");
        }
    }
}
