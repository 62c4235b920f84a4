//! Layers made of any bytes: entries as producers mean them, and the archives that say so.

use arbitrary::{Arbitrary, Result, Unstructured};
use test_support::{Entry, LayerBuilder, Magic};

use super::model::{Facts, Given, What};

/// More entries than it takes to make, hide and replace something.
const MOST_ENTRIES: usize = 16;
/// What most names are made of.
const PLAIN_PARTS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
/// What the others have in them.
const ODD_PARTS: [&[u8]; 12] = [
    b"..",
    b".wh.a",
    b".wh.b",
    b".wh..wh..opq",
    b".",
    b"",
    b"outside",
    b".wh..wh.plnk",
    b".wh.",
    b".wh..",
    b"\xff\n\\",
    b".wh..wh.aufs",
];
/// Lengths of names about the limits of headers and of file systems.
const LENGTHS: [usize; 8] = [99, 100, 101, 154, 155, 156, 255, 256];
/// A version 2 capability set (capabilities(7)): CAP_NET_RAW permitted and effective.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// An ACL of version 2 (acl(5)): owner, user 1000, group, mask and others may do everything.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0\
    \x04\0\x07\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x07\0\xff\xff\xff\xff";
const XATTRS: [(&str, &[u8]); 11] = [
    ("user.a", b"1"),
    ("user.a", b"a\0b\nc\xff"),
    ("user.b", b""),
    ("trusted.a", b"2"),
    ("security.capability", &CAPABILITY),
    ("trusted.overlay.opaque", b"y"),
    ("trusted.overlay.redirect", b"/etc"),
    ("user.overlay.opaque", b"y"),
    ("user.overlayed", b"3"),
    ("security.selinux", b"4"),
    ("system.posix_acl_default", ACL),
];

/// Some layers, each an archive of its own.
#[derive(Debug, Arbitrary)]
pub(super) struct Layers {
    first: LayerInput,
    second: Option<LayerInput>,
}

impl Layers {
    /// Those that are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LayerInput> {
        std::iter::once(&self.first).chain(&self.second)
    }
}

/// One layer.
#[derive(Debug, Arbitrary)]
pub(super) struct LayerInput {
    #[arbitrary(with = some_entries)]
    pub(super) entries: Vec<EntryInput>,
    hostility: u8,
    has_global_header: bool,
    lacks_end_marker: bool,
}

fn some_entries(bytes: &mut Unstructured<'_>) -> Result<Vec<EntryInput>> {
    let count = bytes.int_in_range(0..=MOST_ENTRIES)?;
    (0..count).map(|_| bytes.arbitrary()).collect()
}

impl LayerInput {
    /// Whether what must be refused stands in the archive, or is left out of it.
    pub(super) fn is_hostile(&self) -> bool {
        self.hostility < 64
    }

    /// Begins the archive.
    pub(super) fn builder(&self) -> LayerBuilder {
        let builder = LayerBuilder::new();
        match self.has_global_header {
            true => builder.pax_header(b'g', b"15 path=ignored\n"),
            false => builder,
        }
    }

    /// Ends the archive.
    pub(super) fn finish(&self, builder: LayerBuilder) -> Vec<u8> {
        let builder = match self.lacks_end_marker {
            true => builder.without_end_marker(),
            false => builder,
        };
        builder.build().bytes
    }
}

/// One entry, and how it is written.
#[derive(Debug, Arbitrary)]
pub(super) struct EntryInput {
    name: Name,
    what: WhatInput,
    mode: u16,
    owner: Owner,
    time: Time,
    xattrs: [Option<u8>; 2],
    format: Format,
}

#[derive(Debug, Arbitrary)]
enum Name {
    Short([u8; 1]),
    Medium([u8; 2]),
    Long([u8; 4], Slashes),
    Odd(OddName),
}

#[derive(Debug, Arbitrary)]
enum OddName {
    /// One component of a length near some limit, in a directory or not.
    Stretched(u8, Option<u8>),
    /// The absolute path of a tree beside the layer.
    Outside,
    Empty,
}

#[derive(Debug, Arbitrary)]
enum Slashes {
    None,
    Before,
    Behind,
    Both,
}

