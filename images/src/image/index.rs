//! Indexes: which entries come into question for a platform.

use oci_spec::image::{Descriptor, ImageIndex};

use super::media_type;
use crate::Platform;

/// The entries of one index, by what they may be good for.
#[derive(Debug, Default)]
pub(super) struct Candidates<'i> {
    /// The image for the platform: the first that fits, one without a variant first.
    pub(super) fitting: Option<&'i Descriptor>,
    /// Indexes that may hold one.
    pub(super) nested: Vec<&'i Descriptor>,
    /// Images that do not say what they are for.
    pub(super) unnamed: Vec<&'i Descriptor>,
    /// The platforms that there are, for a message.
    pub(super) platforms: Vec<String>,
}

impl<'i> Candidates<'i> {
    /// Sorts the entries of `index`, passing over those that are neither images nor indexes.
    ///
    /// Attestations are manifests too, but claim the platform "unknown/unknown".
    pub(crate) fn of(index: &'i ImageIndex, wanted: &Platform) -> Self {
        let mut candidates = Self::default();
        let mut fitting = Vec::new();
        for entry in index.manifests() {
            let platform = entry.platform().as_ref().map(Platform::from);
            let kind = entry.media_type().to_string();
            if media_type::is_index(&kind) {
                if platform.is_none_or(|platform| wanted.accepts(&platform)) {
                    candidates.nested.push(entry);
                }
            } else if media_type::is_manifest(&kind) {
                match platform {
                    None => candidates.unnamed.push(entry),
                    Some(platform) => {
                        if wanted.accepts(&platform) {
                            fitting.push((platform.clone(), entry));
                        }
                        candidates.platforms.push(platform.to_string());
                    }
                }
            }
        }
        let plain = fitting.iter().find(|(one, _)| wanted.is_as_plain(one));
        let chosen = plain.or_else(|| fitting.first());
        candidates.fitting = chosen.map(|(_, entry)| *entry);
        candidates
    }
}
