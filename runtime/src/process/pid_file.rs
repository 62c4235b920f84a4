//! The file that tells others the number of a container's process.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::outcome::Error;

/// Replaces the file at once: whoever reads it reads a whole number.
///
/// # Errors
///
/// [`Error::PidFile`].
pub(super) fn write(file: &Path, pid: i32) -> Result<(), Error> {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    let new = file.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        options.open(&new)?.write_all(pid.to_string().as_bytes())?;
        std::fs::rename(&new, file)
    };
    write().map_err(|error| Error::PidFile(file.into(), error))
}
