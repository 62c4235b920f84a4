//! Names that formats have a grammar for.

use std::collections::BTreeMap;

use ucr_images::Reference;

use crate::Error;
use crate::document::Node;
use crate::task::ImageName;

/// The longest name of a port, network, volume or container.
const NAME_LIMIT: usize = 63;

/// Whether a text is of lower-case letters, digits and `inner`, with letters or digits at its ends.
fn is_name(text: &str, inner: &[char]) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(outer)
        && text.ends_with(outer)
        && text.chars().all(|c| outer(c) || inner.contains(&c))
}

/// A name of Marathon's: letters, digits and dashes.
pub(crate) fn name(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_name(text, &['-']) || text.len() > NAME_LIMIT {
        let wanted = "a name of at most 63 lower-case letters, digits and dashes within";
        return Err(node.grammar(text, wanted));
    }
    Ok(text.to_owned())
}

/// The name of a port: as long as older apps have had them.
pub(crate) fn port(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_name(text, &['-']) {
        return Err(node.grammar(
            text,
            "a name of lower-case letters, digits and dashes within",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a network of Marathon's, or of CNI's.
pub(crate) fn network(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    // CNI's own grammar; Marathon's is narrower, but names are what the agent's files call them.
    let inner = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || !text.chars().all(inner) || text.len() > NAME_LIMIT {
        let wanted = "a name of at most 63 letters, digits, dots, dashes and underscores";
        return Err(node.grammar(text, wanted));
    }
    Ok(text.to_owned())
}

/// The ID of an app or pod as a path from the root: `/group/app`.
///
/// Each part is of lower-case letters, digits and dashes, and may have dots between them
/// (`PathId` in Marathon's `stringTypes.raml`).
pub(crate) fn id(node: &Node<'_>) -> Result<String, Error> {
    let text = node.filled()?;
    let parts: Vec<&str> = text.strip_prefix('/').unwrap_or(text).split('/').collect();
    if parts.contains(&"..") {
        return Err(node.grammar(
            text,
            "a whole ID: \"..\" means something within a group alone",
        ));
    }
    let is_part = |part: &&str| part.split('.').all(|label| is_name(label, &['-']));
    if !parts.iter().all(is_part) {
        let wanted = "an ID as /group/app, of lower-case letters, digits, dots and dashes within";
        return Err(node.grammar(text, wanted));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// The ID of a task for the ID of its app.
pub(crate) fn task_id(app: &str) -> String {
    app.trim_start_matches('/').replace('/', "_")
}

/// The name of an image in a registry.
pub(crate) fn docker_image(node: &Node<'_>) -> Result<ImageName, Error> {
    let text = node.filled()?;
    if text.parse::<Reference>().is_err() {
        let wanted = "the name of an image, as registry.example:5000/group/image:tag";
        return Err(node.grammar(text, wanted));
    }
    Ok(ImageName::Docker(text.to_owned()))
}

/// The name of an `AppC` image, its ID where it is known, and its labels.
///
/// Source: App Container Specification, "AC Identifier Type" and "Image ID Type".
pub(crate) fn appc_image(
    name: &Node<'_>,
    id: Option<&Node<'_>>,
    labels: BTreeMap<String, String>,
) -> Result<ImageName, Error> {
    let text = name.filled()?;
    let identifier = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let mut parts = text.split(['-', '.', '_', '~', '/']);
    if !parts.all(|part| !part.is_empty() && identifier(part)) {
        return Err(name.grammar(text, "the name of an AppC image, as example.com/hello"));
    }
    let hexadecimal = |text: &str| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (1..=128).contains(&text.len()) && text.bytes().all(digit)
    };
    if let Some(node) = id {
        let text = node.text()?;
        if !text.strip_prefix("sha512-").is_some_and(hexadecimal) {
            return Err(node.grammar(text, "an image ID, as sha512-0123abcd…"));
        }
    }
    Ok(ImageName::Appc {
        name: text.to_owned(),
        id: id.map(Node::owned).transpose()?,
        labels,
    })
}

/// The name of a variable: anything that a program can be told.
pub(crate) fn variable(node: &Node<'_>, name: &str) -> Result<String, Error> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(
            node.rule("is no name of a variable: it must not be empty, nor have = or NUL in it")
        );
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::{Document, Names};

    fn read<T>(value: Value, read: impl Fn(&Node<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let document = Document::new(Names::Exact);
        read(&document.node("id", &value))
    }

    #[test]
    fn an_id_is_a_path_from_the_root() {
        for (text, path) in [
            ("inky", "/inky"),
            ("/some/name/or/id", "/some/name/or/id"),
            ("a.b-c/d0", "/a.b-c/d0"),
        ] {
            assert_eq!(read(json!(text), id).unwrap(), path);
        }
        assert_eq!(task_id("/some/name/or/id"), "some_name_or_id");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "", "/", "//a", "a//b", "a/", "A", "a_b", "-a", "a-", "a..b", "../a", "a/../b", ".",
            "a b", "ä",
        ] {
            assert!(read(json!(text), id).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_of_letters_digits_and_dashes() {
        for text in ["a", "a-b", "0", &"a".repeat(63)] {
            assert!(read(json!(text), name).is_ok(), "{text}");
        }
        for text in ["", "-", "a-", "-a", "A", "a_b", "a/b", &"a".repeat(64)] {
            assert!(read(json!(text), name).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_no_path() {
        for text in ["dcos", "mesos-bridge", "a.b_c", "UPPER"] {
            assert!(read(json!(text), network).is_ok(), "{text}");
        }
        for text in ["", ".", "..", "../a", "a/b", "a b", "-a"] {
            assert!(read(json!(text), network).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_images_are_checked_where_they_stand() {
        for text in [
            "busybox",
            "mesosphere/inky:1",
            "some.docker.host.com/namespace/repo",
        ] {
            assert!(read(json!(text), docker_image).is_ok(), "{text}");
        }
        for text in ["", "UPPER", "a b", "a:", "../x", "a@sha256:00"] {
            let error = read(json!(text), docker_image).unwrap_err();
            assert_eq!(error.path(), Some("id"));
        }
        let appc = |text: &str| read(json!(text), |node| appc_image(node, None, BTreeMap::new()));
        assert!(appc("example.com/hello").is_ok());
        for text in ["", "/a", "a/", "A", "a//b", "a b"] {
            assert!(appc(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_id_of_appc_is_a_digest() {
        let appc = |text: &str| {
            read(json!(text), |id| {
                let name = json!("example.com/hello");
                let document = Document::new(Names::Exact);
                appc_image(&document.node("name", &name), Some(id), BTreeMap::new())
            })
        };
        assert!(appc("sha512-0123abcd").is_ok());
        for text in ["", "sha512-", "sha512-XY", "sha256-00", "sha512-../../etc"] {
            assert!(appc(text).is_err(), "{text}");
        }
    }
}
