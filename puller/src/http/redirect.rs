//! Redirects, followed by hand: where one may lead, and whether a credential may go along.

use url::Url;

use super::error::Error;
use super::request::ShownUrl;
use super::response::Response;

/// What a credential is bound to: scheme, host and port (RFC 6454).
///
/// Stricter than libcurl before 7.83 and many clients since: another port is
/// another origin (CVE-2022-27774, CVE-2026-50151).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(url::Origin);

impl Origin {
    /// The origin of a URL.
    pub(crate) fn of(url: &Url) -> Self {
        Self(url.origin())
    }
}

/// Where an answer sends its asker, if it is a redirect.
///
/// # Errors
/// A redirect without or with an unreadable `Location`, or to anything but https; only who
/// was spoken to in clear may send on to plain HTTP, and where to is for the asker to check.
pub(crate) fn redirect_target(response: &Response) -> Result<Option<Url>, Error> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let from = ShownUrl::from(&response.url);
    let Some(location) = response
        .header("location")
        .filter(|value| !value.is_empty())
    else {
        return Err(Error::RedirectNowhere { from });
    };
    let Ok(mut target) = response.url.join(location) else {
        return Err(Error::RedirectNowhere { from });
    };
    let stays_plain = target.scheme() == "http" && response.url.scheme() == "http";
    if target.scheme() != "https" && !stays_plain {
        return Err(Error::RedirectInsecure {
            from,
            to: ShownUrl::from(&target),
        });
    }
    // A redirect's user information is the sender's idea of a credential, not ours.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    Ok(Some(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Response {
        Response {
            url: Url::parse("https://r.example/v2/x/blobs/y").unwrap(),
            status,
            headers: location
                .map(|to| ("location".to_owned(), to.to_owned()))
                .into_iter()
                .collect(),
            body: Vec::new(),
            counted: 0,
        }
    }

    fn target(location: &str) -> Result<Option<Url>, Error> {
        redirect_target(&answer(307, Some(location)))
    }

    #[test]
    fn p38_a_relative_location_is_resolved_and_user_information_dropped() {
        assert_eq!(
            target("/z").unwrap().unwrap().as_str(),
            "https://r.example/z"
        );
        assert_eq!(
            target("https://u:p@s.example/z").unwrap().unwrap().as_str(),
            "https://s.example/z"
        );
    }

    #[test]
    fn p38_only_https_is_followed() {
        for location in [
            "http://r.example/z",
            "file:///etc/passwd",
            "ftp://r.example/z",
        ] {
            assert!(
                matches!(target(location), Err(Error::RedirectInsecure { .. })),
                "{location}"
            );
        }
        for location in ["", "https://", "https://[::1"] {
            assert!(
                matches!(target(location), Err(Error::RedirectNowhere { .. })),
                "{location}"
            );
        }
    }

    #[test]
    fn other_answers_lead_nowhere() {
        assert!(redirect_target(&answer(200, Some("/z"))).unwrap().is_none());
        assert!(redirect_target(&answer(304, Some("/z"))).unwrap().is_none());
    }

    #[test]
    fn s71_another_port_is_another_origin() {
        let origin = |text: &str| Origin::of(&Url::parse(text).unwrap());
        assert_eq!(
            origin("https://r.example/a"),
            origin("https://r.example:443/b")
        );
        assert_ne!(
            origin("https://r.example/a"),
            origin("https://r.example:8443/a")
        );
        assert_ne!(
            origin("https://r.example/a"),
            origin("http://r.example:443/a")
        );
    }
}
