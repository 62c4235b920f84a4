//! What connections have, written down while a lock is held.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ucr_sys::{Dir, Lock, LockMode, at, lock_file, still_named};

use super::rules::Rule;
use super::{Error, Protocol, cni};
use crate::id::ContainerId;

/// The folder of the state directory.
const FOLDER: &str = "networks";
/// The lock of who looks for something free. No record has the name: it is not hexadecimal, and a
/// request of that ID is refused.
const LOCK: &str = "lock";
/// The most that is read of one record.
const LIMIT: u64 = 4 << 20;

/// What one connection has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who has it, for others who want the same.
    pub(super) holder: String,
    /// Ports of the host.
    pub(super) ports: Vec<HeldPort>,
    /// The bridge that it is on, and its place among the addresses of that.
    pub(super) place: Option<Place>,
    /// What leads its ports inside.
    pub(super) rules: Vec<Rule>,
    /// Where its namespace is bound.
    pub(super) namespace: Option<PathBuf>,
    /// The networks of plugins, in the order in which they were added.
    pub(super) attachments: Vec<cni::Attachment>,
    /// Whether it is being given back.
    pub(super) is_ending: bool,
}

/// A place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) bridge: String,
    pub(super) number: u32,
}

/// A port of the host that is somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldPort {
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl Record {
    /// Whether giving it back takes more than to remove the record.
    pub(super) fn is_light(&self) -> bool {
        self.rules.is_empty() && self.namespace.is_none() && self.attachments.is_empty()
    }

    /// What a file says: its last whole line. Without one nothing was made yet.
    fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let whole = &text[..end.unwrap_or(0)];
        match whole.rsplit(|byte| *byte == b'\n').next() {
            None | Some([]) => Ok(Self::default()),
            Some(line) => serde_json::from_slice(line),
        }
    }
}

impl HeldPort {
    /// Whether both cannot be had: the same port, and an address that is both's.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        let all = |address: IpAddr, other: IpAddr| {
            address.is_unspecified() && address.is_ipv4() == other.is_ipv4()
        };
        let meets = match (self.address, other.address) {
            (Some(one), Some(two)) => one == two || all(one, two) || all(two, one),
            _ => true,
        };
        meets && (self.port, self.protocol) == (other.port, other.protocol)
    }
}

/// The directory of all records.
#[derive(Debug)]
pub(super) struct Folder(Dir);

/// A record whose lock is this process's.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    name: String,
    lock: OwnedFd,
}

impl Folder {
    /// Opens the directory, making it where it is missing.
    pub(super) fn open(state_root: &Path) -> Result<Self, Error> {
        Dir::open_or_create(state_root)
            .and_then(|state| state.dir_or_create(FOLDER))
            .map(Self)
            .map_err(Error::Records)
    }

    /// Opens the directory, if there is one.
    pub(super) fn existing(state_root: &Path) -> Result<Option<Self>, Error> {
        match Dir::open(state_root.join(FOLDER)) {
            Ok(folder) => Ok(Some(Self(folder))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::Records(error)),
        }
    }

    /// Waits until nobody else looks for something free.
    pub(super) fn lock(&self) -> Result<Looking<'_>, Error> {
        let lock = Lock::acquire(self.0.as_fd(), LOCK.as_bytes(), LockMode::Exclusive);
        let lock = lock.map_err(Error::Records)?;
        Ok(Looking { folder: self, lock })
    }

    /// All records, whether somebody holds them or not.
    pub(super) fn all(&self) -> Result<Vec<(String, Record)>, Error> {
        let mut all = Vec::new();
        for name in self.0.names().map_err(Error::Records)? {
            if name == LOCK {
                continue;
            }
            // One that went just now has nothing.
            if let Some(record) = self.read(&name)? {
                all.push((name, record));
            }
        }
        Ok(all)
    }

    /// The record `name`, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<Record>, Error> {
        let text = self.0.read(name, LIMIT).map_err(Error::Records)?;
        let parsed = text.map(|text| Record::parse(&text)).transpose();
        parsed.map_err(|error| Error::Damaged(self.0.path().join(name), error))
    }

    /// Waits until nobody holds the record `name` any more.
    pub(super) fn wait(&self, name: &str) -> Result<(), Error> {
        let Some(file) = self.file(name)? else {
            return Ok(());
        };
        lock_file(file.as_fd(), LockMode::Shared).map_err(Error::Records)
    }

    fn file(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        match at::open_file(self.0.as_fd(), name.as_bytes()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::Records(error)),
        }
    }

    fn held(&self, name: &str, lock: OwnedFd) -> Held {
        Held {
            folder: self.0.path().to_path_buf(),
            name: name.to_owned(),
            lock,
        }
    }
}

