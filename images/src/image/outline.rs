//! The outline of a document: which telling keys it has, before it is taken for anything.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The keys that tell one kind of document from another.
const KEYS: [&str; 8] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "fsLayers",
    "history",
    "signatures",
];

/// What a document has at its top level; nothing below is kept.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// What it says to be.
    pub(super) media_type: Option<String>,
    keys: Vec<&'static str>,
}

impl Outline {
    /// Whether it has one of the telling keys, `null` or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }
}

impl<'de> Deserialize<'de> for Outline {
    /// Refuses keys that are there twice, or in another case: Go's parser takes `Layers` for
    /// `layers`, so that two programs would see two images (P71).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OutlineVisitor)
    }
}

struct OutlineVisitor;

impl<'de> Visitor<'de> for OutlineVisitor {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
        let mut outline = Outline::default();
        while let Some(key) = map.next_key::<String>()? {
            let Some(known) = KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if *known != key {
                let text = format!("the key \"{key}\" is \"{known}\" to some programs only");
                return Err(A::Error::custom(text));
            }
            if outline.has(known) {
                return Err(A::Error::duplicate_field(known));
            }
            outline.keys.push(known);
            if *known == "mediaType" {
                outline.media_type = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(outline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Result<Outline, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn keys_are_seen_whatever_they_hold() {
        let seen = outline(r#"{"layers":null,"x":[[[1]]],"mediaType":"a","config":{}}"#).unwrap();
        assert!(seen.has("layers") && seen.has("config") && !seen.has("manifests"));
        assert_eq!(seen.media_type.as_deref(), Some("a"));
    }

    #[test]
    fn p71_a_key_that_only_some_parsers_know_is_refused() {
        for text in [
            r#"{"layers":[],"Layers":[]}"#,
            r#"{"LAYERS":[]}"#,
            r#"{"layers":[],"layers":[]}"#,
            r#"{"mediaType":1}"#,
            r#"["layers"]"#,
        ] {
            assert!(outline(text).is_err(), "{text}");
        }
    }

    #[test]
    fn p71_depth_and_number_cost_nothing() {
        let deep = format!(
            "{{\"x\":{}{}}}",
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert!(outline(&deep).is_ok());
        let many = format!("{{\"layers\":[{}]}}", vec!["{}"; 1_000_000].join(","));
        assert!(outline(&many).unwrap().has("layers"));
    }
}
