//! Settling: from "whole while this boot lasts" to "survives a power cut".
//!
//! The kernel tells a write-back error once to each descriptor that was open
//! when it happened (errseq in Linux' documentation, syncfs(2)). So a process
//! vouches for what it wrote itself, by a descriptor older than its first write,
//! and for nothing else. Until it has done so it holds the tree's `index`
//! locked. Who needs a tree of another process to be durable waits for that
//! lock; a maker that died is replaced by reading everything back from the disk.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ucr_sys::{Dir, Lock, LockMode, at};

use super::error::Error;
use super::image::StoredImage;
use super::layer::{LayerMeta, Written, read_meta, write_meta};
use super::layout::{Store, by_algorithm};
use super::tree::{Tree, absent};
use crate::archive::compare::Source;
use crate::deadline::{Deadline, pause};

/// A tree that this process has put in its place and cannot yet vouch for.
#[derive(Debug)]
pub(super) struct Made {
    tree: Tree,
    /// The locked index, by which others see that its maker lives.
    lock: Option<Lock>,
}

/// Trees that a process has made, and has to vouch for while their makers' locks are held.
#[derive(Debug)]
pub struct Unsettled(Vec<Made>);

/// A maker that has not settled for so long is told of, and again after as long.
const STALLED: Duration = Duration::from_secs(5);
/// How long after a maker has settled that is noticed.
const TICK: Duration = Duration::from_millis(20);

/// A maker that is waited for, and has not settled what it made for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// Its process, where it can be told.
    pub holder: Option<u32>,
    /// How long it has been waited for.
    pub since: Duration,
}

/// What to do about a tree whose maker is alive and has not settled it.
#[derive(Clone, Copy)]
enum Makers<'p> {
    /// It is waited for, until the deadline; somebody is told when that takes long.
    WaitedFor(&'p dyn Fn(Stalled), Deadline),
    /// It will settle the tree itself.
    LeftAlone,
}

