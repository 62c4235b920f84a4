//! What holds for every layer: it is unpacked as the model has it, or refused, and nothing
//! beside it changes.
//!
//! Checked of inputs made by chance by `mutations`, and of what libFuzzer finds by the targets
//! in `fuzz/`, which include this file.

#[path = "layers/input.rs"]
mod input;
#[path = "layers/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary as _, Unstructured};
use tempfile::TempDir;
use test_support::{Sentinel, tree};
use ucr_images::archive::{Checked, Error, check_layer};

use input::{LayerInput, Layers};
use model::Model;

const BLOCK: usize = 512;

/// Checks that layers made of any bytes become what the model says, each in its own directory.
pub fn layers(bytes: &[u8]) {
    let Ok(layers) = Layers::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let place = Place::new();
    let mut before = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let (archive, model) = archive(layer, &place.outside());
        let root = place.root(number);
        match (place.unpack(&archive, &root), model) {
            (Ok(checked), Some(model)) => compare(&root, &checked, &model),
            (Err(_), None) => {}
            (Ok(_), None) => panic!("it was unpacked: {}", tree(&root)),
            (Err(error), Some(model)) => panic!("{error:?} in place of {:#?}", model.lines()),
        }
        before.push(Sentinel::watch(&root));
    }
    for layer in before {
        layer.assert_unchanged();
    }
}

/// Checks that any bytes are unpacked without taking more room than they have, or refused.
pub fn layer_bytes(bytes: &[u8]) {
    let place = Place::new();
    for (number, archive) in [bytes, &with_checksums(bytes)].into_iter().enumerate() {
        let root = place.root(number);
        if place.unpack(archive, &root).is_ok() {
            let taken = room(&root);
            assert!(taken <= archive.len() as u64, "{taken} bytes were made");
        }
    }
}

/// An archive of the entries of one layer, and what it means unless it must be refused.
fn archive(layer: &LayerInput, outside: &[u8]) -> (Vec<u8>, Option<Model>) {
    let mut model = Model::new();
    let mut builder = layer.builder();
    for entry in &layer.entries {
        let given = entry.given(outside);
        let mut next = model.clone();
        let taken = next.apply(&given);
        if taken.is_ok() {
            model = next;
        } else if !layer.is_hostile() {
            continue;
        }
        builder = entry.write(&given, builder);
        if taken.is_err() {
            return (layer.finish(builder), None);
        }
    }
    model.finish();
    (layer.finish(builder), Some(model))
}

fn compare(root: &Path, checked: &Checked, model: &Model) {
    let mut expected = model.lines();
    expected.sort();
    assert_eq!(lines(root, &expected), expected);
    assert_eq!(hard_links(root), model.hard_links());
    assert_eq!(checked.root_opaque, model.hides_all);
    let implied: BTreeSet<_> = checked.implied.iter().cloned().collect();
    assert_eq!(implied, model.implied());
}

/// The lines of a tree, with no more of each than is expected: times are left out where nobody
/// says them, and of a whiteout there is only the name.
fn lines(root: &Path, expected: &[String]) -> Vec<String> {
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let timeless: BTreeSet<String> = expected
        .iter()
        .filter(|line| !line.contains(" mtime="))
        .map(|line| name(line))
        .collect();
    let listing = tree(root);
    let lines = listing.lines().map(|line| {
        if line.contains(" char ") && line.contains(" device=0:0") {
            format!("{} whiteout", name(line))
        } else if timeless.contains(&name(line)) {
            let words = line.split(' ').filter(|word| !word.starts_with("mtime="));
            words.collect::<Vec<_>>().join(" ")
        } else {
            line.to_owned()
        }
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

/// The names of everything but directories that has several.
fn hard_links(root: &Path) -> BTreeSet<Vec<String>> {
    let mut names: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    each(root, &mut |path, metadata| {
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let inner = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            let shown = format!("/{}", inner.escape_ascii());
            names.entry(metadata.ino()).or_default().push(shown);
        }
    });
    for names in names.values_mut() {
        names.sort();
    }
    names.into_values().collect()
}

/// Bytes of all files, each counted once.
fn room(root: &Path) -> u64 {
    let mut files = BTreeMap::new();
    each(root, &mut |_, metadata| {
        if metadata.is_file() {
            files.insert(metadata.ino(), metadata.len());
        }
    });
    files.into_values().sum()
}

/// Visits everything whose path the kernel takes at once.
fn each(path: &Path, visit: &mut dyn FnMut(&Path, &Metadata)) {
    let Ok(metadata) = path.symlink_metadata() else {
        return;
    };
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            each(&entry.unwrap().path(), visit);
        }
    }
}

/// The same bytes, where each block that claims to be a header has the right checksum.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// Directories for layers, and a tree beside them that nothing may touch.
struct Place {
    temp: TempDir,
    sentinel: Sentinel,
}

impl Place {
    /// In memory, unless somebody names another place: thousands are made and go again.
    fn new() -> Self {
        let usual = std::env::temp_dir();
        let memory = Path::new("/dev/shm");
        let temp = match memory.is_dir() && usual == Path::new("/tmp") {
            true => TempDir::new_in(memory).unwrap(),
            false => TempDir::new_in(usual).unwrap(),
        };
        let sentinel = Sentinel::plant(&temp.path().join("outside"));
        Self { temp, sentinel }
    }

    fn outside(&self) -> Vec<u8> {
        let outside = self.temp.path().join("outside");
        outside.as_os_str().as_bytes().to_vec()
    }

    fn root(&self, number: usize) -> PathBuf {
        let root = self.temp.path().join(format!("root{number}"));
        std::fs::create_dir(&root).unwrap();
        root
    }

    /// Unpacks a layer, whatever becomes of it, and looks at what is beside it.
    fn unpack(&self, archive: &[u8], root: &Path) -> Result<Checked, Error> {
        let checked = check_layer(archive, File::open(root).unwrap().as_fd());
        self.sentinel.assert_unchanged();
        let mut beside: Vec<_> = std::fs::read_dir(self.temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        beside.retain(|name| !name.as_bytes().starts_with(b"root"));
        assert_eq!(beside, ["outside"], "something was made beside the layer");
        let checked = checked?;
        assert_eq!(checked.faults, [], "the index of a fresh layer");
        Ok(checked)
    }
}
