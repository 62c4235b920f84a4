//! Manifests, and telling them from indexes.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;

use super::error::Error;
use super::media_type;
use crate::Digest;

/// Layers that overlayfs can stack, less one for the fix-up layer (measured: 500 work, 501 do not).
pub(crate) const MAX_LAYERS: usize = 499;

/// What a registry answers when asked for a manifest.
#[derive(Debug)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, one for each platform.
    Index(Box<ImageIndex>),
}

/// One image: its configuration and its layers, bottom first.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The configuration's digest, which is the image ID.
    pub(crate) config: Digest,
    /// How large the configuration is, in bytes.
    pub(crate) config_size: u64,
    /// The layers, bottom first.
    pub(crate) layers: Vec<Layer>,
}

/// A layer as the registry stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The digest of the bytes as stored, mostly compressed.
    pub(crate) digest: Digest,
    /// How many bytes those are.
    pub(crate) size: u64,
}

impl Document {
    /// Reads a manifest or an index, whichever it says to be.
    ///
    /// # Errors
    /// When `content_type`, `mediaType` and the content do not agree.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Error> {
        let broken = |source| Error::Json {
            document: "manifest",
            content_type: content_type.map(str::to_owned),
            source,
        };
        let value: Value = serde_json::from_slice(bytes).map_err(broken)?;
        let is_index = kind(&value, content_type)?;
        // From the bytes again: a Value has lost what a duplicate key said first.
        if is_index {
            return serde_json::from_slice(bytes)
                .map(|index| Self::Index(Box::new(index)))
                .map_err(broken);
        }
        let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(broken)?;
        Manifest::from_spec(&manifest).map(Self::Manifest)
    }
}

/// Whether a document is an index (or else a manifest), if everything it says agrees.
fn kind(value: &Value, content_type: Option<&str>) -> Result<bool, Error> {
    let has = |key| value.get(key).is_some();
    let own = value.get("mediaType").and_then(Value::as_str);
    if own.is_some_and(media_type::is_schema1)
        || content_type.is_some_and(media_type::is_schema1)
        || has("fsLayers")
    {
        return Err(Error::Schema1);
    }
    let is_manifest = has("layers") || has("config");
    let is_index = has("manifests");
    if is_manifest && is_index {
        let why = "it lists layers and manifests".to_owned();
        return Err(Error::Ambiguous { why });
    }
    if let (Some(own), Some(sent)) = (own, content_type.and_then(specific))
        && own != sent
    {
        let why = format!(
            "it says to be {}, and was sent as {sent}",
            own.escape_default()
        );
        return Err(Error::Ambiguous { why });
    }
    for said in [own, content_type.and_then(specific)].into_iter().flatten() {
        let fits = match said {
            media_type::OCI_INDEX | media_type::DOCKER_LIST => is_index,
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => is_manifest,
            other => {
                let media_type = other.to_owned();
                return Err(Error::UnknownType {
                    document: "manifest",
                    media_type,
                });
            }
        };
        if !fits {
            let why = format!("it says to be {said}, and has not the content of one");
            return Err(Error::Ambiguous { why });
        }
    }
    Ok(is_index)
}

/// A content type that says more than "some JSON" or "some text".
fn specific(content_type: &str) -> Option<&str> {
    let vague = [
        "application/json",
        "text/plain",
        "application/octet-stream",
        "text/html",
    ];
    Some(content_type).filter(|content_type| !vague.contains(content_type))
}