impl Store {
    /// Moves the tree `name` of `from`, with its meta, to its place.
    ///
    /// A tree of that digest which is there already, but not trusted, goes.
    pub(super) fn put(
        &self,
        (from, name): (&Dir, &str),
        tree: &Tree,
        mut meta: LayerMeta,
    ) -> Result<(), ucr_sys::Error> {
        let made = from.dir(name)?;
        let index = absent(at::open_file(made.as_fd(), b"index"))?;
        if let Some(index) = &index {
            meta.index_bytes = u64::try_from(at::stat_fd(index.as_fd())?.st_size).ok();
        }
        write_meta(&made, &meta)?;
        let there = self.open_tree(tree)?;
        if there.is_some_and(|there| there.meta.is_trusted(&self.boot)) {
            // Containers may be using it, and ours is the same.
            return Ok(());
        }
        let lock = index.map(|index| Lock::on(index, LockMode::Exclusive));
        let lock = lock.transpose()?;
        let kind = match tree {
            Tree::Layer(_) => &self.layers,
            Tree::Fixup(_) => &self.fixups,
        };
        let target = by_algorithm(kind, tree.digest().algorithm())?;
        if target.contains(tree.digest().hex())? {
            self.discard(&target, tree.digest().hex())?;
        }
        from.move_to(name, &target, tree.digest().hex())?;
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Made {
            tree: tree.clone(),
            lock,
        });
        Ok(())
    }

    /// Takes what this process has made and not settled, for [`Store::settle_these`]; `None`
    /// when there is nothing.
    pub fn unsettled(&self) -> Option<Unsettled> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        (!made.is_empty()).then(|| Unsettled(std::mem::take(&mut made)))
    }

    /// Waits until all that this process has made is on the disk, and records that it is.
    ///
    /// # Errors
    /// When the disk did not take it: none of it is trusted any more then, since the kernel
    /// tells an error once, and a second try would find none.
    pub fn settle(&self) -> Result<(), Error> {
        match self.unsettled() {
            Some(made) => self.settle_these(&made),
            None => Ok(()),
        }
    }

    /// As [`Store::settle`], for what was taken before, perhaps in a copy of that process.
    ///
    /// # Errors
    /// As [`Store::settle`].
    pub fn settle_these(&self, made: &Unsettled) -> Result<(), Error> {
        let early = self.end_early_writing();
        if let Err(error) = early.and_then(|()| self.root.sync_file_system()) {
            for one in &made.0 {
                self.distrust(&one.tree)?;
            }
            return Err(Error::Sync(error));
        }
        for one in &made.0 {
            self.record(&one.tree, Written::Durable)
                .map_err(Error::Sync)?;
        }
        self.root.sync_file_system().map_err(Error::Sync)
    }

    /// What has to stay open for `made` to be settled by a copy of this process.
    pub fn descriptors<'s>(&'s self, made: &'s Unsettled) -> Vec<BorrowedFd<'s>> {
        let own = [
            &self.root,
            &self.layers,
            &self.fixups,
            &self.leases,
            &self.trash,
        ];
        let locks = made.0.iter().filter_map(|one| one.lock.as_ref());
        own.map(AsFd::as_fd)
            .into_iter()
            .chain(locks.map(AsFd::as_fd))
            .collect()
    }

    /// Makes an image durable, whoever made its layers.
    ///
    /// Waits for makers that are about to settle their own, and tells `told` where one takes long,
    /// again and again. What a dead one left is read back from the disk and compared with its index first.
    ///
    /// # Errors
    /// Also when something did not come back as it was written; it is taken out of the store. And
    /// when a maker is waited for until the deadline.
    pub fn settle_image(
        &self,
        image: &StoredImage,
        deadline: Deadline,
        told: &dyn Fn(Stalled),
    ) -> Result<(), Error> {
        self.settle()?;
        self.settle_trees(&image.trees, Makers::WaitedFor(told, deadline))
    }

    /// Makes everything durable that dead processes left.
    pub(super) fn settle_left_overs(&self) -> Result<(), Error> {
        let trees = self.trees().map_err(Error::Sync)?;
        self.settle_trees(&trees, Makers::LeftAlone)
    }

    fn settle_trees(&self, trees: &[Tree], makers: Makers<'_>) -> Result<(), Error> {
        let mut read_back = Vec::new();
        for tree in trees {
            if self.is_fresh(tree)? && self.has_no_maker(tree, makers)? && self.is_fresh(tree)? {
                read_back.push(tree);
            }
        }
        if read_back.is_empty() {
            return Ok(());
        }
        // What is still only in memory would be read from there.
        self.root.sync_file_system().map_err(Error::Sync)?;
        for tree in read_back {
            match self.compare_tree(tree, Source::Disk)? {
                Some(compared) if compared.faults.is_empty() => {
                    self.record(tree, Written::Durable).map_err(Error::Sync)?;
                }
                Some(_) => {
                    self.distrust(tree)?;
                    return Err(Error::ReadBack { tree: tree.clone() });
                }
                // Without an index nobody can tell: it is fetched again after a reboot.
                None => tracing::debug!(%tree, "cannot be made durable: it has no index"),
            }
        }
        self.root.sync_file_system().map_err(Error::Sync)
    }

    /// Whether a tree is trusted for this boot only.
    fn is_fresh(&self, tree: &Tree) -> Result<bool, Error> {
        let found = self.trusted_tree(tree)?;
        Ok(found.is_some_and(|open| open.meta.written != Written::Durable))
    }

    /// Whether the maker of a tree has settled it or died.
    fn has_no_maker(&self, tree: &Tree, makers: Makers<'_>) -> Result<bool, Error> {
        let Some(open) = self.open_tree(tree).map_err(Error::Sync)? else {
            return Ok(true);
        };
        let index = absent(at::open_file(open.dir.as_fd(), b"index")).map_err(Error::Sync)?;
        // While we wait for its maker the tree must stay removable.
        drop(open);
        let Some(index) = index else {
            return Ok(true);
        };
        match makers {
            Makers::WaitedFor(told, deadline) => {
                wait_for_maker(&index, told, deadline).map(|()| true)
            }
            Makers::LeftAlone => {
                let lock = Lock::try_on(index, LockMode::Shared);
                lock.map(|lock| lock.is_some()).map_err(Error::Sync)
            }
        }
    }

    /// Sees to it that a tree which is not what it should be is given to nobody any more, and
    /// that it goes unless somebody has it already.
    pub(super) fn distrust(&self, tree: &Tree) -> Result<(), Error> {
        self.record(tree, Written::Lost).map_err(Error::Sync)?;
        self.take_out(tree).map(drop)
    }

    fn record(&self, tree: &Tree, written: Written) -> Result<(), ucr_sys::Error> {
        // Gone or changed meanwhile: whoever did that settles it again.
        let Some(open) = self.open_tree(tree)? else {
            return Ok(());
        };
        let Some(meta) = read_meta(&open.dir)? else {
            return Ok(());
        };
        write_meta(&open.dir, &LayerMeta { written, ..meta })
    }
}

