//! The table `[gc]` of the configuration: when a pull makes room by itself.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use ucr_images::store::{Limits, Room};

use crate::quantity;

/// The marks; without any, nothing is collected but by `ucr gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GcConfig {
    /// So much of the file system stays free.
    #[serde(default, deserialize_with = "room_of")]
    keep_free: Option<Room>,
    /// The layers of all images have no more bytes than this.
    #[serde(default, deserialize_with = "size_of")]
    max_size: Option<u64>,
    /// Images go that were not used for so long.
    #[serde(default, deserialize_with = "age_of")]
    max_age: Option<Duration>,
}

impl GcConfig {
    /// The limits for a pull's end; `None` when there are none.
    pub(crate) fn limits(&self) -> Option<Limits> {
        let limits = Limits {
            keep_free: self.keep_free,
            max_size: self.max_size,
            max_age: self.max_age,
        };
        (limits != Limits::default()).then_some(limits)
    }
}

/// Reads a share such as `10%`, or a size such as `20g`.
pub(crate) fn room(text: &str) -> Result<Room, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return size(text).map(Room::Bytes);
    };
    let percent = percent.parse().ok().filter(|percent| *percent <= 100);
    percent
        .map(Room::Percent)
        .ok_or_else(|| format!("\"{text}\" is neither a share like 10% nor a size like 20g"))
}

/// Reads a size such as `20g`.
pub fn size(text: &str) -> Result<u64, String> {
    let bytes = quantity::bytes(text)?;
    u64::try_from(bytes).map_err(|_negative| format!("\"{text}\" is less than nothing"))
}

/// Reads a span of time such as `30d`.
pub fn age(text: &str) -> Result<Duration, String> {
    let seconds = quantity::seconds(text)?;
    let seconds = u64::try_from(seconds);
    let seconds = seconds.map_err(|_negative| format!("\"{text}\" is less than nothing"))?;
    Ok(Duration::from_secs(seconds))
}

fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(de::Error::custom)
}

fn room_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Room>, D::Error> {
    read(deserializer, room)
}

/// Reads a size that may be left out.
pub(crate) fn size_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    read(deserializer, size)
}

/// Reads a span of time that may be left out.
pub(crate) fn age_of<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    read(deserializer, age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_on_the_command_line() {
        let text = "keep-free = \"10%\"\nmax-size = \"20g\"\nmax-age = \"30d\"";
        let config: GcConfig = toml::from_str(text).unwrap();
        let expected = Limits {
            keep_free: Some(Room::Percent(10)),
            max_size: Some(20 << 30),
            max_age: Some(Duration::from_secs(30 * 86_400)),
        };
        assert_eq!(config.limits(), Some(expected));
        assert_eq!(GcConfig::default().limits(), None);
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for text in [
            "keep-free = \"101%\"",
            "keep-free = \"-1%\"",
            "keep-free = 10",
            "max-size = \"much\"",
            "max-age = \"30\"",
            "max-files = \"1\"",
        ] {
            assert!(toml::from_str::<GcConfig>(text).is_err(), "{text}");
        }
    }
}
