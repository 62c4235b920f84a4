//! Collecting: making room by taking away what was not used for longest.
//!
//! Images go first by name, the least recently used before the others; layers go
//! when no name, pin or living process needs them. What a container or a pull
//! leases stays, whatever the limits are.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use ucr_sys::{Lock, LockMode};

use super::catalog::{Catalog, ImageEntry};
use super::error::Error;
use super::layout::Store;
use super::remove::Removed;
use super::tree::{Tree, absent};
use crate::Digest;

/// How much room is to be left on the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of it.
    Percent(u8),
}

/// When there is too much in the store.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Images go until so much is free.
    pub keep_free: Option<Room>,
    /// Images go until their layers have no more bytes than this.
    pub max_size: Option<u64>,
    /// Images go that were not used for so long.
    pub max_age: Option<Duration>,
}

/// Whether to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only find out what would go.
    DryRun,
    /// Take it away.
    Remove,
}

/// What went, or would go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The names of images.
    pub images: Vec<String>,
    /// Layers and fix-up layers, with their sizes.
    pub trees: Vec<Removed>,
    /// Bytes of blobs that nobody is fetching any more.
    pub partial_bytes: u64,
    /// Names that should go and stay, each with who keeps it.
    pub kept: Vec<(String, String)>,
}

impl Collected {
    /// Bytes of the files that went, or would go.
    pub fn bytes(&self) -> u64 {
        let trees = self.trees.iter().map(|tree| tree.bytes);
        trees.sum::<u64>() + self.partial_bytes
    }
}

/// What a plan is made of.
struct Situation<'c> {
    catalog: &'c Catalog,
    sizes: &'c HashMap<Tree, u64>,
    /// Trees that stay whatever names go, and the images that are leased, each with by whom.
    held: HashSet<Tree>,
    leased: HashMap<Digest, String>,
    free: u64,
    capacity: u64,
    now: SystemTime,
}

impl Store {
    /// Whether there is more in the store than the limits allow, as cheaply as that can be told.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_over(&self, limits: &Limits) -> Result<bool, Error> {
        let capacity = self.capacity().unwrap_or_default();
        let free = self.free_bytes().unwrap_or(u64::MAX);
        if limits
            .keep_free
            .is_some_and(|room| free < room.of(capacity))
        {
            return Ok(true);
        }
        if limits.max_size.is_none() && limits.max_age.is_none() {
            return Ok(false);
        }
        let catalog = self.catalog()?;
        let too_old = |entry: &ImageEntry| is_older(entry, limits.max_age, SystemTime::now());
        Ok(limits.max_size.is_some_and(|most| catalog.bytes > most)
            || catalog.images.iter().any(too_old))
    }

    /// Takes away what the limits do not allow, and what nobody needs.
    ///
    /// # Errors
    /// When the store cannot be read or changed; what went by then is gone.
    pub fn collect(&self, limits: &Limits, mode: Mode) -> Result<Collected, Error> {
        if mode == Mode::Remove {
            self.check_writable()?;
            self.sweep()?;
            self.drop_old_pins()?;
        }
        let catalog = self.catalog()?;
        let sizes = self.sizes()?;
        let situation = self.situation(&catalog, &sizes)?;
        let (going, kept) = plan(&situation, limits);
        let mut collected = Collected {
            images: going.iter().map(|one| one.reference().to_owned()).collect(),
            trees: Vec::new(),
            partial_bytes: 0,
            kept,
        };
        match mode {
            Mode::DryRun => {
                let staying = staying_trees(&situation, &going);
                let trees = sizes.iter().filter(|(tree, _)| !staying.contains(tree));
                collected.trees = trees
                    .map(|(tree, bytes)| Removed {
                        tree: tree.clone(),
                        bytes: *bytes,
                    })
                    .collect();
                let partials = self.partial.names().map_err(Error::Remove)?;
                collected.partial_bytes = partials.iter().map(|name| self.bytes_so_far(name)).sum();
                collected.trees.sort_by(|one, two| one.tree.cmp(&two.tree));
            }
            Mode::Remove => {
                for entry in going {
                    self.forget(entry)?;
                }
                self.remove_old_documents()?;
                collected.partial_bytes = self.remove_partials().map_err(Error::Remove)?;
                let needed = self.needed()?;
                let mut unneeded = self.trees().map_err(Error::Remove)?;
                unneeded.retain(|tree| !needed.contains(tree));
                unneeded.sort();
                collected.trees = self.remove_unneeded(&unneeded)?;
                self.sweep_contents()?;
                self.settle_left_overs()?;
            }
        }
        Ok(collected)
    }

    fn situation<'c>(
        &self,
        catalog: &'c Catalog,
        sizes: &'c HashMap<Tree, u64>,
    ) -> Result<Situation<'c>, Error> {
        let mut held = HashSet::new();
        let mut leased = HashMap::new();
        for lease in self.live_leases().map_err(Error::Remove)? {
            let holder = lease.holder();
            held.extend(lease.trees);
            leased.extend(
                lease
                    .images
                    .into_iter()
                    .map(|image| (image, holder.clone())),
            );
        }
        for pin in self.pins()?.iter().filter(|pin| !pin.is_over()) {
            held.extend(self.trees_of(&pin.record)?);
        }
        Ok(Situation {
            catalog,
            sizes,
            held,
            leased,
            free: self.free_bytes().unwrap_or(u64::MAX),
            capacity: self.capacity().unwrap_or_default(),
            now: SystemTime::now(),
        })
    }

    /// The sizes of all trees; of one without a record it is not known, and 0.
    fn sizes(&self) -> Result<HashMap<Tree, u64>, Error> {
        let mut sizes = HashMap::new();
        for tree in self.trees().map_err(Error::Remove)? {
            let open = self.open_tree(&tree).map_err(Error::Remove)?;
            sizes.insert(tree, open.map_or(0, |open| open.meta.bytes));
        }
        Ok(sizes)
    }

    /// Removes what has come of blobs that nobody is fetching; returns how many bytes these were.
    fn remove_partials(&self) -> Result<u64, ucr_sys::Error> {
        let mut bytes = 0;
        for name in self.partial.names()? {
            let lock = format!("blob-{name}");
            let lock = lock.as_bytes();
            let held = Lock::try_acquire(self.locks.as_fd(), lock, LockMode::Exclusive)?;
            if let Some(held) = held {
                bytes += self.bytes_so_far(&name);
                self.partial.remove_tree(&name)?;
                held.remove_file(self.locks.as_fd(), lock)?;
            }
        }
        Ok(bytes)
    }

    /// Takes a name away, unless its image was used since it was looked at.
    fn forget(&self, entry: &ImageEntry) -> Result<(), Error> {
        let (file, _) = entry.recorded();
        let used = self.refs.modified(file).map_err(Error::Remove)?;
        if used == Some(entry.last_used) {
            self.refs.remove(file).map_err(Error::Remove)?;
        }
        Ok(())
    }

    /// Removes manifests and configurations that no name and no pin leads to.
    pub(super) fn remove_old_documents(&self) -> Result<(), Error> {
        let _alone = self.lock_names(LockMode::Exclusive)?;
        let mut needed = BTreeSet::new();
        let records = self.records()?.readable.into_iter().map(|one| one.record);
        let pins = self.pins()?.into_iter().map(|pin| pin.record);
        for record in records.chain(pins) {
            needed.extend([record.manifest, record.config]);
        }
        for algorithm in self.images.names().map_err(Error::Remove)? {
            let Some(dir) = absent(self.images.dir(&algorithm)).map_err(Error::Remove)? else {
                continue;
            };
            for hex in dir.names().map_err(Error::Remove)? {
                let digest = format!("{algorithm}:{hex}").parse::<Digest>();
                // Written under the shared lock: one without a digest's name is a left-over.
                if digest.map_or(true, |digest| !needed.contains(&digest)) {
                    dir.remove(&hex).map_err(Error::Remove)?;
                }
            }
        }
        Ok(())
    }
}