/// Waits until the maker of a tree has let go of its index.
///
/// Not for the lock itself: then nobody could be told of a maker that stands still.
fn wait_for_maker(
    index: &OwnedFd,
    told: &dyn Fn(Stalled),
    deadline: Deadline,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut last = began;
    while !Lock::is_free(index, LockMode::Shared).map_err(Error::Sync)? {
        let now = Instant::now();
        if deadline.is_over() {
            let holder = Lock::holder(index.as_fd());
            return Err(Error::WaitedTooLong { holder });
        }
        if now.duration_since(last) >= STALLED {
            last = now;
            told(Stalled {
                holder: Lock::holder(index.as_fd()),
                since: now.duration_since(began),
            });
        }
        pause(deadline.shorten(TICK));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Digest;
    use crate::archive;

    fn store() -> (tempfile::TempDir, Store) {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        (temp, store)
    }

    fn again(store: &Store) -> Store {
        Store::open(store.path()).unwrap()
    }

    /// Makes a layer with one file in it.
    fn make(store: &Store, name: &str) -> Tree {
        let diff_id = Digest::sha256(name.as_bytes());
        let lock = store.try_lock_layer(&diff_id).unwrap().unwrap();
        let staging = store.stage().unwrap();
        let (root, index) = staging.begin("x").unwrap();
        let layer = test_support::LayerBuilder::new()
            .file("f", "content")
            .build();
        let (applied, _) = archive::apply(&*layer.bytes, root.as_fd(), index, &|| Ok(())).unwrap();
        store.commit_layer(&lock, &staging, "x", &applied).unwrap();
        store.unlock_layer(lock).unwrap();
        Tree::Layer(diff_id)
    }

    fn written(store: &Store, tree: &Tree) -> Written {
        store.open_tree(tree).unwrap().unwrap().meta.written
    }

    #[test]
    fn a_process_vouches_for_its_own_trees_only() {
        let (_temp, store) = store();
        let other = again(&store);
        let (ours, theirs) = (make(&store, "ours"), make(&other, "theirs"));
        store.settle().unwrap();
        assert_eq!(written(&store, &ours), Written::Durable);
        assert_ne!(written(&store, &theirs), Written::Durable);
        other.settle().unwrap();
        assert_eq!(written(&store, &theirs), Written::Durable);
    }

    #[test]
    fn what_is_written_out_early_is_vouched_for_at_the_end_only() {
        let (_temp, store) = store();
        store.settle_early().unwrap();
        let first = make(&store, "first");
        store.more_to_come();
        let second = make(&store, "second");
        assert_ne!(written(&store, &first), Written::Durable);
        store.settle().unwrap();
        assert_eq!(written(&store, &first), Written::Durable);
        assert_eq!(written(&store, &second), Written::Durable);
    }

    #[test]
    fn what_a_dead_process_left_is_read_back_and_then_durable() {
        let (_temp, store) = store();
        let other = again(&store);
        let tree = make(&other, "left");
        drop(other);
        store
            .settle_trees(
                std::slice::from_ref(&tree),
                Makers::WaitedFor(&|_| {}, Deadline::default()),
            )
            .unwrap();
        assert_eq!(written(&store, &tree), Written::Durable);
    }

    #[test]
    fn c2_what_does_not_come_back_as_it_was_written_never_becomes_durable() {
        let (_temp, store) = store();
        let other = again(&store);
        let tree = make(&other, "left");
        drop(other);
        let open = store.open_tree(&tree).unwrap().unwrap();
        let root = open.dir.dir("fs").unwrap();
        root.replace("f", b"contenT", 0o644).unwrap();
        drop((open, root));
        let error = store
            .settle_trees(
                std::slice::from_ref(&tree),
                Makers::WaitedFor(&|_| {}, Deadline::default()),
            )
            .unwrap_err();
        assert!(matches!(error, Error::ReadBack { .. }), "{error}");
        assert!(store.open_tree(&tree).unwrap().is_none());
    }

    #[test]
    fn c8_who_waits_for_a_maker_that_stands_still_says_for_whom_and_how_long() {
        let (_temp, store) = store();
        let other = again(&store);
        let tree = make(&other, "shared");
        let told = Cell::new(None);
        // It goes on once it is told of.
        let tell = |stalled: Stalled| {
            told.set(Some(stalled));
            other.settle().unwrap();
        };
        let wait = Makers::WaitedFor(&tell, Deadline::default());
        store
            .settle_trees(std::slice::from_ref(&tree), wait)
            .unwrap();
        let Stalled { holder, since } = told.get().unwrap();
        assert_eq!(holder, Some(std::process::id()));
        assert!(since >= STALLED);
        assert_eq!(written(&store, &tree), Written::Durable);
    }

    #[test]
    fn c8_a_maker_that_stands_still_is_waited_for_until_the_deadline() {
        let (_temp, store) = store();
        let other = again(&store);
        let tree = make(&other, "shared");
        let wait = Makers::WaitedFor(&|_| {}, Deadline::within(Duration::from_millis(50)));
        let error = store
            .settle_trees(std::slice::from_ref(&tree), wait)
            .unwrap_err();
        let us = std::process::id();
        assert!(
            matches!(error, Error::WaitedTooLong { holder: Some(pid) } if pid == us),
            "{error}"
        );
        // It may still settle what it made.
        other.settle().unwrap();
        assert_eq!(written(&store, &tree), Written::Durable);
    }

    #[test]
    fn who_needs_anothers_tree_durable_waits_for_its_maker() {
        let (_temp, store) = store();
        let other = again(&store);
        let tree = make(&other, "shared");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                store.settle_trees(
                    std::slice::from_ref(&tree),
                    Makers::WaitedFor(&|_| {}, Deadline::default()),
                )
            });
            other.settle().unwrap();
            waiter.join().unwrap().unwrap();
        });
        assert_eq!(written(&store, &tree), Written::Durable);
    }
}
