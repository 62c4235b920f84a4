//! Rules on raw tar headers that keep all readers of an archive in agreement.
//!
//! The parser (`tar-core`) resolves an entry; what it lets pass, and other
//! readers take differently, is refused here: numbers that wrap, PAX records
//! cut short, a name said twice (CVE-2025-62518 "TARmageddon", RUSTSEC-2026-0066
//! and their family).

use ucr_sys::at::FileTime;

use super::error::Error;

/// Bytes in a tar block.
pub(super) const BLOCK: usize = 512;

/// What the raw headers of one entry say beyond what the parser reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The modification time of a PAX record, with its sign and fraction.
    pub(super) pax_time: Option<FileTime>,
}

/// Checks the headers of one entry: extension headers with their content, then the entry's own.
///
/// `raw` is whole blocks that the parser has taken for one entry.
pub(super) fn check(raw: &[u8]) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    let mut names = 0;
    let mut links = 0;
    let mut rest = raw;
    while let Some((header, after)) = rest.split_first_chunk::<BLOCK>() {
        check_header(header)?;
        let kind = header[156];
        if !matches!(kind, b'x' | b'L' | b'K') {
            if !after.is_empty() || header.iter().all(|byte| *byte == 0) {
                // The parser skips zero blocks between an extension and its entry.
                return Err(Error::Strict("an extension apart from its entry"));
            }
            break;
        }
        let size = octal(&header[124..136]).ok_or(Error::Strict("an extension of odd size"))?;
        let content = after
            .get(..size)
            .ok_or(Error::Strict("an extension cut short"))?;
        match kind {
            b'L' => names += 1,
            b'K' => links += 1,
            _ => {
                for record in pax_records(content)? {
                    match record.0 {
                        b"path" => names += 1,
                        b"linkpath" => links += 1,
                        _ => {}
                    }
                    check_record(record, &mut facts)?;
                }
            }
        }
        rest = after
            .get(size.next_multiple_of(BLOCK)..)
            .unwrap_or_default();
    }
    if names > 1 || links > 1 {
        return Err(Error::Strict("one entry has two long names"));
    }
    Ok(facts)
}

/// Checks the blocks of a global header: one that stands alone.
///
/// The parser forgets the extensions before a global header, other readers do not.
pub(super) fn check_global(raw: &[u8]) -> Result<(), Error> {
    let header = raw.first_chunk::<BLOCK>();
    let header = header.ok_or(Error::Strict("an extension cut short"))?;
    if header[156] != b'g' {
        return Err(Error::Strict("an extension apart from its entry"));
    }
    check_header(header)
}

fn check_header(header: &[u8; BLOCK]) -> Result<(), Error> {
    let magic = &header[257..265];
    let is_ustar = magic == b"ustar\x0000";
    let is_gnu = magic == b"ustar  \0";
    if magic.starts_with(b"ustar") && !is_ustar && !is_gnu {
        return Err(Error::Strict("a header of no known version"));
    }
    if !is_ustar && !is_gnu && matches!(header[156], b'x' | b'g' | b'L' | b'K' | b'S') {
        return Err(Error::Strict("an extension in a header too old for one"));
    }
    for (field, what) in [
        (&header[108..116], "a user ID that wraps"),
        (&header[116..124], "a group ID that wraps"),
        (&header[124..136], "a size that wraps"),
    ] {
        let wraps = field[0] & 0x80 != 0
            && (field[0] != 0x80
                || field[1..field.len().saturating_sub(8).max(1)]
                    .iter()
                    .any(|b| *b != 0));
        if wraps {
            return Err(Error::Strict(what));
        }
    }
    Ok(())
}

/// A negative or very large time that only base-256 can say (GNU tar's extension).
pub(super) fn header_time(header: &[u8; BLOCK], octal_seconds: u64) -> FileTime {
    let field = &header[136..148];
    let mut low = [0; 8];
    low.copy_from_slice(&field[4..]);
    let seconds = match field[0] {
        0xff if field[..4] == [0xff; 4] => i64::from_be_bytes(low),
        _ => i64::try_from(octal_seconds).unwrap_or(i64::MAX),
    };
    FileTime {
        seconds,
        nanoseconds: 0,
    }
}

fn octal(field: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(field).ok()?;
    usize::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}

type Record<'a> = (&'a [u8], &'a [u8]);

