//! Seeds of every kind of input, mutated by chance that is the same in each run.
//!
//! The quick brother of the fuzz targets, which need a build of their own; both
//! check the same laws and begin with the same seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use tempfile::TempDir;

/// The inputs that `scripts/support/fuzz-seeds` makes for one of the laws.
///
/// # Panics
/// When the script fails.
pub fn seeds(law: &str) -> Vec<Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../scripts/support/fuzz-seeds"
    );
    let output = Command::new(script).arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let entries = std::fs::read_dir(directory.path().join(law)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The xorshift generator of Marsaglia, "Xorshift RNGs", 2003.
struct Chance(u64);

impl Chance {
    /// A number below `end`; 0 when there is none.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = usize::try_from(self.0 >> 33).unwrap();
        number.checked_rem(end).unwrap_or_default()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// A short piece of the bytes.
    fn piece<'a>(&mut self, bytes: &'a [u8]) -> (usize, &'a [u8]) {
        let start = self.below(bytes.len() + 1);
        let length = self.below((bytes.len() - start).min(80) + 1);
        (start, &bytes[start..start + length])
    }

    fn mutated(&mut self, seeds: &[Vec<u8>], tokens: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(3) {
            let (start, piece) = self.piece(&bytes);
            let range = start..start + piece.len();
            let copy = piece.to_vec();
            let place = self.below(bytes.len() + 1);
            match self.below(6) {
                0 | 1 if place < bytes.len() => bytes[place] ^= 1 << self.below(8),
                2 => drop(bytes.drain(range)),
                3 => drop(bytes.splice(place..place, copy)),
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let (_, other) = self.piece(other);
                    bytes.splice(range, other.iter().copied());
                }
                _ => {
                    let token = self.one_of(tokens);
                    bytes.splice(place..place, token.iter().copied());
                }
            }
        }
        bytes
    }
}

/// Checks a law of all seeds as they are, and of so many mutations of them, some by `tokens`.
///
/// # Panics
/// When the law does not hold; the input is shown.
pub fn check(law: impl Fn(&[u8]), seeds: &[Vec<u8>], tokens: &[&[u8]], mutations: usize) {
    let mut chance = Chance(SEED);
    let mutations = (0..mutations).map(|_| chance.mutated(seeds, tokens));
    for bytes in seeds.iter().cloned().chain(mutations) {
        check_one(&law, &bytes);
    }
}

/// Checks a law of so many inputs of `length` bytes, each of them by chance.
///
/// # Panics
/// When the law does not hold; the input is shown.
pub fn check_chance(law: impl Fn(&[u8]), length: usize, inputs: usize) {
    let mut chance = Chance(SEED);
    for _ in 0..inputs {
        let byte = |_| u8::try_from(chance.below(256)).unwrap();
        let bytes: Vec<u8> = (0..length).map(byte).collect();
        check_one(&law, &bytes);
    }
}

fn check_one(law: impl Fn(&[u8]), bytes: &[u8]) {
    let checked = catch_unwind(AssertUnwindSafe(|| law(bytes)));
    assert!(checked.is_ok(), "by b\"{}\"", bytes.escape_ascii());
}
