//! Verifying: whether the store still holds what it says, and taking out what does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd;

use ucr_sys::at;

use super::catalog::ImageEntry;
use super::error::Error;
use super::image::Recorded;
use super::layer::{is_blank, read_meta};
use super::layout::Store;
use super::tree::{OpenTree, Tree, absent};
use crate::Digest;
use crate::archive::compare::{Compared, Source, compare};
use crate::archive::index::Contents;
use crate::archive::{Difference, Fault};

/// Faults of one layer that are told one by one.
const MOST_FAULTS: usize = 100;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records, documents with their digests, and that layers are there.
    Records,
    /// Every file of every layer as well.
    Deep,
}

/// Something in the store that can be bad.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A layer or a fix-up layer.
    Tree(Tree),
    /// A manifest or configuration.
    Document(Digest),
    /// What a name stands for, by its file.
    Record(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(tree) => tree.fmt(f),
            Self::Document(digest) => write!(f, "document {digest}"),
            Self::Record(file) => write!(f, "record refs/{file}"),
        }
    }
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is not there.
    Missing,
    /// Its content is not what it was.
    Damaged {
        /// What differs in a layer; the first of them when there are many.
        faults: Vec<Fault>,
        /// How many more there are.
        more: usize,
    },
    /// What is recorded of it cannot be understood.
    Unreadable,
    /// Nothing is recorded of it: a removal or the machine stopped before it was on the disk.
    Unrecorded,
    /// It was not on the disk for certain when the machine went down; it is fetched again.
    Distrusted,
    /// An older version unpacked it, and nothing says what its files were.
    NoIndex,
}

impl Trouble {
    /// The same in one stable word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged { .. } => "damaged",
            Self::Unreadable => "unreadable-record",
            Self::Unrecorded => "unrecorded",
            Self::Distrusted => "distrusted",
            Self::NoIndex => "no-index",
        }
    }

    /// Whether something was lost, as opposed to never having been certain.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Damaged { .. } | Self::Unreadable
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Damaged { .. } => "damaged",
            Self::Unreadable => "its record cannot be read",
            Self::Unrecorded => {
                "without a record, as a power cut or a stopped removal leaves it, which is no damage: \
                 the next pull fetches it again"
            }
            Self::Distrusted => {
                "distrusted after a reboot, which is no damage: the next pull fetches it again"
            }
            Self::NoIndex => {
                "an older ucr unpacked it without an index: its files are not verified"
            }
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// With what.
    pub object: Object,
    /// What.
    pub trouble: Trouble,
    /// The names of the images that need it.
    pub images: BTreeSet<String>,
}

/// What a look at the store came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// Names looked at.
    pub images: usize,
    /// Layers and fix-up layers looked at.
    pub trees: usize,
    /// Files, directories and others looked at.
    pub objects: u64,
    /// Bytes of files read.
    pub bytes: u64,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

impl Verified {
    /// Whether something was lost.
    pub fn has_damage(&self) -> bool {
        let mut troubles = self.problems.iter().map(|problem| &problem.trouble);
        troubles.any(Trouble::is_damage)
    }

    fn found(&mut self, object: Object, trouble: Trouble, images: BTreeSet<String>) {
        self.problems.push(Problem {
            object,
            trouble,
            images,
        });
    }
}

/// Trees to look at, with the names of the images that need them.
type Wanted = BTreeMap<Tree, BTreeSet<String>>;