impl Manifest {
    fn from_spec(manifest: &ImageManifest) -> Result<Self, Error> {
        let config = manifest.config();
        if !media_type::is_config(config.media_type().as_ref()) {
            let media_type = config.media_type().to_string();
            return Err(Error::UnknownType {
                document: "configuration",
                media_type,
            });
        }
        let layers = manifest.layers();
        if layers.len() > MAX_LAYERS {
            return Err(Error::TooManyLayers {
                layers: layers.len(),
                limit: MAX_LAYERS,
            });
        }
        Ok(Self {
            config: digest_of(config)?,
            config_size: config.size(),
            layers: layers
                .iter()
                .map(Layer::from_spec)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Layer {
    fn from_spec(descriptor: &Descriptor) -> Result<Self, Error> {
        let media_type = descriptor.media_type().to_string();
        let digest = digest_of(descriptor)?;
        if media_type::is_foreign_layer(&media_type) {
            return Err(Error::ForeignLayer {
                digest: digest.to_string(),
            });
        }
        if !media_type::is_layer(&media_type) {
            return Err(Error::UnknownType {
                document: "layer",
                media_type,
            });
        }
        Ok(Self {
            digest,
            size: descriptor.size(),
        })
    }
}

/// The digest of a descriptor, by our own, stricter rules.
pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest, Error> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|source| Error::Digest {
        document: "manifest",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"{}","size":3}}]}}"#,
            hex("a"),
            hex("b")
        )
    }

    fn parse(text: &str, content_type: Option<&str>) -> Result<Document, Error> {
        Document::parse(text.as_bytes(), content_type)
    }

    #[test]
    fn a_manifest_is_read_whatever_vague_type_it_was_sent_as() {
        for content_type in [
            None,
            Some("application/json"),
            Some(media_type::OCI_MANIFEST),
        ] {
            let Document::Manifest(manifest) = parse(&manifest(""), content_type).unwrap() else {
                panic!("an index?");
            };
            assert_eq!(manifest.config.to_string(), hex("a"));
            assert_eq!(manifest.layers[0].size, 3);
        }
    }

    #[test]
    fn s77_a_document_that_is_index_and_manifest_is_refused() {
        let both = manifest(r#""manifests":[],"#);
        assert!(matches!(parse(&both, None), Err(Error::Ambiguous { .. })));
        let lying = manifest(&format!(r#""mediaType":"{}","#, media_type::OCI_INDEX));
        assert!(matches!(parse(&lying, None), Err(Error::Ambiguous { .. })));
        let sent_as = Some(media_type::DOCKER_LIST);
        assert!(matches!(
            parse(&manifest(""), sent_as),
            Err(Error::Ambiguous { .. })
        ));
    }

    #[test]
    fn p71_duplicate_keys_are_refused() {
        let twice = manifest(r#""layers":[],"#);
        assert!(matches!(parse(&twice, None), Err(Error::Json { .. })));
    }

    #[test]
    fn p71_nonsense_is_refused_quickly() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "{\"manifests\":{}}",
            "<html>",
            "\u{feff}{}",
        ] {
            assert!(parse(text, None).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(1_000_000), None).is_err());
        let negative = manifest("").replace(r#""size":3"#, r#""size":-1"#);
        assert!(parse(&negative, None).is_err());
        let huge = manifest("").replace(r#""size":3"#, r#""size":1e400"#);
        assert!(parse(&huge, None).is_err());
    }

    #[test]
    fn p72_foreign_and_unknown_layers_are_refused_before_any_download() {
        let foreign = manifest("").replace("layer.v1.tar+zstd", "layer.nondistributable.v1.tar");
        assert!(matches!(
            parse(&foreign, None),
            Err(Error::ForeignLayer { .. })
        ));
        let encrypted = manifest("").replace("tar+zstd", "tar+encrypted");
        assert!(matches!(
            parse(&encrypted, None),
            Err(Error::UnknownType { .. })
        ));
        let artifact = manifest("").replace("image.config", "artifact.config");
        assert!(matches!(
            parse(&artifact, None),
            Err(Error::UnknownType { .. })
        ));
    }

    #[test]
    fn p67_schema_1_is_refused_by_name() {
        let text = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
        assert!(matches!(parse(text, None), Err(Error::Schema1)));
    }

    #[test]
    fn l112_more_layers_than_can_be_stacked_are_refused() {
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":3}}"#,
            hex("c")
        );
        let layers = vec![layer; 501].join(",");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":[{layers}]}}"#,
            hex("a")
        );
        assert!(matches!(
            parse(&text, None),
            Err(Error::TooManyLayers { layers: 501, .. })
        ));
    }
}
