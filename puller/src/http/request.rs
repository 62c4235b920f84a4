//! What is asked, of whom.

use std::fmt;

use ucr_images::Secret;
use url::Url;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Method {
    /// Send what is there.
    Get,
    /// Send its header fields only.
    Head,
    /// Say how large it is: by a header field, or by sending it to be counted.
    Size,
    /// Take this form (`application/x-www-form-urlencoded`), which may hold a secret.
    Post(Secret),
}

/// Which bytes of a body are wanted (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// The first one, counted from 0.
    pub(crate) first: u64,
    /// The last one, or else all to the end.
    pub(crate) last: Option<u64>,
}

impl fmt::Display for ByteRange {
    /// As libcurl wants it (CURLOPT_RANGE(3)).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.first)?;
        self.last.map_or(Ok(()), |last| write!(f, "{last}"))
    }
}

/// One request, as it goes to one host.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// What is to be done.
    pub(crate) method: Method,
    /// Where: https, or http to a host that is named for it.
    pub(crate) url: Url,
    /// Media types for `Accept`, best first; none means anything.
    pub(crate) accept: Vec<String>,
    /// The value of `Authorization`, for the origin of `url` and no other.
    pub(crate) authorization: Option<Secret>,
    /// The part of the body that is wanted; all of it when `None`.
    pub(crate) range: Option<ByteRange>,
    /// Whether a client certificate may be shown.
    pub(crate) identify: Identify,
}

/// Whether a server that asks for a client certificate is shown the one that is for its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Identify {
    /// It is, where there is one.
    #[default]
    IfAsked,
    /// Never: the URL is a stranger's idea.
    Never,
}

impl Request {
    /// A plain GET.
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::Get,
            url,
            accept: Vec::new(),
            authorization: None,
            range: None,
            identify: Identify::default(),
        }
    }
}

/// A URL for people: without user information, query or fragment, which may be secrets.
///
/// The query of a blob's redirect to object storage is a signature that anyone may use.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownUrl(String);

impl From<&Url> for ShownUrl {
    fn from(url: &Url) -> Self {
        let mut shown = url.clone();
        // These fail only for URLs without a host, which have nothing to hide.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let signed = shown.query().is_some();
        shown.set_query(None);
        shown.set_fragment(None);
        Self(if signed {
            format!("{shown}?…")
        } else {
            shown.to_string()
        })
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p40_user_information_and_signed_queries_are_not_shown() {
        let url = Url::parse("https://u:p@s3.example/b/x?X-Amz-Signature=abc#f").unwrap();
        assert_eq!(ShownUrl::from(&url).to_string(), "https://s3.example/b/x?…");
    }
}
