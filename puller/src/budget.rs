//! What an image may take: bytes of the network, bytes and files of the disk, layers.
//!
//! Owns the limits and the judgement before anything is fetched; [`meter`] holds them while
//! layers are unpacked. Two of the limits are always there, whatever the caller says: room must
//! be left on the disk, and what compression hides must be in proportion to what came.

mod meter;

use std::fmt;
use std::path::{Path, PathBuf};

use ucr_images::image::MAX_LAYERS;
use ucr_sys::Room;

pub(crate) use meter::{LayerMeter, Meter, Metered};

/// How many times as large as it came an image may become; plain zeros reach 1030 with gzip.
const RATIO: u64 = 200;
/// Up to here the ratio does not count: a layer with an empty disk image in it is honest.
const RATIO_FROM: u64 = 512 * MIB;
/// The most of a disk that is kept free of images.
const LARGEST_RESERVE: u64 = 256 * MIB;
/// What a layer takes at the least: its directories, its record, its locks, what came of it.
const INODES_OF_A_LAYER: u64 = 8;
const MIB: u64 = 1024 * 1024;

/// What an image may take. What is in the store already does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The most bytes to fetch, as the registry has them.
    pub max_bytes: Option<u64>,
    /// The most bytes that its layers may have in them, uncompressed.
    pub max_unpacked: Option<u64>,
    /// The most files, directories and links that its layers may have in them.
    pub max_files: Option<u64>,
    /// The most layers.
    pub max_layers: usize,
    /// How many times as large as they came layers may be, each and all together.
    pub max_ratio: u64,
    /// The uncompressed bytes up to which the ratio does not count.
    pub ratio_from: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_bytes: None,
            max_unpacked: None,
            max_files: None,
            max_layers: MAX_LAYERS,
            max_ratio: RATIO,
            ratio_from: RATIO_FROM,
        }
    }
}

/// A limit that whoever pulls can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Budget::max_bytes`].
    Bytes,
    /// [`Budget::max_unpacked`].
    Unpacked,
    /// [`Budget::max_files`].
    Files,
    /// [`Budget::max_layers`].
    Layers,
    /// [`Budget::max_ratio`].
    Ratio,
}

/// An image takes more than it may, or than there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exceeded {
    /// It has too many layers.
    #[error("the image has {layers} layers, where {limit} are allowed")]
    Layers {
        /// How many it has.
        layers: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Too much would have to be fetched.
    #[error("{} of the image would have to be fetched, where {} are allowed", Size(*.bytes), Size(*.limit))]
    Bytes {
        /// How much that is.
        bytes: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// Its layers have too much in them.
    #[error("the layers of the image have more in them, uncompressed, than the {} that are allowed", Size(*.limit))]
    Unpacked {
        /// How much is allowed.
        limit: u64,
    },
    /// Its layers have too many things in them.
    #[error(
        "the layers of the image have more files and directories in them than the {limit} that are allowed"
    )]
    Files {
        /// How many are allowed.
        limit: u64,
    },
    /// It becomes too large for what came.
    #[error(
        "{} turned into {}, where no more than {limit} times as much is allowed: \
         it may have been made to fill disks", Size(*.fetched), Size(*.unpacked)
    )]
    Ratio {
        /// Bytes as they came.
        fetched: u64,
        /// What became of them so far.
        unpacked: u64,
        /// How many times as much is allowed.
        limit: u64,
    },
    /// There is no room for it, as far as can be told before it is there.
    #[error("the image takes at least {}, and {} has {} to give", Size(*.need), .path.display(), Size(*.free))]
    Room {
        /// The store.
        path: PathBuf,
        /// What it takes: what comes, and as much again when it is unpacked.
        need: u64,
        /// What is free, less what is to stay free.
        free: u64,
    },
    /// There are no inodes for it.
    #[error("the image takes at least {need} inodes, and {} has {free} to give", .path.display())]
    Inodes {
        /// The store.
        path: PathBuf,
        /// How many it takes at the least.
        need: u64,
        /// How many are free.
        free: u64,
    },
    /// It was about to fill the disk.
    #[error("{} has {} and {} inodes left, and is not filled any further", .path.display(), shown(.free.map(Size)), shown(*.inodes))]
    Reserve {
        /// The store.
        path: PathBuf,
        /// Bytes that were free, where the file system counts them.
        free: Option<u64>,
        /// Inodes that were free, where the file system counts them.
        inodes: Option<u64>,
    },
}

impl Exceeded {
    /// The limit that would have to be another; none where the disk is the limit.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Layers { .. } => Some(Limit::Layers),
            Self::Bytes { .. } => Some(Limit::Bytes),
            Self::Unpacked { .. } => Some(Limit::Unpacked),
            Self::Files { .. } => Some(Limit::Files),
            Self::Ratio { .. } => Some(Limit::Ratio),
            Self::Room { .. } | Self::Inodes { .. } | Self::Reserve { .. } => None,
        }
    }
}

/// What is known of an image before any of its layers is fetched.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Missing {
    /// Layers that are not in the store.
    pub(crate) layers: u64,
    /// Their bytes, as the registry has them.
    pub(crate) bytes: u64,
    /// Those of the bytes that came before, and are kept to be gone on with.
    pub(crate) kept: u64,
}

impl Budget {
    /// Whether so many layers are allowed.
    pub(crate) fn admit_layers(&self, layers: usize) -> Result<(), Exceeded> {
        let limit = self.max_layers;
        if layers > limit {
            return Err(Exceeded::Layers { layers, limit });
        }
        Ok(())
    }

