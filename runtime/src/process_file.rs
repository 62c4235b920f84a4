//! How the task of a container is run, written down for others that are to be as it is.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::plan::Process;

/// The file of a container's directory.
pub(crate) const NAME: &str = "process";

/// Writes it into the directory of a container.
pub(crate) fn write(directory: &Path, process: &Process) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(directory.join(NAME))?;
    file.write_all(&serde_json::to_vec(process)?)
}

/// Reads it; none where there is none.
pub(crate) fn read(directory: &Path) -> io::Result<Option<Process>> {
    match std::fs::read(directory.join(NAME)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