/// The right to look for something free, and to take it.
#[derive(Debug)]
pub(super) struct Looking<'a> {
    folder: &'a Folder,
    lock: Lock,
}

impl Looking<'_> {
    /// Takes the record `id` for a new connection, with nothing in it.
    pub(super) fn take(&self, id: &ContainerId) -> Result<Held, Error> {
        let name = id.as_str();
        let exists = || Error::Exists(name.to_owned());
        let folder = self.folder.0.as_fd();
        if name == LOCK || self.folder.file(name)?.is_some() {
            return Err(exists());
        }
        let lock = Lock::try_acquire(folder, name.as_bytes(), LockMode::Exclusive);
        let lock = lock.map_err(Error::Records)?.ok_or_else(exists)?;
        Ok(self.folder.held(name, lock.into_fd()))
    }

    /// Takes the record `name` of somebody who is dead, to give back what is his; none where it is
    /// gone, or somebody holds it.
    pub(super) fn inherit(&self, name: &str) -> Result<Option<(Held, Record)>, Error> {
        let Some(file) = self.folder.file(name)? else {
            return Ok(None);
        };
        let lock = Lock::try_on(file, LockMode::Exclusive).map_err(Error::Records)?;
        let Some(lock) = lock.map(Lock::into_fd) else {
            return Ok(None);
        };
        let folder = self.folder.0.as_fd();
        if !still_named(folder, name.as_bytes(), &lock).map_err(Error::Records)? {
            return Ok(None);
        }
        let Some(mut record) = self.folder.read(name)? else {
            return Ok(None);
        };
        let held = self.folder.held(name, lock);
        // Who wants the same waits then, instead of taking this process for the one who has it.
        record.is_ending = true;
        held.write(&record)?;
        Ok(Some((held, record)))
    }

    /// The place that was given last on a bridge.
    pub(super) fn last_place(&self) -> Result<u32, Error> {
        let text = self.folder.0.read(LOCK, LIMIT).map_err(Error::Records)?;
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// Writes down which place was given.
    pub(super) fn give_place(&self, number: u32) -> Result<(), Error> {
        let file = self.lock.as_fd().try_clone_to_owned();
        let written = file.map(File::from).and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            // Always as long: no rest of an earlier one stays.
            file.write_all(format!("{number:010}\n").as_bytes())
        });
        written.map_err(|error| Error::Records(failed("write", LOCK, &error)))
    }
}

impl Held {
    /// The record by the lock that another program took.
    pub(super) fn adopt(state_root: &Path, id: &ContainerId, lock: OwnedFd) -> Self {
        Self {
            folder: state_root.join(FOLDER),
            name: id.as_str().to_owned(),
            lock,
        }
    }

    /// Adds what there is now to the file.
    pub(super) fn write(&self, record: &Record) -> Result<(), Error> {
        // A record is plain data: there is nothing to fail on.
        let mut line = serde_json::to_vec(record).unwrap_or_default();
        line.push(b'\n');
        let path = self.folder.join(&self.name);
        let open = std::fs::OpenOptions::new().append(true).open(&path);
        let written = open.and_then(|mut file| file.write_all(&line));
        written.map_err(|error| Error::Records(failed("write", &path.to_string_lossy(), &error)))
    }

