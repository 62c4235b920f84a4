//! Standard input, output and error of a task: `-i` and `-t`.

use std::io::IsTerminal as _;

use clap::{ArgAction, Args};
use oci_spec::runtime::{BoxBuilder, Process};
use ucr_runtime::plan::Terminal;
use ucr_sys::terminal::standard_size;

use crate::command_error::CommandError;
use crate::quantity;

/// What a task's standard streams are.
#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// Pass standard input on to the task; it reads nothing otherwise
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = quantity::switch, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    interactive: bool,
    /// Give the task a terminal of its own
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = quantity::switch, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    tty: bool,
}

impl StreamArgs {
    /// Refuses to pass keys on from where there are none, as Docker does.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        if self.tty && self.interactive && !std::io::stdin().is_terminal() {
            let text = "-t with -i passes keys on, and standard input is no terminal: leave out -t";
            return Err(CommandError::sentence(text));
        }
        let streams = [("input", 0), ("output", 1), ("error", 2)];
        let is_directory = |(_, number): &(&str, i32)| ucr_sys::is_directory(*number);
        if let Some((name, _)) = streams.iter().find(|stream| is_directory(stream)) {
            return Err(CommandError::sentence(format!(
                "standard {name} is a directory of this host, and the task could go anywhere from there"
            )));
        }
        Ok(())
    }

    /// Leaves the task nothing to read where nothing is to be passed on.
    pub(crate) fn close_input(&self) -> Result<(), CommandError> {
        if self.interactive {
            return Ok(());
        }
        ucr_sys::stdin_from_null().map_err(CommandError::new)
    }

    /// The terminal that is asked for, as large as the caller's.
    pub(crate) fn terminal(&self) -> Option<Terminal> {
        self.tty.then(terminal_like_ours)
    }

    /// Puts it into the process of a spec.
    pub(crate) fn apply(&self, process: &mut Process) {
        if let Some(Terminal { rows, columns }) = self.terminal() {
            let size = BoxBuilder::default()
                .height(u64::from(rows))
                .width(u64::from(columns));
            process
                .set_terminal(Some(true))
                // Both are given, which is all that can be missing.
                .set_console_size(size.build().ok());
        }
    }
}

/// A terminal as large as the caller's.
pub(crate) fn terminal_like_ours() -> Terminal {
    let size = standard_size().unwrap_or_default();
    Terminal {
        rows: size.rows,
        columns: size.columns,
    }
}
