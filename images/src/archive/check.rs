//! A layer unpacked by itself, and held against its own index: for tests and fuzz targets.

use std::io::Read;
use std::os::fd::BorrowedFd;

use super::compare::{Fault, Source, compare};
use super::error::Error;
use super::index::{Contents, IndexWriter};
use super::writer::{Applied, apply};

/// What became of a layer that was unpacked by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whether it hides everything below it.
    pub root_opaque: bool,
    /// Directories that no entry describes and that do not hide what is below them.
    pub implied: Vec<Vec<u8>>,
    /// Where the directory is not what the index of the layer says.
    pub faults: Vec<Fault>,
}

/// Unpacks the plain archive in `reader` below `root`, an empty directory, as a pull would, and
/// compares what stands there with the index written on the way.
///
/// # Errors
/// Whatever a pull would refuse, and what the system does not take.
pub fn check_layer(reader: impl Read, root: BorrowedFd<'_>) -> Result<Checked, Error> {
    let mut index = Vec::new();
    let writer = IndexWriter::new(&mut index).map_err(Error::Index)?;
    let (applied, _rest) = apply(reader, root, writer, &|| Ok(()))?;
    let Applied {
        root_opaque,
        root_explicit,
        implied,
        ..
    } = applied;
    if !root_explicit {
        // As the store has it, until a lower layer's entry says something else.
        ucr_sys::at::set_owner_fd(root, 0, 0).map_err(Error::Finish)?;
        ucr_sys::at::set_mode_fd(root, 0o755).map_err(Error::Finish)?;
    }
    let contents = Contents::read(&*index).map_err(Error::Index)?;
    let compared = compare(contents, root, Source::Cache).map_err(Error::Finish)?;
    Ok(Checked {
        root_opaque,
        implied,
        faults: compared.faults,
    })
}
