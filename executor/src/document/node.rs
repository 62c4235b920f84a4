//! One value of a document, read as what it must be.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Fields, Known};
use crate::Error;
use crate::error::shown;

/// How a document writes the names of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As they are.
    Exact,
    /// As protobuf allows: `task_id` or `taskId`; and numbers as texts.
    Protobuf,
}

/// What holds for all values of a document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(super) names: Names,
    /// Paths of what is there and means nothing here.
    pub(super) ignored: RefCell<Vec<String>>,
}

impl Document {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            ignored: RefCell::default(),
        }
    }

    /// A value of it.
    pub(crate) fn node<'a>(&'a self, path: &str, value: &'a Value) -> Node<'a> {
        Node {
            document: self,
            path: path.to_owned(),
            value,
        }
    }

    /// Paths of what was there and means nothing here.
    pub(crate) fn into_ignored(self) -> Vec<String> {
        self.ignored.into_inner()
    }
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    pub(super) document: &'a Document,
    pub(crate) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Node<'a> {
    /// An object, of which nothing else is known.
    pub(crate) fn fields(&self, known: &'static Known) -> Result<Fields<'a>, Error> {
        Fields::new(self, known)
    }

    /// An object of any names.
    pub(crate) fn members(&self) -> Result<Vec<(&'a str, Self)>, Error> {
        let Value::Object(members) = self.value else {
            return Err(self.kind("an object"));
        };
        let present = members.iter().filter(|(_, value)| !value.is_null());
        let node = |(name, value): (&'a String, &'a Value)| {
            let path = member(&self.path, name);
            (name.as_str(), self.document.node(&path, value))
        };
        Ok(present.map(node).collect())
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, Error> {
        let Value::Array(elements) = self.value else {
            return Err(self.kind("a list"));
        };
        let node = |(index, value)| self.document.node(&element(&self.path, index), value);
        Ok(elements.iter().enumerate().map(node).collect())
    }

    /// The elements of a list, each read.
    pub(crate) fn each<T>(
        &self,
        read: impl FnMut(&Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.list()?.iter().map(read).collect()
    }

    pub(crate) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// A text; without NUL, which ends arguments and paths before their end.
    pub(crate) fn text(&self) -> Result<&'a str, Error> {
        let Value::String(text) = self.value else {
            return Err(self.kind("a text"));
        };
        if text.contains('\0') {
            return Err(self.rule("must not contain NUL"));
        }
        Ok(text)
    }

    pub(crate) fn owned(&self) -> Result<String, Error> {
        self.text().map(str::to_owned)
    }

    /// A text that says something.
    pub(crate) fn filled(&self) -> Result<&'a str, Error> {
        let text = self.text()?;
        if text.is_empty() {
            return Err(self.rule("must not be empty"));
        }
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool, Error> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.kind("true or false")),
        }
    }

    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Result<f64, Error> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if self.document.names == Names::Protobuf => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.kind("a number"))?;
        if !range.contains(&number) {
            return Err(self.range(number, range.start(), range.end()));
        }
        Ok(number)
    }

    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Result<T, Error>
    where
        T: TryFrom<i128> + Into<i128> + Copy,
    {
        let (start, end) = ((*range.start()).into(), (*range.end()).into());
        let number = match self.value {
            Value::Number(number) => whole(number),
            Value::String(text) if self.document.names == Names::Protobuf => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.kind("a whole number"))?;
        if number < start || number > end {
            return Err(self.range(number, &start, &end));
        }
        let read = T::try_from(number).ok();
        read.ok_or_else(|| self.range(number, &start, &end))
    }

    /// One of the texts that have a meaning.
    pub(crate) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Error> {
        let text = self.text()?;
        let found = choices.iter().find(|(choice, _)| *choice == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let choices: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            Error::Choice {
                path: self.path.clone(),
                text: text.to_owned(),
                choices: choices.join(", "),
            }
        })
    }

    /// Notes that it means nothing here.
    pub(crate) fn ignore(&self) {
        self.document.ignored.borrow_mut().push(self.path.clone());
    }

    pub(crate) fn kind(&self, wanted: &'static str) -> Error {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a fraction",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        Error::Kind {
            path: self.path.clone(),
            wanted,
            found,
        }
    }

    pub(crate) fn rule(&self, rule: &'static str) -> Error {
        Error::Rule {
            path: self.path.clone(),
            rule,
        }
    }

    pub(crate) fn grammar(&self, text: &str, wanted: &'static str) -> Error {
        Error::Grammar {
            path: self.path.clone(),
            text: text.to_owned(),
            wanted,
        }
    }

    pub(crate) fn unsupported(&self, why: &'static str) -> Error {
        Error::Unsupported {
            path: self.path.clone(),
            why,
        }
    }

    fn range(
        &self,
        value: impl fmt::Display,
        start: &impl fmt::Display,
        end: &impl fmt::Display,
    ) -> Error {
        Error::Range {
            path: self.path.clone(),
            value: value.to_string(),
            wanted: format!("from {start} to {end}"),
        }
    }
}