impl Name {
    fn bytes(&self, outside: &[u8]) -> Vec<u8> {
        let part = |index: &u8| match usize::from(*index) {
            index @ 0..160 => PLAIN_PARTS[index % PLAIN_PARTS.len()],
            index => ODD_PARTS[index % ODD_PARTS.len()],
        };
        let join = |indexes: &[u8]| indexes.iter().map(part).collect::<Vec<_>>().join(&b'/');
        match self {
            Self::Short(indexes) => join(indexes),
            Self::Medium(indexes) => join(indexes),
            Self::Long(indexes, slashes) => {
                let (before, behind): (&[u8], &[u8]) = match slashes {
                    Slashes::None => (b"", b""),
                    Slashes::Before => (b"/", b""),
                    Slashes::Behind => (b"", b"/"),
                    Slashes::Both => (b"//", b"//"),
                };
                [before, &join(indexes), behind].concat()
            }
            Self::Odd(OddName::Stretched(length, directory)) => {
                let name = vec![b'n'; LENGTHS[usize::from(*length) % LENGTHS.len()]];
                match directory {
                    Some(index) => [part(index), b"/", &name].concat(),
                    None => name,
                }
            }
            Self::Odd(OddName::Outside) => outside.to_vec(),
            Self::Odd(OddName::Empty) => Vec::new(),
        }
    }
}

#[derive(Debug, Arbitrary)]
enum WhatInput {
    Directory,
    Empty,
    File(u8, u16),
    Symlink(Name),
    HardLink(Name),
    CharDevice(u16, u8),
    BlockDevice(u8, u32),
    Fifo,
}

#[derive(Debug, Arbitrary)]
enum Owner {
    Root,
    Small(u8, u8),
    Large(u32, u32),
    TooLarge,
}

#[derive(Debug, Arbitrary)]
enum Time {
    Header(i32),
    Pax(i32, u32),
}

/// How the facts of an entry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Format {
    /// By POSIX, with extended headers where something is too long.
    Ustar,
    /// By POSIX, the beginning of the name in the header's second place for it.
    Prefixed,
    /// With long names in entries of their own.
    Gnu,
    /// With everything in an extended header, and lies in the header behind it.
    Pax,
    /// As before 1988, where a slash makes a directory.
    V7,
}

impl EntryInput {
    /// What the producer means.
    pub(super) fn given(&self, outside: &[u8]) -> Given {
        let what = match &self.what {
            WhatInput::Directory => What::Directory,
            WhatInput::Empty => What::File(Vec::new()),
            WhatInput::File(byte, length) => What::File(vec![*byte; usize::from(*length) % 2048]),
            WhatInput::Symlink(target) => What::Symlink(target.bytes(outside)),
            WhatInput::HardLink(target) => What::HardLink(target.bytes(outside)),
            WhatInput::CharDevice(major, minor) => {
                What::CharDevice(u32::from(*major), u32::from(*minor))
            }
            WhatInput::BlockDevice(major, minor) => What::BlockDevice(u32::from(*major), *minor),
            WhatInput::Fifo => What::Fifo,
        };
        let owner = match self.owner {
            Owner::Root => (0, 0),
            Owner::Small(uid, gid) => (uid.into(), gid.into()),
            Owner::Large(uid, gid) => (uid.into(), gid.into()),
            Owner::TooLarge => (1 << 32, 0),
        };
        let time = match self.time {
            Time::Header(seconds) => (seconds.into(), 0),
            Time::Pax(seconds, nanoseconds) => (seconds.into(), nanoseconds % 1_000_000_000),
        };
        let xattrs = self.xattrs.iter().flatten();
        let attributes = xattrs.map(|index| {
            let (key, value) = XATTRS[usize::from(*index) % XATTRS.len()];
            (key.as_bytes().to_vec(), value.to_vec())
        });
        Given {
            name: self.name.bytes(outside),
            what,
            facts: Facts {
                mode: u32::from(self.mode),
                owner,
                time,
                attributes: attributes.collect(),
            },
        }
    }

