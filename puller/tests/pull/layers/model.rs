//! What a layer means, as a map from paths to what stands there.
//!
//! Written from the rules that `docs/layers.md` names and from the OCI image specification's
//! layer.md; nothing here looks at a file system, and nothing of it knows how unpacking goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use test_support::sha256_digest;

/// Links followed in one name before it is refused (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The longest name that Linux's file systems take.
const MAX_NAME: usize = 255;

/// The components of a real path from the root, which has none.
type Path = Vec<Vec<u8>>;

/// An entry of an archive, as its producer meant it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: Vec<u8>,
    pub(super) what: What,
    pub(super) facts: Facts,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What is said of an entry, whatever it is.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    /// Seconds and nanoseconds.
    pub(super) time: (i64, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The layer cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// What a layer's directory must hold.
#[derive(Debug, Clone)]
pub(super) struct Model {
    nodes: BTreeMap<Path, Node>,
    objects: Vec<Object>,
    /// Whether everything below the layer is hidden.
    pub(super) hides_all: bool,
}

#[derive(Debug, Clone)]
enum Node {
    Directory(Directory),
    /// A name of the object with this number.
    Name(usize),
    Whiteout,
}

#[derive(Debug, Clone, Default)]
struct Directory {
    /// Mode, owner and time, where an entry says them.
    described: Option<Facts>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether it hides what lower layers have in it.
    hides: bool,
}

#[derive(Debug, Clone)]
struct Object {
    what: What,
    facts: Facts,
}

/// What a name that is not there means on the way of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsMade,
    IsRefused,
}

impl Model {
    /// A layer without entries.
    pub(super) fn new() -> Self {
        let root = Node::Directory(Directory::default());
        Self {
            nodes: BTreeMap::from([(Vec::new(), root)]),
            objects: Vec::new(),
            hides_all: false,
        }
    }