    /// What it says.
    pub(super) fn read(&self) -> Result<Option<Record>, Error> {
        Dir::open(&self.folder)
            .map(Folder)
            .map_err(Error::Records)?
            .read(&self.name)
    }

    /// Removes the record: nothing of it is left.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let folder = Dir::open(&self.folder).map_err(Error::Records)?;
        folder.remove(&self.name).map_err(Error::Records)
    }

    /// Whose it is.
    #[cfg(feature = "launch")]
    pub(super) fn id(&self) -> Option<ContainerId> {
        self.name.parse().ok()
    }

    /// The lock, which every copy holds.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

fn failed(call: &'static str, what: &str, error: &std::io::Error) -> ucr_sys::Error {
    ucr_sys::Error::from_io(call, what, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        text.parse().unwrap()
    }

    fn port(address: &str, port: u16) -> HeldPort {
        HeldPort {
            address: address.parse().ok(),
            port,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn c13_a_killed_holders_record_is_taken_and_inherited_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let looking = folder.lock().unwrap();
        let held = looking.take(&id("a")).unwrap();
        let record = Record {
            holder: "web".to_owned(),
            ports: vec![port("", 80)],
            ..Record::default()
        };
        held.write(&record).unwrap();
        assert!(looking.inherit("a").unwrap().is_none());
        assert!(matches!(looking.take(&id("a")), Err(Error::Exists(_))));
        drop(held);
        assert!(matches!(looking.take(&id("a")), Err(Error::Exists(_))));
        let (heir, inherited) = looking.inherit("a").unwrap().unwrap();
        assert!(inherited.is_ending && inherited.ports == record.ports);
        assert!(looking.inherit("a").unwrap().is_none());
        assert!(folder.read("a").unwrap().unwrap().is_ending);
        heir.remove().unwrap();
        assert!(folder.all().unwrap().is_empty());
        assert!(looking.take(&id("a")).is_ok());
    }

    #[test]
    fn i48_a_record_is_no_path_and_not_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let looking = folder.lock().unwrap();
        assert!(matches!(looking.take(&id("lock")), Err(Error::Exists(_))));
        for text in ["../x", "a/b", ".", "..", "", "/x"] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn c13_a_line_that_was_cut_off_is_none() {
        assert_eq!(Record::parse(b"").unwrap(), Record::default());
        assert_eq!(
            Record::parse(b"{\"holder\":\"a").unwrap(),
            Record::default()
        );
        let whole = serde_json::to_string(&Record::default()).unwrap();
        let text = format!("{whole}\n{{\"holder\":\"a");
        assert_eq!(Record::parse(text.as_bytes()).unwrap(), Record::default());
        assert!(Record::parse(b"nonsense\n").is_err());
    }

    #[test]
    fn the_place_that_was_given_last_is_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let looking = folder.lock().unwrap();
        assert_eq!(looking.last_place().unwrap(), 0);
        for number in [65_000, 7] {
            looking.give_place(number).unwrap();
            assert_eq!(looking.last_place().unwrap(), number);
        }
    }

    #[test]
    fn ports_clash_where_an_address_is_both() {
        let any = port("", 80);
        for (one, other, clash) in [
            (any, port("127.0.0.1", 80), true),
            (any, port("", 81), false),
            (port("127.0.0.1", 80), port("127.0.0.2", 80), false),
            (port("0.0.0.0", 80), port("127.0.0.2", 80), true),
            (port("0.0.0.0", 80), port("::1", 80), false),
            (port("::", 80), port("::1", 80), true),
            (any, port("::1", 80), true),
        ] {
            assert_eq!(one.clashes(&other), clash, "{one:?} {other:?}");
            assert_eq!(other.clashes(&one), clash, "{one:?} {other:?}");
        }
        let udp = HeldPort {
            protocol: Protocol::Udp,
            ..any
        };
        assert!(!any.clashes(&udp));
    }
}