/// A whole number; also one that was written as `3.0`, as encoders without integers do.
fn whole(number: &serde_json::Number) -> Option<i128> {
    let whole = number.as_i64().map(i128::from);
    let whole = whole.or_else(|| number.as_u64().map(i128::from));
    let fraction = || {
        let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
        // Its digits are exact, and a parser cannot be wrong about the sign or the range.
        format!("{number:.0}").parse().ok()
    };
    whole.or_else(fraction)
}

/// The path of an element of the list at `path`.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The path of a member of the object at `path`.
pub(super) fn member(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return format!("{path}[\"{}\"]", shown(name));
    }
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(value: Value, read: impl Fn(&Node<'_>) -> Option<Error>) -> String {
        let document = Document::new(Names::Exact);
        read(&document.node("a.b", &value)).unwrap().to_string()
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_its_path() {
        let digit = |node: &Node<'_>| node.integer(0..=9_u16).err();
        let whole = "a.b must be a whole number, not";
        for (message, expected) in [
            (
                refusal(json!(1), |node| node.text().err()),
                "a.b must be a text, not a number".to_owned(),
            ),
            (refusal(json!("1"), digit), format!("{whole} a text")),
            (refusal(json!(0.5), digit), format!("{whole} a fraction")),
            (
                refusal(json!("x"), |node| node.boolean().err()),
                "a.b must be true or false, not a text".to_owned(),
            ),
            (
                refusal(json!({}), |node| node.list().err()),
                "a.b must be a list, not an object".to_owned(),
            ),
            (
                refusal(json!([]), |node| node.members().err()),
                "a.b must be an object, not a list".to_owned(),
            ),
            (
                refusal(json!("a\0"), |node| node.text().err()),
                "a.b must not contain NUL".to_owned(),
            ),
            (
                refusal(json!(""), |node| node.filled().err()),
                "a.b must not be empty".to_owned(),
            ),
        ] {
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_however_large() {
        let port = |value| refusal(value, |node| node.integer(0..=u16::MAX).err());
        assert_eq!(
            port(json!(65536)),
            "a.b is 65536, but must be from 0 to 65535"
        );
        assert_eq!(port(json!(-1)), "a.b is -1, but must be from 0 to 65535");
        assert_eq!(
            port(json!(1e30)),
            "a.b is 1000000000000000019884624838656, but must be from 0 to 65535"
        );
        assert_eq!(
            port(json!(1e300)),
            "a.b must be a whole number, not a fraction"
        );
        assert_eq!(
            port(json!(u64::MAX)),
            "a.b is 18446744073709551615, but must be from 0 to 65535"
        );
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let document = Document::new(Names::Exact);
        let value = json!(3.0);
        assert_eq!(document.node("", &value).integer(0..=9_u16).unwrap(), 3);
    }

    #[test]
    fn protobuf_writes_numbers_as_texts_too() {
        let document = Document::new(Names::Protobuf);
        let (whole, fraction, none) = (json!("60000000000"), json!("0.25"), json!("NaN"));
        let whole = document.node("", &whole).integer(0..=u64::MAX).unwrap();
        assert_eq!(whole, 60_000_000_000);
        assert_eq!(
            document.node("", &fraction).number(0.0..=1.0).unwrap(),
            0.25
        );
        assert!(document.node("", &none).number(0.0..=1.0).is_err());
    }

    #[test]
    fn paths_are_as_people_write_them() {
        assert_eq!(member("", "env"), "env");
        assert_eq!(member("env", "A_B"), "env.A_B");
        assert_eq!(member("env", "a b\n"), "env[\"a b\\n\"]");
        assert_eq!(element("container.volumes", 2), "container.volumes[2]");
    }
}
