//! `ucr-init`: supervisor of a container, and its pid 1.
//!
//! Started by `ucr` from a sealed memory file, with the number of the
//! descriptor that holds the plan as its only argument. This is the one place
//! where it prints.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use ucr_runtime::process::supervise;

/// `ucr` failed, as docker-run(1) has it.
const OUR_FAULT: u8 = 125;

/// Runs the container of the plan; visible to the launcher of the runtime's tests, which includes this file.
pub(crate) fn main() -> ExitCode {
    let plan = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok());
    let Some(plan) = plan else {
        say("this program is part of ucr, which starts it");
        return ExitCode::from(OUR_FAULT);
    };
    let outcome = supervise(plan);
    if let Some(error) = &outcome.error {
        say(&chain(error));
    }
    for note in &outcome.notes {
        say(&note.to_string());
    }
    for leftover in &outcome.leftovers {
        say(&format!(
            "{}; the next ucr command tries again",
            chain(leftover)
        ));
    }
    ExitCode::from(outcome.code)
}

fn say(line: &str) {
    // With standard error closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "ucr: {line}"));
}

/// The message of an error and of everything below it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
