//! Durations and sizes as Mesos writes them (`stout/duration.hpp`, `stout/bytes.hpp`).

use std::time::Duration;

/// Units of time, in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("secs", 1e9),
    ("mins", 60e9),
    ("hrs", 3_600e9),
    ("days", 86_400e9),
    ("weeks", 604_800e9),
];

/// The longest duration that Mesos has: nanoseconds in 63 bits.
const LONGEST: f64 = 9.2e18;

/// A duration: a number, which may have a fraction, and a unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let nanoseconds = number.parse::<f64>().ok()? * nanoseconds;
    let is_in_range = (0.0..=LONGEST).contains(&nanoseconds);
    is_in_range.then(|| Duration::from_secs_f64(nanoseconds / 1e9))
}

/// A number of bytes: a whole number and a unit.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let units = ["B", "KB", "MB", "GB", "TB"];
    let power = units.iter().position(|name| *name == unit)?;
    let shift = u32::try_from(power * 10).ok()?;
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let is_number = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_number.then_some((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [
            ("10mins", 600_000),
            ("1.5mins", 90_000),
            ("0secs", 0),
            ("250ms", 250),
            ("2weeks", 1_209_600_000),
            ("1hrs", 3_600_000),
            ("1days", 86_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "10",
            "mins",
            "10 mins",
            "-1secs",
            "1e9secs",
            "1min",
            "10minutes",
            "infsecs",
            "99999999999weeks",
            "1..5secs",
            "NaNsecs",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, size) in [
            ("0B", 0),
            ("3KB", 3072),
            ("64MB", 64 << 20),
            ("2GB", 2 << 30),
            ("1TB", 1 << 40),
        ] {
            assert_eq!(bytes(text), Some(size));
        }
        for text in [
            "",
            "2",
            "GB",
            "1.5GB",
            "-1B",
            "2gb",
            "2GiB",
            "99999999999TB",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