impl Room {
    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => capacity / 100 * u64::from(percent),
        }
    }
}

fn is_older(entry: &ImageEntry, age: Option<Duration>, now: SystemTime) -> bool {
    // A clock that went back makes images younger, never older.
    let unused = now.duration_since(entry.last_used).unwrap_or_default();
    age.is_some_and(|age| unused > age)
}

/// The names that are to go, and those that should and cannot.
fn plan<'c>(
    situation: &Situation<'c>,
    limits: &Limits,
) -> (Vec<&'c ImageEntry>, Vec<(String, String)>) {
    let mut going: Vec<&ImageEntry> = Vec::new();
    let mut kept = Vec::new();
    let mut counts = Counts::of(situation);
    // The catalog has the last used first.
    for entry in situation.catalog.images.iter().rev() {
        let too_old = is_older(entry, limits.max_age, situation.now);
        let too_much = limits.max_size.is_some_and(|most| counts.bytes > most);
        let free = situation.free.saturating_add(counts.freed);
        let too_full = limits
            .keep_free
            .is_some_and(|room| free < room.of(situation.capacity));
        if !(too_old || too_much || too_full) {
            continue;
        }
        let holder = situation.leased.get(entry.id()).cloned();
        let pin = entry.pins.first().map(|pin| format!("pin {pin:?}"));
        match holder.or(pin) {
            Some(who) => kept.push((entry.reference().to_owned(), who)),
            None => {
                counts.remove(entry, situation.sizes);
                going.push(entry);
            }
        }
    }
    (going, kept)
}

/// How many names need each tree, and what that comes to.
struct Counts<'c> {
    needs: HashMap<&'c Tree, usize>,
    bytes: u64,
    freed: u64,
}

impl<'c> Counts<'c> {
    fn of(situation: &Situation<'c>) -> Self {
        let mut needs: HashMap<&Tree, usize> = HashMap::new();
        for entry in &situation.catalog.images {
            for tree in entry.trees.iter().collect::<HashSet<_>>() {
                *needs.entry(tree).or_default() += 1;
            }
        }
        for tree in situation.sizes.keys() {
            if situation.held.contains(tree) {
                *needs.entry(tree).or_default() += 1;
            }
        }
        let size = |tree: &&Tree| situation.sizes.get(*tree).copied().unwrap_or_default();
        let bytes = needs.keys().map(size).sum();
        let unneeded = situation.sizes.iter();
        let unneeded = unneeded.filter(|(tree, _)| !needs.contains_key(tree));
        let freed = unneeded.map(|(_, bytes)| bytes).sum();
        Self {
            needs,
            bytes,
            freed,
        }
    }

    fn remove(&mut self, entry: &ImageEntry, sizes: &HashMap<Tree, u64>) {
        for tree in entry.trees.iter().collect::<HashSet<_>>() {
            let Some(count) = self.needs.get_mut(tree) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                let bytes = sizes.get(tree).copied().unwrap_or_default();
                self.bytes = self.bytes.saturating_sub(bytes);
                self.freed += bytes;
            }
        }
    }
}

fn staying_trees<'c>(situation: &'c Situation<'_>, going: &[&ImageEntry]) -> HashSet<&'c Tree> {
    let files: HashSet<_> = going.iter().map(|entry| entry.recorded().0).collect();
    let images = situation.catalog.images.iter();
    let staying = images.filter(|entry| !files.contains(entry.recorded().0));
    staying
        .flat_map(|entry| &entry.trees)
        .chain(&situation.held)
        .collect()
}
