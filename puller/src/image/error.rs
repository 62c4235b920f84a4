//! What can be wrong with a document of an image.

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
    /// It can be read as an index and as a manifest (CVE-2021-41190).
    #[error("the manifest is ambiguous: {why}")]
    Ambiguous {
        /// What contradicts what.
        why: String,
    },
    /// It is of the oldest kind.
    #[error("the image has only a manifest of Docker's schema 1, which ucr does not read")]
    Schema1,
    /// It is something else than an image.
    #[error("the {document} has the media type \"{}\", which ucr does not know", .media_type.escape_default())]
    UnknownType {
        /// Which document or part.
        document: &'static str,
        /// What it says to be.
        media_type: String,
    },
    /// A layer that the registry does not serve itself.
    #[error(
        "layer {digest} is a foreign layer, to be had elsewhere only; ucr does not fetch those"
    )]
    ForeignLayer {
        /// The layer.
        digest: String,
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

fn html_hint(content_type: Option<&str>) -> &'static str {
    match content_type {
        Some("text/html") => " (it is a web page: a proxy or a login portal may have answered)",
        _ => "",
    }
}
