//! The name that a container has in state files, cgroups and directories.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id: with a suffix it still fits in one file name of 255 bytes.
const LENGTH_MAX: usize = 128;

/// A container's id: letters, digits, `_`, `.` and `-`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// An id that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a container id: 1 to {LENGTH_MAX} of A-Z a-z 0-9 _ . -, the first a letter or digit"
)]
pub struct Error(String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let first = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && text.len() <= LENGTH_MAX {
            Ok(Self(text))
        } else {
            Err(Error(text))
        }
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i48_ids_that_are_no_file_name_are_refused() {
        for text in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            ".a",
            "a b",
            "a\n",
            "ä",
            &"a".repeat(129),
        ] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
        for text in ["a", "0", "web-1.2_3", &"a".repeat(128)] {
            assert!(text.parse::<ContainerId>().is_ok(), "{text:?}");
        }
    }
}
