//! What is fetched into the sandbox before a task starts.

use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::paths;
use crate::task::Uri;

/// What Mesos' fetcher unpacks, by the end of a path (`FetchUri.scala`, `launcher/fetcher.cpp`).
const ARCHIVES: [&str; 9] = [
    ".tgz", ".tar", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip", ".gz",
];

static ARTIFACT: Known = Known::all(&["uri", "extract", "executable", "cache", "destPath"]);

/// Reads `fetch`, or `uris` of older apps.
pub(super) fn of_app(fields: &Fields<'_>) -> Result<Vec<Uri>, Error> {
    let why = "uris is the older form of fetch";
    match fields.only(&["fetch", "uris"], why)? {
        Some("uris") => fields.each("uris", legacy),
        _ => fields.each("fetch", artifact),
    }
}

/// Reads one of `fetch` of an app, or of `artifacts` of a pod's container.
pub(super) fn artifact(node: &Node<'_>) -> Result<Uri, Error> {
    let fields = node.fields(&ARTIFACT)?;
    let value = uri(&fields.need("uri", "it says what is fetched")?)?;
    let executable = fields.is("executable")?;
    let extract = fields.read("extract", Node::boolean)?.unwrap_or(true);
    Ok(Uri {
        path: node.path.clone(),
        value,
        extract: extract && !executable,
        executable,
        cache: fields.is("cache")?,
        output: fields.read("destPath", paths::in_sandbox)?,
    })
}

fn legacy(node: &Node<'_>) -> Result<Uri, Error> {
    let value = uri(node)?;
    let path = value.split(['?', '#']).next().unwrap_or_default();
    Ok(Uri {
        path: node.path.clone(),
        extract: ARCHIVES.iter().any(|suffix| path.ends_with(suffix)),
        value,
        executable: false,
        cache: false,
        output: None,
    })
}

/// A URI, or the path of a file.
pub(crate) fn uri(node: &Node<'_>) -> Result<String, Error> {
    let text = node.filled()?;
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(node.grammar(text, "a URI, without spaces and control characters"));
    }
    Ok(text.to_owned())
}
