//! Why a task is not run: which field, what is wrong with it, and what would be right.

use thiserror::Error;

/// The most bytes of a task; Marathon's own limit is a quarter of it.
pub(crate) const LIMIT: usize = 4 << 20;

/// A task that is refused. What stands first is the field's path in the document.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be read at all.
    #[error("reading the task as JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is larger than any that is meant.
    #[error("the task has {size} bytes: more than {LIMIT} are none that anybody means")]
    TooLarge {
        /// How many bytes it has.
        size: usize,
    },
    /// A field is there twice, and one of the two would be passed over.
    #[error("{path} is there twice: leave one of them")]
    Twice {
        /// Which.
        path: String,
    },
    /// It is a part of an app.
    #[error("this is {found}, not a whole app: {missing}")]
    Fragment {
        /// What it is.
        found: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
    /// There is not exactly one task.
    #[error("{} holds {count} tasks: hand over exactly one", or_document(.path))]
    Several {
        /// The list; empty for the document.
        path: String,
        /// How many are in it.
        count: usize,
    },
    /// Nothing of this name is known, and passing it over would run something else.
    #[error("{path} is no known field{}", suggestion(.near.as_ref()))]
    Unknown {
        /// Which.
        path: String,
        /// The known one that is much like it.
        near: Option<String>,
    },
    /// A field is of another JSON type.
    #[error("{} must be {wanted}, not {found}", or_document(.path))]
    Kind {
        /// Which.
        path: String,
        /// The right type.
        wanted: &'static str,
        /// Its type.
        found: &'static str,
    },
    /// A field is not there.
    #[error("{path} is missing: {why}")]
    Missing {
        /// Which.
        path: String,
        /// Why it is needed.
        why: &'static str,
    },
    /// A text does not follow its grammar.
    #[error("{path} is \"{}\", but must be {wanted}", shown(.text))]
    Grammar {
        /// Which.
        path: String,
        /// What it is.
        text: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A number is too small or too large.
    #[error("{path} is {value}, but must be {wanted}")]
    Range {
        /// Which.
        path: String,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: String,
    },
    /// A text is not one of those that have a meaning.
    #[error("{path} is \"{}\", but must be one of {choices}", shown(.text))]
    Choice {
        /// Which.
        path: String,
        /// What it is.
        text: String,
        /// What it can be.
        choices: String,
    },
    /// Two fields exclude each other.
    #[error("{path} and {other} exclude each other: {why}")]
    Together {
        /// The one.
        path: String,
        /// The other.
        other: String,
        /// Why.
        why: &'static str,
    },
    /// A name that must be unique is not.
    #[error("{path} is \"{}\" like {other}: each must be another", shown(.text))]
    Repeated {
        /// The second.
        path: String,
        /// The first.
        other: String,
        /// What both are.
        text: String,
    },
    /// A name leads to nothing in the document.
    #[error("{path} names \"{}\", which is not in {place}", shown(.name))]
    Undefined {
        /// Which.
        path: String,
        /// The name.
        name: String,
        /// Where it should be.
        place: &'static str,
    },
    /// A rule between fields is broken.
    #[error("{path} {rule}")]
    Rule {
        /// Which.
        path: String,
        /// The rule, as the end of a sentence.
        rule: &'static str,
    },
    /// It means something that is not done here.
    #[error("{path} is not supported: {why}")]
    Unsupported {
        /// Which.
        path: String,
        /// Why, and what to do in its place.
        why: &'static str,
    },
}

impl Error {
    /// The path of the field that is wrong, where it is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::NotJson(_) | Self::TooLarge { .. } | Self::Fragment { .. } => None,
            Self::Twice { path }
            | Self::Several { path, .. }
            | Self::Unknown { path, .. }
            | Self::Kind { path, .. }
            | Self::Missing { path, .. }
            | Self::Grammar { path, .. }
            | Self::Range { path, .. }
            | Self::Choice { path, .. }
            | Self::Together { path, .. }
            | Self::Repeated { path, .. }
            | Self::Undefined { path, .. }
            | Self::Rule { path, .. }
            | Self::Unsupported { path, .. } => Some(path),
        }
    }
}

fn or_document(path: &str) -> &str {
    if path.is_empty() {
        "the document"
    } else {
        path
    }
}

fn suggestion(near: Option<&String>) -> String {
    near.map_or(String::new(), |near| format!(": did you mean {near}?"))
}

/// The most of a stranger's text that is repeated in a message.
const SHOWN: usize = 80;

/// A stranger's text as it can be shown: short, on one line, without escape sequences.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_text_is_short_and_harmless() {
        assert_eq!(shown("a\x1b[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(shown(&"é".repeat(90)).chars().count(), 81);
    }

    #[test]
    fn an_unknown_field_says_what_may_be_meant() {
        let error = |near: Option<&str>| Error::Unknown {
            path: "container.imag".to_owned(),
            near: near.map(str::to_owned),
        };
        assert_eq!(error(None).to_string(), "container.imag is no known field");
        assert_eq!(
            error(Some("image")).to_string(),
            "container.imag is no known field: did you mean image?"
        );
    }
}
