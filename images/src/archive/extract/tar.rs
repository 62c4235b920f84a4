//! The entries of a tar archive, one after the other.

use std::io::Read;

use super::super::tar::{Archive, Entry, Kind};
use super::error::Error;
use super::measure::{Measure, write};
use super::tree::Tree;

/// Unpacks all entries of `reader`.
pub(super) fn extract(
    reader: impl Read,
    tree: &Tree<'_>,
    measure: &mut Measure,
) -> Result<(), Error> {
    let mut archive = Archive::new(reader);
    while let Some(entry) = archive.next().map_err(Error::Archive)? {
        measure.entry()?;
        one(&entry, &mut archive, tree, measure)?;
    }
    // Behind the end stands nothing that is read, but damage shows there: a checksum.
    let mut rest = archive.into_rest();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(Error::Read)?;
    Ok(())
}

fn one(
    entry: &Entry,
    archive: &mut Archive<impl Read>,
    tree: &Tree<'_>,
    measure: &mut Measure,
) -> Result<(), Error> {
    let name = &entry.path;
    match &entry.kind {
        Kind::Directory => tree.make_directory(name, entry.mode),
        Kind::Symlink(target) => tree.make_symlink(name, target),
        Kind::HardLink(target) => tree.make_hard_link(name, target),
        Kind::File(_) => tree.write_entry(name, (entry.mode, Some(entry.time)), |to| {
            loop {
                let piece = archive.content().map_err(Error::Archive)?;
                if piece.is_empty() {
                    return Ok(());
                }
                measure.count(piece.len())?;
                write(to, piece)?;
            }
        }),
        Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => Err(Error::Entry {
            name: name.clone(),
            why: "it is a device or a named pipe, which no archive gives a task",
        }),
    }
}
