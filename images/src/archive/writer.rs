//! Applying the entries of a layer to an empty directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ucr_sys::at::{self, FileTime};
use ucr_sys::{Errno, FileType, OFlags, tree};

use super::error::Error;
use super::index::{Facts, Hash, IndexWriter, Object, Record};
use super::metadata;
use super::parents::{Failure, Parent, Parents, new_dir};
use super::path::{Place, place};
use super::tar::{Archive, Entry, Kind};
use super::whiteout::{self, Found, Meaning};

/// Bytes kept of directories' paths and times until the end of a layer.
const MAX_DIRECTORY_BYTES: usize = 32 * 1024 * 1024;

/// What became of a layer, and what overlayfs must be told beyond its directory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Entries read.
    pub(crate) entries: u64,
    /// Bytes of all regular files.
    pub(crate) bytes: u64,
    /// Whether everything below this layer is hidden: overlayfs ignores the
    /// attribute on a layer's root (measured), so the stack must be cut here.
    pub(crate) root_opaque: bool,
    /// Whether the root itself had an entry.
    pub(crate) root_explicit: bool,
    /// Directories that only exist for what is in them, and that must get the
    /// attributes of a lower layer's directory of the same name.
    pub(crate) implied: Vec<Vec<u8>>,
}

/// Unpacks all entries of the archive in `reader` below `root`, an empty directory, and writes
/// down in `index` what it made.
///
/// Asks `admit` before each entry. Returns what was done, and the reader, to be read to its end.
///
/// # Errors
/// At the first entry that is refused or that the system does not take; what
/// has been unpacked by then stays for the caller to remove.
pub fn apply<R: Read>(
    reader: R,
    root: BorrowedFd<'_>,
    index: IndexWriter<'_>,
    admit: &dyn Fn() -> io::Result<()>,
) -> Result<(Applied, R), Error> {
    let mut archive = Archive::new(reader);
    let mut writer = Writer::new(root, index);
    while let Some(entry) = archive.next()? {
        admit().map_err(Error::Read)?;
        writer.applied.entries += 1;
        writer
            .write(&entry, &mut archive)
            .map_err(|cause| cause.at(&entry))?;
    }
    let applied = writer.finish()?;
    Ok((applied, archive.into_rest()))
}

/// Why one entry was not written.
enum Cause {
    Refused(String),
    System(ucr_sys::Error),
    Archive(Error),
    Index(std::io::Error),
}

impl Cause {
    fn at(self, entry: &Entry) -> Error {
        let path = entry.path.clone();
        match self {
            Self::Refused(why) => Error::Entry { path, why },
            Self::System(source) => Error::Unpack { path, source },
            Self::Archive(error) => error,
            Self::Index(source) => Error::Index(source),
        }
    }
}

impl From<ucr_sys::Error> for Cause {
    fn from(error: ucr_sys::Error) -> Self {
        Self::System(error)
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(why) => Self::Refused(why),
            Failure::System(error) => Self::System(error),
        }
    }
}

fn refused(why: &str) -> Cause {
    Cause::Refused(why.to_owned())
}

struct Writer<'a> {
    parents: Parents<'a>,
    index: IndexWriter<'a>,
    /// Times of directories, set at the end: every entry made in one changes it.
    directory_times: BTreeMap<Vec<u8>, FileTime>,
    directory_bytes: usize,
    root_time: Option<FileTime>,
    applied: Applied,
}

impl<'a> Writer<'a> {
    fn new(root: BorrowedFd<'a>, index: IndexWriter<'a>) -> Self {
        Self {
            parents: Parents::new(root),
            index,
            directory_times: BTreeMap::new(),
            directory_bytes: 0,
            root_time: None,
            applied: Applied::default(),
        }
    }

