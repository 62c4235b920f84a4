//! What is asked for by flags and environment, resolved once; and who asks.

use std::path::PathBuf;

use crate::cli::GlobalArgs;
use crate::command_error::CommandError;

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The store.
    pub(crate) root: PathBuf,
    /// The state of running containers.
    pub(crate) state: PathBuf,
    /// The added certificates.
    pub(crate) certs_dir: PathBuf,
}

impl Settings {
    /// Takes the global flags.
    pub(crate) fn new(global: GlobalArgs) -> Result<Self, CommandError> {
        Ok(Self {
            root: absolute(global.root)?,
            state: absolute(global.state)?,
            certs_dir: absolute(global.certs_dir)?,
        })
    }
}

/// Paths outlive the working directory: `ucr-init` changes it.
fn absolute(path: PathBuf) -> Result<PathBuf, CommandError> {
    Ok(std::path::absolute(path)?)
}

/// Refuses to go on without root, in one line that says why.
pub(crate) fn need_root(command: &str, why: &str) -> Result<(), CommandError> {
    if ucr_sys::is_root() {
        return Ok(());
    }
    Err(CommandError::sentence(format!(
        "{command} needs root: {why}"
    )))
}

/// A variable of the environment, `None` when it is unset or empty.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where the environment is read"
)]
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
