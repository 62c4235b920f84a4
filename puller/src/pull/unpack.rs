//! One layer, from a pipe of compressed bytes to a verified tree in the store.

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;

use ucr_sys::{Dir, at};

use super::error::LayerError;
use super::layers::Wanted;
use crate::archive::{self, Applied, apply, decompress};
use crate::budget::{LayerMeter, Meter, Metered};
use crate::digest::{HashingReader, VerifyingReader};
use crate::store::{LayerLock, Staging, Store};
use crate::{Digest, Event, Progress};

/// What every worker needs.
#[derive(Clone, Copy)]
pub(super) struct Unpacking<'a> {
    pub(super) store: &'a Store,
    pub(super) staging: &'a Staging,
    pub(super) progress: &'a dyn Progress,
    pub(super) meter: &'a Meter<'a>,
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
        meter,
    } = *unpacking;
    let name = wanted.diff_id.hex();
    let root = prepare(staging, name).map_err(LayerError::Prepare)?;
    let digest = &wanted.layer.digest;
    let meter = meter.layer();
    let observe = |done| {
        meter.fetched(done);
        progress.event(Event::LayerBytes { digest, done });
    };
    let compressed = VerifyingReader::new(reader, digest.algorithm(), wanted.layer.size, &observe);
    let applied = stream(compressed, wanted, &root, &meter)?;
    store.commit_layer(lock, staging, name, &applied)?;
    meter.keep();
    Ok(())
}

fn prepare(staging: &Staging, name: &str) -> Result<Dir, ucr_sys::Error> {
    let root = staging.dir().create_dir(name)?.create_dir("fs")?;
    at::set_mode_fd(root.as_fd(), 0o755)?;
    Ok(root)
}

/// Reads the layer to its very end, applying it on the way, and compares both digests.
///
/// One that turns into too much is left where it stands: whoever sent it would have us read on.
fn stream(
    compressed: VerifyingReader<'_, impl BufRead>,
    wanted: &Wanted,
    root: &Dir,
    meter: &LayerMeter<'_>,
) -> Result<Applied, LayerError> {
    let decompressed = decompress(compressed)?;
    let metered = Metered::new(decompressed, meter);
    let mut plain = HashingReader::new(metered, wanted.diff_id.algorithm());
    let counted = || meter.entry();
    let applied = apply(&mut plain, root.as_fd(), &counted).and_then(|(applied, rest)| {
        // What stands behind the end of the archive is part of both digests.
        drain(rest).map_err(archive::Error::Read)?;
        Ok(applied)
    });
    if let Some(exceeded) = meter.exceeded() {
        return Err(exceeded.into());
    }
    let (diff_id, metered) = plain.finish();
    let received = metered
        .into_inner()
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
