//! Labels and durations.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Error;
use crate::document::{Fields, Known, Node};

static LABELS: Known = Known::all(&["labels"]);
static LABEL: Known = Known::all(&["key", "value"]);

/// Reads `labels` of an object; of one key the last counts.
pub(super) fn labels(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Error> {
    let Some(node) = fields.get("labels") else {
        return Ok(BTreeMap::new());
    };
    let labels = node.fields(&LABELS)?.each("labels", |node| {
        let label = node.fields(&LABEL)?;
        let key = label.need("key", "a label has one")?.owned()?;
        Ok((key, label.read("value", Node::owned)?.unwrap_or_default()))
    })?;
    Ok(labels.into_iter().collect())
}

static VALUE: Known = Known::all(&["value"]);

/// Reads an ID, which is an object with a value.
pub(super) fn id<'a>(node: &Node<'a>) -> Result<Node<'a>, Error> {
    node.fields(&VALUE)?.need("value", "it is the ID itself")
}

static DURATION: Known = Known::all(&["nanoseconds"]);

/// Reads a `DurationInfo`.
pub(super) fn duration(node: &Node<'_>) -> Result<Duration, Error> {
    let nanoseconds = node
        .fields(&DURATION)?
        .need("nanoseconds", "it is the duration itself")?;
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    nanoseconds.integer(0..=most).map(Duration::from_nanos)
}

/// Reads a number of seconds, which may have a fraction.
pub(super) fn seconds(
    fields: &Fields<'_>,
    name: &'static str,
    usual: u32,
) -> Result<Duration, Error> {
    let seconds = fields.read(name, |node| node.number(0.0..=4_294_967_295.0))?;
    Ok(Duration::from_secs_f64(seconds.unwrap_or(f64::from(usual))))
}
