//! Leases: what a pull or a container needs stays for as long as its process lives.
//!
//! A lease is a file whose `flock` its process holds, shared, and that lists
//! trees, a line each. It is written before anybody looks whether a tree is
//! there; looking takes the tree's own lock for a moment ([`super::tree`]).
//! Whoever removes a tree takes that lock exclusively and then reads the leases:
//! either the lease was there in time and the tree stays, or the tree is gone
//! before anybody counts on it. No lock is common to all.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{MutexGuard, PoisonError};

use ucr_sys::{Lock, LockMode, random_suffix};

use super::error::Error;
use super::layout::Store;
use super::tree::Tree;
use crate::Digest;

/// The most that a lease may hold: 500 layers, the kernel's limit, need a tenth.
const LEASE_LIMIT: u64 = 1024 * 1024;
const IMAGE: &str = "image ";
const NAME: &str = "name ";

/// The lease that one process holds.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) file: File,
    pub(super) id: String,
    /// Locks of the trees themselves, where the lease is not seen by whoever could remove them.
    pub(super) held: Vec<OwnedFd>,
}

/// A lease whose holder is alive, as others see it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) id: String,
    /// The name of its container, if that has one.
    name: Option<String>,
    pub(super) trees: Vec<Tree>,
    pub(super) images: Vec<Digest>,
}

impl Live {
    fn parse(id: String, text: &str) -> Self {
        let mut live = Self {
            id,
            ..Self::default()
        };
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(NAME) {
                live.name = Some(name.to_owned());
            } else if let Some(image) = line.strip_prefix(IMAGE) {
                live.images.extend(image.parse());
            } else {
                live.trees.extend(line.parse());
            }
        }
        live
    }

    /// Who holds it, for a message.
    pub(super) fn holder(&self) -> String {
        let id = &self.id;
        match (&self.name, id.strip_prefix("pull-")) {
            (Some(name), _) => format!("container {name}"),
            (None, Some(_)) => "a running pull".to_owned(),
            (None, None) => format!("container {}", id.get(..12).unwrap_or(id)),
        }
    }
}

impl Store {
    /// Says which container this process is about to become, and as which it holds what it needs.
    ///
    /// # Errors
    /// When the lease cannot be made.
    pub fn reserve(&self, id: &str, name: Option<&str>) -> Result<(), Error> {
        let mut lease = self.lease_slot();
        let mut file = self.make_lease(id).map_err(Error::Lease)?;
        if let Some(name) = name {
            self.write_lease(&mut file, &format!("{NAME}{name}\n"))?;
        }
        *lease = Some(file);
        Ok(())
    }

    /// Keeps trees, and the image that they are of, from being removed while this store is open.
    ///
    /// Says nothing of whether they are there: that is to be looked at afterwards.
    pub fn hold(&self, image: Option<&Digest>, trees: &[Tree]) -> Result<(), Error> {
        let mut slot = self.lease_slot();
        let lease = match &mut *slot {
            Some(lease) => lease,
            empty => {
                let id = format!("pull-{}", random_suffix());
                empty.insert(self.make_lease(&id).map_err(Error::Lease)?)
            }
        };
        let mut text: String = trees.iter().map(|tree| format!("{tree}\n")).collect();
        if let Some(image) = image {
            text.push_str(&format!("{IMAGE}{image}\n"));
        }
        self.write_lease(lease, &text)?;
        if self.is_read_only() {
            // Who could remove them has the store mounted elsewhere, and sees no lease of ours.
            for tree in trees {
                let open = self.open_tree(tree).map_err(Error::Lease)?;
                lease
                    .held
                    .extend(open.map(super::tree::OpenTree::into_lock));
            }
        }
        Ok(())
    }

    pub(super) fn lease_slot(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_lease(&self, id: &str) -> Result<Lease, ucr_sys::Error> {
        let lock = Lock::acquire(self.leases.as_fd(), id.as_bytes(), LockMode::Shared)?;
        Ok(Lease {
            file: File::from(lock.into_fd()),
            id: id.to_owned(),
            held: Vec::new(),
        })
    }

    fn write_lease(&self, lease: &mut Lease, text: &str) -> Result<(), Error> {
        lease.file.write_all(text.as_bytes()).map_err(|error| {
            let path = self.leases.path().join(&lease.id);
            Error::Lease(ucr_sys::Error::from_io(
                "write",
                path.display().to_string(),
                &error,
            ))
        })
    }

    /// The leases of all processes that are alive.
    pub(super) fn live_leases(&self) -> Result<Vec<Live>, ucr_sys::Error> {
        let mut live = Vec::new();
        for id in self.leases.names()? {
            let opened = ucr_sys::at::open_file(self.leases.as_fd(), id.as_bytes());
            let Some(fd) = super::tree::absent(opened)? else {
                continue;
            };
            let copy = fd
                .try_clone()
                .map_err(|error| ucr_sys::Error::from_io("dup", id.as_str(), &error))?;
            if Lock::try_on(copy, LockMode::Exclusive)?.is_some() {
                continue;
            }
            let mut text = Vec::new();
            File::from(fd)
                .take(LEASE_LIMIT)
                .read_to_end(&mut text)
                .map_err(|error| ucr_sys::Error::from_io("read", id.as_str(), &error))?;
            live.push(Live::parse(id, &String::from_utf8_lossy(&text)));
        }
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_seen_while_it_is_held_and_not_after() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let other = Store::open(&temp.path().join("store")).unwrap();
        let tree = Tree::Layer(Digest::sha256(b"x"));
        store.reserve("0123456789abcdef", Some("web")).unwrap();
        store
            .hold(Some(&Digest::sha256(b"i")), std::slice::from_ref(&tree))
            .unwrap();
        let live = other.live_leases().unwrap();
        assert_eq!(live[0].trees, [tree]);
        assert_eq!(live[0].images, [Digest::sha256(b"i")]);
        assert_eq!(live[0].holder(), "container web");
        drop(store);
        assert_eq!(other.live_leases().unwrap(), []);
        assert_eq!(other.leases.names().unwrap(), [""; 0]);
    }

    #[test]
    fn what_a_lease_says_in_a_later_version_is_passed_over() {
        let tree = Tree::Fixup(Digest::sha256(b"x"));
        let text = format!("future sha256:x\n\nlayer ../../etc\n{tree}\n");
        assert_eq!(Live::parse("pull-1".to_owned(), &text).trees, [tree]);
    }
}
