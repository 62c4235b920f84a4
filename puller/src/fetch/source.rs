//! What a URI of a task leads to.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use ucr_images::{Login, Secret};
use url::Url;

use super::error::Failure;
use crate::http::ShownUrl;

/// Where a file is.
#[derive(Debug)]
pub(super) enum Source {
    /// On this machine.
    Local(PathBuf),
    /// On another.
    Remote(Remote),
}

/// A file of a web server.
#[derive(Debug)]
pub(super) struct Remote {
    /// Where, without user information and fragment.
    pub(super) url: Url,
    /// The value of `Authorization` that the user information makes.
    pub(super) authorization: Option<Secret>,
    /// What the URI says behind its last slash, as it was written.
    name: String,
}

impl Source {
    /// Reads a URI: `file://`, no scheme, `http://` or `https://`.
    ///
    /// # Errors
    /// Another scheme, a relative path, and what is no URL.
    pub(super) fn parse(uri: &Secret) -> Result<Self, Failure> {
        let text = uri.expose();
        if text.contains('\0') {
            return Err(Failure::Nul);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return local(text);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => local(rest.strip_prefix("localhost").unwrap_or(rest)),
            "http" | "https" => remote(text),
            _ => Err(Failure::Scheme {
                scheme: scheme.escape_debug().take(32).collect(),
            }),
        }
    }

    /// What it is called where nobody says otherwise: the last part of its path.
    ///
    /// # Errors
    /// When that is nothing, or no name.
    pub(super) fn name(&self) -> Result<String, Failure> {
        let name = match self {
            Self::Local(path) => path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            Self::Remote(remote) => remote.name.clone(),
        };
        match name.as_str() {
            "" | "." | ".." => Err(Failure::NoName),
            _ => Ok(name),
        }
    }
}

fn local(path: &str) -> Result<Source, Failure> {
    // Mesos has relative ones below its --frameworks_home, which no agent of DC/OS sets.
    match path.starts_with('/') {
        true => Ok(Source::Local(path.into())),
        false => Err(Failure::Relative),
    }
}

fn remote(text: &str) -> Result<Source, Failure> {
    let mut url = Url::parse(text).map_err(Failure::Url)?;
    let authorization = authorization(&url);
    // They fail only for URLs without a host, and this one has one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    // A query is no part of a name: it may be a signature.
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or("", |(_, rest)| rest);
    let name = path.rsplit_once('/').map_or("", |(_, name)| name);
    Ok(Source::Remote(Remote {
        url,
        authorization,
        name: name.to_owned(),
    }))
}

/// The user information of a URL, as libcurl would send it: decoded, by the Basic scheme.
fn authorization(url: &Url) -> Option<Secret> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let login = Login {
        principal: decoded(url.username()),
        secret: Secret::new(decoded(password.unwrap_or_default())),
    };
    Some(login.basic())
}

/// A URI for people: without user information, query or fragment.
pub(super) fn shown(uri: &Secret) -> String {
    let text = uri.expose();
    let is_remote = text.contains("://") && !text.starts_with("file://");
    match (is_remote, Url::parse(text)) {
        (false, _) => text.to_owned(),
        (true, Ok(url)) => ShownUrl::from(&url).to_string(),
        // What cannot be taken apart may hold a secret anywhere.
        (true, Err(_)) => {
            let scheme = text.split("://").next().unwrap_or_default();
            format!("{}://…", scheme.escape_debug())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, Failure> {
        Source::parse(&Secret::new(text))
    }

    fn remote(text: &str) -> Remote {
        match parse(text).unwrap() {
            Source::Remote(remote) => remote,
            Source::Local(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn a_path_is_a_file_of_this_machine_with_a_scheme_or_without() {
        for text in [
            "/a/b.tgz",
            "file:///a/b.tgz",
            "FILE:///a/b.tgz",
            "file://localhost/a/b.tgz",
        ] {
            let source = parse(text).unwrap();
            assert!(matches!(&source, Source::Local(path) if path.as_os_str() == "/a/b.tgz"));
            assert_eq!(source.name().unwrap(), "b.tgz");
        }
        for relative in ["a/b", "", "file://host/a", "file://a"] {
            assert!(
                matches!(parse(relative), Err(Failure::Relative)),
                "{relative}"
            );
        }
    }

    #[test]
    fn a_scheme_that_is_not_spoken_is_refused_by_its_name() {
        for scheme in ["ftp", "ftps", "hdfs", "s3", "gopher", "dict", "scp"] {
            let refused = parse(&format!("{scheme}://h/f")).unwrap_err();
            assert!(refused.to_string().contains(scheme), "{refused}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for text in [
            "https://",
            "https://u:wonderland@[::1",
            "http://a b:wonderland@/",
        ] {
            let refused = parse(text).unwrap_err();
            assert!(matches!(refused, Failure::Url(_)), "{refused}");
            let shown = super::shown(&Secret::new(text));
            assert!(!shown.contains("wonderland"), "{shown}");
        }
        assert!(matches!(parse("/a\0b"), Err(Failure::Nul)));
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path_and_nothing_of_the_query() {
        let name = |text: &str| Source::Remote(remote(text)).name().ok();
        assert_eq!(name("https://h/d/a.tgz?sig=x/y").as_deref(), Some("a.tgz"));
        assert_eq!(name("https://h/a%20b#c").as_deref(), Some("a%20b"));
        for nameless in [
            "https://h",
            "https://h/",
            "https://h/d/",
            "https://h/..",
            "https://h/?a",
        ] {
            assert_eq!(name(nameless), None, "{nameless}");
        }
    }

    #[test]
    fn s48_a_password_is_taken_out_of_the_url() {
        let found = remote("https://al%40ice:wonder%3Aland@h/f?q");
        assert_eq!(found.url.as_str(), "https://h/f?q");
        let expected = ucr_images::Login {
            principal: "al@ice".to_owned(),
            secret: Secret::new("wonder:land"),
        };
        assert_eq!(found.authorization, Some(expected.basic()));
        assert_eq!(remote("https://h/f").authorization, None);
        let shown = super::shown(&Secret::new(
            "https://alice:wonderland@h/f?X-Signature=wonderland",
        ));
        assert_eq!(shown, "https://h/f?…");
    }
}