    /// Adds the entry to an archive.
    pub(super) fn write(&self, given: &Given, mut builder: LayerBuilder) -> LayerBuilder {
        let mut entry = self.written(given);
        if self.format == Format::Gnu {
            entry = entry.magic(Magic::Gnu);
            for (flag, text) in [(b'L', Some(&given.name)), (b'K', target(&given.what))] {
                let text = text.map_or(&b""[..], Vec::as_slice);
                if !text.is_empty() && (flag == b'L' || text.len() > 100) {
                    let link = Entry::new(flag, "././@LongLink").magic(Magic::Gnu);
                    builder = builder.entry(link.content([text, b"\0"].concat()));
                }
            }
        }
        builder.entry(entry)
    }

    fn written(&self, given: &Given) -> Entry {
        let facts = &given.facts;
        let mut entry = self.named(given).mode(facts.mode.into());
        let content = match &given.what {
            What::File(content) => content.as_slice(),
            _ => &[],
        };
        entry = entry.content(content);
        if let Some(target) = target(&given.what) {
            entry = match self.format {
                Format::Pax if !target.is_empty() => entry.link_name("lie").pax("linkpath", target),
                Format::Gnu if target.len() > 100 => entry.link_name("lie"),
                _ => entry.link_name(target),
            };
        }
        let (uid, gid) = facts.owner;
        entry = match self.format {
            Format::Pax => entry
                .claim_size(0)
                .pax("size", content.len().to_string())
                .pax("uid", uid.to_string())
                .pax("gid", gid.to_string()),
            _ => entry.owner(uid.into(), gid.into()),
        };
        entry = match self.time {
            Time::Header(seconds) => entry.mtime(seconds.into()),
            Time::Pax(..) => entry.mtime(5).pax("mtime", decimal(facts.time)),
        };
        for (key, value) in &facts.attributes {
            entry = entry.pax([b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
        entry
    }

    /// An entry of its kind, whose name is written as the format has it.
    fn named(&self, given: &Given) -> Entry {
        let name = given.name.as_slice();
        match self.format {
            Format::Pax if !name.is_empty() => of_kind(&given.what, b"lie").pax("path", name),
            Format::Gnu if !name.is_empty() => of_kind(&given.what, b"lie"),
            Format::Prefixed => match prefix(name) {
                Some((prefix, rest)) => of_kind(&given.what, rest).overwrite(345, prefix),
                None => of_kind(&given.what, name),
            },
            // A header with extensions is never that old.
            Format::V7 if self.is_plain(name) => match given.what {
                What::Directory => Entry::new(0, [name, b"/"].concat()).magic(Magic::V7),
                What::File(_) if !name.ends_with(b"/") => Entry::new(0, name).magic(Magic::V7),
                _ => of_kind(&given.what, name),
            },
            _ => of_kind(&given.what, name),
        }
    }

    fn is_plain(&self, name: &[u8]) -> bool {
        let has_extensions =
            matches!(self.time, Time::Pax(..)) || self.xattrs.iter().flatten().next().is_some();
        name.len() < 100 && !has_extensions
    }
}

fn of_kind(what: &What, name: &[u8]) -> Entry {
    match what {
        What::File(_) => Entry::new(b'0', name),
        What::HardLink(_) => Entry::new(b'1', name),
        What::Symlink(_) => Entry::new(b'2', name),
        What::CharDevice(major, minor) => {
            Entry::char_device(name, (*major).into(), (*minor).into())
        }
        What::BlockDevice(major, minor) => {
            Entry::block_device(name, (*major).into(), (*minor).into())
        }
        What::Directory => Entry::new(b'5', name),
        What::Fifo => Entry::new(b'6', name),
    }
}

fn target(what: &What) -> Option<&Vec<u8>> {
    match what {
        What::Symlink(target) | What::HardLink(target) => Some(target),
        _ => None,
    }
}

/// The two parts of a name in a header of ustar, which are joined by a slash.
fn prefix(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut parts = slashes.map(|(at, _)| (&name[..at], &name[at + 1..]));
    parts
        .find(|(prefix, rest)| (1..=155).contains(&prefix.len()) && (1..=100).contains(&rest.len()))
}

/// Seconds with a fraction, as in an extended header.
fn decimal((seconds, nanoseconds): (i64, u32)) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    // -1.75 is two seconds before, and a quarter after that.
    let (whole, rest) = (-seconds - 1, 1_000_000_000 - nanoseconds);
    format!("-{whole}.{rest:09}")
}
