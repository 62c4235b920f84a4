//! How data is written to standard output: for people, or as JSON.

use clap::Args;
use serde_json::Value;

use crate::command_error::CommandError;
use crate::ui::Ui;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
}

/// The flag that every command has that prints data.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    /// How to write the result
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
}

impl FormatArgs {
    /// Whether a person is to read the result, and may be told more.
    pub fn is_for_people(self) -> bool {
        self.format == Format::Table
    }

    /// Writes `lines` for people, or `json` for programs.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn write(
        self,
        ui: &Ui,
        lines: impl FnOnce() -> Vec<String>,
        json: impl FnOnce() -> Value,
    ) -> Result<(), CommandError> {
        match self.format {
            Format::Json => ui.print(&format!("{:#}", json()))?,
            Format::Table => {
                for line in lines() {
                    ui.print(&line)?;
                }
            }
        }
        Ok(())
    }
}

/// Lays rows out in columns; the last one is as wide as it is.
///
/// Widths are counted in characters, and every row has as many cells as the first.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B", "C"], ["long", "ä", "the end"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), ["A     B  C", "long  ä  the end"]);
    }
}
