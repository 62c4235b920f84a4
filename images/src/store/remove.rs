//! Removing trees: record first, then out of sight, then for good.
//!
//! Nobody who needs a tree loses it: the tree's own lock is taken exclusively,
//! then the leases of all who are alive are read, then the names and pins. Who
//! came too late for that finds the tree gone before counting on it.

use std::collections::HashSet;
use std::os::fd::AsFd;

use ucr_sys::{Dir, Lock, LockMode, at, random_suffix};

use super::error::Error;
use super::layout::Store;
use super::tree::{Tree, absent};

/// Trees that are locked at once.
const BATCH: usize = 64;

/// A tree that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Which.
    pub tree: Tree,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What became of a tree that was to go whoever needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenOut {
    /// It is gone.
    Gone,
    /// It stays, because this one is using it.
    InUse(String),
}

/// A tree that nobody else can look at now.
struct Locked<'t> {
    tree: &'t Tree,
    parent: Dir,
    dir: Dir,
    _lock: Lock,
}

impl Store {
    /// Removes those of `trees` that no process, name or pin needs.
    pub(super) fn remove_unneeded(&self, trees: &[Tree]) -> Result<Vec<Removed>, Error> {
        let mut removed = Vec::new();
        for batch in trees.chunks(BATCH) {
            let locked = batch
                .iter()
                .filter_map(|tree| self.try_lock(tree).transpose());
            let locked: Vec<_> = locked.collect::<Result<_, _>>().map_err(Error::Remove)?;
            let needed = self.needed()?;
            let mut trash = Vec::new();
            for one in locked {
                if !needed.contains(one.tree) {
                    let meta = super::layer::read_meta(&one.dir).map_err(Error::Remove)?;
                    removed.push(Removed {
                        tree: one.tree.clone(),
                        bytes: meta.map_or(0, |meta| meta.bytes),
                    });
                    trash.push(self.hide(one).map_err(Error::Remove)?);
                }
            }
            for name in trash {
                self.remove_trash(&name).map_err(Error::Remove)?;
            }
        }
        Ok(removed)
    }

    /// Removes a tree that names may still need, but no process does.
    ///
    /// # Errors
    /// When the store cannot be read or changed.
    pub fn take_out(&self, tree: &Tree) -> Result<TakenOut, Error> {
        let Some(locked) = self.try_lock(tree).map_err(Error::Remove)? else {
            let there = self.parent_of(tree).map_err(Error::Remove)?;
            let there = there.map(|parent| parent.contains(tree.digest().hex()));
            return Ok(match there.transpose().map_err(Error::Remove)? {
                Some(true) => TakenOut::InUse("another process".to_owned()),
                _ => TakenOut::Gone,
            });
        };
        let leases = self.live_leases().map_err(Error::Remove)?;
        let own = self.lease_slot().as_ref().map(|lease| lease.id.clone());
        let user = leases
            .iter()
            .find(|lease| lease.trees.contains(tree) && Some(&lease.id) != own.as_ref());
        if let Some(user) = user {
            return Ok(TakenOut::InUse(user.holder()));
        }
        let name = self.hide(locked).map_err(Error::Remove)?;
        self.remove_trash(&name).map_err(Error::Remove)?;
        Ok(TakenOut::Gone)
    }

    /// Locks a tree against everybody, unless it is gone or somebody looks at it.
    fn try_lock<'t>(&self, tree: &'t Tree) -> Result<Option<Locked<'t>>, ucr_sys::Error> {
        let Some(parent) = self.parent_of(tree)? else {
            return Ok(None);
        };
        let Some(dir) = absent(parent.dir(tree.digest().hex()))? else {
            return Ok(None);
        };
        let lock = Lock::try_on(at::open_dir(dir.as_fd(), b".")?, LockMode::Exclusive)?;
        Ok(lock.map(|lock| Locked {
            tree,
            parent,
            dir,
            _lock: lock,
        }))
    }

    fn hide(&self, one: Locked<'_>) -> Result<String, ucr_sys::Error> {
        one.dir.remove("meta")?;
        self.to_trash(&one.parent, one.tree.digest().hex())
    }

    /// Takes away the name of a tree or of a staging directory, then what it led to.
    pub(super) fn discard(&self, from: &Dir, name: &str) -> Result<(), ucr_sys::Error> {
        let trash = self.to_trash(from, name)?;
        self.remove_trash(&trash)
    }

    /// Moves a directory to the trash; its name there still tells which it was.
    fn to_trash(&self, from: &Dir, name: &str) -> Result<String, ucr_sys::Error> {
        let trash = format!("{name}.{}", random_suffix());
        from.move_to(name, &self.trash, &trash)?;
        Ok(trash)
    }

    /// Deletes a tree in the trash, unless another process is at it already, or a container
    /// still has it mounted.
    pub(super) fn remove_trash(&self, name: &str) -> Result<(), ucr_sys::Error> {
        let Ok(dir) = at::open_dir(self.trash.as_fd(), name.as_bytes()) else {
            // Gone, or no directory: removed as what it is.
            return self.trash.remove(name);
        };
        let Some(_lock) = Lock::try_on(dir, LockMode::Exclusive)? else {
            return Ok(());
        };
        let was = name.split('.').next().unwrap_or_default();
        let own = self.lease_slot().as_ref().map(|lease| lease.id.clone());
        let leases = self.live_leases()?;
        let mut others = leases.iter().filter(|one| Some(&one.id) != own.as_ref());
        if others.any(|one| one.trees.iter().any(|tree| tree.digest().hex() == was)) {
            return Ok(());
        }
        self.trash.remove_tree(name)
    }

    /// What must stay: first what living processes need, then what names and pins lead to.
    ///
    /// In this order: a pull records its names before it gives its lease back.
    pub(super) fn needed(&self) -> Result<HashSet<Tree>, Error> {
        let leases = self.live_leases().map_err(Error::Remove)?;
        let mut needed: HashSet<Tree> = leases.into_iter().flat_map(|one| one.trees).collect();
        for record in self.records()?.readable {
            needed.extend(self.trees_of(&record.record)?);
        }
        for pin in self.pins()?.into_iter().filter(|pin| !pin.is_over()) {
            needed.extend(self.trees_of(&pin.record)?);
        }
        Ok(needed)
    }
}
