//! What an archive that is kept as a file has in it, and where: for reading its members in place.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::error::Error;
use super::tar::{Archive, Kind};

/// More members than any archive of images has.
const MAX_MEMBERS: usize = 100_000;
/// The most that the names of all members take.
const MAX_NAMES: usize = 16 * 1024 * 1024;

/// One member, by what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A regular file, with the place and the number of its bytes.
    File {
        /// Where its first byte is.
        start: u64,
        /// How many there are.
        size: u64,
    },
    /// A symbolic link that says this.
    Symlink(Vec<u8>),
    /// Another name of this member.
    HardLink(Vec<u8>),
    /// A device or a named pipe.
    Special,
}

/// Lists an archive that begins where `file` stands; directories are left out.
///
/// # Errors
/// When a name is absolute, climbs with `..` or is there twice, and as unpacking has them.
pub fn members(file: impl Read + Seek) -> Result<HashMap<Vec<u8>, Member>, Error> {
    let mut archive = Archive::new(file);
    let mut members = HashMap::new();
    let mut names = 0;
    while let Some(entry) = archive.next()? {
        let refused = |why: &str| Error::Entry {
            path: entry.path.clone(),
            why: why.to_owned(),
        };
        let member = match entry.kind {
            Kind::Directory => continue,
            Kind::File(size) => Member::File {
                start: archive.content_start()?,
                size,
            },
            Kind::Symlink(target) => Member::Symlink(target),
            Kind::HardLink(target) => Member::HardLink(target),
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => Member::Special,
        };
        archive.seek_over_content()?;
        let name = plain_name(&entry.path).map_err(refused)?;
        names += name.len();
        if members.len() >= MAX_MEMBERS || names > MAX_NAMES {
            return Err(refused("there are more members than any image has"));
        }
        if members.insert(name, member).is_some() {
            return Err(refused("it is there twice"));
        }
    }
    Ok(members)
}

/// A member's name as others refer to it: without `.` and doubled slashes.
///
/// # Errors
/// When it is absolute or climbs.
pub fn plain_name(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.starts_with(b"/") {
        return Err("its name is absolute");
    }
    let parts = name.split(|byte| *byte == b'/');
    let parts: Vec<&[u8]> = parts
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err("its name climbs");
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use test_support::{Entry, LayerBuilder};

    use super::*;

    fn list(builder: LayerBuilder) -> Result<HashMap<Vec<u8>, Member>, Error> {
        members(Cursor::new(builder.build().bytes))
    }

    #[test]
    fn the_place_of_a_file_is_where_its_bytes_are() {
        let long = "n".repeat(150);
        let large = vec![b'l'; 600_000];
        let archive = LayerBuilder::new()
            .dir("d", 0o755)
            .file("./d/a", "first")
            .file("large", &large)
            .file(&long, "named")
            .symlink("link", "d/a")
            .hardlink("hard", "d/a")
            .entry(Entry::fifo("fifo"))
            .build();
        let members = members(Cursor::new(&archive.bytes)).unwrap();
        let bytes = |name: &str| match &members[name.as_bytes()] {
            Member::File { start, size } => {
                let start = usize::try_from(*start).unwrap();
                &archive.bytes[start..start + usize::try_from(*size).unwrap()]
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes("d/a"), b"first");
        assert_eq!(bytes(&long), b"named");
        assert!(bytes("large") == large);
        assert_eq!(members[&b"link"[..]], Member::Symlink(b"d/a".to_vec()));
        assert_eq!(members[&b"hard"[..]], Member::HardLink(b"d/a".to_vec()));
        assert_eq!(members[&b"fifo"[..]], Member::Special);
        assert_eq!(members.len(), 6);
    }

    #[test]
    fn s50_names_that_lead_elsewhere_or_are_there_twice_are_refused() {
        for name in ["/abs", "../up", "a/../b", ".."] {
            let refused = list(LayerBuilder::new().file(name, "x"));
            assert!(matches!(refused, Err(Error::Entry { .. })), "{name}");
        }
        for name in ["a", "./a", "a//", ".//a"] {
            let twice = LayerBuilder::new().file("a", "1").symlink(name, "x");
            assert!(matches!(list(twice), Err(Error::Entry { .. })), "{name}");
        }
    }

    #[test]
    fn l99_an_archive_that_ends_within_its_last_file_is_refused() {
        let whole = LayerBuilder::new().file("a", vec![1; 900_000]).build();
        let short = whole.truncated(500_000);
        assert!(members(Cursor::new(short.bytes)).is_err());
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(members(Cursor::new(vec![b'x'; 4096])).is_err());
    }
}
