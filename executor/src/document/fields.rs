//! An object of which every field is known: read, or told to mean nothing here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::node::{Names, member};
use super::{Document, Node};
use crate::Error;

/// The fields of a kind of object.
#[derive(Debug)]
pub(crate) struct Known {
    /// Those that are read.
    pub(crate) read: &'static [&'static str],
    /// Those that mean nothing to one task; each that is there is told of.
    pub(crate) ignored: &'static [&'static str],
}

impl Known {
    /// An object all of whose fields are read.
    pub(crate) const fn all(read: &'static [&'static str]) -> Self {
        Self { read, ignored: &[] }
    }

    /// The field that was probably meant.
    fn near(&self, name: &str) -> Option<String> {
        let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
        let name = plain(name);
        // The longer a name, the more of it can be wrong before it is another.
        let allowed = (name.chars().count() / 3).min(3);
        let known = self.read.iter().chain(self.ignored);
        let distances =
            known.map(|known| (strsim::damerau_levenshtein(&plain(known), &name), *known));
        let (distance, near) = distances.min()?;
        (distance <= allowed).then(|| near.to_owned())
    }
}

/// An object with known fields. One that is null is not there.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    document: &'a Document,
    pub(crate) path: String,
    /// By the name that is known, with the one that was written.
    fields: BTreeMap<Cow<'a, str>, (&'a str, &'a Value)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(node: &Node<'a>, known: &'static Known) -> Result<Self, Error> {
        let Value::Object(members) = node.value else {
            return Err(node.kind("an object"));
        };
        let document = node.document;
        let mut fields = BTreeMap::new();
        for (name, value) in members {
            let path = || member(&node.path, name);
            let canonical = match document.names {
                Names::Exact => Cow::from(name.as_str()),
                Names::Protobuf => snake_case(name),
            };
            let is = |known: &[&str]| known.contains(&canonical.as_ref());
            if !is(known.read) && !is(known.ignored) {
                let near = known.near(name);
                return Err(Error::Unknown { path: path(), near });
            }
            if value.is_null() {
                continue;
            }
            if is(known.ignored) {
                document.ignored.borrow_mut().push(path());
            } else if fields.insert(canonical, (name.as_str(), value)).is_some() {
                return Err(Error::Twice { path: path() });
            }
        }
        Ok(Self {
            document,
            path: node.path.clone(),
            fields,
        })
    }

    /// A field, where it is there.
    pub(crate) fn get(&self, name: &'static str) -> Option<Node<'a>> {
        let (_, value) = self.fields.get(name)?;
        Some(self.document.node(&self.at(name), value))
    }

    /// A field that must be there.
    pub(crate) fn need(&self, name: &'static str, why: &'static str) -> Result<Node<'a>, Error> {
        self.get(name).ok_or_else(|| self.missing(name, why))
    }

    /// A field, read where it is there.
    pub(crate) fn read<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Node<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.get(name).map(|node| read(&node)).transpose()
    }

    /// The elements of a list, each read; none where it is not there.
    pub(crate) fn each<T>(
        &self,
        name: &'static str,
        read: impl FnMut(&Node<'a>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let list = self.read(name, |node| node.each(read))?;
        Ok(list.unwrap_or_default())
    }

    /// Whether a field is there and true.
    pub(crate) fn is(&self, name: &'static str) -> Result<bool, Error> {
        Ok(self.read(name, Node::boolean)?.unwrap_or_default())
    }

    /// Notes that some fields mean nothing where others are what they are.
    pub(crate) fn ignore(&self, names: &[&'static str]) {
        let there = names.iter().filter_map(|name| self.get(name));
        there.for_each(|node| node.ignore());
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Whether a field is there and holds something.
    pub(crate) fn says(&self, name: &str) -> bool {
        match self.fields.get(name).map(|(_, value)| *value) {
            None => false,
            Some(Value::Array(elements)) => !elements.is_empty(),
            Some(Value::Object(members)) => !members.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// The path of a field, whether it is there or not.
    pub(crate) fn at(&self, name: &str) -> String {
        let written = self.fields.get(name).map_or(name, |(written, _)| written);
        member(&self.path, written)
    }

    pub(crate) fn missing(&self, name: &str, why: &'static str) -> Error {
        Error::Missing {
            path: self.at(name),
            why,
        }
    }

    /// That two of the fields are both there.
    pub(crate) fn together(&self, name: &str, other: &str, why: &'static str) -> Error {
        Error::Together {
            path: self.at(name),
            other: self.at(other),
            why,
        }
    }

    pub(crate) fn rule(&self, name: &str, rule: &'static str) -> Error {
        Error::Rule {
            path: self.at(name),
            rule,
        }
    }

    pub(crate) fn unsupported(&self, name: &str, why: &'static str) -> Error {
        Error::Unsupported {
            path: self.at(name),
            why,
        }
    }

    /// Of fields that exclude each other, the one that is there.
    pub(crate) fn only(
        &self,
        names: &[&'static str],
        why: &'static str,
    ) -> Result<Option<&'static str>, Error> {
        let mut there = names.iter().copied().filter(|name| self.says(name));
        match (there.next(), there.next()) {
            (Some(first), Some(second)) => Err(self.together(second, first, why)),
            (first, _) => Ok(first),
        }
    }
}

/// A name of protobuf's JSON as its `.proto` has it.
fn snake_case(name: &str) -> Cow<'_, str> {
    if !name.contains(|c: char| c.is_ascii_uppercase()) || name.contains('_') {
        return Cow::from(name);
    }
    let mut snake = String::new();
    for (place, c) in name.char_indices() {
        if c.is_ascii_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Cow::from(snake)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static KNOWN: Known = Known {
        read: &["forcePullImage", "image", "portMappings", "id"],
        ignored: &["instances"],
    };

    fn refusal(value: &Value) -> String {
        let document = Document::new(Names::Exact);
        let node = document.node("container.docker", value);
        node.fields(&KNOWN).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_field_is_named_with_what_was_meant() {
        for (name, near) in [
            ("imag", "image"),
            ("Image", "image"),
            ("force_pull_image", "forcePullImage"),
            ("portMapings", "portMappings"),
            ("instnaces", "instances"),
        ] {
            let message = refusal(&json!({ name: 1 }));
            let expected =
                format!("container.docker.{name} is no known field: did you mean {near}?");
            assert_eq!(message, expected);
        }
        for name in ["x", "ie", "network", "container"] {
            let message = refusal(&json!({ name: 1 }));
            assert_eq!(
                message,
                format!("container.docker.{name} is no known field")
            );
        }
    }

    #[test]
    fn an_unknown_field_is_refused_even_when_it_is_null() {
        assert!(refusal(&json!({"network": null})).contains("container.docker.network"));
    }

    #[test]
    fn what_means_nothing_here_is_told_of() {
        let document = Document::new(Names::Exact);
        let value = json!({"instances": 2, "id": null});
        let fields = document.node("", &value).fields(&KNOWN).unwrap();
        assert!(!fields.has("id"));
        drop(fields);
        assert_eq!(document.into_ignored(), ["instances"]);
    }

    #[test]
    fn protobuf_knows_a_field_by_two_names_but_not_by_both() {
        static KNOWN: Known = Known::all(&["task_id"]);
        let document = Document::new(Names::Protobuf);
        for name in ["task_id", "taskId"] {
            let value = json!({ name: "a" });
            assert!(
                document
                    .node("", &value)
                    .fields(&KNOWN)
                    .unwrap()
                    .has("task_id")
            );
        }
        let value = json!({"task_id": "a", "taskId": "b"});
        let error = document.node("", &value).fields(&KNOWN).unwrap_err();
        assert!(matches!(error, Error::Twice { .. }), "{error}");
    }
}
