//! The other executables of `ucr`: beside this one, or where packages put them.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command_error::CommandError;

/// Docker's exit code for "not the task, but who starts it".
const FAILED: u8 = 125;

/// Finds the executable `name` of the same build.
///
/// # Errors
/// When it is at none of the places.
pub fn executable(name: &str) -> Result<PathBuf, CommandError> {
    let ours = std::env::current_exe()?;
    let directory = ours.parent().unwrap_or(Path::new("/"));
    let places = [
        directory.join(name),
        directory.join("../libexec/ucr").join(name),
    ];
    places
        .iter()
        .find(|place| place.is_file())
        .cloned()
        .ok_or_else(|| {
            let [beside, libexec] = places.each_ref().map(|place| place.display().to_string());
            CommandError::sentence(format!(
                "{name} is missing: looked for {beside} and {libexec}"
            ))
            .hint(
                "install ucr, ucr-init and ucr-registry of the same build together (scripts/build)",
            )
        })
}

/// What stood before the word `command` on this process's command line, for the others.
pub(crate) fn global_arguments(command: &str) -> Vec<std::ffi::OsString> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let before = crate::cli::global_arguments(&arguments, command);
    before.to_vec()
}

/// Turns this process into `ucr-registry` with the same command line; returns only on failure.
///
/// What this process has locked is free by that, and swept by whoever comes next, as if it had
/// been killed.
pub fn become_registry() -> CommandError {
    let program = match executable("ucr-registry") {
        Ok(program) => program,
        Err(error) => return error.code(FAILED),
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "ucr".into());
    let error = Command::new(&program).arg0(name).args(arguments).exec();
    let (program, why) = (program.display(), ucr_sys::reason(&error));
    CommandError::sentence(format!("cannot execute {program}: {why}")).code(FAILED)
}
