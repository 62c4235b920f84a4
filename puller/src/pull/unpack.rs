//! One layer, from its compressed bytes to a verified tree in the store.

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;

use super::ahead;
use super::error::LayerError;
use super::layers::Wanted;
use crate::archive::{self, apply, decompress_in};
use crate::budget::{LayerMeter, Meter, Metered};
use crate::digest::{Algorithm, HashingReader, VerifyingReader};
use crate::store::{LayerLock, Staging, Store};
use crate::turns::Turn;
use crate::{Digest, Event, Progress};

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

/// Unpacks, verifies and commits the layer that comes through `reader`.
pub(super) fn unpack(
    unpacking: &Unpacking<'_>,
    lock: &LayerLock,
    wanted: &Wanted,
    reader: impl BufRead + Send,
) -> Result<(), LayerError> {
    let Unpacking { store, staging, .. } = *unpacking;
    let name = wanted.diff_id.hex();
    let (root, index) = staging.begin(name).map_err(LayerError::Prepare)?;
    let meter = unpacking.meter.layer();
    let counted = || meter.entry();
    let applied = verified((unpacking, &meter), wanted, reader, |plain| {
        let (applied, rest) = apply(plain, root.as_fd(), index, &counted)?;
        // What stands behind the end of the archive is part of both digests.
        drain(rest).map_err(archive::Error::Read)?;
        Ok(applied)
    })?;
    store.commit_layer(lock, staging, name, &applied)?;
    meter.keep();
    Ok(())
}

/// Verifies the layer that comes through `reader`, and keeps nothing of it.
pub(super) fn prove(
    unpacking: &Unpacking<'_>,
    wanted: &Wanted,
    reader: impl BufRead + Send,
) -> Result<(), LayerError> {
    let meter = unpacking.meter.layer();
    verified((unpacking, &meter), wanted, reader, |plain| {
        drain(plain).map_err(archive::Error::Read).map(drop)
    })
}

/// Has `take` read the plain bytes of a layer to their very end, and compares both digests.
///
/// One that turns into too much is left where it stands: whoever sent it would have us read on.
fn verified<T>(
    (unpacking, meter): (&Unpacking<'_>, &LayerMeter<'_>),
    wanted: &Wanted,
    reader: impl BufRead + Send,
    take: impl FnOnce(&mut dyn Read) -> Result<T, archive::Error>,
) -> Result<T, LayerError> {
    let (progress, digest) = (unpacking.progress, &wanted.layer.digest);
    let observe = |done| {
        meter.fetched(done);
        progress.event(Event::LayerBytes { digest, done });
    };
    let compressed = VerifyingReader::new(reader, digest.algorithm(), wanted.layer.size, &observe);
    let decompressed = decompress_in(unpacking.turn.clone(), compressed)?;
    let algorithm = wanted.diff_id.algorithm();
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
    verify_received(wanted, received)?;
    let taken = taken?;
    if diff_id != wanted.diff_id {
        return Err(LayerError::DiffId {
            expected: wanted.diff_id.clone(),
            actual: diff_id,
        });
    }
    Ok(taken)
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
