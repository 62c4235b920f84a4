//! Signals as people name them.

/// Those of signal(7) that have the same number on x86-64 and arm64.
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
/// The first real-time signal that libc leaves to programs, and the last.
const REAL_TIME: (i32, i32) = (34, 64);

/// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3` or `RTMAX-1`.
///
/// # Errors
/// A sentence for who typed it.
pub(crate) fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES.iter().find(|(known, _)| *known == name);
    let (first, last) = REAL_TIME;
    let counted = |prefix: &str, from: i32, sign: i32| {
        let number: i32 = name.strip_prefix(prefix)?.parse().ok()?;
        from.checked_add(sign * number)
            .filter(|number| (first..=last).contains(number))
    };
    let number = || {
        text.parse()
            .ok()
            .filter(|number| (1..=last).contains(number))
    };
    known
        .map(|(_, number)| *number)
        .or_else(|| (name == "RTMAX").then_some(last))
        .or_else(|| counted("RTMIN+", first, 1))
        .or_else(|| counted("RTMAX-", last, -1))
        .or_else(number)
        .ok_or_else(|| format!("\"{text}\" is no signal, such as TERM or 15"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("RTMAX", 64),
            ("64", 64),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in [
            "",
            "0",
            "65",
            "-1",
            "SIG",
            "TERMINATE",
            "RTMIN+31",
            "RTMAX-40",
            "RTMIN+",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
