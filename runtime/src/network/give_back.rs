//! The end of a connection, by whoever had it, or by who comes next.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use ucr_sys::mount;
use ucr_sys::process::{self, SingleThreaded};

use super::record::{Folder, Held, Record};
use super::{Error, rules};
use crate::id::ContainerId;

/// Gives back what those have who were killed; nothing else.
///
/// # Errors
///
/// What could not be given back stays written down, for the next one to try.
pub fn sweep(state_root: &Path) -> Result<(), Error> {
    let Some(folder) = Folder::existing(state_root)? else {
        return Ok(());
    };
    let looking = folder.lock()?;
    let mut dead = Vec::new();
    for (name, _) in folder.all()? {
        dead.extend(looking.inherit(&name)?);
    }
    drop(looking);
    let dead: Vec<_> = dead.iter().map(|(held, record)| (held, record)).collect();
    all(&dead)
}

/// Gives back what `held` has, and returns when that is done.
pub(super) fn now(held: &Held, record: &Record) -> Result<(), Error> {
    all(&[(held, record)])
}

/// Gives several back, the rules of each bridge in one transaction.
fn all(ended: &[(&Held, &Record)]) -> Result<(), Error> {
    let mut by_bridge: BTreeMap<&str, Vec<rules::Rule>> = BTreeMap::new();
    for (_, record) in ended {
        if let Some(place) = &record.place {
            let rules = by_bridge.entry(&place.bridge).or_default();
            rules.extend(&record.rules);
        }
    }
    for (bridge, rules) in by_bridge {
        rules::take_away(bridge, &rules)?;
    }
    let mut failed = None;
    for (held, record) in ended {
        let removed = detach(record).and_then(|()| held.remove());
        failed = failed.or(removed.err());
    }
    failed.map_or(Ok(()), Err)
}

/// Takes networks of plugins away, and then the namespace's path, which they need for it.
fn detach(record: &Record) -> Result<(), Error> {
    for attachment in record.attachments.iter().rev() {
        let network = attachment.network.to_string();
        attachment
            .remove()
            .map_err(|error| Error::Cni(network, error))?;
    }
    let Some(path) = &record.namespace else {
        return Ok(());
    };
    let failed = |error| Error::Bind(path.clone(), error);
    mount::detach(path).map_err(failed)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let path = path.display().to_string();
            Err(failed(ucr_sys::Error::from_io("unlink", path, &error)))
        }
        _ => Ok(()),
    }
}

/// Gives back what `held` has, by a process of its own where that takes time; that one begins when
/// this one ends or becomes another program.
pub(super) fn end(held: Held, proof: &SingleThreaded) -> Result<(), Error> {
    let Some(mut record) = held.read()? else {
        return Ok(());
    };
    if record.is_light() {
        return held.remove();
    }
    record.is_ending = true;
    held.write(&record)?;
    let work = || {
        // Nobody is left to be told; what stays is written down for who comes next.
        drop(now(&held, &record));
    };
    process::spawn_detached(proof, &[held.lock()], work).map_err(Error::Detach)
}

/// The same for the connection `id`, by the lock that another program took.
pub(crate) fn end_of(
    (state_root, id): (&Path, &ContainerId),
    lock: OwnedFd,
    proof: &SingleThreaded,
) -> Result<(), Error> {
    end(Held::adopt(state_root, id, lock), proof)
}
