//! What came back.

use url::Url;

/// An answer, its body in memory unless it went into a spool.
#[derive(Debug)]
pub(crate) struct Response {
    /// The URL that answered.
    pub(crate) url: Url,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Header fields, names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, where it was asked for in memory or the status was not 200.
    pub(crate) body: Vec<u8>,
    /// How large the body is, where it was asked for to be counted; no more than one byte above
    /// the limit.
    pub(crate) counted: u64,
}

impl Response {
    /// The first field called `name` (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All fields called `name` (in lower case).
    pub(crate) fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// How many bytes `Content-Length` says that there are, if a file can have so many.
    pub(crate) fn content_length(&self) -> Option<u64> {
        content_length(self.header("content-length")?)
    }

    /// The media type of the body, in lower case, without parameters.
    pub(crate) fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        let name = value.split(';').next().unwrap_or_default().trim();
        Some(name.to_ascii_lowercase())
    }
}

/// What `Content-Length` says, if it is a size that a file can have (RFC 9110, section 8.6).
pub(super) fn content_length(value: &str) -> Option<u64> {
    let size = value.parse().ok()?;
    i64::try_from(size).is_ok().then_some(size)
}
