//! `ucr-registry health`: how the containers of a task are, for `ucr launch`.
//!
//! `ucr_executor::health` says what is asked and told. All checks of a task go on side by side,
//! each in a thread of its own; the process ends when its standard input does.

use std::io::{self, BufRead as _, Read as _, stdin};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ucr::command_error::CommandError;
use ucr::settings::need_root;
use ucr::ui::Ui;
use ucr_executor::health::{Check, Course, Probe, Request};
use ucr_sys::process::{Namespaces, die_with_parent};

use crate::checker::{Containers, check};

/// The most that a request may have.
const REQUEST_LIMIT: u64 = 16 * 1024 * 1024;

/// Runs `ucr-registry health`.
pub(crate) fn health(ui: &Ui) -> Result<ExitCode, CommandError> {
    need_root("ucr-registry health", "containers are root's")?;
    die_with_parent().map_err(CommandError::new)?;
    let Request {
        container,
        ucr,
        arguments,
        network,
        checks,
    } = read_request()?;
    let began = Instant::now();
    let containers = Arc::new(Containers {
        container,
        ucr,
        arguments,
    });
    let is_command = |check: &Check| matches!(check.probe, Probe::Command { .. });
    let numbered = checks.into_iter().enumerate();
    let (commands, others): (Vec<_>, Vec<_>) = numbered.partition(|(_, check)| is_command(check));
    // What is started enters namespaces by itself: it begins in those of the host.
    for one in commands {
        start(one, &containers, (began, *ui))?;
    }
    if let Some(network) = network.filter(|_network| !others.is_empty()) {
        enter(&network)?;
    }
    for one in others {
        start(one, &containers, (began, *ui))?;
    }
    // Until whoever asked closes it, or is gone.
    io::copy(&mut stdin().lock(), &mut io::sink())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the line that is the request; what is behind it has no meaning but that it ends.
fn read_request() -> Result<Request, CommandError> {
    let mut line = Vec::new();
    let stdin = stdin().lock();
    stdin.take(REQUEST_LIMIT).read_until(b'\n', &mut line)?;
    serde_json::from_slice(&line).map_err(|error| {
        CommandError::sentence(format!(
            "what is asked on standard input cannot be understood: {error}"
        ))
    })
}

/// Moves this thread, and those that it starts from now on, into a network namespace.
fn enter(network: &Path) -> Result<(), CommandError> {
    let namespace = ucr_sys::namespace::open(network).map_err(CommandError::new)?;
    ucr_sys::namespace::join(namespace.as_fd(), Namespaces::NETWORK).map_err(CommandError::new)
}

/// Does a check over and over, in a thread of its own.
fn start(
    (number, checked): (usize, Check),
    containers: &Arc<Containers>,
    (began, ui): (Instant, Ui),
) -> Result<(), CommandError> {
    let containers = Arc::clone(containers);
    let repeat = move || {
        let mut course = Course::new(number, &checked);
        while let Some(due) = course.due() {
            ucr_images::pause(due.saturating_sub(began.elapsed()));
            let outcome = check(&checked, &containers);
            let told = course.ended(began.elapsed(), outcome);
            // A struct of plain fields: there is nothing to fail on.
            let line = told.and_then(|told| serde_json::to_string(&told).ok());
            if let Some(line) = line {
                // Who does not read it any more ends this process, by its standard input.
                drop(ui.print(&line));
            }
        }
    };
    let builder = thread::Builder::new().name(format!("check {number}"));
    builder.spawn(repeat).map(drop).map_err(CommandError::new)
}
