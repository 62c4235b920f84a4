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

impl DeviceRule {
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

#[cfg(test)]
mod tests {
    use super::*;

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
