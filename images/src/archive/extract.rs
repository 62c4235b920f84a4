//! An archive that a task's sandbox got: unpacked into a directory that holds other things already.
//!
//! Every name is hostile. Each is resolved below the directory's descriptor and through directories
//! alone: a symbolic link is made as the archive has it, and never followed. Files are new ones,
//! whatever stood there before; they belong to one owner, and are nothing but files: no devices, no
//! named pipes, no set-user-ID, no attributes. What becomes of an archive is in proportion to it.
//!
//! A name tells whether something is to be unpacked, its bytes tell how.

mod error;
mod measure;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod zip;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

pub use error::Error;
pub use measure::Limits;
pub use tree::{Owner, Tree};

use self::measure::Measure;
use super::decompress::decompress;
use crate::deadline::{Deadline, Hurried};

/// What is read of an archive at once.
const BUFFER: usize = 64 * 1024;
/// How a zip archive begins: with its first file, or, where there is none, with its end.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// Ends of names, in lower case, of what is unpacked, and what such a name promises.
const SUFFIXES: [(&str, Form); 12] = [
    (".tar", Form::Archive(Kind::Tar)),
    (".tar.gz", Form::Archive(Kind::Tar)),
    (".tgz", Form::Archive(Kind::Tar)),
    (".tar.bz2", Form::Archive(Kind::Tar)),
    (".tbz2", Form::Archive(Kind::Tar)),
    (".tbz", Form::Archive(Kind::Tar)),
    (".tar.xz", Form::Archive(Kind::Tar)),
    (".txz", Form::Archive(Kind::Tar)),
    (".tar.zst", Form::Archive(Kind::Tar)),
    (".tzst", Form::Archive(Kind::Tar)),
    (".zip", Form::Archive(Kind::Zip)),
    (".gz", Form::Compressed),
];

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Files, directories and links.
    Archive(Kind),
    /// One file, which loses the end of its name (`.gz`).
    Compressed,
    /// Nothing that is unpacked, whatever its bytes are: a `.jar` is to stay one.
    Other,
}

/// Of which kind an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tar, plain or compressed by gzip, bzip2, xz or zstd.
    Tar,
    /// Zip.
    Zip,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The kind that the archive really is, where its name promises another.
    pub lied: Option<Kind>,
}

impl Form {
    /// What `name` promises, by the longest end that is known.
    pub fn of_name(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        // A name that is nothing but its end is no archive's.
        let ends = |suffix: &str| name.len() > suffix.len() && name.ends_with(suffix.as_bytes());
        let known = SUFFIXES.iter().filter(|(suffix, _)| ends(suffix));
        known
            .max_by_key(|(suffix, _)| suffix.len())
            .map_or(Self::Other, |(_, form)| *form)
    }
}

/// Unpacks `file`, an archive whose name promises `promised`, into `tree`.
///
/// What its bytes are counts; where the name promises something else, that is told.
///
/// # Errors
/// At the first entry that is refused, that is too much or that the system does not take. What has
/// been unpacked by then stays.
pub fn extract(
    file: &File,
    promised: Kind,
    tree: &Tree<'_>,
    (limits, deadline): (Limits, Deadline),
) -> Result<Extracted, Error> {
    let mut measure = Measure::new(limits, size_of(file)?);
    let kind = kind_of(file)?;
    match kind {
        Kind::Zip => zip::extract(file, tree, (&mut measure, deadline))?,
        Kind::Tar => {
            let plain = decompress(BufReader::with_capacity(
                BUFFER,
                Hurried::new(file, deadline),
            ));
            tar::extract(plain.map_err(Error::Archive)?, tree, &mut measure)?;
        }
    }
    Ok(Extracted {
        entries: measure.entries(),
        bytes: measure.bytes(),
        lied: (kind != promised).then_some(kind),
    })
}

/// Decompresses `file` into the file `name` of `tree`; returns its size.
///
/// # Errors
/// What is not compressed, is too much, or is not taken by the system.
pub fn decompress_into(
    file: &File,
    tree: &Tree<'_>,
    name: &[u8],
    (limits, deadline): (Limits, Deadline),
) -> Result<u64, Error> {
    let mut measure = Measure::new(limits, size_of(file)?);
    let rewound = rewound(file)?;
    let plain = decompress(BufReader::with_capacity(
        BUFFER,
        Hurried::new(rewound, deadline),
    ));
    let plain = plain.map_err(Error::Archive)?;
    if plain.is_plain() {
        return Err(Error::NotCompressed);
    }
    measure.entry()?;
    tree.write_entry(name, (0o644, None), |to| {
        measure.copy(&mut { plain }, to, Error::Read)
    })?;
    Ok(measure.bytes())
}

fn rewound(mut file: &File) -> Result<&File, Error> {
    file.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    Ok(file)
}

fn size_of(file: &File) -> Result<u64, Error> {
    Ok(file.metadata().map_err(Error::Read)?.len())
}

/// What an archive is by its first bytes: zip, or else tar, which decides for itself.
fn kind_of(file: &File) -> Result<Kind, Error> {
    let mut first = Vec::new();
    let read = rewound(file)?.take(4).read_to_end(&mut first);
    read.map_err(Error::Read)?;
    rewound(file)?;
    Ok(if ZIP.contains(&&first[..]) {
        Kind::Zip
    } else {
        Kind::Tar
    })
}