/// Reads `<length> <key>=<value>\n` records, all of them or none (POSIX pax, "Extended Header").
fn pax_records(content: &[u8]) -> Result<Vec<Record<'_>>, Error> {
    const BROKEN: Error = Error::Strict("a broken PAX record");
    let mut records = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .take(20)
            .position(|byte| *byte == b' ')
            .ok_or(BROKEN)?;
        let length = decimal(&rest[..space])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or(BROKEN)?;
        let record = rest.get(space + 1..length).ok_or(BROKEN)?;
        let record = record.strip_suffix(b"\n").ok_or(BROKEN)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
        records.push((&record[..equals], &record[equals + 1..]));
        rest = &rest[length..];
    }
    Ok(records)
}

fn check_record((key, value): Record<'_>, facts: &mut Facts) -> Result<(), Error> {
    match key {
        b"path" | b"linkpath" if value.is_empty() || value.contains(&0) => {
            Err(Error::Strict("a PAX name that is empty or has a NUL in it"))
        }
        b"uid" | b"gid" | b"size" if decimal(value).is_none() => {
            Err(Error::Strict("a PAX number that is none"))
        }
        b"mtime" => {
            let time = pax_time(value).ok_or(Error::Strict("a PAX time that is none"))?;
            facts.pax_time = Some(time);
            Ok(())
        }
        _ if key.starts_with(b"GNU.sparse.") => Err(Error::Strict(
            "a sparse file, which no image builder writes",
        )),
        _ => Ok(()),
    }
}

/// Digits and nothing else: no sign, no space.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]seconds[.fraction]`, rounded down to nanoseconds; seconds beyond 64 bits are clamped.
fn pax_time(text: &[u8]) -> Option<FileTime> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let whole = parts
        .next()
        .filter(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = decimal(whole)
        .and_then(|n| i64::try_from(n).ok())
        .unwrap_or(i64::MAX);
    let nanoseconds = (0..9).fold(0, |sum, at| {
        sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'))
    });
    Some(match (negative, nanoseconds) {
        (false, _) => FileTime {
            seconds,
            nanoseconds,
        },
        (true, 0) => FileTime {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => FileTime {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Option<(i64, u32)> {
        pax_time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds))
    }

    #[test]
    fn l79_times_of_every_sign_and_fraction() {
        assert_eq!(time("0"), Some((0, 0)));
        assert_eq!(time("1234567890.5"), Some((1_234_567_890, 500_000_000)));
        assert_eq!(time("1.0000000019"), Some((1, 1)));
        assert_eq!(time("-5"), Some((-5, 0)));
        assert_eq!(time("-5.25"), Some((-6, 750_000_000)));
        assert_eq!(time("1000000000000000000000"), Some((i64::MAX, 0)));
        for none in ["", "NaN", "inf", "+1", "1e9", ".5", "1.x", "--1"] {
            assert_eq!(time(none), None, "{none}");
        }
    }

    #[test]
    fn l89_a_malformed_pax_record_is_refused_and_not_skipped() {
        assert_eq!(pax_records(b"").unwrap().len(), 0);
        assert_eq!(pax_records(b"11 path=ab\n6 a=b\n").unwrap().len(), 2);
        for broken in [
            &b"12 path=ab\n"[..],
            b"10 path=ab\n",
            b"11 path=ab ",
            b"8 pathab\n",
            b"0 path=ab\n",
            b"+11 path=a\n",
            b"path=ab\n",
            b"11 path=ab\n\0\0\0",
            b"99999999999999999999999 a=b\n",
        ] {
            assert!(pax_records(broken).is_err(), "{}", broken.escape_ascii());
        }
    }

    #[test]
    fn l74_pax_numbers_have_digits_only() {
        for value in [
            &b"-1"[..],
            b"+5",
            b"",
            b" 5",
            b"0x5",
            b"18446744073709551616",
        ] {
            assert!(check_record((b"uid", value), &mut Facts::default()).is_err());
        }
    }

    #[test]
    fn l74_l95_base_256_numbers_that_wrap_are_refused() {
        let mut header = [0_u8; BLOCK];
        header[257..265].copy_from_slice(b"ustar  \0");
        assert!(check_header(&header).is_ok());
        for (at, bytes) in [
            (108, &[0xff; 8][..]),
            (116, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..]),
            (124, &[0xff; 12][..]),
            (124, &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..]),
        ] {
            let mut wrapping = header;
            wrapping[at..at + bytes.len()].copy_from_slice(bytes);
            assert!(check_header(&wrapping).is_err(), "{at}");
        }
    }
}
