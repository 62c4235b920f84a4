//! Archives: read in place where that is possible, otherwise copied out first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use ucr_images::archive::{self, Decompressed, decompress, members};
use ucr_images::{Awaited, Deadline, Place};
use ucr_sys::{Dir, at, ready};

use super::error::Error;
use super::files::Files;

/// The name of the copy.
const COPY: &str = "archive";
/// Bytes that tell a compression from another.
const MAGIC: u64 = 16;
/// Bytes that are copied at once.
const PORTION: usize = 256 * 1024;

/// Where an archive is copied to that cannot be read in place: one that is compressed, or a pipe.
#[derive(Debug)]
pub(crate) struct Spool<'s> {
    /// A directory that goes when the pull is over.
    pub(crate) directory: &'s Dir,
    /// The most that is copied, in bytes.
    pub(crate) limit: u64,
    /// Until when a pipe is waited for.
    pub(crate) deadline: Deadline,
}

/// Opens the archive at `place`, and lists what is in it; without a spool only where it can be
/// read in place.
pub(super) fn open(place: &Place, spool: Option<&Spool<'_>>) -> Result<Files, Error> {
    let mut file = match place {
        // What is read of a pipe is gone for who comes next.
        Place::Stdin if spool.is_none() => return Err(Error::NotInPlace),
        Place::Path(path) => ready::open(path).map_err(|source| Error::Open {
            path: path.clone(),
            source: source.errno().into(),
        })?,
        Place::Stdin => {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            File::from(stdin.map_err(Error::Stdin)?)
        }
    };
    let metadata = file.metadata().map_err(Error::Read)?;
    let is_in_place = metadata.is_file() && file.stream_position().map_err(Error::Read)? == 0;
    let deadline = spool.map(|spool| spool.deadline).unwrap_or_default();
    let mut head = Vec::new();
    let mut coming = Awaited::new(&file, deadline);
    let read = coming.by_ref().take(MAGIC).read_to_end(&mut head);
    read.map_err(Error::Read)?;
    let rest = BufReader::with_capacity(PORTION, coming);
    let plain = decompress(head.as_slice().chain(rest)).map_err(Error::Archive)?;
    if !is_in_place || !plain.is_plain() {
        file = copy(plain, spool.ok_or(Error::NotInPlace)?)?;
    }
    file.rewind().map_err(Error::Read)?;
    let members = members(&file).map_err(Error::Archive)?;
    Ok(Files::Archive(Arc::new(file), members))
}

/// Copies an archive out, and gives it back as a file to read.
fn copy(mut plain: Decompressed<impl BufRead>, spool: &Spool<'_>) -> Result<File, Error> {
    let directory = spool.directory;
    let failed =
        |error: &io::Error| Error::Spool(ucr_sys::Error::from_io("write", shown(directory), error));
    let copy = at::create_file(directory.as_fd(), COPY.as_bytes()).map_err(Error::Spool)?;
    let mut copy = File::from(copy);
    let mut buffer = vec![0; PORTION];
    let mut copied = 0;
    loop {
        let count = match plain.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Archive(archive::Error::Read(error))),
        };
        copied += count as u64;
        if copied > spool.limit {
            return Err(Error::SpoolLimit { limit: spool.limit });
        }
        copy.write_all(&buffer[..count])
            .map_err(|error| failed(&error))?;
    }
    let path = directory.path().join(COPY);
    File::open(&path).map_err(|source| Error::Open { path, source })
}

fn shown(directory: &Dir) -> String {
    directory.path().join(COPY).display().to_string()
}
