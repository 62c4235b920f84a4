//! Ranges of ids, and where those are found that nobody has.

use std::fmt;
use std::path::Path;

use crate::command_error::CommandError;

/// The ids that are there: the last one means none, user_namespaces(7).
const IDS: u64 = u32::MAX as u64;
/// As many ranges as one namespace takes, user_namespaces(7).
const RANGES_MAX: usize = 340;
/// Whose ids in `/etc/subuid` and `/etc/subgid` are for containers, containers-storage.conf(5).
const USER: &str = "containers";
/// The ids that are for containers where the files say nothing: start and count. No distribution
/// and no service of systemd uses them (systemd, docs/UIDS-GIDS.md).
const USUAL: (u32, u32) = (0x7000_0000, 0x0ffe_0000);

/// Ids of a container, one after the other, and as many of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRange {
    pub(super) inside: u32,
    pub(super) outside: u32,
    pub(super) count: u32,
}

impl IdRange {
    /// Reads `CONTAINER:HOST[:SIZE]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<u32>> = text.split(':').map(number).collect();
        let (inside, outside, count) = match parts.as_deref() {
            Some(&[inside, outside]) => (inside, outside, 1),
            Some(&[inside, outside, count]) => (inside, outside, count),
            _ => {
                return Err(format!(
                    "\"{text}\" is not of the form CONTAINER:HOST[:SIZE]"
                ));
            }
        };
        let fits = |start: u32| u64::from(start) + u64::from(count) <= IDS;
        if count == 0 || !fits(inside) || !fits(outside) {
            return Err(format!("\"{text}\" is not a range of ids below {IDS}"));
        }
        Ok(Self {
            inside,
            outside,
            count,
        })
    }

    /// Start and count, outside.
    pub(super) fn outside(&self) -> (u32, u32) {
        (self.outside, self.count)
    }

    fn inside(&self) -> (u32, u32) {
        (self.inside, self.count)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

/// Digits alone: no sign, none of podman's flags.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The first id behind a range.
fn end((start, count): (u32, u32)) -> u64 {
    u64::from(start) + u64::from(count)
}

fn overlap(one: (u32, u32), other: (u32, u32)) -> bool {
    u64::from(one.0) < end(other) && u64::from(other.0) < end(one)
}

/// The users, or groups, of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(Vec<IdRange>);

impl Ranges {
    /// Checks what the kernel would refuse without a word, and that there is a root.
    pub(crate) fn new(option: &str, ranges: Vec<IdRange>) -> Result<Self, String> {
        if ranges.len() > RANGES_MAX {
            return Err(format!("{option} has more than {RANGES_MAX} ranges"));
        }
        for (number, one) in ranges.iter().enumerate() {
            let clashes = |other: &&IdRange| {
                overlap(one.inside(), other.inside()) || overlap(one.outside(), other.outside())
            };
            if let Some(other) = ranges.iter().take(number).find(clashes) {
                return Err(format!("{option}: {other} and {one} overlap"));
            }
        }
        let ranges = Self(ranges);
        if ranges.has(0) {
            Ok(ranges)
        } else {
            Err(format!(
                "{option} leaves the container without its id 0, which sets it up"
            ))
        }
    }

    /// Whether an id of the container's is in it.
    pub(super) fn has(&self, id: u32) -> bool {
        self.0.iter().any(|range| overlap(range.inside(), (id, 1)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &IdRange> {
        self.0.iter()
    }
}

/// The ids of this machine that are for containers.
#[derive(Debug)]
pub(super) struct Pool(Vec<(u32, u32)>);

impl Pool {
    /// Reads those of the user `containers` in `file`, subuid(5); the usual ones if there are none.
    pub(super) fn read(file: &Path) -> Result<Self, CommandError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let (file, error) = (file.display(), ucr_sys::reason(&error));
                return Err(CommandError::sentence(format!(
                    "cannot read {file}: {error}"
                )));
            }
        };
        Self::parse(&text).map_err(|line| {
            let (file, line) = (file.display(), line.escape_debug());
            CommandError::sentence(format!(
                "{file} has the line \"{line}\", which is not of the form {USER}:START:COUNT"
            ))
        })
    }

    fn parse(text: &str) -> Result<Self, &str> {
        let mut ranges = Vec::new();
        for line in text.lines() {
            let Some((USER, range)) = line.split_once(':') else {
                continue;
            };
            let numbers = range.split_once(':');
            let numbers = numbers.and_then(|(start, count)| Some((number(start)?, number(count)?)));
            ranges.push(numbers.filter(|range| end(*range) <= IDS).ok_or(line)?);
        }
        if ranges.is_empty() {
            ranges.push(USUAL);
        }
        Ok(Self(ranges))
    }

    /// Ids for `size` of a container, those of `fixed` as it says, the others of this pool, together
    /// and none of `others`.
    pub(super) fn find(
        &self,
        size: u32,
        fixed: &[IdRange],
        others: &[(u32, u32)],
    ) -> Option<Vec<IdRange>> {
        let gaps = gaps(size, fixed);
        let count = gaps.iter().map(|(_, count)| count).sum();
        let fixed_ones = fixed.iter().map(IdRange::outside);
        let taken: Vec<(u32, u32)> = others.iter().copied().chain(fixed_ones).collect();
        let mut outside = self.free(count, &taken)?;
        let mut found = fixed.to_vec();
        for (inside, count) in gaps {
            found.push(IdRange {
                inside,
                outside,
                count,
            });
            outside += count;
        }
        found.sort_unstable_by_key(|range| range.inside);
        Some(found)
    }

    /// The first id of `count` together that are not in `taken`.
    fn free(&self, count: u32, taken: &[(u32, u32)]) -> Option<u32> {
        self.0.iter().find_map(|pool| {
            let mut start = pool.0;
            loop {
                if end((start, count)) > end(*pool) {
                    return None;
                }
                let in_the_way = taken.iter().find(|one| overlap(**one, (start, count)));
                match in_the_way {
                    None => return Some(start),
                    Some(one) => start = u32::try_from(end(*one)).ok()?,
                }
            }
        })
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.0.iter().map(|range| {
            let last = end(*range).saturating_sub(1);
            format!("{} to {last}", range.0)
        });
        out.write_str(&texts.collect::<Vec<_>>().join(", "))
    }
}

/// What of the ids below `size` is in none of `fixed`: starts and counts.
fn gaps(size: u32, fixed: &[IdRange]) -> Vec<(u32, u32)> {
    let mut fixed: Vec<(u32, u32)> = fixed.iter().map(IdRange::inside).collect();
    fixed.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for range in fixed {
        let until = range.0.min(size);
        if until > next {
            gaps.push((next, until - next));
        }
        next = next.max(u32::try_from(end(range)).unwrap_or(u32::MAX));
    }
    if size > next {
        gaps.push((next, size - next));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IdRange {
        IdRange::parse(text).unwrap()
    }

    fn shown(ranges: &[IdRange]) -> Vec<String> {
        ranges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn i35_ranges_are_read_strictly() {
        assert_eq!(range("0:100000:65536").to_string(), "0:100000:65536");
        assert_eq!(range("0:7").to_string(), "0:7:1");
        for text in [
            "",
            "0",
            "0:1:0",
            "0:1:2:3",
            "+0:1:2",
            "0:@1:2",
            "-1:0:1",
            "0:4294967295:1",
            "0:1:4294967295",
            "u0:1:1",
            " 0:1:1",
            "::",
        ] {
            assert!(IdRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn i35_ranges_that_overlap_or_lack_a_root_are_refused_by_name() {
        let refused = |texts: &[&str]| {
            let ranges = texts.iter().map(|text| range(text)).collect();
            Ranges::new("--uidmap", ranges).unwrap_err()
        };
        assert!(refused(&["0:10:5", "4:20:5"]).contains("0:10:5 and 4:20:5 overlap"));
        assert!(refused(&["0:10:5", "5:14:5"]).contains("overlap"));
        assert!(refused(&["1:10:5"]).contains("id 0"));
        assert!(refused(&[]).contains("id 0"));
    }

    #[test]
    fn i35_free_ids_are_found_between_those_of_others() {
        let pool = Pool::parse("user:1:9\ncontainers:100:30\ncontainers:200:50\n").unwrap();
        let find = |size, others: &[(u32, u32)]| pool.find(size, &[], others);
        assert_eq!(shown(&find(10, &[]).unwrap()), ["0:100:10"]);
        let others = [(100, 10), (115, 1), (90, 5)];
        assert_eq!(shown(&find(10, &others).unwrap()), ["0:116:10"]);
        assert_eq!(shown(&find(20, &others).unwrap()), ["0:200:20"]);
        assert_eq!(find(51, &[]), None);
        assert_eq!(pool.to_string(), "100 to 129, 200 to 249");
    }

    #[test]
    fn some_ids_can_be_fixed_and_the_others_found() {
        let pool = Pool::parse("containers:100:100").unwrap();
        let fixed = [range("1000:1000:1"), range("5:105:2")];
        let found = pool.find(2000, &fixed, &[]);
        assert_eq!(found, None);
        let found = pool.find(10, &fixed, &[]).unwrap();
        assert_eq!(
            shown(&found),
            ["0:107:5", "5:105:2", "7:112:3", "1000:1000:1"]
        );
    }

    #[test]
    fn a_file_without_containers_leaves_the_usual_ids() {
        assert_eq!(Pool::parse("").unwrap().0, [USUAL]);
        assert_eq!(Pool::parse("me:100000:65536\n").unwrap().0, [USUAL]);
        assert!(Pool::parse("containers:x:1\n").is_err());
        assert!(Pool::parse("containers:1:4294967295\n").is_err());
    }
}
