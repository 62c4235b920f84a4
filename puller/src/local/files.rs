//! The files of a layout, by name: in a directory, or in an archive that is a file itself.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ucr_images::archive::{Member, plain_name};
use ucr_sys::inroot::InRoot;
use ucr_sys::{Dir, Errno};

use super::error::Error;

/// Links that are followed from one member of an archive, as path_resolution(7) has it.
const LINKS_MAX: usize = 40;

/// Where the files are.
#[derive(Debug)]
pub(super) enum Files {
    /// In a directory, which names do not leave.
    Directory(InRoot),
    /// In an archive, by their names there.
    Archive(Arc<File>, HashMap<Vec<u8>, Member>),
}

impl Files {
    /// Those of the directory at `path`.
    pub(super) fn directory(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let directory = Dir::open(path).map_err(|error| failed(io::Error::from(error.errno())))?;
        let root = directory.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok(Self::Directory(InRoot::new(root)))
    }

    /// Whether there is anything of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(root) => root.regular_file(Path::new(name)).is_ok(),
            Self::Archive(_, members) => members.contains_key(name.as_bytes()),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is not there, leads elsewhere, or is something else than a regular file.
    pub(super) fn open(&self, name: &str) -> Result<Section, Error> {
        match self {
            Self::Directory(root) => {
                let failed = |source: ucr_sys::Error| match source.errno() {
                    Errno::NOENT => missing(name),
                    Errno::INVAL => no_file(name, "is no regular file"),
                    _ => Error::File {
                        name: escaped(name),
                        source,
                    },
                };
                let file = root.regular_file(Path::new(name)).map_err(failed)?;
                let size = file.metadata().map_err(Error::Read)?.len();
                Ok(Section {
                    file: Arc::new(file),
                    at: 0,
                    end: size,
                })
            }
            Self::Archive(file, members) => {
                let (start, size) = find(members, name)?;
                Ok(Section {
                    file: Arc::clone(file),
                    at: start,
                    end: start + size,
                })
            }
        }
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// Also when it has more than `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let section = self.open(name)?;
        let size = section.size();
        if size > limit {
            return Err(Error::TooLarge {
                name: escaped(name),
                size,
                limit,
            });
        }
        let mut bytes = Vec::new();
        section
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(Error::Read)?;
        Ok(bytes)
    }
}

/// Finds a regular file among the members, through links among them.
fn find(members: &HashMap<Vec<u8>, Member>, name: &str) -> Result<(u64, u64), Error> {
    let climbs = |_why| no_file(name, "leads out of the archive");
    let mut at = plain_name(name.as_bytes()).map_err(climbs)?;
    for _ in 0..LINKS_MAX {
        at = match members.get(&at) {
            None => return Err(missing(name)),
            Some(Member::File { start, size }) => return Ok((*start, *size)),
            Some(Member::Special) => return Err(no_file(name, "is no regular file")),
            Some(Member::HardLink(target)) => plain_name(target).map_err(climbs)?,
            Some(Member::Symlink(target)) => beside(&at, target).map_err(climbs)?,
        };
    }
    Err(no_file(name, "is a link that leads nowhere"))
}

/// What a symbolic link at `link` that says `target` leads to, by the names alone.
fn beside(link: &[u8], target: &[u8]) -> Result<Vec<u8>, &'static str> {
    if target.starts_with(b"/") {
        return Err("it is absolute");
    }
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or("it climbs above the top")?),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// A name as it may be shown.
pub(super) fn escaped(name: &str) -> String {
    name.chars()
        .take(300)
        .flat_map(char::escape_debug)
        .collect()
}

fn missing(name: &str) -> Error {
    Error::Missing {
        name: escaped(name),
    }
}

fn no_file(name: &str, why: &'static str) -> Error {
    Error::NoFile {
        name: escaped(name),
        why,
    }
}

/// The bytes of one file, which may be a part of another.
#[derive(Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    /// How many bytes are left.
    pub(super) fn size(&self) -> u64 {
        self.end - self.at
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size()).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l46_links_lead_only_to_other_members() {
        let link = |target: &str| Member::Symlink(target.as_bytes().to_vec());
        let members = HashMap::from([
            (b"a/layer.tar".to_vec(), Member::File { start: 1, size: 2 }),
            (b"b/layer.tar".to_vec(), link("../a/layer.tar")),
            (
                b"hard".to_vec(),
                Member::HardLink(b"./a/layer.tar".to_vec()),
            ),
            (b"b/up".to_vec(), link("../../etc/shadow")),
            (b"abs".to_vec(), link("/a/layer.tar")),
            (b"loop".to_vec(), link("loop")),
            (b"none".to_vec(), link("nothing")),
            (b"fifo".to_vec(), Member::Special),
        ]);
        for name in ["a/layer.tar", "b/layer.tar", "hard", "./a//layer.tar"] {
            assert_eq!(find(&members, name).unwrap(), (1, 2), "{name}");
        }
        for name in [
            "b/up",
            "abs",
            "loop",
            "none",
            "fifo",
            "../a/layer.tar",
            "/abs",
            "a",
        ] {
            assert!(find(&members, name).is_err(), "{name}");
        }
    }
}
