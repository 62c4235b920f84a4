//! Sizes, times and strangers' names as people read them.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes with three digits and a unit, as Docker shows them: `7.38MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut whole = bytes;
    let mut hundredths = 0;
    let mut unit = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        hundredths = whole % 1000 / 10;
        whole /= 1000;
        unit += 1;
    }
    let unit = UNITS[unit];
    match (whole, hundredths) {
        (_, _) if unit == "B" => format!("{whole}{unit}"),
        (0..10, _) => format!("{whole}.{hundredths:02}{unit}"),
        (10..100, _) => format!("{whole}.{}{unit}", hundredths / 10),
        _ => format!("{whole}{unit}"),
    }
}

/// How long ago something was, in its largest unit.
pub(crate) fn ago(time: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..63_072_000 => (seconds / 604_800, "week"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// A time in UTC: `2026-11-23T01:27:31Z`.
pub(crate) fn time(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0);
    // A year of more digits than four is no time of ours.
    let shown = whole.ok().and_then(|time| time.format(&Rfc3339).ok());
    shown.unwrap_or_default()
}

/// A path of an image, fit for a terminal.
pub fn path(path: &[u8]) -> String {
    format!("/{}", path.escape_ascii())
}

/// Text of strangers, fit for a terminal and a table.
pub fn text(text: &str) -> String {
    let escaped = |c: char| {
        let control = c.is_control().then(|| c.escape_default());
        let plain = control.is_none().then_some(c);
        control.into_iter().flatten().chain(plain)
    };
    text.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (7_384_000, "7.38MB"),
            (73_840_000, "73.8MB"),
            (738_400_000, "738MB"),
            (1_790_000_000, "1.79GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn s18_nobody_elses_words_act_on_the_terminal() {
        assert_eq!(
            text("a \"b\"\u{1b}]0;\u{7}\n"),
            "a \"b\"\\u{1b}]0;\\u{7}\\n"
        );
        assert_eq!(path(b"usr/\x1bx"), "/usr/\\x1bx");
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_397_251);
        for (seconds, expected) in [
            (1, "1 second ago"),
            (119, "1 minute ago"),
            (7200, "2 hours ago"),
            (13 * 86_400, "13 days ago"),
            (15 * 86_400, "2 weeks ago"),
        ] {
            assert_eq!(ago(now - Duration::from_secs(seconds), now), expected);
        }
        assert_eq!(ago(now, now - Duration::from_secs(9)), "0 seconds ago");
    }
}
