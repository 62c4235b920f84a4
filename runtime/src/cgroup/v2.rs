//! The files of cgroup version 2, Documentation/admin-guide/cgroup-v2.rst.

use std::path::Path;

use crate::cgroup::Write;
use crate::cgroup::limits::Limits;
use crate::cgroup::v1::{Writes, pids_max};

/// The writes for the limits that `controllers` apply.
///
/// Device rules have no file here (they need a BPF program): every mount of a
/// container is `nodev`, which denies more than the rules would.
pub(super) fn writes(controllers: &[String], limits: &Limits) -> Vec<Write> {
    let mut writes = Writes(Vec::new());
    for controller in controllers {
        match controller.as_str() {
            "memory" => memory(&mut writes, limits),
            "cpu" => cpu(&mut writes, limits),
            "pids" => writes.add("pids", "pids.max", limits.pids.map(pids_max)),
            _ => {}
        }
    }
    writes.0
}

/// Hands `controllers` down from the root to the containers' cgroups.
pub(super) fn delegation(controllers: &[String], base: &Path, parent: &Path) -> Vec<Write> {
    if controllers.is_empty() {
        return Vec::new();
    }
    let value: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    let value = value.join(" ");
    [base, parent]
        .map(|directory| Write {
            controller: controllers.join(" "),
            file: directory.join("cgroup.subtree_control"),
            value: value.clone(),
            optional: false,
        })
        .into()
}

fn memory(writes: &mut Writes, limits: &Limits) {
    writes.add("memory", "memory.max", limits.memory.map(or_max));
    let swap = limits.swap_or_default().map(|both| match limits.memory {
        // Version 2 limits swap alone, the OCI spec both together.
        Some(memory) if both >= 0 && memory >= 0 => both - memory,
        _ => both,
    });
    if let Some(swap) = swap {
        // A kernel that counts no swap has no such file.
        writes.0.push(Write {
            controller: "memory".into(),
            file: "memory.swap.max".into(),
            value: or_max(swap),
            optional: limits.memory_and_swap.is_none(),
        });
    }
    writes.add("memory", "memory.low", limits.reservation.map(or_max));
}

fn cpu(writes: &mut Writes, limits: &Limits) {
    writes.add("cpu", "cpu.weight", limits.cpu_shares.map(weight));
    let quota = limits.cpu_quota.filter(|quota| *quota > 0);
    let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
    let asked = limits.cpu_quota.is_some() || limits.cpu_period.is_some();
    let period = limits.cpu_period.unwrap_or(100_000);
    writes.add("cpu", "cpu.max", asked.then(|| format!("{quota} {period}")));
}

/// Version 1 shares (2 to 262144) on the scale of version 2 (1 to 10000), linearly.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".into()
    } else {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_onto_the_whole_scale() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(0), 1);
    }
}
