//! Containers whose supervisor was killed while they stood still.
//!
//! The kernel sends pid 1 the signal to die along, but in version 1 of cgroups who is frozen does
//! not die: it keeps the container's lock, and would for ever.

use std::os::fd::AsFd;
use std::time::Duration;

use ucr_sys::{process, ready};

use super::Record;
use crate::cgroup::{freezer, processes};

/// How long the end of a pid 1 is waited for; the next sweep comes by too.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets the container of `record` die if its supervisor is dead; whether it did.
pub(super) fn let_die(record: &Record) -> bool {
    let Some(pid) = record.pid else {
        return false;
    };
    let Ok(Some(pidfd)) = process::open(pid) else {
        return false;
    };
    // Looked at after the number was held on to.
    if !is_orphan(record, pid) || freezer::thaw(&record.cgroups).is_err() {
        return false;
    }
    ready::is_readable_within(pidfd.as_fd(), Some(PATIENCE)).unwrap_or(false)
}

/// Whether process `pid` is in this container's cgroups, as its pid 1, and somebody else's child by
/// now: a supervisor has its pid 1 as its child as long as it lives.
fn is_orphan(record: &Record, pid: i32) -> bool {
    let mut made = record.made.iter();
    let is_ours = made.any(|made| processes::listed(&made.path).contains(&pid));
    is_ours && process::parent_of(pid).is_some_and(|parent| parent != record.supervisor)
}
