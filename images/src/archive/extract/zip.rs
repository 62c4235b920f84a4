//! The entries of a zip archive, in the order of its directory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::error::Error;
use super::measure::Measure;
use super::tree::Tree;
use crate::deadline::Deadline;

/// The most of a symbolic link that is read: more is none.
const LINK_READ: u64 = 4097;
/// Where no mode is told: by those who know no permissions (APPNOTE.TXT, section 4.4.2).
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// A file that is read at any place, until there is no time any more.
struct InTime<'f> {
    file: &'f File,
    deadline: Deadline,
}

/// Unpacks all entries of `file`.
pub(super) fn extract(
    file: &File,
    tree: &Tree<'_>,
    (measure, deadline): (&mut Measure, Deadline),
) -> Result<(), Error> {
    let reader = BufReader::with_capacity(super::BUFFER, InTime { file, deadline });
    let mut archive = ZipArchive::new(reader).map_err(Error::Zip)?;
    if archive.has_overlapping_files().map_err(Error::Zip)? {
        return Err(Error::Overlap);
    }
    for number in 0..archive.len() {
        measure.entry()?;
        let entry = archive.by_index(number).map_err(Error::Zip)?;
        one(entry, tree, measure)?;
    }
    Ok(())
}

fn one<R: Read>(
    mut entry: ZipFile<'_, R>,
    tree: &Tree<'_>,
    measure: &mut Measure,
) -> Result<(), Error> {
    let name = entry.entry().name_raw().to_vec();
    let mode = entry.entry().unix_mode();
    let read = |error| Error::Zip(ZipError::Io(error));
    if entry.entry().is_dir() {
        return tree.make_directory(&name, mode.unwrap_or(DIRECTORY_MODE));
    }
    if entry.entry().is_symlink() {
        let mut target = Vec::new();
        let limited = (&mut entry).take(LINK_READ).read_to_end(&mut target);
        limited.map_err(read)?;
        return tree.make_symlink(&name, &target);
    }
    tree.write_entry(&name, (mode.unwrap_or(FILE_MODE), None), |to| {
        measure.copy(&mut entry, to, read)
    })
}

impl Read for InTime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deadline.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.file.read(buffer)
    }
}

impl Seek for InTime<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
