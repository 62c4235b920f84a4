//! What blobs hold, as far as they were read for images that do not say it (Docker's schema 1).
//!
//! A note saves fetching a blob again: who knows its digest learns the diff ID of the layer that
//! is in it. It gives nobody a right to that layer (`access`), and nothing needs it to be there.

use super::error::Error;
use super::layout::{Store, by_algorithm};
use super::tree::{Tree, absent};
use crate::Digest;

/// The most that a note may hold.
const NOTE_LIMIT: u64 = 4096;

/// What a blob was found to hold, when all of it was read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobContent {
    /// The layer in it.
    pub diff_id: Digest,
    /// How many bytes the blob itself has.
    pub bytes: u64,
}

impl BlobContent {
    /// The note: what there is to say of `blob`, and a digest by which a spoilt one is told.
    fn to_note(&self, blob: &Digest) -> String {
        let said = format!("{} {}", self.diff_id, self.bytes);
        let check = Digest::sha256(format!("{blob} {said}").as_bytes());
        format!("{said} {}\n", check.hex())
    }

    fn of_note(note: &[u8], blob: &Digest) -> Option<Self> {
        let text = std::str::from_utf8(note).ok()?;
        let (diff_id, rest) = text.split_once(' ')?;
        let content = Self {
            diff_id: diff_id.parse().ok()?,
            bytes: rest.split(' ').next()?.parse().ok()?,
        };
        (content.to_note(blob) == text).then_some(content)
    }
}

impl Store {
    /// What a blob holds, if anybody has found out; whether that layer is there is another matter.
    pub fn content_of(&self, blob: &Digest) -> Result<Option<BlobContent>, Error> {
        let read = || {
            let Some(notes) = absent(self.root.dir("contents"))? else {
                return Ok(None);
            };
            let Some(notes) = absent(notes.dir(blob.algorithm().as_str()))? else {
                return Ok(None);
            };
            notes.read(blob.hex(), NOTE_LIMIT)
        };
        let note = read().map_err(Error::Content)?;
        Ok(note.and_then(|note| BlobContent::of_note(&note, blob)))
    }

    /// Notes what a blob was found to hold.
    pub fn note_content(&self, blob: &Digest, content: &BlobContent) -> Result<(), Error> {
        let note = content.to_note(blob).into_bytes();
        let notes = self.root.dir_or_create("contents");
        notes
            .and_then(|notes| by_algorithm(&notes, blob.algorithm()))
            .and_then(|notes| notes.replace_soon(blob.hex(), &note, 0o600))
            .map_err(Error::Content)
    }

    /// Forgets what was in blobs whose layers are gone, and notes that cannot be read.
    pub(super) fn sweep_contents(&self) -> Result<(), Error> {
        let Some(all) = absent(self.root.dir("contents")).map_err(Error::Remove)? else {
            return Ok(());
        };
        for algorithm in all.names().map_err(Error::Remove)? {
            let notes = all.dir(&algorithm).map_err(Error::Remove)?;
            for hex in notes.names().map_err(Error::Remove)? {
                let blob = format!("{algorithm}:{hex}").parse().ok();
                let content = blob.map(|blob| self.content_of(&blob)).transpose()?;
                let tree = content
                    .flatten()
                    .map(|content| Tree::Layer(content.diff_id));
                let there = tree.map(|tree| self.open_tree(&tree)).transpose();
                if there.map_err(Error::Remove)?.flatten().is_none() {
                    notes.remove(&hex).map_err(Error::Remove)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::tests::commit;
    use super::*;

    #[test]
    fn a_note_goes_with_its_layer_or_when_it_is_spoilt() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let (here, gone, torn) = (
            Digest::sha256(b"here"),
            Digest::sha256(b"gone"),
            Digest::sha256(b"torn"),
        );
        commit(&store, &here);
        let content = |diff_id: &Digest| BlobContent {
            diff_id: diff_id.clone(),
            bytes: 7,
        };
        for diff_id in [&here, &gone, &torn] {
            let blob = Digest::sha256(diff_id.hex().as_bytes());
            store.note_content(&blob, &content(diff_id)).unwrap();
        }
        let blob = |diff_id: &Digest| Digest::sha256(diff_id.hex().as_bytes());
        let notes = store.root.dir("contents").unwrap().dir("sha256").unwrap();
        let good = content(&here).to_note(&blob(&here));
        for spoilt in [
            "\0\0",
            "",
            &good,
            &content(&torn).to_note(&blob(&torn)).replace(" 7 ", " 8 "),
        ] {
            notes
                .replace(blob(&torn).hex(), spoilt.as_bytes(), 0o600)
                .unwrap();
            assert_eq!(store.content_of(&blob(&torn)).unwrap(), None);
        }
        store.sweep_contents().unwrap();
        assert_eq!(notes.names().unwrap(), [blob(&here).hex()]);
        assert_eq!(
            store.content_of(&blob(&here)).unwrap(),
            Some(content(&here))
        );
    }
}
