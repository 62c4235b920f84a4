//! Ports by which services are known in a cluster.

use std::collections::BTreeSet;

/// What Marathon gives out where a port is 0 (`--local_port_min`, `--local_port_max`).
pub const SERVICE_PORTS: (u16, u16) = (10_000, 20_000);

/// Draws one of the ports of `range` that are not taken, each as likely as any other.
///
/// `random` is where the chance comes from; none is left when all are taken.
pub fn service_port(range: (u16, u16), taken: &BTreeSet<u16>, random: u64) -> Option<u16> {
    let (first, last) = range;
    let free: Vec<u16> = (first..=last)
        .filter(|port| !taken.contains(port))
        .collect();
    let count = u64::try_from(free.len()).ok()?;
    let index = random.checked_rem(count)?;
    free.get(usize::try_from(index).ok()?).copied()
}

/// Ranges in order and apart: those that overlap or touch are one.
pub fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_drawn_of_those_that_are_free() {
        let none = BTreeSet::new();
        assert_eq!(service_port(SERVICE_PORTS, &none, 0), Some(10_000));
        assert_eq!(service_port(SERVICE_PORTS, &none, 10_000), Some(20_000));
        assert_eq!(service_port(SERVICE_PORTS, &none, 10_001), Some(10_000));
        let mut taken = BTreeSet::from([10_000, 10_001]);
        assert_eq!(service_port(SERVICE_PORTS, &taken, 0), Some(10_002));
        assert!((0..100_000).all(|random| {
            let port = service_port((10, 12), &BTreeSet::from([11]), random);
            matches!(port, Some(10 | 12))
        }));
        taken.extend(10_000..=20_000);
        assert_eq!(service_port(SERVICE_PORTS, &taken, 7), None);
        assert_eq!(service_port((2, 1), &none, 7), None);
    }

    #[test]
    fn drawn_one_after_the_other_none_is_there_twice() {
        let mut taken = BTreeSet::new();
        for random in 0..11 {
            let port = service_port((1, 10), &taken, random * 7);
            assert_eq!(port.is_some(), random < 10);
            assert!(port.is_none_or(|port| taken.insert(port)));
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(
            merged(vec![(5, 9), (1, 4), (8, 12), (20, 30), (21, 22)]),
            [(1, 12), (20, 30)]
        );
        assert_eq!(merged(vec![(65_535, 65_535), (1, 65_535)]), [(1, 65_535)]);
    }
}
