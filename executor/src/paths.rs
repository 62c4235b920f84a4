//! Paths of a document, checked once so that whoever uses them need not.

use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::document::Node;

/// The longest path that the kernel takes, without the NUL at its end (`PATH_MAX`).
const PATH_LIMIT: usize = 4095;

/// A path in a container: absolute, or below the sandbox. It never leads out of the one or the
/// other, and is neither of them itself.
pub(crate) fn in_container(node: &Node<'_>) -> Result<PathBuf, Error> {
    let path = checked(node)?;
    let plain =
        without_detours(&path).ok_or_else(|| node.rule("must not lead upwards by \"..\""))?;
    if plain.components().all(|part| part == Component::RootDir) {
        return Err(node.rule("must be within the container, not all of it"));
    }
    Ok(plain)
}

/// A path below the sandbox, which it never leads out of.
pub(crate) fn in_sandbox(node: &Node<'_>) -> Result<PathBuf, Error> {
    let path = checked(node)?;
    if path.is_absolute() {
        return Err(node.rule("must be relative: it is a path within the sandbox"));
    }
    let plain = without_detours(&path)
        .ok_or_else(|| node.rule("must not lead out of the sandbox by \"..\""))?;
    if plain.as_os_str().is_empty() {
        return Err(node.rule("must be within the sandbox, not all of it"));
    }
    Ok(plain)
}

/// A path of the host: whoever writes the task may name any.
pub(crate) fn on_host(node: &Node<'_>) -> Result<PathBuf, Error> {
    let path = checked(node)?;
    if !path.is_absolute() {
        return Err(node.rule("must be absolute: it is a path of the host"));
    }
    Ok(path)
}

/// Whether a path begins at the root.
pub(crate) fn is_absolute(node: &Node<'_>) -> Result<bool, Error> {
    Ok(node.text()?.starts_with('/'))
}

fn checked(node: &Node<'_>) -> Result<PathBuf, Error> {
    let text = node.filled()?;
    if text.len() > PATH_LIMIT {
        return Err(node.rule("must be a path of at most 4095 bytes"));
    }
    Ok(PathBuf::from(text))
}

/// The same path without `.` and doubled slashes; none where it has `..` in it.
fn without_detours(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts
        .map(|part| (part != Component::ParentDir).then_some(part))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Document, Names};

    type Read = fn(&Node<'_>) -> Result<PathBuf, Error>;

    fn read(text: &str, read: Read) -> Option<PathBuf> {
        let document = Document::new(Names::Exact);
        let value = json!(text);
        read(&document.node("path", &value)).ok()
    }

    #[test]
    fn a_path_in_a_container_stays_in_it() {
        for (text, path) in [
            ("/etc/a", "/etc/a"),
            ("//etc/./a/", "/etc/a"),
            ("data", "data"),
            ("./data/x", "data/x"),
        ] {
            assert_eq!(read(text, in_container), Some(PathBuf::from(path)));
        }
        for text in [
            "", "/", ".", "./", "//", "..", "/..", "/a/../b", "../a", "a/..", "a\0b",
        ] {
            assert_eq!(read(text, in_container), None, "{text:?}");
        }
    }

    #[test]
    fn a_path_in_the_sandbox_stays_in_it() {
        assert_eq!(read("a/./b", in_sandbox), Some(PathBuf::from("a/b")));
        for text in ["", ".", "/a", "..", "a/../../b", "../x"] {
            assert_eq!(read(text, in_sandbox), None, "{text:?}");
        }
    }

    #[test]
    fn a_path_of_the_host_begins_at_its_root() {
        assert_eq!(
            read("/var/../data", on_host),
            Some(PathBuf::from("/var/../data"))
        );
        for text in ["", "data", "../a", &"/a".repeat(2048)] {
            assert_eq!(read(text, on_host), None, "{text:?}");
        }
    }
}
