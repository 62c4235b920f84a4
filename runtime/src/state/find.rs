//! Finding a container by what a person calls it.

use std::path::Path;

use super::{Ended, Error, Record, ended, list};

/// A container that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It runs, or is about to.
    Alive(Record),
    /// It has ended within the last day.
    Ended(Ended),
}

/// There is no such container, or more than one.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Nothing of that name.
    #[error("there is no container \"{}\"", .0.escape_debug())]
    None(String),
    /// The beginning of several IDs.
    #[error("\"{wanted}\" is the beginning of the IDs of {count} containers")]
    Several {
        /// What was asked for.
        wanted: String,
        /// How many there are.
        count: usize,
    },
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] Error),
}

/// Finds the container with this name, this ID, or the only one whose ID begins so; one that
/// runs before one that has ended.
///
/// # Errors
///
/// A [`FindError`].
pub fn find(state_root: &Path, wanted: &str) -> Result<Found, FindError> {
    let alive = list(state_root)?;
    let called =
        |record: &Record| record.name.as_deref() == Some(wanted) || record.id.as_str() == wanted;
    let is_called = alive.iter().any(called);
    let ended = if is_called {
        Vec::new()
    } else {
        ended::list(state_root)?
    };
    // Who has ended is meant by a name before who runs by the beginning of an ID.
    let was_called = ended.iter().any(|ended| called(&ended.record));
    if !was_called && let Some(record) = choose(wanted, alive, |record| record)? {
        return Ok(Found::Alive(record));
    }
    // The latest of a name: it may have been used before.
    let ended = choose(wanted, ended, |ended| &ended.record)?;
    let ended = ended.ok_or_else(|| FindError::None(wanted.into()))?;
    Ok(Found::Ended(ended))
}

fn choose<T>(
    wanted: &str,
    among: Vec<T>,
    record: impl Fn(&T) -> &Record,
) -> Result<Option<T>, FindError> {
    let is_called = |one: &T| {
        let record = record(one);
        record.name.as_deref() == Some(wanted) || record.id.as_str() == wanted
    };
    let begins = |one: &T| !wanted.is_empty() && record(one).id.as_str().starts_with(wanted);
    let mut begun = Vec::new();
    for one in among {
        if is_called(&one) {
            return Ok(Some(one));
        }
        if begins(&one) {
            begun.push(one);
        }
    }
    match begun.len() {
        0 | 1 => Ok(begun.pop()),
        count => Err(FindError::Several {
            wanted: wanted.into(),
            count,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::About;
    use crate::state::{Entry, now, remember};

    fn record(id: &str, name: Option<&str>) -> Record {
        let name = name.map(ToOwned::to_owned);
        Record::new(id.parse().expect("id"), name, About::default())
    }

    #[test]
    fn by_name_by_id_or_by_the_beginning_of_one() {
        let temp = tempfile::tempdir().expect("tempdir");
        let root = temp.path();
        let (one, two) = (record("aa11", Some("web")), record("aa22", None));
        let _entries = [&one, &two].map(|record| Entry::create(root, record).expect("create"));
        let gone = Ended {
            record: Record {
                // Not remembered.
                supervisor: 0,
                ..record("bb33", Some("web"))
            },
            finished: now(),
            exit_code: 0,
            signal: None,
            out_of_memory: false,
            error: None,
        };
        remember(root, &gone).expect("remember");
        for (wanted, found) in [("web", &one), ("aa1", &one), ("aa22", &two)] {
            let found = Found::Alive(found.clone());
            assert_eq!(find(root, wanted).expect(wanted), found);
        }
        assert_eq!(find(root, "bb").expect("ended"), Found::Ended(gone.clone()));
        let gone = Ended {
            record: Record {
                supervisor: 0,
                ..record("cc44", Some("aa2"))
            },
            ..gone
        };
        remember(root, &gone).expect("remember");
        assert_eq!(find(root, "aa2").expect("its name"), Found::Ended(gone));
        assert!(matches!(
            find(root, "aa"),
            Err(FindError::Several { count: 2, .. })
        ));
        for wanted in ["", "x", "../aa11"] {
            assert!(
                matches!(find(root, wanted), Err(FindError::None(_))),
                "{wanted}"
            );
        }
    }
}