    /// Takes the next entry.
    pub(super) fn apply(&mut self, given: &Given) -> Result<(), Refused> {
        check(given)?;
        let mut way = place(&given.name)?;
        let Some(name) = way.pop() else {
            return self.describe(&Vec::new(), given);
        };
        if way.iter().any(|part| part.starts_with(b".wh.")) {
            // AUFS kept files of its own in such directories of the root.
            return keep(way[0].starts_with(b".wh..wh."));
        }
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            let is_opaque = hidden == b".wh..opq";
            if hidden.starts_with(b".wh.") && !is_opaque {
                return Ok(());
            }
            keep(given.what == What::File(Vec::new()))?;
            return match is_opaque {
                true => self.hide_lower(way),
                false => self.hide(&way, hidden),
            };
        }
        if let What::HardLink(target) = &given.what {
            return self.link((&way, &name), target);
        }
        let path = self.below(&way, &name)?;
        if given.what == What::Directory {
            self.clear_for_directory(&path);
            return self.describe(&path, given);
        }
        self.remove(&path);
        self.objects.push(Object::of(given));
        self.nodes.insert(path, Node::Name(self.objects.len() - 1));
        Ok(())
    }

    /// Takes the end of the archive: what hides all has nothing to hide one by one.
    pub(super) fn finish(&mut self) {
        let whiteouts: Vec<Path> = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::Whiteout))
            .map(|(path, _)| path.clone())
            .collect();
        for path in whiteouts {
            let is_below_hiding = |length| matches!(&self.nodes[&path[..length]], Node::Directory(directory) if directory.hides);
            if self.hides_all || (1..path.len()).any(is_below_hiding) {
                self.nodes.remove(&path);
            }
        }
    }

    fn describe(&mut self, path: &Path, given: &Given) -> Result<(), Refused> {
        keep(given.what == What::Directory)?;
        let Node::Directory(directory) = self
            .nodes
            .entry(path.clone())
            .or_insert_with(|| Node::Directory(Directory::default()))
        else {
            return Err(Refused);
        };
        directory.described = Some(given.facts.clone());
        directory.attributes.extend(kept_attributes(given));
        Ok(())
    }

    /// Makes way for a directory, which hides what lower layers have if something stood there.
    fn clear_for_directory(&mut self, path: &Path) {
        if matches!(self.nodes.get(path), Some(Node::Name(_) | Node::Whiteout)) {
            let hiding = Directory {
                hides: true,
                ..Directory::default()
            };
            self.nodes.insert(path.clone(), Node::Directory(hiding));
        }
    }

    fn hide(&mut self, way: &[Vec<u8>], name: &[u8]) -> Result<(), Refused> {
        keep(!matches!(name, b"" | b"." | b".."))?;
        let path = self.below(way, name)?;
        match self.nodes.get_mut(&path) {
            Some(Node::Directory(directory)) => directory.hides = true,
            Some(Node::Name(_) | Node::Whiteout) => {}
            None => {
                self.nodes.insert(path, Node::Whiteout);
            }
        }
        Ok(())
    }

    fn hide_lower(&mut self, mut way: Path) -> Result<(), Refused> {
        let Some(name) = way.pop() else {
            self.hides_all = true;
            return Ok(());
        };
        let path = self.below(&way, &name)?;
        self.clear_for_directory(&path);
        let node = self
            .nodes
            .entry(path)
            .or_insert_with(|| Node::Directory(Directory::default()));
        if let Node::Directory(directory) = node {
            directory.hides = true;
        }
        Ok(())
    }

    fn link(&mut self, (way, name): (&[Vec<u8>], &[u8]), target: &[u8]) -> Result<(), Refused> {
        let mut target_way = place(target)?;
        let target_name = target_way.pop().ok_or(Refused)?;
        let mut first = self.walk(Vec::new(), &target_way, (Missing::IsRefused, &mut 0))?;
        first.push(target_name);
        let object = match self.nodes.get(&first) {
            Some(Node::Name(object)) => *object,
            _ => return Err(Refused),
        };
        let path = self.below(way, name)?;
        if matches!(self.nodes.get(&path), Some(Node::Name(there)) if *there == object) {
            return Ok(());
        }
        // What goes away may be what it links to.
        keep(!(first.len() > path.len() && first.starts_with(&path)))?;
        self.remove(&path);
        self.nodes.insert(path, Node::Name(object));
        Ok(())
    }

    fn remove(&mut self, path: &Path) {
        self.nodes.retain(|other, _| !other.starts_with(path));
    }

    /// The real path of `name` in the directory that `way` leads to, which is made if need be.
    fn below(&mut self, way: &[Vec<u8>], name: &[u8]) -> Result<Path, Refused> {
        let mut path = self.walk(Vec::new(), way, (Missing::IsMade, &mut 0))?;
        keep(name.len() <= MAX_NAME)?;
        path.push(name.to_vec());
        Ok(path)
    }

    fn walk(
        &mut self,
        mut here: Path,
        way: &[Vec<u8>],
        (missing, links): (Missing, &mut usize),
    ) -> Result<Path, Refused> {
        for name in way {
            if name == b".." {
                here.pop();
                continue;
            }
            keep(name.len() <= MAX_NAME)?;
            let mut next = here.clone();
            next.push(name.clone());
            let hides = match self.nodes.get(&next) {
                Some(Node::Directory(_)) => {
                    here = next;
                    continue;
                }
                Some(Node::Name(object)) => {
                    let What::Symlink(target) = self.objects[*object].what.clone() else {
                        return Err(Refused);
                    };
                    *links += 1;
                    keep(*links <= MAX_LINKS)?;
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    here = self.walk(here, &parts(&target), (missing, links))?;
                    continue;
                }
                Some(Node::Whiteout) => true,
                None => false,
            };
            keep(missing == Missing::IsMade)?;
            let made = Directory {
                hides,
                ..Directory::default()
            };
            self.nodes.insert(next.clone(), Node::Directory(made));
            here = next;
        }
        Ok(here)
    }
}

/// What is asked of the layer when it is compared.
impl Model {
    /// Directories that only exist for what is in them.
    pub(super) fn implied(&self) -> BTreeSet<Vec<u8>> {
        let implied = self.nodes.iter().filter(|(path, node)| {
            let plain = |one: &Directory| one.described.is_none() && !one.hides;
            !path.is_empty() && matches!(node, Node::Directory(one) if plain(one))
        });
        implied.map(|(path, _)| path.join(&b'/')).collect()
    }

    /// A line for each object, as `test_support::tree` has it, without times that nobody says;
    /// of a whiteout only that it is there.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.nodes.iter().map(|(path, node)| {
            let shown = shown(path);
            match node {
                Node::Directory(directory) => directory.line(&shown),
                Node::Name(object) => self.objects[*object].line(&shown),
                Node::Whiteout => format!("{shown} whiteout"),
            }
        });
        lines.collect()
    }

    /// The names of each object that has several.
    pub(super) fn hard_links(&self) -> BTreeSet<Vec<String>> {
        let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, node) in &self.nodes {
            if let Node::Name(object) = node {
                names.entry(*object).or_default().push(shown(path));
            }
        }
        let mut several: BTreeSet<_> = BTreeSet::new();
        for mut names in names.into_values().filter(|names| names.len() > 1) {
            names.sort();
            several.insert(names);
        }
        several
    }
}

