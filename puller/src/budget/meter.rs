//! Counting what layers turn into while they are unpacked, and ending it where it is too much.
//!
//! All layers of an image share one [`Meter`]; each has a [`LayerMeter`], which takes back what
//! it counted when its layer fails, since that may be unpacked again.

use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ucr_sys::Room;

use super::{Budget, Exceeded, reserve};

/// How often the disk is looked at, in bytes that were unpacked.
const LOOK_EACH_BYTES: u64 = 1024 * 1024;
/// How often the disk is looked at, in entries.
const LOOK_EACH_FILES: u64 = 1024;

/// What has become of an image so far.
pub(crate) struct Meter<'a> {
    budget: &'a Budget,
    path: &'a Path,
    room: &'a (dyn Fn() -> Option<Room> + Sync),
    fetched: AtomicU64,
    unpacked: AtomicU64,
    files: AtomicU64,
}

impl<'a> Meter<'a> {
    /// Has counted nothing; `room` tells what is free at `path`, where that can be told.
    pub(crate) fn new(
        budget: &'a Budget,
        path: &'a Path,
        room: &'a (dyn Fn() -> Option<Room> + Sync),
    ) -> Self {
        Self {
            budget,
            path,
            room,
            fetched: AtomicU64::new(0),
            unpacked: AtomicU64::new(0),
            files: AtomicU64::new(0),
        }
    }

    /// Begins to count one more layer.
    pub(crate) fn layer(&'a self) -> LayerMeter<'a> {
        LayerMeter {
            meter: self,
            fetched: AtomicU64::new(0),
            unpacked: AtomicU64::new(0),
            files: AtomicU64::new(0),
            exceeded: OnceLock::new(),
            kept: AtomicBool::new(false),
        }
    }

    /// Looks at the disk: others fill it as well.
    fn look(&self) -> Result<(), Exceeded> {
        let Some(room) = (self.room)() else {
            return Ok(());
        };
        let is_full = room.free_bytes.is_some_and(|free| free < reserve(room));
        if is_full || room.free_inodes == Some(0) {
            return Err(Exceeded::Reserve {
                path: self.path.to_owned(),
                free: room.free_bytes,
                inodes: room.free_inodes,
            });
        }
        Ok(())
    }
}

/// What has become of one layer so far.
pub(crate) struct LayerMeter<'m> {
    meter: &'m Meter<'m>,
    fetched: AtomicU64,
    unpacked: AtomicU64,
    files: AtomicU64,
    exceeded: OnceLock<Exceeded>,
    kept: AtomicBool,
}