impl Store {
    /// Looks at images, or with `None` at everything in the store.
    ///
    /// Others may pull, run and collect meanwhile: what is looked at cannot go, and what went
    /// before is missing only where a name still needs it.
    ///
    /// # Errors
    /// When the store as a whole cannot be read.
    pub fn verify(&self, images: Option<&[&ImageEntry]>, depth: Depth) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let mut wanted = Wanted::new();
        let records = self.records()?;
        let chosen = |recorded: &Recorded| {
            images.is_none_or(|images| {
                let mut files = images.iter().map(|image| image.recorded().0);
                files.any(|file| file == recorded.file)
            })
        };
        for recorded in records.readable.into_iter().filter(chosen) {
            verified.images += 1;
            self.verify_documents(&recorded, &mut verified)?;
            for tree in self.trees_of(&recorded.record)? {
                let names = wanted.entry(tree).or_default();
                names.insert(recorded.record.reference.clone());
            }
        }
        if images.is_none() {
            for file in records.unreadable {
                verified.found(Object::Record(file), Trouble::Unreadable, BTreeSet::new());
            }
            for tree in self.trees().map_err(Error::Remove)? {
                wanted.entry(tree).or_default();
            }
        }
        for (tree, names) in wanted {
            verified.trees += 1;
            self.verify_tree(&tree, names, depth, &mut verified)?;
        }
        Ok(verified)
    }

    fn verify_documents(&self, of: &Recorded, verified: &mut Verified) -> Result<(), Error> {
        for digest in [&of.record.manifest, &of.record.config] {
            let trouble = match self.raw_document(digest)? {
                Some(content) if digest.matches(&content) => continue,
                Some(_) => Trouble::Damaged {
                    faults: Vec::new(),
                    more: 0,
                },
                // Taken away together with its name, between our two looks.
                None if !self.refs.contains(&of.file).map_err(Error::Image)? => continue,
                None => Trouble::Missing,
            };
            let names = BTreeSet::from([of.record.reference.clone()]);
            verified.found(Object::Document(digest.clone()), trouble, names);
        }
        Ok(())
    }

    fn verify_tree(
        &self,
        tree: &Tree,
        names: BTreeSet<String>,
        depth: Depth,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let failed = |source| Error::Verify {
            tree: tree.clone(),
            source,
        };
        let trouble = match self.open_tree(tree).map_err(failed)? {
            None => match self.why_not_open(tree, &names).map_err(failed)? {
                Some(Trouble::Missing) if !self.is_missed(tree)? => None,
                trouble => trouble,
            },
            Some(open) if !open.meta.is_trusted(&self.boot) => Some(Trouble::Distrusted),
            Some(open) if depth == Depth::Records => shallow(&open).map_err(failed)?,
            Some(open) => {
                drop(open);
                match self.compare_tree(tree, Source::Cache)? {
                    None => Some(Trouble::NoIndex),
                    Some(compared) => {
                        verified.objects += compared.objects;
                        verified.bytes += compared.bytes;
                        damaged(compared)
                    }
                }
            }
        };
        if let Some(trouble) = trouble {
            verified.found(Object::Tree(tree.clone()), trouble, names);
        }
        Ok(())
    }

    /// Whether a name needs a tree that is not there.
    ///
    /// Both may go, and come again, between two looks; not three times.
    fn is_missed(&self, tree: &Tree) -> Result<bool, Error> {
        for _ in 0..3 {
            let there = self.open_tree(tree).map_err(|source| Error::Verify {
                tree: tree.clone(),
                source,
            })?;
            if there.is_some() || !self.is_named(tree)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_named(&self, tree: &Tree) -> Result<bool, Error> {
        for recorded in self.records()?.readable {
            if self.trees_of(&recorded.record)?.contains(tree) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Why a tree has no record that can be read.
    fn why_not_open(
        &self,
        tree: &Tree,
        names: &BTreeSet<String>,
    ) -> Result<Option<Trouble>, ucr_sys::Error> {
        let parent = self.parent_of(tree)?;
        let there = parent.map(|parent| absent(parent.dir(tree.digest().hex())));
        match there.transpose()?.flatten() {
            // One that was made since we looked is no trouble.
            Some(dir) if read_meta(&dir)?.is_some() => Ok(None),
            Some(dir) if is_blank(&dir)? => Ok(Some(Trouble::Unrecorded)),
            Some(_) => Ok(Some(Trouble::Unreadable)),
            // One that nobody needs, collected since it was listed.
            None if names.is_empty() => Ok(None),
            None => Ok(Some(Trouble::Missing)),
        }
    }

    /// Compares a tree with its index; `None` where it has none, or is gone.
    pub(super) fn compare_tree(
        &self,
        tree: &Tree,
        source: Source,
    ) -> Result<Option<Compared>, Error> {
        let failed = |source| Error::Verify {
            tree: tree.clone(),
            source,
        };
        let Some(open) = self.open_tree(tree).map_err(failed)? else {
            return Ok(None);
        };
        let index = absent(at::open_file(open.dir.as_fd(), b"index")).map_err(failed)?;
        let Some(index) = index else {
            // One that was there is lost.
            let lost = open.meta.index_bytes.is_some();
            return Ok(lost.then(|| whole_fault(Difference::Unreadable)));
        };
        let Ok(contents) = Contents::read(BufReader::new(File::from(index))) else {
            return Ok(Some(whole_fault(Difference::Unreadable)));
        };
        let Some(root) = absent(open.dir.dir("fs")).map_err(failed)? else {
            return Ok(Some(whole_fault(Difference::Missing)));
        };
        compare(contents, root.as_fd(), source)
            .map(Some)
            .map_err(failed)
    }

    /// Removes a bad document or record, so that the next pull writes it anew.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_bad(&self, object: &Object) -> Result<(), Error> {
        match object {
            Object::Tree(tree) => self.take_out(tree).map(drop),
            Object::Record(file) => self.refs.remove(file).map_err(Error::Remove),
            Object::Document(digest) => {
                let images = self.images.dir(digest.algorithm().as_str());
                let images = absent(images).map_err(Error::Remove)?;
                let removed = images.map(|images| images.remove(digest.hex()));
                removed.transpose().map(drop).map_err(Error::Remove)
            }
        }
    }
}

/// The index itself, or all of the tree, is not what it was.
fn whole_fault(how: Difference) -> Compared {
    Compared {
        faults: vec![Fault {
            path: Vec::new(),
            how,
        }],
        ..Compared::default()
    }
}

fn damaged(compared: Compared) -> Option<Trouble> {
    let mut faults = compared.faults;
    if faults.is_empty() {
        return None;
    }
    faults.sort_by(|one, two| one.path.cmp(&two.path));
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    Some(Trouble::Damaged { faults, more })
}

/// What can be told of a tree without looking at its files.
fn shallow(open: &OpenTree) -> Result<Option<Trouble>, ucr_sys::Error> {
    let bad = |how| damaged(whole_fault(how));
    if !open.dir.contains("fs")? {
        return Ok(bad(Difference::Missing));
    }
    let length = at::stat(open.dir.as_fd(), b"index")?;
    let length = length.and_then(|stat| u64::try_from(stat.st_size).ok());
    Ok(match open.meta.index_bytes {
        Some(bytes) if length != Some(bytes) => bad(Difference::Unreadable),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::layer::tests::commit;
    use super::*;

    #[test]
    fn a_tree_that_went_with_its_name_is_no_damage() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        // As the names were read before `ucr rmi`, and the tree looked for behind it.
        let names = BTreeSet::from(["r.example/app:1".to_owned()]);
        let tree = Tree::Fixup(Digest::sha256(b"x"));
        let mut verified = Verified::default();
        store
            .verify_tree(&tree, names, Depth::Records, &mut verified)
            .unwrap();
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    }

    #[test]
    fn c3_a_record_that_never_reached_the_disk_is_no_damage_and_a_torn_one_is() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let diff_id = Digest::sha256(b"x");
        commit(&store, &diff_id);
        let layers = store.layers.dir("sha256").unwrap();
        let dir = layers.dir(diff_id.hex()).unwrap();
        let trouble = || {
            let verified = store.verify(None, Depth::Records).unwrap();
            let found: Vec<_> = verified
                .problems
                .iter()
                .map(|one| one.trouble.code())
                .collect();
            (found, verified.has_damage())
        };
        for blank in [&b""[..], b"\0\0\0"] {
            dir.replace("meta", blank, 0o600).unwrap();
            assert_eq!(trouble(), (vec!["unrecorded"], false));
        }
        dir.replace("meta", b"{", 0o600).unwrap();
        assert_eq!(trouble(), (vec!["unreadable-record"], true));
        dir.remove("meta").unwrap();
        assert_eq!(trouble(), (vec!["unrecorded"], false));
    }
}
