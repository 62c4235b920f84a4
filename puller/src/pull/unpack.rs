//! One layer, from its compressed bytes to a verified tree in the store.

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;

use ucr_images::archive::{self, Applied, apply, decompress_in};
use ucr_images::image::Layer;
use ucr_images::store::{LayerLock, Staging, Store};
use ucr_images::turns::Turn;
use ucr_images::{Algorithm, Digest, HashingReader, VerifyingReader};

use super::ahead;
use super::error::LayerError;
use crate::budget::{LayerMeter, Meter, Metered};
use crate::{Event, Progress};

/// What every worker needs.
pub(super) struct Unpacking<'a> {
    pub(super) store: &'a Store,
    pub(super) staging: &'a Staging,
    pub(super) progress: &'a dyn Progress,
    pub(super) meter: &'a Meter<'a>,
    pub(super) threads: Threads,
    /// The turn in which the layer is read, if in any.
    pub(super) turn: Option<Turn>,
}

/// How many threads work on one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// One: there are other layers for the other processors.
    One,
    /// One to decompress, and one to hash and write what comes of it.
    Two,
}

impl Threads {
    /// Two for a layer of `size` bytes that would keep one of the processors at work when the
    /// others have done all the rest of `all` bytes.
    pub(super) fn of(size: u64, all: u64, processors: usize) -> Self {
        let processors = u64::try_from(processors).unwrap_or(u64::MAX);
        match size.saturating_mul(processors) > all {
            true => Self::Two,
            false => Self::One,
        }
    }
}

/// A layer that stands unpacked in staging, and of which nobody knew before what it would be.
#[derive(Debug)]
pub(super) struct Learnt {
    pub(super) diff_id: Digest,
    pub(super) applied: Applied,
}

/// Unpacks, verifies and commits the layer that comes through `reader`.
pub(super) fn unpack(
    unpacking: &Unpacking<'_>,
    lock: &LayerLock,
    layer: &Layer,
    reader: impl BufRead + Send,
) -> Result<(), LayerError> {
    let (expected, name) = (lock.diff_id(), lock.diff_id().hex());
    let meter = unpacking.meter.layer();
    let as_wanted = (layer, expected.algorithm());
    let learnt = into_staging((unpacking, &meter), name, as_wanted, reader)?;
    compare(expected, learnt.diff_id)?;
    // What is left is the disk's.
    if let Some(turn) = &unpacking.turn {
        turn.give_back();
    }
    let Unpacking { store, staging, .. } = *unpacking;
    store.commit_layer(lock, staging, name, &learnt.applied)?;
    meter.keep();
    Ok(())
}

/// Unpacks the layer that comes through `reader` into staging, by the name of its blob, verifies
/// that it is that blob, and finds out its diff ID.
pub(super) fn learn(
    unpacking: &Unpacking<'_>,
    layer: &Layer,
    reader: impl BufRead + Send,
) -> Result<Learnt, LayerError> {
    let meter = unpacking.meter.layer();
    let name = layer.digest.hex();
    let as_wanted = (layer, Algorithm::Sha256);
    let learnt = into_staging((unpacking, &meter), name, as_wanted, reader)?;
    meter.keep();
    Ok(learnt)
}

/// Unpacks a layer into staging and verifies what came, not yet what it turned out to be.
fn into_staging(
    (unpacking, meter): (&Unpacking<'_>, &LayerMeter<'_>),
    name: &str,
    as_wanted: (&Layer, Algorithm),
    reader: impl BufRead + Send,
) -> Result<Learnt, LayerError> {
    let begun = unpacking.staging.begin(name);
    let (root, index) = begun.map_err(LayerError::Prepare)?;
    let counted = || meter.entry();
    let (applied, diff_id) = verified((unpacking, meter), as_wanted, reader, |plain| {
        let (applied, rest) = apply(plain, root.as_fd(), index, &counted)?;
        // What stands behind the end of the archive is part of both digests.
        drain(rest).map_err(archive::Error::Read)?;
        Ok(applied)
    })?;
    Ok(Learnt { diff_id, applied })
}

/// Verifies the layer that comes through `reader`, and keeps nothing of it.
pub(super) fn prove(
    unpacking: &Unpacking<'_>,
    (layer, expected): (&Layer, &Digest),
    reader: impl BufRead + Send,
) -> Result<(), LayerError> {
    let meter = unpacking.meter.layer();
    let as_wanted = (layer, expected.algorithm());
    let (_, diff_id) = verified((unpacking, &meter), as_wanted, reader, |plain| {
        drain(plain).map_err(archive::Error::Read)
    })?;
    compare(expected, diff_id)
}

/// Has `take` read the plain bytes of a layer to their very end, verifies the blob, and gives the
/// digest of what was in it.
///
/// One that turns into too much is left where it stands: whoever sent it would have us read on.
fn verified<T>(
    (unpacking, meter): (&Unpacking<'_>, &LayerMeter<'_>),
    (layer, algorithm): (&Layer, Algorithm),
    reader: impl BufRead + Send,
    take: impl FnOnce(&mut dyn Read) -> Result<T, archive::Error>,
) -> Result<(T, Digest), LayerError> {
    let (progress, digest) = (unpacking.progress, &layer.digest);
    let observe = |done| {
        meter.fetched(done);
        progress.event(Event::LayerBytes { digest, done });
    };
    let compressed = VerifyingReader::new(reader, digest.algorithm(), layer.size, &observe);
    let decompressed = decompress_in(unpacking.turn.clone(), compressed)?;
    let ((taken, diff_id), decompressed) = match unpacking.threads {
        Threads::One => {
            let mut decompressed = decompressed;
            let plain = Metered::new(&mut decompressed, meter);
            (hashed(plain, algorithm, take), decompressed)
        }
        Threads::Two => ahead::of(decompressed, |plain| {
            hashed(Metered::new(plain, meter), algorithm, take)
        }),
    };
    if let Some(exceeded) = meter.exceeded() {
        return Err(exceeded.into());
    }
    let received = decompressed
        .into_inner()
        .drain()
        .map_err(archive::Error::Read)?;
    // Wrong bytes break an archive in any way: that they are wrong is what to say then.
    verify_received(layer, received)?;
    Ok((taken?, diff_id))
}

fn compare(expected: &Digest, actual: Digest) -> Result<(), LayerError> {
    if actual == *expected {
        return Ok(());
    }
    let expected = expected.clone();
    Err(LayerError::DiffId { expected, actual })
}

/// What `take` makes of what it reads, and the digest of that.
fn hashed<T>(
    plain: impl Read,
    algorithm: Algorithm,
    take: impl FnOnce(&mut dyn Read) -> T,
) -> (T, Digest) {
    let mut plain = HashingReader::new(plain, algorithm);
    let taken = take(&mut plain);
    (taken, plain.finish().0)
}

fn drain(reader: &mut dyn Read) -> io::Result<u64> {
    io::copy(reader, &mut io::sink())
}

fn verify_received(layer: &Layer, (digest, size): (Digest, u64)) -> Result<(), LayerError> {
    if size != layer.size {
        return Err(LayerError::Size {
            declared: layer.size,
            actual: size,
        });
    }
    if digest != layer.digest {
        return Err(LayerError::Digest {
            expected: layer.digest.clone(),
            actual: digest,
        });
    }
    Ok(())
}