impl Directory {
    fn line(&self, shown: &str) -> String {
        let mut line = match &self.described {
            Some(facts) => facts.start(shown, "dir", None),
            None => format!("{shown} dir 0755 0:0"),
        };
        let mut attributes = self.attributes.clone();
        if self.hides {
            attributes.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
        }
        put_attributes(&mut line, attributes);
        line
    }
}

impl Object {
    fn of(given: &Given) -> Self {
        let mut facts = given.facts.clone();
        facts.attributes = kept_attributes(given).collect();
        Self {
            what: given.what.clone(),
            facts,
        }
    }

    fn line(&self, shown: &str) -> String {
        let facts = &self.facts;
        let device = |kind, major, minor| {
            let start = facts.start(shown, kind, Some(0));
            format!("{start} device={major}:{minor}")
        };
        let mut line = match &self.what {
            What::Symlink(target) => {
                let mut facts = facts.clone();
                facts.mode = 0o777;
                let start = facts.start(shown, "symlink", Some(target.len()));
                format!("{start} -> {}", target.escape_ascii())
            }
            What::CharDevice(major, minor) => device("char", major, minor),
            What::BlockDevice(major, minor) => device("block", major, minor),
            What::Fifo => facts.start(shown, "fifo", Some(0)),
            What::File(content) => facts.start(shown, "file", Some(content.len())),
            What::Directory | What::HardLink(_) => unreachable!("neither is an object"),
        };
        put_attributes(&mut line, facts.attributes.iter().cloned().collect());
        if let What::File(content) = &self.what {
            write!(line, " {}", &sha256_digest(content)[..23]).unwrap();
        }
        line
    }
}

impl Facts {
    fn start(&self, shown: &str, kind: &str, size: Option<usize>) -> String {
        let size = size.map_or(String::new(), |size| format!(" size={size}"));
        let (mode, (uid, gid)) = (self.mode & 0o7777, self.owner);
        let (seconds, nanoseconds) = self.time;
        format!("{shown} {kind} {mode:04o} {uid}:{gid}{size} mtime={seconds}.{nanoseconds:09}")
    }
}

fn put_attributes(line: &mut String, attributes: BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in attributes {
        write!(line, " {}={}", key.escape_ascii(), value.escape_ascii()).unwrap();
    }
}

fn shown(path: &Path) -> String {
    format!("/{}", path.join(&b'/').escape_ascii())
}

fn keep(holds: bool) -> Result<(), Refused> {
    match holds {
        true => Ok(()),
        false => Err(Refused),
    }
}

/// What an entry may not say, wherever it stands.
fn check(given: &Given) -> Result<(), Refused> {
    let (uid, gid) = given.facts.owner;
    let most = u64::from(u32::MAX);
    keep(uid < most && gid < most)?;
    match &given.what {
        What::Symlink(target) | What::HardLink(target) => {
            keep(!target.is_empty() && !target.contains(&0))
        }
        What::CharDevice(0, 0) => Err(Refused),
        What::CharDevice(major, minor) | What::BlockDevice(major, minor) => {
            keep(*major < 1 << 12 && *minor < 1 << 20)
        }
        What::Directory | What::File(_) | What::Fifo => Ok(()),
    }
}

/// The attributes that an image may set, the last value of each; only files and directories have
/// those of users (xattr(7)).
fn kept_attributes(given: &Given) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let has_users = matches!(given.what, What::Directory | What::File(_));
    let foreign = [
        "trusted.overlay.",
        "user.overlay.",
        "security.selinux",
        "security.ima",
        "system.posix_acl_default",
    ];
    let kept = given.facts.attributes.iter().filter(move |(key, _)| {
        let is_foreign = foreign.iter().any(|one| key.starts_with(one.as_bytes()));
        !is_foreign && (has_users || !key.starts_with(b"user."))
    });
    kept.cloned()
}

fn parts(name: &[u8]) -> Path {
    let parts = name.split(|byte| *byte == b'/');
    let meant = parts.filter(|part| !matches!(*part, b"" | b"."));
    meant.map(<[u8]>::to_vec).collect()
}

/// What a name says before any link is looked at.
fn place(name: &[u8]) -> Result<Path, Refused> {
    keep(!name.contains(&0))?;
    let mut path = Path::new();
    for part in parts(name) {
        if part == b".." {
            path.pop().ok_or(Refused)?;
        } else {
            path.push(part);
        }
    }
    Ok(path)
}
