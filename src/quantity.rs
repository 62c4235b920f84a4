//! Sizes and fractions as people write them on Docker's command line.

/// Reads `64m`, `1.5g`, `512k`, `1024` (bytes), with an optional `b` behind the unit.
pub fn bytes(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let number = number.strip_suffix('i').unwrap_or(number);
    let (number, shift) = match number.chars().last() {
        Some('k') => (&number[..number.len() - 1], 10),
        Some('m') => (&number[..number.len() - 1], 20),
        Some('g') => (&number[..number.len() - 1], 30),
        Some('t') => (&number[..number.len() - 1], 40),
        _ => (number, 0),
    };
    scaled(number, 1_u64 << shift)
        .ok_or_else(|| format!("\"{text}\" is not a size like 64m, 1.5g or 1048576"))
}

/// Reads a number of CPUs such as `0.5` or `2`, as microseconds of a period of 100 ms.
pub(crate) fn cpu_quota(text: &str) -> Result<i64, String> {
    let quota = scaled(text.trim(), 100_000);
    quota
        // The kernel refuses a quota below one millisecond.
        .filter(|quota| *quota >= 1000)
        .ok_or_else(|| format!("\"{text}\" is not a number of CPUs like 0.5 or 2 (at least 0.01)"))
}

/// Reads yes or no in any of the words that Docker takes, those of Go's `strconv.ParseBool`.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("\"{text}\" is neither true nor false")),
    }
}

/// The same for what cannot be switched off.
pub(crate) fn switched_on(text: &str) -> Result<bool, String> {
    match switch(text)? {
        true => Ok(true),
        false => Err("it cannot be switched off".to_owned()),
    }
}

/// Reads a whole number.
pub(crate) fn whole(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_no_number| format!("\"{text}\" is not a whole number"))
}

/// Reads seconds, with or without the unit that any span of time may have.
pub(crate) fn seconds_or_time(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let read = if is_number {
        text.parse().ok()
    } else {
        seconds(text).ok().and_then(|span| u64::try_from(span).ok())
    };
    read.ok_or_else(|| format!("\"{text}\" is neither seconds nor a time like 90s or 5m"))
}

/// As good as for ever, in seconds: a century.
const CENTURY: u64 = 3_155_760_000;

/// Reads seconds as [`seconds_or_time`] does, and -1 for ever.
pub(crate) fn seconds_or_ever(text: &str) -> Result<u64, String> {
    match text {
        "-1" => Ok(CENTURY),
        _ => seconds_or_time(text),
    }
}

/// Reads a span of time such as `30d`, `2w`, `12h`, `90m` or `45s`, as seconds.
pub fn seconds(text: &str) -> Result<i64, String> {
    let unit = match text.trim().chars().last() {
        Some('w') => 7 * 86_400,
        Some('d') => 86_400,
        Some('h') => 3600,
        Some('m') => 60,
        Some('s') => 1,
        _ => 0,
    };
    let number = text
        .trim()
        .strip_suffix(|last: char| last.is_ascii_alphabetic());
    number
        .filter(|_| unit != 0)
        .and_then(|number| scaled(number, unit))
        .ok_or_else(|| format!("\"{text}\" is not a time like 30d, 2w or 12h"))
}

/// Decimal digits with an optional fraction, times `unit`, rounded down.
fn scaled(text: &str, unit: u64) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(9)];
    let parts: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let denominator = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = u128::from(whole) * u128::from(unit) + parts * u128::from(unit) / denominator;
    i64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_every_unit() {
        for (text, expected) in [
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("512k", 512 << 10),
            ("1048576", 1 << 20),
            ("7b", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e3", "0x10", "99999999999t", "1..5"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_with_every_unit() {
        for (text, expected) in [
            ("30d", 30 * 86_400),
            ("2w", 14 * 86_400),
            ("1.5h", 5400),
            ("90m", 5400),
            ("0s", 0),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "d", "30", "-1d", "30x", "30 days", "99999999999999w"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_a_quota_of_a_tenth_of_a_second() {
        assert_eq!(cpu_quota("1"), Ok(100_000));
        assert_eq!(cpu_quota(".5"), Ok(50_000));
        assert_eq!(cpu_quota("1.25"), Ok(125_000));
        for text in ["0", "0.001", "-1", "NaN", "inf", ""] {
            assert!(cpu_quota(text).is_err(), "{text}");
        }
    }
}
