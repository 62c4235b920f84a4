//! One layer, from a pipe of compressed bytes to a verified tree in the store.

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;

use ucr_sys::Dir;

use super::error::LayerError;
use super::layers::Wanted;
use crate::archive::index::IndexWriter;
use crate::archive::{self, Applied, apply, decompress};
use crate::digest::{HashingReader, VerifyingReader};
use crate::store::{LayerLock, Staging, Store};
use crate::{Digest, Event, Progress};

/// What every worker needs.
#[derive(Clone, Copy)]
pub(super) struct Unpacking<'a> {
    pub(super) store: &'a Store,
    pub(super) staging: &'a Staging,
    pub(super) progress: &'a dyn Progress,
}

/// Unpacks, verifies and commits the layer that comes through `reader`.
pub(super) fn unpack(
    unpacking: &Unpacking<'_>,
    lock: &LayerLock,
    wanted: &Wanted,
    reader: impl BufRead,
) -> Result<(), LayerError> {
    let Unpacking {
        store,
        staging,
        progress,
    } = *unpacking;
    let name = wanted.diff_id.hex();
    let (root, index) = staging.begin(name).map_err(LayerError::Prepare)?;
    let digest = &wanted.layer.digest;
    let observe = |done| progress.event(Event::LayerBytes { digest, done });
    let compressed = VerifyingReader::new(reader, digest.algorithm(), wanted.layer.size, &observe);
    let applied = stream(compressed, wanted, (&root, index))?;
    store.commit_layer(lock, staging, name, &applied)?;
    Ok(())
}

/// Reads the layer to its very end, applying it on the way, and compares both digests.
fn stream(
    compressed: VerifyingReader<'_, impl BufRead>,
    wanted: &Wanted,
    (root, index): (&Dir, IndexWriter<'_>),
) -> Result<Applied, LayerError> {
    let decompressed = decompress(compressed)?;
    let mut plain = HashingReader::new(decompressed, wanted.diff_id.algorithm());
    let applied = apply(&mut plain, root.as_fd(), index).and_then(|(applied, rest)| {
        // What stands behind the end of the archive is part of both digests.
        drain(rest).map_err(archive::Error::Read)?;
        Ok(applied)
    });
    let (diff_id, decompressed) = plain.finish();
    let received = decompressed
        .into_inner()
        .drain()
        .map_err(archive::Error::Read)?;
    // Wrong bytes break an archive in any way: that they are wrong is what to say then.
    verify_received(wanted, received)?;
    let applied = applied?;
    if diff_id != wanted.diff_id {
        return Err(LayerError::DiffId {
            expected: wanted.diff_id.clone(),
            actual: diff_id,
        });
    }
    Ok(applied)
}

fn drain(reader: &mut dyn Read) -> io::Result<u64> {
    io::copy(reader, &mut io::sink())
}

fn verify_received(wanted: &Wanted, (digest, size): (Digest, u64)) -> Result<(), LayerError> {
    if size != wanted.layer.size {
        return Err(LayerError::Size {
            declared: wanted.layer.size,
            actual: size,
        });
    }
    if digest != wanted.layer.digest {
        return Err(LayerError::Digest {
            expected: wanted.layer.digest.clone(),
            actual: digest,
        });
    }
    Ok(())
}
