//! The index of a layer: what unpacking it made, with a digest of every file's bytes.
//!
//! It is written while the layer is unpacked, one record for each thing that
//! happens, so that a million entries need no memory; later records overrule
//! earlier ones, as later entries of an archive do. [`Contents::read`] plays
//! them back to what must stand on the disk in the end.
//!
//! On the disk it is one zstd frame (level 1, checksummed, with a window of
//! 128 KiB) of records in postcard's encoding, each behind its length in four
//! bytes, little-endian; the last one says how many there were.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The most that one record may hold: a path and a link target of 1 MiB each, and some more.
const MAX_RECORD: usize = 4 * 1024 * 1024;
const WINDOW_LOG: u32 = 17;

/// The BLAKE3 digest of some bytes.
pub(crate) type Hash = [u8; 32];

/// What an object of the file system is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Object {
    /// A directory.
    Directory,
    /// A regular file, with the digest of its bytes where this index answers for them.
    File { size: u64, content: Option<Hash> },
    /// A symbolic link that says this.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// What hides a name of lower layers: to overlayfs a character device 0:0.
    Whiteout,
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// What it is.
    pub(crate) object: Object,
    /// Permission bits, set-user-ID and sticky bits included; no link has any.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// The digest of its extended attributes, if it has any that belong to an image.
    pub(crate) attributes: Option<Hash>,
}

impl Facts {
    /// A directory that no entry describes: root's, 0755.
    fn implied() -> Self {
        Self {
            object: Object::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            attributes: None,
        }
    }

    /// A whiteout, of which only that it is there matters.
    fn whiteout() -> Self {
        Self {
            object: Object::Whiteout,
            ..Self::implied()
        }
    }
}

/// One thing that happened, with real paths, relative to the layer's root.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    /// An object was made at this path, or a directory described again.
    Made(&'a [u8], Facts),
    /// The object at the second path got the first as another name.
    Linked(&'a [u8], &'a [u8]),
    /// A name of lower layers was hidden.
    Hidden(&'a [u8]),
    /// There is a directory that no entry describes.
    Implied(&'a [u8]),
    /// The directory hides all that lower layers have in it.
    Opaque(&'a [u8]),
    /// What was at this path went away, with everything below it.
    Gone(&'a [u8]),
    /// So many records were before this one, and there is none behind it.
    End(u64),
}

/// Writes an index.
pub struct IndexWriter<'w> {
    encoder: zstd::stream::write::Encoder<'static, Box<dyn Write + Send + 'w>>,
    count: u64,
    buffer: Vec<u8>,
}

impl fmt::Debug for IndexWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, .. } = self;
        f.debug_struct("IndexWriter")
            .field("count", count)
            .finish_non_exhaustive()
    }
}

impl<'w> IndexWriter<'w> {
    /// Begins an index that goes to `target`.
    ///
    /// # Errors
    /// Any failure of `target`, or when zstd has no memory.
    pub fn new(target: impl Write + Send + 'w) -> io::Result<Self> {
        let target: Box<dyn Write + Send + 'w> = Box::new(target);
        let mut encoder = zstd::stream::write::Encoder::new(target, 1)?;
        encoder.window_log(WINDOW_LOG)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            encoder,
            count: 0,
            buffer: Vec::new(),
        })
    }

    /// Takes one more record.
    ///
    /// # Errors
    /// Any failure of the target.
    pub(crate) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.count += 1;
        self.put(record)
    }

    /// Ends the index.
    ///
    /// # Errors
    /// Any failure of the target.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let end = Record::End(self.count);
        self.put(&end)?;
        self.encoder.finish()?.flush()
    }

    fn put(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.buffer.clear();
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = postcard::to_extend(record, buffer).map_err(io::Error::other)?;
        let length = u32::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.encoder.write_all(&length.to_le_bytes())?;
        self.encoder.write_all(&self.buffer)
    }
}

/// What must stand at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// What is known of it.
    pub(crate) facts: Facts,
    /// Whether it is a directory that hides what lower layers have in it.
    pub(crate) opaque: bool,
    /// The same for all names of one object.
    pub(crate) identity: u64,
}

/// What must stand in a layer's directory, by path; the root is the empty one.
#[derive(Debug)]
pub(crate) struct Contents {
    /// All of it.
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
    next_identity: u64,
}

