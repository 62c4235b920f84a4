//! Comparing an unpacked layer with its index: what is missing, what is there besides, what differs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use ucr_sys::{FileType, Stat, at};

use super::index::{Contents, Hash, Node, Object};
use super::{metadata, whiteout};

/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;

/// Where files' bytes are to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From wherever the kernel has them.
    Cache,
    /// From the disk, as far as the kernel lets go of what it has in memory.
    Disk,
}

/// One difference between a layer's directory and its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path in the layer; the root is the empty one.
    pub path: Vec<u8>,
    /// What is wrong there.
    pub how: Difference,
}

/// How something on the disk is not what was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It is gone.
    Missing,
    /// Nothing should be there.
    Extra,
    /// It is of another kind.
    Kind,
    /// Its permissions are others.
    Mode,
    /// It belongs to somebody else.
    Owner,
    /// Its extended attributes are others.
    Attributes,
    /// It has another length.
    Size,
    /// It has other bytes.
    Content,
    /// It links to somewhere else.
    Target,
    /// It stands for another device.
    Device,
    /// It is a file of its own where it should be another name of one, or the other way round.
    HardLink,
    /// The disk does not give it back.
    Unreadable,
}

impl Difference {
    /// The same in one stable word, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Kind => "kind",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
            Self::Size => "size",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::HardLink => "hard-link",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it is missing",
            Self::Extra => "it should not be there",
            Self::Kind => "it is something else",
            Self::Mode => "its mode was changed",
            Self::Owner => "its owner was changed",
            Self::Attributes => "its extended attributes were changed",
            Self::Size => "its size was changed",
            Self::Content => "its content was changed",
            Self::Target => "it links to somewhere else",
            Self::Device => "it stands for another device",
            Self::HardLink => "its hard links were changed",
            Self::Unreadable => "it cannot be read",
        })
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Objects looked at.
    pub(crate) objects: u64,
    /// Bytes of files read.
    pub(crate) bytes: u64,
    /// All differences, in no order.
    pub(crate) faults: Vec<Fault>,
}

/// Compares the directory `root` with what should stand in it.
///
/// # Errors
/// When the root cannot be read; what cannot be read below it is a fault of its own.
pub(crate) fn compare(
    contents: Contents,
    root: BorrowedFd<'_>,
    source: Source,
) -> Result<Compared, ucr_sys::Error> {
    let mut comparison = Comparison {
        objects: HashMap::new(),
        inodes: shared(&contents.nodes),
        expected: contents.nodes,
        source,
        piece: vec![0; PIECE],
        result: Compared::default(),
    };
    comparison.root(root)?;
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        comparison.directory(root, &path, &mut ahead);
    }
    let Comparison {
        expected,
        mut result,
        ..
    } = comparison;
    result.faults.extend(expected.into_keys().map(|path| Fault {
        path,
        how: Difference::Missing,
    }));
    Ok(result)
}

/// The system did not give back an object; how does not matter.
struct Unreadable;

