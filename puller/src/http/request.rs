//! What is asked, of whom.

use std::fmt;

use url::Url;

use crate::credentials::Secret;

/// One GET request, as it goes to one host.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Where; always https.
    pub(crate) url: Url,
    /// Media types for `Accept`, best first; none means anything.
    pub(crate) accept: Vec<String>,
    /// The value of `Authorization`, for the origin of `url` and no other.
    pub(crate) authorization: Option<Secret>,
}

impl Request {
    /// A plain GET.
    pub(crate) fn get(url: Url) -> Self {
        Self {
            url,
            accept: Vec::new(),
            authorization: None,
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