    fn write<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), Cause> {
        let (parent, name) = match place(&entry.path).map_err(refused)? {
            Place::Root => return self.write_root(entry),
            Place::Below { parent, name } => (parent, name),
        };
        if whiteout::is_in_path(&parent) {
            return if parent.starts_with(b".wh..wh.") {
                Ok(()) // AUFS kept its own files there.
            } else {
                Err(refused("a directory on its way has the name of a whiteout"))
            };
        }
        match whiteout::meaning(&name, &entry.kind).map_err(refused)? {
            Meaning::Ordinary => {}
            Meaning::Reserved => return Ok(()),
            Meaning::Gone(gone) => return self.write_whiteout(&parent, gone),
            Meaning::Opaque => return self.write_opaque(&parent),
        }
        match &entry.kind {
            Kind::Directory => self.write_directory(&parent, &name, entry),
            Kind::File(size) => self.write_file(&parent, &name, (entry, *size), archive),
            Kind::Symlink(target) => self.write_symlink(&parent, &name, (entry, target)),
            Kind::HardLink(target) => self.write_hard_link(&parent, &name, target),
            Kind::CharDevice(major, minor) => self.write_node(
                &parent,
                &name,
                entry,
                (FileType::CharacterDevice, *major, *minor),
            ),
            Kind::BlockDevice(major, minor) => self.write_node(
                &parent,
                &name,
                entry,
                (FileType::BlockDevice, *major, *minor),
            ),
            Kind::Fifo => self.write_node(&parent, &name, entry, (FileType::Fifo, 0, 0)),
        }
    }

    fn write_root(&mut self, entry: &Entry) -> Result<(), Cause> {
        if entry.kind != Kind::Directory {
            return Err(refused("the root of a layer can only be a directory"));
        }
        let root = self.parents.root();
        metadata::apply_fd(root, entry)?;
        self.parents.owner_changed(b"");
        self.root_time = Some(entry.time);
        self.applied.root_explicit = true;
        let facts = facts(entry, Object::Directory, metadata::attributes_fd(root)?);
        self.note(&Record::Made(b"", facts))
    }

    fn write_directory(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Cause> {
        let dir = self.parents.open(parent)?;
        let path = dir.path_of(name);
        let replaced = match at::make_dir(dir.fd, name) {
            Ok(()) => false,
            Err(error) if error.errno() == Errno::EXIST => match found(dir.fd, name)? {
                Some(Found::Directory) => false,
                _ => {
                    at::remove(dir.fd, name)?;
                    at::make_dir(dir.fd, name)?;
                    true
                }
            },
            Err(error) => return Err(error.into()),
        };
        let made = at::open_dir(dir.fd, name)?;
        metadata::apply_fd(made.as_fd(), entry)?;
        let facts = facts(
            entry,
            Object::Directory,
            metadata::attributes_fd(made.as_fd())?,
        );
        if replaced {
            // What stood here already hid the lower layers' directory of this name.
            whiteout::mark_opaque(made.as_fd())?;
            self.parents.is_opaque(path.clone());
            self.parents.forget();
        }
        self.parents.is_explicit(&path);
        self.parents.owner_changed(&path);
        self.note(&Record::Made(&path, facts))?;
        self.note_time(path, entry.time)?;
        Ok(())
    }

    fn write_file<R: Read>(
        &mut self,
        parent: &[u8],
        name: &[u8],
        (entry, size): (&Entry, u64),
        archive: &mut Archive<R>,
    ) -> Result<(), Cause> {
        self.applied.bytes = self.applied.bytes.saturating_add(size);
        let (file, dir) = self.create(parent, name, |dir| at::create_file(dir, name))?;
        let file = File::from(file);
        let content = Some(copy_content(archive, &file, name)?);
        metadata::apply_new(file.as_fd(), entry, dir.gives)?;
        at::set_times_fd(file.as_fd(), entry.time)?;
        let attributes = match entry.xattrs.is_empty() {
            true => None,
            false => metadata::attributes_fd(file.as_fd())?,
        };
        let path = dir.path_of(name);
        let facts = facts(entry, Object::File { size, content }, attributes);
        self.note(&Record::Made(&path, facts))
    }

    fn write_symlink(
        &mut self,
        parent: &[u8],
        name: &[u8],
        (entry, target): (&Entry, &[u8]),
    ) -> Result<(), Cause> {
        let ((), dir) = self.create(parent, name, |dir| at::make_symlink(dir, name, target))?;
        metadata::apply_link(dir.fd, name, entry)?;
        let object = Object::Symlink(target.to_vec());
        let facts = facts(entry, object, attributes(dir.fd, name, entry)?);
        let path = dir.path_of(name);
        self.note(&Record::Made(&path, facts))
    }

    fn write_node(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: &Entry,
        (kind, major, minor): (FileType, u32, u32),
    ) -> Result<(), Cause> {
        let object = match kind {
            FileType::CharacterDevice => Object::CharDevice(major, minor),
            FileType::BlockDevice => Object::BlockDevice(major, minor),
            _ => Object::Fifo,
        };
        let make = |dir: BorrowedFd<'_>| at::make_node(dir, name, kind, (major, minor));
        let ((), dir) = self.create(parent, name, make)?;
        metadata::apply_node(dir.fd, name, entry)?;
        let facts = facts(entry, object, attributes(dir.fd, name, entry)?);
        let path = dir.path_of(name);
        self.note(&Record::Made(&path, facts))
    }

    fn write_hard_link(&mut self, parent: &[u8], name: &[u8], target: &[u8]) -> Result<(), Cause> {
        let Place::Below {
            parent: target_parent,
            name: target_name,
        } = place(target).map_err(refused)?
        else {
            return Err(refused("it links to the root"));
        };
        let shown = target.escape_ascii();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let target_dir =
            at::open_in_root(self.parents.root(), &target_parent, flags).map_err(|_errno| {
                Cause::Refused(format!(
                    "it links to \"{shown}\", which is not in this layer"
                ))
            })?;
        let stat = at::stat(target_dir.as_fd(), &target_name)?;
        match stat.as_ref().map(Found::of) {
            None | Some(Found::Whiteout) => {
                let why = format!("it links to \"{shown}\", which is not in this layer");
                return Err(Cause::Refused(why));
            }
            Some(Found::Directory) => return Err(refused("it links to a directory")),
            Some(Found::Symlink | Found::Other) => {}
        }
        let first = self.parents.open(&target_parent)?.path_of(&target_name);
        let dir = self.parents.open(parent)?.fd;
        let same = |one: &ucr_sys::Stat| {
            stat.as_ref()
                .is_some_and(|two| (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
        };
        if at::stat(dir, name)?.as_ref().is_some_and(same) {
            return Ok(());
        }
        let link =
            |dir: BorrowedFd<'_>| at::make_hard_link(target_dir.as_fd(), &target_name, dir, name);
        let ((), dir) = self.create(parent, name, link)?;
        let path = dir.path_of(name);
        self.note(&Record::Linked(&path, &first))
    }

    /// Makes `name` by `make`, which does nothing where something of that name is; that goes then.
    ///
    /// Returns the directory it is in, too, which is looked up once: what goes may be a link on
    /// the way to it.
    fn create<T>(
        &mut self,
        parent: &[u8],
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> Result<T, ucr_sys::Error>,
    ) -> Result<(T, Parent<'_>), Cause> {
        let dir = self.parents.open(parent)?;
        let made = match make(dir.fd) {
            Err(error) if error.errno() == Errno::EXIST => {
                let path = dir.path_of(name);
                let old = found(dir.fd, name)?;
                match old {
                    None => {}
                    Some(Found::Directory) => tree::remove_tree(dir.fd, name)?,
                    Some(_) => at::remove(dir.fd, name)?,
                }
                let made = make(dir.fd)?;
                self.replaced(old, &path)?;
                made
            }
            other => other?,
        };
        Ok((made, self.parents.last()))
    }

    /// Notes that something else than `old` is at `path` now.
    fn replaced(&mut self, old: Option<Found>, path: &[u8]) -> Result<(), Cause> {
        match old {
            Some(Found::Directory) => {
                self.directory_gone(path);
                self.note(&Record::Gone(path))
            }
            Some(Found::Symlink) => {
                self.parents.forget();
                Ok(())
            }
            None | Some(Found::Whiteout | Found::Other) => Ok(()),
        }
    }

    fn note(&mut self, record: &Record<'_>) -> Result<(), Cause> {
        self.index.write(record).map_err(Cause::Index)
    }

    /// Notes the time of a directory for the end; a few megabytes can hold millions of them.
    fn note_time(&mut self, path: Vec<u8>, time: FileTime) -> Result<(), Cause> {
        self.directory_bytes += path.len() + size_of::<FileTime>();
        if self.directory_bytes > MAX_DIRECTORY_BYTES {
            return Err(refused(
                "the layer has more directories than any image needs",
            ));
        }
        self.directory_times.insert(path, time);
        Ok(())
    }

    fn directory_gone(&mut self, path: &[u8]) {
        self.parents.forget();
        self.parents.is_explicit(path);
        self.directory_times.remove(path);
    }

    /// Hides a name of lower layers; what this layer has of that name stays (L43, L45).
    fn write_whiteout(&mut self, parent: &[u8], gone: &[u8]) -> Result<(), Cause> {
        let dir = self.parents.open(parent)?;
        match found(dir.fd, gone)? {
            None => {
                whiteout::make(dir.fd, gone)?;
                let path = dir.path_of(gone);
                self.note(&Record::Hidden(&path))?;
            }
            Some(Found::Directory) => {
                whiteout::mark_opaque(at::open_dir(dir.fd, gone)?.as_fd())?;
                let path = dir.path_of(gone);
                self.parents.is_opaque(path);
            }
            Some(Found::Symlink | Found::Whiteout | Found::Other) => {}
        }
        Ok(())
    }

    /// Hides all that lower layers have in a directory, in whatever order it is said (L46).
    fn write_opaque(&mut self, path: &[u8]) -> Result<(), Cause> {
        if path.is_empty() {
            self.applied.root_opaque = true;
            return Ok(());
        }
        // The directory itself, not what a link of that name leads to (L48).
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = at.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
        let dir = self.parents.open(parent)?;
        let path = dir.path_of(name);
        let found = found(dir.fd, name)?;
        let is_replaced = found.is_some_and(|found| found != Found::Directory);
        if is_replaced {
            at::remove(dir.fd, name)?;
        }
        let made = match found {
            Some(Found::Directory) => at::open_dir(dir.fd, name)?,
            _ => new_dir(dir.fd, name)?,
        };
        whiteout::mark_opaque(made.as_fd())?;
        if is_replaced {
            self.parents.forget();
            self.note(&Record::Gone(&path))?;
        }
        self.parents.is_opaque(path);
        Ok(())
    }

    /// Sets what had to wait for the last entry, and ends the index.
    fn finish(self) -> Result<Applied, Error> {
        let root = self.parents.root();
        let (implied, opaque) = self.parents.into_noted();
        let mut applied = self.applied;
        let mut index = self.index;
        let hiding = opaque.iter().map(Vec::as_slice);
        let hiding = hiding.chain(applied.root_opaque.then_some(&b""[..]));
        for path in hiding {
            remove_whiteouts(root, path, &mut index)?;
        }
        for path in &opaque {
            if is_opaque(root, path).map_err(Error::Finish)? {
                index.write(&Record::Opaque(path)).map_err(Error::Index)?;
            }
        }
        for path in implied {
            if real_directory(root, &path)
                .map_err(Error::Finish)?
                .is_some()
            {
                index.write(&Record::Implied(&path)).map_err(Error::Index)?;
                applied.implied.push(path);
            }
        }
        index.finish().map_err(Error::Index)?;
        set_times(root, &self.directory_times, self.root_time).map_err(Error::Finish)?;
        Ok(applied)
    }
}

fn set_times(
    root: BorrowedFd<'_>,
    directories: &BTreeMap<Vec<u8>, FileTime>,
    root_time: Option<FileTime>,
) -> Result<(), ucr_sys::Error> {
    for (path, time) in directories {
        if let Some(dir) = real_directory(root, path)? {
            at::set_times_fd(dir.as_fd(), *time)?;
        }
    }
    match root_time {
        Some(time) => at::set_times_fd(root, time),
        None => Ok(()),
    }
}

/// What an index says of an entry.
fn facts(entry: &Entry, object: Object, attributes: Option<Hash>) -> Facts {
    Facts {
        object,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        attributes,
    }
}

/// The attributes that an entry which is neither file nor directory really got.
fn attributes(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<Option<Hash>, ucr_sys::Error> {
    match entry.xattrs.is_empty() {
        true => Ok(None),
        false => metadata::attributes(dir, name),
    }
}

fn found(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Found>, ucr_sys::Error> {
    Ok(at::stat(dir, name)?.map(|stat| Found::of(&stat)))
}

/// Writes the entry's bytes to `file`; returns their digest.
fn copy_content<R: Read>(
    archive: &mut Archive<R>,
    mut file: &File,
    name: &[u8],
) -> Result<Hash, Cause> {
    let mut hasher = blake3::Hasher::new();
    loop {
        let piece = archive.content().map_err(Cause::Archive)?;
        if piece.is_empty() {
            return Ok(*hasher.finalize().as_bytes());
        }
        hasher.update(piece);
        file.write_all(piece)
            .map_err(|error| ucr_sys::Error::from_io("write", at::quoted(name), &error))?;
    }
}

/// The directory at `path`, if it still is one: it may have been replaced since it was noted.
fn real_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, ucr_sys::Error> {
    match at::open_dir_below(root, path) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(ucr_sys::Error::new("openat2", at::quoted(path), errno)),
    }
}

/// Whether the directory at `path` still hides what lower layers have in it.
fn is_opaque(root: BorrowedFd<'_>, path: &[u8]) -> Result<bool, ucr_sys::Error> {
    match real_directory(root, path)? {
        Some(dir) => whiteout::is_opaque(dir.as_fd()),
        None => Ok(false),
    }
}

/// Removes whiteouts from an opaque directory and all below it, where there is
/// nothing to hide and overlayfs would list them (L49).
fn remove_whiteouts(
    root: BorrowedFd<'_>,
    path: &[u8],
    index: &mut IndexWriter<'_>,
) -> Result<(), Error> {
    let mut ahead = vec![path.to_vec()];
    while let Some(path) = ahead.pop() {
        let Some(dir) = real_directory(root, &path).map_err(Error::Finish)? else {
            continue;
        };
        for name in at::names(dir.as_fd()).map_err(Error::Finish)? {
            let inner = match path.is_empty() {
                true => name.clone(),
                false => [&path, &b"/"[..], &name].concat(),
            };
            match found(dir.as_fd(), &name).map_err(Error::Finish)? {
                Some(Found::Whiteout) => {
                    at::remove(dir.as_fd(), &name).map_err(Error::Finish)?;
                    index.write(&Record::Gone(&inner)).map_err(Error::Index)?;
                }
                Some(Found::Directory) => ahead.push(inner),
                _ => {}
            }
        }
    }
    Ok(())
}
