//! Which boot of the machine this is.

use std::fmt;

use crate::{Errno, Error, Result};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's random name for the time since the machine was started (random(4)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BootId(String);

impl BootId {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When `/proc` is not there, or says something that is no UUID.
    pub fn current() -> Result<Self> {
        let text = std::fs::read_to_string(BOOT_ID)
            .map_err(|error| Error::from_io("read", BOOT_ID, &error))?;
        Self::parse(text.trim()).ok_or_else(|| Error::new("read", BOOT_ID, Errno::INVAL))
    }

    /// Takes a recorded boot ID: lower-case hex and dashes, as the kernel writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 36
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        shaped.then(|| Self(text.to_owned()))
    }

    /// The UUID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_within_a_boot() {
        assert_eq!(BootId::current().unwrap(), BootId::current().unwrap());
    }

    #[test]
    fn only_a_uuid_is_a_boot_id() {
        assert_eq!(BootId::parse("durable"), None);
        assert_eq!(BootId::parse("../../../../../../../../../../etc/pa"), None);
    }
}