impl From<ucr_sys::Error> for Unreadable {
    fn from(_: ucr_sys::Error) -> Self {
        Self
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

struct Comparison {
    /// What has not been seen yet.
    expected: BTreeMap<Vec<u8>, Node>,
    /// The object that each inode with several names is.
    objects: HashMap<u64, u64>,
    /// The inode of each object that should have several names, once it was seen.
    inodes: HashMap<u64, Option<u64>>,
    source: Source,
    piece: Vec<u8>,
    result: Compared,
}

impl Comparison {
    fn root(&mut self, root: BorrowedFd<'_>) -> Result<(), ucr_sys::Error> {
        let stat = at::stat_fd(root)?;
        self.result.objects += 1;
        if let Some(node) = self.expected.remove(&b""[..]) {
            let differs = if node.facts.mode != stat.st_mode & 0o7777 {
                Some(Difference::Mode)
            } else if (node.facts.uid, node.facts.gid) != (stat.st_uid, stat.st_gid) {
                Some(Difference::Owner)
            } else {
                (metadata::attributes_fd(root)? != node.facts.attributes)
                    .then_some(Difference::Attributes)
            };
            differs.into_iter().for_each(|how| self.fault(b"", how));
        }
        Ok(())
    }

    /// Looks at everything in one directory, and puts those in it on the list.
    fn directory(&mut self, root: BorrowedFd<'_>, path: &[u8], ahead: &mut Vec<Vec<u8>>) {
        let opened = at::open_dir_below(root, path);
        let names = opened
            .as_ref()
            .ok()
            .and_then(|dir| at::names(dir.as_fd()).ok());
        let (Ok(dir), Some(names)) = (opened, names) else {
            return self.fault(path, Difference::Unreadable);
        };
        for name in names {
            let inner = match path.is_empty() {
                true => name.clone(),
                false => [path, b"/", &name].concat(),
            };
            self.result.objects += 1;
            let Some(node) = self.expected.remove(&inner) else {
                self.fault(&inner, Difference::Extra);
                continue;
            };
            match self.object((dir.as_fd(), &name), &node) {
                Ok(None) if node.facts.object == Object::Directory => ahead.push(inner),
                Ok(None) => {}
                Ok(Some(how)) => {
                    if node.facts.object == Object::Directory && how != Difference::Kind {
                        ahead.push(inner.clone());
                    }
                    self.fault(&inner, how);
                }
                Err(Unreadable) => self.fault(&inner, Difference::Unreadable),
            }
        }
    }

    fn fault(&mut self, path: &[u8], how: Difference) {
        self.result.faults.push(Fault {
            path: path.to_vec(),
            how,
        });
    }

    /// The first thing that is wrong with one object.
    fn object(
        &mut self,
        (dir, name): (BorrowedFd<'_>, &[u8]),
        node: &Node,
    ) -> Result<Option<Difference>, Unreadable> {
        let Some(stat) = at::stat(dir, name)? else {
            return Ok(Some(Difference::Missing));
        };
        let facts = &node.facts;
        if let Some(how) = different_kind(&facts.object, &stat) {
            return Ok(Some(how));
        }
        if facts.object == Object::Whiteout {
            return Ok(None);
        }
        if (facts.uid, facts.gid) != (stat.st_uid, stat.st_gid) {
            return Ok(Some(Difference::Owner));
        }
        let has_mode = !matches!(facts.object, Object::Symlink(_));
        if has_mode && facts.mode != stat.st_mode & 0o7777 {
            return Ok(Some(Difference::Mode));
        }
        if facts.object != Object::Directory && !self.is_same_object(node, &stat) {
            return Ok(Some(Difference::HardLink));
        }
        let attributes = metadata::attributes(dir, name)?;
        if attributes != facts.attributes {
            return Ok(Some(Difference::Attributes));
        }
        match &facts.object {
            Object::File { content, .. } => self.content((dir, name), content.as_ref()),
            Object::Symlink(target) => {
                let says = at::read_link(dir, name)?;
                Ok((says != *target).then_some(Difference::Target))
            }
            Object::Directory => {
                let opened = at::open_dir(dir, name)?;
                let opaque = whiteout::is_opaque(opened.as_fd())?;
                Ok((opaque != node.opaque).then_some(Difference::Attributes))
            }
            _ => Ok(None),
        }
    }

    /// Whether all names so far of this object, and of no other, are names of this inode.
    fn is_same_object(&mut self, node: &Node, stat: &Stat) -> bool {
        let (identity, inode) = (node.identity, stat.st_ino);
        let one_inode = self
            .inodes
            .get_mut(&identity)
            .is_none_or(|seen| *seen.get_or_insert(inode) == inode);
        let one_object =
            stat.st_nlink == 1 || *self.objects.entry(inode).or_insert(identity) == identity;
        one_inode && one_object
    }

    fn content(
        &mut self,
        (dir, name): (BorrowedFd<'_>, &[u8]),
        expected: Option<&Hash>,
    ) -> Result<Option<Difference>, Unreadable> {
        let Some(expected) = expected else {
            return Ok(None);
        };
        let fd = at::open_file(dir, name)?;
        if self.source == Source::Disk {
            at::forget_cached(fd.as_fd())?;
        }
        let mut file = File::from(fd);
        let mut hasher = blake3::Hasher::new();
        loop {
            match file.read(&mut self.piece) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&self.piece[..count]);
                    self.result.bytes += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((hasher.finalize().as_bytes() != expected).then_some(Difference::Content))
    }
}

/// The objects that should have several names.
fn shared(nodes: &BTreeMap<Vec<u8>, Node>) -> HashMap<u64, Option<u64>> {
    let mut seen = HashSet::new();
    let again = |node: &&Node| !seen.insert(node.identity);
    nodes
        .values()
        .filter(again)
        .map(|node| (node.identity, None))
        .collect()
}

/// What tells an object from the expected one without looking into it.
fn different_kind(object: &Object, stat: &Stat) -> Option<Difference> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let device = |major: u32, minor: u32| stat.st_rdev == at::device_number(major, minor);
    let (same, how) = match (object, kind) {
        (Object::File { size, .. }, FileType::RegularFile) => {
            (u64::try_from(stat.st_size) == Ok(*size), Difference::Size)
        }
        (Object::CharDevice(major, minor), FileType::CharacterDevice)
        | (Object::BlockDevice(major, minor), FileType::BlockDevice) => {
            (device(*major, *minor), Difference::Device)
        }
        (Object::Whiteout, FileType::CharacterDevice) => (stat.st_rdev == 0, Difference::Device),
        (Object::Directory, FileType::Directory)
        | (Object::Symlink(_), FileType::Symlink)
        | (Object::Fifo, FileType::Fifo) => return None,
        _ => return Some(Difference::Kind),
    };
    (!same).then_some(how)
}