    /// Whether what is missing may be fetched, and whether there can be room for it at `path`.
    ///
    /// What it takes unpacked is not known yet: as much again as it comes with, at the least,
    /// so that no image is refused that would fit.
    pub(crate) fn admit(
        &self,
        missing: Missing,
        path: &Path,
        room: Option<Room>,
    ) -> Result<(), Exceeded> {
        let bytes = missing.bytes.saturating_sub(missing.kept);
        if let Some(limit) = self.max_bytes.filter(|limit| bytes > *limit) {
            return Err(Exceeded::Bytes { bytes, limit });
        }
        let Some(room) = room.filter(|_| missing.layers > 0) else {
            return Ok(());
        };
        let unpacked = missing.bytes.min(self.max_unpacked.unwrap_or(u64::MAX));
        let need = bytes.saturating_add(unpacked);
        let free = room
            .free_bytes
            .map(|free| free.saturating_sub(reserve(room)));
        let path = path.to_owned();
        if let Some(free) = free.filter(|free| need > *free) {
            return Err(Exceeded::Room { path, need, free });
        }
        let need = missing.layers.saturating_mul(INODES_OF_A_LAYER);
        match room.free_inodes {
            Some(free) if need > free => Err(Exceeded::Inodes { path, need, free }),
            _ => Ok(()),
        }
    }

    /// The most bytes that one blob can have and be fetched, where nobody says how many it has.
    pub(crate) fn most_bytes(&self, room: Option<Room>) -> u64 {
        let free = room.and_then(|room| room.free_bytes).unwrap_or(u64::MAX);
        self.max_bytes.unwrap_or(u64::MAX).min(free)
    }

    /// Whether `unpacked` bytes may have become of `fetched`.
    fn allows_ratio(&self, fetched: u64, unpacked: u64) -> Result<(), Exceeded> {
        let limit = self.max_ratio;
        if unpacked > self.ratio_from && unpacked > fetched.saturating_mul(limit) {
            return Err(Exceeded::Ratio {
                fetched,
                unpacked,
                limit,
            });
        }
        Ok(())
    }
}

/// What is to stay free of a file system, for everything else on it.
fn reserve(room: Room) -> u64 {
    (room.bytes / 100).min(LARGEST_RESERVE)
}

/// A number of bytes as people read it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let power = self.0.ilog2() / 10;
        let unit = units[(power - 1) as usize];
        let tenths = u128::from(self.0) * 10 / (1_u128 << (10 * power));
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A number, where there is one to count.
fn shown(counted: Option<impl fmt::Display>) -> String {
    counted.map_or_else(|| "enough".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "/store";

    fn missing(bytes: u64) -> Missing {
        Missing {
            layers: 2,
            bytes,
            kept: 0,
        }
    }

    fn room(free_bytes: u64, free_inodes: Option<u64>) -> Room {
        Room {
            bytes: 1000,
            free_bytes: Some(free_bytes),
            free_inodes,
        }
    }

    fn admit(budget: &Budget, missing: Missing, room: Room) -> Result<(), Exceeded> {
        budget.admit(missing, Path::new(STORE), Some(room))
    }

    #[test]
    fn p76_there_must_be_room_for_what_comes_and_as_much_again() {
        let budget = Budget::default();
        assert_eq!(admit(&budget, missing(100), room(210, None)), Ok(()));
        let error = admit(&budget, missing(100), room(209, None)).unwrap_err();
        let said = "the image takes at least 200 bytes, and /store has 199 bytes to give";
        assert_eq!(error.to_string(), said);
        assert_eq!(error.limit(), None);
        let capped = Budget {
            max_unpacked: Some(10),
            ..budget
        };
        assert_eq!(admit(&capped, missing(100), room(120, None)), Ok(()));
    }

    #[test]
    fn what_came_before_is_neither_fetched_nor_stored_again() {
        let budget = Budget {
            max_bytes: Some(40),
            ..Budget::default()
        };
        let half = Missing {
            kept: 60,
            ..missing(100)
        };
        assert_eq!(admit(&budget, half, room(150, None)), Ok(()));
        assert!(admit(&budget, half, room(149, None)).is_err());
        let error = admit(&budget, missing(41), room(999, None)).unwrap_err();
        assert_eq!(error.limit(), Some(Limit::Bytes));
    }

    #[test]
    fn l109_inodes_are_counted_where_the_file_system_counts_them() {
        let budget = Budget::default();
        assert_eq!(admit(&budget, missing(1), room(999, Some(16))), Ok(()));
        assert_eq!(admit(&budget, missing(1), room(999, None)), Ok(()));
        let error = admit(&budget, missing(1), room(999, Some(15))).unwrap_err();
        let said = "the image takes at least 16 inodes, and /store has 15 to give";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn c19_a_file_system_that_counts_nothing_has_room() {
        let uncounted = Room {
            bytes: 0,
            free_bytes: None,
            free_inodes: None,
        };
        let budget = Budget::default();
        assert_eq!(admit(&budget, missing(1 << 50), uncounted), Ok(()));
    }

    #[test]
    fn an_image_that_is_there_needs_no_room() {
        let budget = Budget::default();
        assert_eq!(admit(&budget, Missing::default(), room(0, Some(0))), Ok(()));
    }

    #[test]
    fn sizes_nobody_can_have_do_not_wrap() {
        let budget = Budget::default();
        let error = admit(&budget, missing(u64::MAX), room(999, None)).unwrap_err();
        assert!(error.to_string().contains("15.9 EiB"), "{error}");
    }

    #[test]
    fn sizes_are_written_as_people_read_them() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (10 * MIB + MIB / 2, "10.5 MiB"),
            (1 << 40, "1.0 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), said);
        }
    }
}