impl Contents {
    /// Plays an index back.
    ///
    /// # Errors
    /// When it cannot be read to its end, or is damaged.
    pub(crate) fn read(source: impl Read) -> io::Result<Self> {
        let mut contents = Self {
            nodes: BTreeMap::new(),
            next_identity: 0,
        };
        contents.insert(b"", Facts::implied());
        let mut reader = zstd::stream::read::Decoder::new(source)?;
        reader.window_log_max(WINDOW_LOG)?;
        let mut buffer = Vec::new();
        for count in 0_u64.. {
            match next(&mut reader, &mut buffer)? {
                Record::End(said) if said == count => break,
                Record::End(_) => return Err(damaged()),
                record => contents.play(&record)?,
            }
        }
        // The checksum stands behind the last record.
        match reader.read(&mut [0])? {
            0 => Ok(contents),
            _ => Err(damaged()),
        }
    }

    fn play(&mut self, record: &Record<'_>) -> io::Result<()> {
        match record {
            Record::Made(path, facts) => self.insert(path, facts.clone()),
            Record::Linked(path, first) => {
                let node = self.nodes.get(*first).ok_or_else(damaged)?.clone();
                self.nodes.insert(path.to_vec(), node);
            }
            Record::Hidden(path) => self.insert(path, Facts::whiteout()),
            Record::Implied(path) => self.imply(path),
            Record::Opaque(path) => {
                self.imply(path);
                if let Some(node) = self.nodes.get_mut(*path) {
                    node.opaque = true;
                }
            }
            Record::Gone(path) => self.remove(path),
            Record::End(_) => return Err(damaged()),
        }
        Ok(())
    }

    fn insert(&mut self, path: &[u8], facts: Facts) {
        let node = Node {
            facts,
            opaque: false,
            identity: self.next_identity,
        };
        self.next_identity += 1;
        self.nodes.insert(path.to_vec(), node);
    }

    fn imply(&mut self, path: &[u8]) {
        let there = self.nodes.get(path);
        if there.is_none_or(|node| node.facts.object != Object::Directory) {
            self.insert(path, Facts::implied());
        }
    }

    fn remove(&mut self, path: &[u8]) {
        self.nodes.remove(path);
        let below = [path, b"/"].concat();
        let within = self.nodes.range(below.clone()..);
        let gone: Vec<_> = within
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }
}

fn next<'b>(reader: &mut impl Read, buffer: &'b mut Vec<u8>) -> io::Result<Record<'b>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_RECORD {
        return Err(damaged());
    }
    buffer.resize(length, 0);
    reader.read_exact(buffer)?;
    let (record, rest) = postcard::take_from_bytes(buffer).map_err(io::Error::other)?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(damaged())
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the index is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(records: &[Record<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = IndexWriter::new(&mut bytes).unwrap();
        for record in records {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn file(size: u64) -> Facts {
        Facts {
            object: Object::File {
                size,
                content: Some([7; 32]),
            },
            ..Facts::implied()
        }
    }

    fn paths(contents: &Contents) -> Vec<String> {
        let shown = |path: &Vec<u8>| path.escape_ascii().to_string();
        contents.nodes.keys().map(shown).collect()
    }

    #[test]
    fn later_records_overrule_earlier_ones() {
        let contents = Contents::read(&*written(&[
            Record::Made(b"a", Facts::implied()),
            Record::Made(b"a/x", file(1)),
            Record::Made(b"a.x", file(2)),
            Record::Linked(b"b", b"a/x"),
            Record::Gone(b"a"),
            Record::Hidden(b"a"),
            Record::Opaque(b"a"),
        ]));
        let contents = contents.unwrap();
        assert_eq!(paths(&contents), ["", "a", "a.x", "b"]);
        assert!(contents.nodes[&b"a"[..]].opaque);
        assert_eq!(contents.nodes[&b"a"[..]].facts, Facts::implied());
        assert_eq!(contents.nodes[&b"b"[..]].facts, file(1));
    }

    #[test]
    fn names_of_one_object_have_one_identity() {
        let contents = Contents::read(&*written(&[
            Record::Made(b"a", file(1)),
            Record::Linked(b"b", b"a"),
            Record::Made(b"c", file(1)),
        ]));
        let nodes = contents.unwrap().nodes;
        assert_eq!(nodes[&b"a"[..]].identity, nodes[&b"b"[..]].identity);
        assert_ne!(nodes[&b"a"[..]].identity, nodes[&b"c"[..]].identity);
    }

    #[test]
    fn c21_an_index_that_is_torn_or_changed_is_damaged() {
        let bytes = written(&[Record::Made(b"a", file(1)), Record::Gone(b"a")]);
        for length in 0..bytes.len() {
            assert!(Contents::read(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            // A bit of the frame's head may ask for something else without changing the content.
            if let Ok(contents) = Contents::read(&*changed) {
                assert_eq!(paths(&contents), [""], "{at}");
            }
        }
        assert!(Contents::read(&[bytes.clone(), bytes].concat()[..]).is_err());
    }
}
