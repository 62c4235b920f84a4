//! How a pull is to be shown: a person may ask for it wherever one may have to be made.

use clap::Args;

use crate::ui::Ui;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bar,
    /// A line for each thing that begins or ends
    Plain,
    /// Lines of JSON, with bytes (docs/report.md)
    Json,
    /// Nothing
    None,
}

/// How to show progress.
#[derive(Debug, Args)]
pub struct ProgressArgs {
    /// How to show progress, on standard error
    #[arg(long, value_enum, default_value_t = Form::Auto, value_name = "FORM")]
    progress: Form,
    /// Show no progress, as --progress none
    #[arg(short, long, conflicts_with = "progress")]
    quiet: bool,
}

impl ProgressArgs {
    /// The form that was asked for; on a terminal others are usual than elsewhere.
    pub fn form(&self, ui: Ui) -> Form {
        match self.progress {
            _ if self.quiet => Form::None,
            Form::Auto if ui.is_watched() => Form::Bar,
            Form::Auto => Form::Plain,
            form => form,
        }
    }
}
