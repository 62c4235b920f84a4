//! The files of cgroup version 1, Documentation/admin-guide/cgroup-v1.

use std::path::{Path, PathBuf};

use crate::cgroup::limits::{Error, Limits};
use crate::cgroup::{IfMissing, Write};

/// The writes for the limits that the controllers of one hierarchy apply.
pub(super) fn writes(
    controllers: &[String],
    base: &Path,
    limits: &Limits,
) -> Result<Vec<Write>, Error> {
    let mut writes = Writes(Vec::new());
    for controller in controllers {
        match controller.as_str() {
            "memory" => memory(&mut writes, base, limits)?,
            "cpu" => cpu(&mut writes, limits),
            "pids" => writes.add("pids", "pids.max", limits.pids.map(pids_max)),
            "devices" => devices(&mut writes, limits),
            _ => {}
        }
    }
    Ok(writes.0)
}

fn memory(writes: &mut Writes, base: &Path, limits: &Limits) -> Result<(), Error> {
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    writes.add("memory", "memory.limit_in_bytes", limits.memory);
    let counted = base.join(SWAP).exists();
    if !counted && limits.memory_and_swap.is_some() {
        return Err(Error::NoSwapAccounting(SWAP.into()));
    }
    // After the memory limit: the kernel refuses one above the other.
    writes.add("memory", SWAP, limits.swap_or_default().filter(|_| counted));
    writes.add("memory", "memory.soft_limit_in_bytes", limits.reservation);
    Ok(())
}

fn cpu(writes: &mut Writes, limits: &Limits) {
    writes.add("cpu", "cpu.shares", limits.cpu_shares);
    // The period first: a quota is checked against it.
    writes.add("cpu", "cpu.cfs_period_us", limits.cpu_period);
    writes.add("cpu", "cpu.cfs_quota_us", limits.cpu_quota);
}

fn devices(writes: &mut Writes, limits: &Limits) {
    for rule in &limits.devices {
        let file = if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        for line in rule.lines() {
            writes.add("devices", file, Some(line));
        }
    }
}

/// The value of `pids.max`, the same in both versions.
pub(super) fn pids_max(limit: i64) -> String {
    if limit > 0 {
        limit.to_string()
    } else {
        "max".into()
    }
}

/// A list of writes that leaves out what was not asked for.
pub(super) struct Writes(pub(super) Vec<Write>);

impl Writes {
    pub(super) fn add(&mut self, controller: &str, file: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let file = PathBuf::from(file);
            self.0.push(Write {
                controller: controller.into(),
                file,
                value: value.to_string(),
                if_missing: IfMissing::Fail,
            });
        }
    }
}
