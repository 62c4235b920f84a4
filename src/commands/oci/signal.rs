//! Signals by name and number, signal(7).

use std::str::FromStr;

/// The numbers of x86-64 and arm64, which agree.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
];

/// The highest number of a signal.
const HIGHEST: i32 = 64;

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signal(pub(super) i32);

impl FromStr for Signal {
    type Err = String;

    /// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("\"{}\" is not a signal", text.escape_debug());
        if let Ok(number) = text.parse::<i32>() {
            return (1..=HIGHEST)
                .contains(&number)
                .then_some(Self(number))
                .ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let real_time = |rest: &str, sign: char| -> Option<i32> {
            match rest.strip_prefix(sign) {
                Some(digits) => digits.parse().ok().filter(|offset| *offset >= 0),
                None => rest.is_empty().then_some(0),
            }
        };
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            real_time(rest, '+').map(|offset: i32| offset.saturating_add(34))
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            real_time(rest, '-').map(|offset: i32| HIGHEST.saturating_sub(offset))
        } else {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            found.map(|(_, number)| *number)
        };
        number
            .filter(|number| (1..=HIGHEST).contains(number))
            .map(Self)
            .ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_kill_does() {
        let number = |text: &str| text.parse::<Signal>().map(|signal| signal.0);
        for (text, expected) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in [
            "", "0", "65", "-9", "NOPE", "RTMIN+31", "RTMIN-1", "RTMAX+1", "SIG",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
