//! Bytes into a tree, in which no name is lost.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::node::{element, member};
use crate::Error;

/// Reads a document.
///
/// # Errors
/// When it is no JSON, is nested too deeply, or an object of it has a name twice: parsers keep
/// the one or the other, and who checks the one must not run the other.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let mut twice = None;
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let tree = Tree {
        path: String::new(),
        twice: &mut twice,
    };
    let value = tree.deserialize(&mut input);
    if let Some(path) = twice {
        return Err(Error::Twice { path });
    }
    let value = value.map_err(Error::NotJson)?;
    input.end().map_err(Error::NotJson)?;
    Ok(value)
}

/// What reads one value, at its place.
struct Tree<'a> {
    path: String,
    /// Where the first name is that was there before.
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        loop {
            let tree = Tree {
                path: element(&self.path, elements.len()),
                twice: &mut *self.twice,
            };
            match input.next_element_seed(tree)? {
                Some(value) => elements.push(value),
                None => return Ok(Value::Array(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = input.next_key::<String>()? {
            let path = member(&self.path, &name);
            if members.contains_key(&name) {
                *self.twice = Some(path);
                return Err(A::Error::custom("a name is there twice"));
            }
            let tree = Tree {
                path,
                twice: &mut *self.twice,
            };
            let value = input.next_value_seed(tree)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_what_it_says() {
        let text = br#" {"a": [1, -2, 0.5, true, null, "\u00e9"], "b": {}} "#;
        let value = json!({"a": [1, -2, 0.5, true, null, "é"], "b": {}});
        assert_eq!(parse(text).unwrap(), value);
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_with_its_path() {
        for (text, path) in [
            (r#"{"cmd": "a", "cmd": "b"}"#, "cmd"),
            (r#"{"a": [0, {"b": {"c": 1, "\u0063": 1}}]}"#, "a[1].b.c"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{path} is there twice: leave one of them")
            );
        }
    }

    #[test]
    fn what_is_no_json_or_more_than_one_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "{} {}",
            "{'a': 1}",
            "nul",
            "1e999",
            "\u{feff}{}",
            &deep,
        ] {
            assert!(
                matches!(parse(text.as_bytes()), Err(Error::NotJson(_))),
                "{text:.9}"
            );
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