impl LayerMeter<'_> {
    /// So many bytes of it have been read in all, as they came.
    pub(crate) fn fetched(&self, in_all: u64) {
        let before = self.fetched.swap(in_all, Ordering::Relaxed);
        let more = in_all.saturating_sub(before);
        self.meter.fetched.fetch_add(more, Ordering::Relaxed);
    }

    /// So many more bytes have become of it.
    ///
    /// # Errors
    /// When that is too much, which [`Self::exceeded`] tells.
    fn unpacked(&self, more: u64) -> io::Result<()> {
        let Meter { budget, .. } = self.meter;
        let layer = self.unpacked.fetch_add(more, Ordering::Relaxed) + more;
        let before = self.meter.unpacked.fetch_add(more, Ordering::Relaxed);
        let image = before + more;
        if let Some(limit) = budget.max_unpacked.filter(|limit| image > *limit) {
            return self.end(Exceeded::Unpacked { limit });
        }
        let of_image = self.meter.fetched.load(Ordering::Relaxed);
        let ratio = budget
            .allows_ratio(self.fetched.load(Ordering::Relaxed), layer)
            .and_then(|()| budget.allows_ratio(of_image, image));
        let room = ratio.and_then(|()| {
            if before / LOOK_EACH_BYTES == image / LOOK_EACH_BYTES {
                return Ok(());
            }
            self.meter.look()
        });
        room.or_else(|exceeded| self.end(exceeded))
    }

    /// One more entry of it is about to be made.
    ///
    /// # Errors
    /// When that is one too many, which [`Self::exceeded`] tells.
    pub(crate) fn entry(&self) -> io::Result<()> {
        self.files.fetch_add(1, Ordering::Relaxed);
        let before = self.meter.files.fetch_add(1, Ordering::Relaxed);
        let limit = self.meter.budget.max_files;
        if let Some(limit) = limit.filter(|limit| before >= *limit) {
            return self.end(Exceeded::Files { limit });
        }
        if before % LOOK_EACH_FILES == LOOK_EACH_FILES - 1 {
            return self.meter.look().or_else(|exceeded| self.end(exceeded));
        }
        Ok(())
    }

    fn end(&self, exceeded: Exceeded) -> io::Result<()> {
        Err(io::Error::other(
            self.exceeded.get_or_init(|| exceeded).clone(),
        ))
    }

    /// Why it was ended, if it was.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get().cloned()
    }

    /// Lets what was counted stand: the layer is whole.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for LayerMeter<'_> {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        for (all, own) in [
            (&self.meter.fetched, &self.fetched),
            (&self.meter.unpacked, &self.unpacked),
            (&self.meter.files, &self.files),
        ] {
            all.fetch_sub(own.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// A reader of what a layer turns into, which fails when that is too much.
pub(crate) struct Metered<'m, R> {
    inner: R,
    meter: &'m LayerMeter<'m>,
}

impl<'m, R: Read> Metered<'m, R> {
    /// Reads through to `inner`.
    pub(crate) fn new(inner: R, meter: &'m LayerMeter<'m>) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.unpacked(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limit;

    const PLENTY: Room = Room {
        bytes: 1 << 40,
        free_bytes: Some(1 << 40),
        free_inodes: Some(1 << 30),
    };

    fn plenty() -> Option<Room> {
        Some(PLENTY)
    }

    fn budget() -> Budget {
        Budget {
            max_unpacked: Some(1000),
            max_files: Some(3),
            max_ratio: 10,
            ratio_from: 100,
            ..Budget::default()
        }
    }

    fn limit(layer: &LayerMeter<'_>) -> Option<Limit> {
        layer.exceeded().and_then(|exceeded| exceeded.limit())
    }

    #[test]
    fn l108_the_layers_of_an_image_are_counted_together() {
        let budget = budget();
        let meter = Meter::new(&budget, Path::new("/store"), &plenty);
        let (one, two) = (meter.layer(), meter.layer());
        one.fetched(100);
        two.fetched(100);
        one.unpacked(600).unwrap();
        two.unpacked(400).unwrap();
        assert!(two.unpacked(1).is_err());
        assert_eq!(limit(&two), Some(Limit::Unpacked));
        assert_eq!(limit(&one), None);
    }

    #[test]
    fn a_layer_that_failed_is_not_counted_twice() {
        let budget = budget();
        let meter = Meter::new(&budget, Path::new("/store"), &plenty);
        for _ in 0..5 {
            let again = meter.layer();
            again.fetched(100);
            again.unpacked(900).unwrap();
            again.entry().unwrap();
        }
        let whole = meter.layer();
        whole.fetched(100);
        whole.unpacked(900).unwrap();
        whole.keep();
        drop(whole);
        assert!(meter.layer().unpacked(101).is_err());
    }

    #[test]
    fn l108_neither_small_layers_nor_an_honest_one_hide_a_bomb() {
        let budget = budget();
        let meter = Meter::new(&budget, Path::new("/store"), &plenty);
        // None of them is above what is free of the ratio, but all together are.
        let small: Vec<_> = (0..2).map(|_| meter.layer()).collect();
        small[0].unpacked(90).unwrap();
        assert!(small[1].unpacked(90).is_err());
        assert_eq!(limit(&small[1]), Some(Limit::Ratio));
        drop(small);
        let (honest, bomb) = (meter.layer(), meter.layer());
        honest.fetched(500);
        honest.unpacked(500).unwrap();
        bomb.fetched(1);
        assert!(bomb.unpacked(101).is_err());
        assert_eq!(limit(&bomb), Some(Limit::Ratio));
    }

    #[test]
    fn l109_entries_of_all_layers_are_counted() {
        let budget = budget();
        let meter = Meter::new(&budget, Path::new("/store"), &plenty);
        let (one, two) = (meter.layer(), meter.layer());
        one.entry().unwrap();
        two.entry().unwrap();
        two.entry().unwrap();
        assert!(one.entry().is_err());
        assert_eq!(limit(&one), Some(Limit::Files));
    }

    #[test]
    fn p76_the_last_of_the_disk_is_left_to_others() {
        let budget = Budget {
            max_ratio: u64::MAX,
            ..Budget::default()
        };
        let full = || {
            Some(Room {
                free_bytes: Some((256 << 20) - 1),
                ..PLENTY
            })
        };
        let meter = Meter::new(&budget, Path::new("/store"), &full);
        let layer = meter.layer();
        layer.fetched(LOOK_EACH_BYTES);
        layer.unpacked(LOOK_EACH_BYTES - 1).unwrap();
        assert!(layer.unpacked(1).is_err());
        let said = layer.exceeded().unwrap().to_string();
        assert!(said.starts_with("/store has 255.9 MiB and "), "{said}");
    }

    #[test]
    fn l109_the_last_inode_is_noticed() {
        let budget = Budget::default();
        let none = || {
            Some(Room {
                free_inodes: Some(0),
                ..PLENTY
            })
        };
        let meter = Meter::new(&budget, Path::new("/store"), &none);
        let layer = meter.layer();
        let ended = (0..LOOK_EACH_FILES).find(|_| layer.entry().is_err());
        assert_eq!(ended, Some(LOOK_EACH_FILES - 1));
        assert!(matches!(layer.exceeded(), Some(Exceeded::Reserve { .. })));
    }

    #[test]
    fn c19_a_disk_that_counts_nothing_is_never_full() {
        let budget = Budget {
            max_unpacked: None,
            max_ratio: u64::MAX,
            ..Budget::default()
        };
        let uncounted = || {
            Some(Room {
                bytes: 0,
                free_bytes: None,
                free_inodes: None,
            })
        };
        let meter = Meter::new(&budget, Path::new("/store"), &uncounted);
        let layer = meter.layer();
        layer.unpacked(2 * LOOK_EACH_BYTES).unwrap();
        assert!((0..LOOK_EACH_FILES).all(|_| layer.entry().is_ok()));
    }
}
