//! Rules about devices: what a container may do with which, whatever applies them.

use std::fmt;

/// One rule about devices, runtime-spec config-linux.md "Allowed Device list".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Devices of which kind; none for both.
    pub kind: Option<Kind>,
    /// Their major number; none for any.
    pub major: Option<u32>,
    /// Their minor number; none for any.
    pub minor: Option<u32>,
    /// What may be done with them, or not.
    pub access: Access,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// What is done with a device: some of making it, reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Making it, reading and writing.
    pub const ALL: Self = Self(7);
    /// Making it.
    pub const MAKE: Self = Self(1);

    /// The letters and their bits, `BPF_DEVCG_ACC_*` of linux/bpf.h.
    const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

    /// Reads letters of `rwm`, in any order; none where there is another letter or no letter.
    pub fn parse(letters: &str) -> Option<Self> {
        let bit = |letter| Self::LETTERS.iter().find(|(one, _)| *one == letter);
        let bits = letters.chars().try_fold(0, |bits, letter| {
            let (_, more) = bit(letter)?;
            Some(bits | more)
        })?;
        (bits != 0).then_some(Self(bits))
    }

    /// The bits, `BPF_DEVCG_ACC_*` of linux/bpf.h.
    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = Self::LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0);
        has.map(|(letter, _)| *letter)
            .try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// Whether version 1 applies `rules` as they are meant; else the first that it would pass over.
///
/// It keeps one answer for all devices and a list of exceptions to it. A rule that takes an exception
/// back does so by its numbers, not by what they match (security/device_cgroup.c,
/// `dev_exception_rm`), and the kernel does not say whether there was one.
pub(super) fn first_passed_over(rules: &[DeviceRule]) -> Option<&DeviceRule> {
    let mut allow = true;
    let mut exceptions: Vec<&DeviceRule> = Vec::new();
    for rule in rules {
        if rule.is_about_all() {
            allow = rule.allow;
            exceptions.clear();
        } else if rule.allow != allow {
            exceptions.push(rule);
        } else if exceptions.iter().any(|one| rule.is_about_part_of(one)) {
            return Some(rule);
        }
    }
    None
}

impl DeviceRule {
    /// Whether some but not all that `other` is about, letters aside, is what this one is about.
    fn is_about_part_of(&self, other: &Self) -> bool {
        let meet =
            |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
        let kinds = self.kind.is_none() || other.kind.is_none() || self.kind == other.kind;
        let overlap = kinds
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access.0 & other.access.0 != 0;
        // Lines are of one kind: a rule about both is one of each.
        overlap && (self.major, self.minor) != (other.major, other.minor)
    }

    /// Whether every other rule before this one makes no difference.
    pub(super) fn is_about_all(&self) -> bool {
        let any = self.kind.is_none() && self.major.is_none() && self.minor.is_none();
        any && self.access == Access::ALL
    }

    /// The lines for `devices.allow` or `devices.deny` of version 1,
    /// Documentation/admin-guide/cgroup-v1/devices.rst.
    pub(super) fn lines(&self) -> Vec<String> {
        // "a" means every access to every device, whatever follows it.
        if self.is_about_all() {
            return vec!["a".into()];
        }
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        let kinds = match self.kind {
            None => &["b", "c"][..],
            Some(Kind::Block) => &["b"],
            Some(Kind::Character) => &["c"],
        };
        let line = |kind: &&str| format!("{kind} {major}:{minor} {}", self.access);
        kinds.iter().map(line).collect()
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.allow { "allow" } else { "deny" };
        write!(f, "{verb} {}", self.lines().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, text: &str) -> DeviceRule {
        let words: Vec<&str> = text.split([' ', ':']).collect();
        DeviceRule {
            allow,
            kind: match words[0] {
                "a" => None,
                "b" => Some(Kind::Block),
                _ => Some(Kind::Character),
            },
            major: words[1].parse().ok(),
            minor: words[2].parse().ok(),
            access: Access::parse(words[3]).unwrap(),
        }
    }

    #[test]
    fn what_version_one_would_pass_over_is_found() {
        let nothing = rule(false, "a *:* rwm");
        let (any, null) = (rule(true, "c *:* rwm"), rule(true, "c 1:3 rwm"));
        for (then, passed_over) in [
            ("c 1:3 w", false),
            ("a 1:3 w", false),
            ("b 1:3 w", false),
            ("c 1:* w", true),
            ("c *:* w", true),
            ("c 1:5 w", false),
        ] {
            let then = rule(false, then);
            let rules = [nothing, null, then];
            assert_eq!(
                first_passed_over(&rules),
                passed_over.then_some(&then),
                "{then}"
            );
            assert_eq!(first_passed_over(&[null, then, nothing]), None, "{then}");
        }
        // A part of what was allowed, and, where all is allowed, of what was denied.
        let zero = rule(false, "c 1:5 w");
        assert_eq!(first_passed_over(&[nothing, any, zero]), Some(&zero));
        let back = rule(true, "c 1:5 w");
        let memory = rule(false, "c 1:* rwm");
        assert_eq!(first_passed_over(&[memory, back]), Some(&back));
        assert_eq!(back.to_string(), "allow c 1:5 w");
    }

    #[test]
    fn letters_are_read_and_written() {
        for (letters, written) in [
            ("rwm", "rwm"),
            ("mwr", "rwm"),
            ("w", "w"),
            ("mr", "rm"),
            ("rr", "r"),
        ] {
            assert_eq!(Access::parse(letters).unwrap().to_string(), written);
        }
        for nonsense in ["", "x", "rwx", "R", "r w"] {
            assert_eq!(Access::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn all_is_one_letter_and_a_part_of_both_kinds_two_lines() {
        let all = DeviceRule {
            allow: false,
            kind: None,
            major: None,
            minor: None,
            access: Access::ALL,
        };
        assert_eq!(all.lines(), ["a"]);
        let part = DeviceRule {
            access: Access::parse("r").unwrap(),
            major: Some(7),
            ..all
        };
        assert_eq!(part.lines(), ["b 7:* r", "c 7:* r"]);
        let null = DeviceRule {
            kind: Some(Kind::Character),
            major: Some(1),
            minor: Some(3),
            ..all
        };
        assert_eq!(null.lines(), ["c 1:3 rwm"]);
    }
}
