//! Hostile and odd layers, one test each, named after its case.
//!
//! Every layer is unpacked beside a tree that nothing may touch, which is
//! compared after each of them, whatever became of the layer.

mod links;
mod metadata;
mod names;
mod parser;
mod types;
mod umoci;
mod whiteouts;

use std::error::Error as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use test_support::{Entry, Layer, LayerBuilder, Sentinel, tree};

use super::Applied;
use super::compare::{Source, compare};
use super::error::Error;
use super::index::{Contents, IndexWriter};

/// Unpacks any number of entries without keeping the index.
fn apply<R: Read>(reader: R, root: BorrowedFd<'_>) -> Result<(Applied, R), Error> {
    super::apply(
        reader,
        root,
        IndexWriter::new(std::io::sink()).unwrap(),
        &|| Ok(()),
    )
}

/// An empty root with a tree beside it that must not change.
struct Case {
    temp: tempfile::TempDir,
    sentinel: Sentinel,
}

impl Case {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        let sentinel = Sentinel::plant(&temp.path().join("outside"));
        Self { temp, sentinel }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// The absolute path of the tree beside the root.
    fn outside(&self) -> String {
        self.temp.path().join("outside").display().to_string()
    }

    #[track_caller]
    fn apply(&self, layer: &Layer) -> Result<Applied, Error> {
        let root = File::open(self.root()).unwrap();
        let mut index = Vec::new();
        let writer = IndexWriter::new(&mut index).unwrap();
        let applied = super::apply(layer.bytes.as_slice(), root.as_fd(), writer, &|| Ok(()));
        self.sentinel.assert_unchanged();
        let (applied, _rest) = applied?;
        // A layer's root is root's, 0755, until an entry says something else.
        if !applied.root_explicit {
            ucr_sys::at::set_owner_fd(root.as_fd(), 0, 0).unwrap();
            ucr_sys::at::set_mode_fd(root.as_fd(), 0o755).unwrap();
        }
        let contents = Contents::read(&*index).unwrap();
        let compared = compare(contents, root.as_fd(), Source::Cache).unwrap();
        assert_eq!(compared.faults, [], "the index of a fresh layer");
        Ok(applied)
    }

    #[track_caller]
    fn unpack(&self, layer: LayerBuilder) -> Vec<String> {
        let layer = layer.build();
        self.apply(&layer)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        self.shape()
    }

    #[track_caller]
    fn refuse(&self, layer: LayerBuilder) -> String {
        match self.apply(&layer.build()) {
            Ok(_) => panic!("it was unpacked: {:#?}", self.shape()),
            Err(error) => chain(&error),
        }
    }

    /// What stands below the root, a line each, without times, sizes and hashes.
    fn shape(&self) -> Vec<String> {
        tree(&self.root())
            .lines()
            .filter(|line| !line.starts_with("/ "))
            .map(without_times)
            .collect()
    }

    fn content(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root().join(path)).unwrap()
    }
}

/// A file system, by the limits that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limits {
    /// 65,000 links to a file, and attributes that share a block with others (ext4(5)).
    Ext4,
    /// None below those of the kernel: xfs.
    Kernel,
}

impl Limits {
    /// Those of where the tests write; `None` where nobody has looked.
    fn here(case: &Case) -> Option<Self> {
        let magic = ucr_sys::Dir::open(case.temp.path())
            .and_then(|dir| dir.file_system_magic())
            .unwrap();
        // linux/magic.h
        match magic {
            0xEF53 => Some(Self::Ext4),
            0x5846_5342 => Some(Self::Kernel),
            _ => {
                println!("skipped: the limits of file system {magic:#x} are not known");
                None
            }
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        // Some are deeper than the standard library has fds to remove.
        let parent = File::open(self.temp.path()).unwrap();
        let _ = ucr_sys::tree::remove_tree(parent.as_fd(), b"root");
    }
}

fn without_times(line: &str) -> String {
    let noise = |word: &&str| {
        !["mtime=", "size=", "sha256:"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
    };
    line.split(' ').filter(noise).collect::<Vec<_>>().join(" ")
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

fn layer() -> LayerBuilder {
    LayerBuilder::new()
}

/// Unpacks a layer of these entries, and returns its shape.
#[track_caller]
fn shape(entries: impl IntoIterator<Item = Entry>) -> Vec<String> {
    Case::new().unpack(of(entries))
}

/// Refuses a layer of these entries, and returns what was said.
#[track_caller]
fn refusal(entries: impl IntoIterator<Item = Entry>) -> String {
    Case::new().refuse(of(entries))
}

fn of(entries: impl IntoIterator<Item = Entry>) -> LayerBuilder {
    entries.into_iter().fold(layer(), LayerBuilder::entry)
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}
