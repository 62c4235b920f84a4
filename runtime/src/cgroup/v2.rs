//! The files of cgroup version 2, Documentation/admin-guide/cgroup-v2.rst.

use std::path::Path;

use crate::cgroup::limits::Limits;
use crate::cgroup::v1::{Writes, pids_max};
use crate::cgroup::{IfMissing, Write};

/// The writes for the limits that `controllers` apply.
///
/// Device rules have no file here: they are a program.
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

/// The controllers that version 2 needs for `limits`.
#[cfg(feature = "launch")]
pub(super) fn used(limits: &Limits) -> Vec<&str> {
    let every = limits
        .needed()
        .into_iter()
        .map(|(_, controller)| controller);
    let more = limits.more.iter();
    let more = more.filter_map(|limit| limit.needed_of_v2(&[]));
    every.chain(more).collect()
}

/// Hands `controllers` down from the root through every directory on the way to `parent`.
pub(super) fn delegation(controllers: &[String], base: &Path, parent: &Path) -> Vec<Write> {
    if controllers.is_empty() {
        return Vec::new();
    }
    let mut way: Vec<&Path> = parent
        .ancestors()
        .take_while(|directory| directory.starts_with(base))
        .collect();
    way.reverse();
    way.into_iter()
        .map(|directory| hand_down(controllers, directory))
        .collect()
}

fn hand_down(controllers: &[String], directory: &Path) -> Write {
    let value: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    Write {
        controller: controllers.join(" "),
        file: directory.join("cgroup.subtree_control"),
        value: value.join(" "),
        if_missing: IfMissing::Fail,
    }
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
            if_missing: match limits.memory_and_swap {
                None => IfMissing::Skip,
                Some(_) => IfMissing::Fail,
            },
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

/// Version 1 shares (2 to 262144) on the scale of version 2 (1 to 10000).
///
/// Through both ends and both defaults: log10 of the weight is the parabola of
/// log2 of the shares through (1, 0), (10, 2) and (18, 4), as in runc since 1.3.2
/// and crun since 1.23. A straight line gives 1024, the default of version 1, a
/// weight of 39 where those who ask for nothing have 100 (runc issue 4772).
fn weight(shares: u64) -> u64 {
    // At most 2^18: no digit is lost.
    let shares = u32::try_from(shares.clamp(2, 262_144)).unwrap_or(262_144);
    let log = f64::from(shares).log2();
    let weight = 10_f64.powf((log - 1.0) * (log + 126.0) / 612.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a whole number from 1 to 10000"
    )]
    let weight = weight.ceil() as u64;
    weight
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
        let weights = [0, 2, 3, 512, 1024, 2000, 262_143, 262_144, u64::MAX].map(weight);
        assert_eq!(weights, [1, 1, 2, 59, 100, 170, 10_000, 10_000, 10_000]);
    }
}
