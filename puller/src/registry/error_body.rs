//! What a registry said when it refused, fit to be quoted.

use serde::Deserialize;

use crate::http::Response;

/// The most of a refusal that is quoted.
const QUOTED: usize = 400;

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What ECR says, with 403, of a proof that has expired.
const EXPIRED: &str = "authorization token has expired";

/// Whether a refusal is about a proof that was good once.
pub(crate) fn tells_of_expiry(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains(EXPIRED)
}

/// Whether a refusal is that of a registry which knows the protocol v1 alone.
///
/// Such a one named its own version with each answer (docker-registry 0.9); one that speaks v2
/// says so, or refuses by v2's error document.
pub(super) fn is_of_version_1(response: &Response) -> bool {
    let protocols = response.header("docker-distribution-api-version");
    let speaks = |version| protocols.is_some_and(|protocols| protocols.contains(version));
    let is_document = serde_json::from_slice::<Body>(&response.body).is_ok();
    let names_itself = response.header("x-docker-registry-version").is_some();
    !speaks("registry/2") && !is_document && (names_itself || speaks("registry/1"))
}

/// The status, and the registry's own words where it had any.
///
/// Understands the error document of the distribution specification ("Error
/// Codes"); of anything else the first line is quoted, control characters escaped.
pub(crate) fn said(response: &Response) -> String {
    let status = format!("HTTP {}", response.status);
    let words = match serde_json::from_slice::<Body>(&response.body) {
        Ok(body) => body.errors.first().map(|first| match first.code.as_str() {
            "" => first.message.clone(),
            code => format!("{code}: {}", first.message),
        }),
        Err(_) => first_line(&response.body),
    };
    match words.filter(|words| !words.trim().is_empty()) {
        Some(words) => format!("{status}, \"{}\"", escaped(words.trim())),
        None => status,
    }
}

fn first_line(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

fn escaped(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
        .chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn said_of(body: &[u8]) -> String {
        said(&Response {
            url: Url::parse("https://r.example/").unwrap(),
            status: 404,
            headers: Vec::new(),
            body: body.to_vec(),
            counted: 0,
        })
    }

    #[test]
    fn the_error_document_is_understood() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        assert_eq!(
            said_of(body),
            "HTTP 404, \"MANIFEST_UNKNOWN: manifest unknown\""
        );
    }

    #[test]
    fn p62_anything_else_is_quoted_short_and_escaped() {
        assert_eq!(said_of(b""), "HTTP 404");
        assert_eq!(
            said_of(b"\n\x1b[31mno\n<html>"),
            "HTTP 404, \"\\u{1b}[31mno\""
        );
        assert!(said_of(&[b'x'; 100_000]).len() < 500);
        let page = b"<!DOCTYPE html><title>Log in</title>";
        assert_eq!(
            said_of(page),
            "HTTP 404, \"<!DOCTYPE html><title>Log in</title>\""
        );
        let hostile = br#"{"errors":[{"code":"DENIED","message":"\u001b]0;x\u0007\nucr: fine"}]}"#;
        assert_eq!(
            said_of(hostile),
            "HTTP 404, \"DENIED: \\u{1b}]0;x\\u{7}\\nucr: fine\""
        );
    }

    #[test]
    fn a_registry_of_v1_is_known_by_its_refusals() {
        let refused = |headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter();
            is_of_version_1(&Response {
                url: Url::parse("https://r.example/").unwrap(),
                status: 404,
                headers: headers
                    .map(|(key, value)| ((*key).into(), (*value).into()))
                    .collect(),
                body: body.into(),
                counted: 0,
            })
        };
        let old = ("x-docker-registry-version", "0.9.1");
        let api = "docker-distribution-api-version";
        assert!(refused(&[old], "<title>404 Not Found</title>"));
        assert!(refused(
            &[(api, "registry/1.0")],
            "{\"error\": \"not found\"}"
        ));
        assert!(!refused(&[], "404 page not found"));
        assert!(
            !refused(&[old, (api, "registry/2.0")], ""),
            "one that speaks both"
        );
        assert!(!refused(&[(api, "registry/1.0, registry/2.0")], ""));
        assert!(!refused(
            &[old],
            "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}"
        ));
    }

    #[test]
    fn ecr_tells_of_expiry() {
        let body = br#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
        assert!(tells_of_expiry(body));
        assert!(!tells_of_expiry(br#"{"errors":[{"code":"DENIED"}]}"#));
    }
}
