//! What can be wrong with a document of an image.

use crate::Digest;

/// A manifest, index or configuration that is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON, or not of the right shape.
    #[error("the {document} is not what it should be{}", html_hint(.content_type.as_deref()))]
    Json {
        /// Which document.
        document: &'static str,
        /// What `Content-Type` it came with.
        content_type: Option<String>,
        /// Where and why.
        source: serde_json::Error,
    },
    /// It is not text.
    #[error("the {document} is not UTF-8")]
    Utf8 {
        /// Which document.
        document: &'static str,
        /// Where it ceases to be.
        source: std::str::Utf8Error,
    },
    /// It can be read as an index and as a manifest (CVE-2021-41190).
    #[error("the manifest is ambiguous: {why}")]
    Ambiguous {
        /// What contradicts what.
        why: String,
    },
    /// A manifest of the oldest kind breaks its rules.
    #[error("the manifest of Docker's schema 1 is refused: {why}")]
    Schema1 {
        /// Which rule.
        why: &'static str,
    },
    /// It is something else than an image.
    #[error("the {document} has the media type \"{}\", which ucr does not know", .media_type.escape_default())]
    UnknownType {
        /// Which document or part.
        document: &'static str,
        /// What it says to be.
        media_type: String,
    },
    /// A layer that the registry does not serve itself.
    #[error("layer {digest} is a foreign layer, to be had elsewhere only, which was not asked for")]
    ForeignLayer {
        /// The layer.
        digest: Digest,
    },
    /// No place that a foreign layer is to be had from may be asked.
    #[error("layer {digest} is a foreign layer, and none of its places may be asked{}", refused(.first.as_ref()))]
    ForeignPlaces {
        /// The layer.
        digest: Digest,
        /// The first of its places, and what is against it.
        first: Option<(String, &'static str)>,
    },
    /// A size that no file has.
    #[error("the manifest says that {digest} has {size} bytes")]
    Size {
        /// Of what.
        digest: Digest,
        /// What it says.
        size: u64,
    },
    /// A document has another size than the index says.
    #[error("the index says that {digest} has {declared} bytes, but it has {actual}")]
    EntrySize {
        /// The document.
        digest: Digest,
        /// What the index says.
        declared: u64,
        /// What it has.
        actual: u64,
    },
    /// A descriptor embeds other bytes than it is of.
    #[error("what the manifest embeds as {digest} is something else")]
    EmbeddedData {
        /// What it should be.
        digest: Digest,
    },
    /// Indexes in indexes, deeper than anybody needs.
    #[error("the index holds indexes more than {limit} deep")]
    IndexDepth {
        /// How deep they are followed.
        limit: usize,
    },
    /// More indexes in an index than anybody needs.
    #[error("the index holds more than {limit} other indexes")]
    IndexCount {
        /// How many are followed.
        limit: usize,
    },
    /// A digest that cannot be trusted or used.
    #[error("the {document} names a bad digest")]
    Digest {
        /// Which document.
        document: &'static str,
        /// What is wrong with it.
        source: crate::digest::DigestError,
    },
    /// Configuration and manifest disagree on the layers.
    #[error("the manifest has {layers} layers, but the configuration has {diff_ids} diff IDs")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Diff IDs of the configuration.
        diff_ids: usize,
    },
    /// More layers than overlayfs can stack.
    #[error("the image has {layers} layers; at most {limit} can be stacked")]
    TooManyLayers {
        /// How many it has.
        layers: usize,
        /// How many are possible.
        limit: usize,
    },
    /// No image in the index fits.
    #[error("there is no image for {wanted}, only for {}", .available.join(", "))]
    NoSuchPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
}

fn refused(first: Option<&(String, &'static str)>) -> String {
    first.map_or_else(
        || ": it names none".to_owned(),
        |(place, why)| format!(": \"{place}\" {why}"),
    )
}

fn html_hint(content_type: Option<&str>) -> &'static str {
    match content_type {
        Some("text/html") => " (it is a web page: a proxy or a login portal may have answered)",
        _ => "",
    }
}
