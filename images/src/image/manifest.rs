//! Manifests, and telling them from indexes.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use url::Url;

use super::descriptor::described;
use super::error::Error;
use super::media_type;
use super::outline::Outline;
use super::schema1::{Schema1, without_signatures};
use crate::Digest;

/// Layers that overlayfs can stack, less one for the fix-up layer (measured: 500 work, 501 do not).
pub const MAX_LAYERS: usize = 499;

/// What a registry answers when asked for a manifest.
#[derive(Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, one for each platform.
    Index(Box<ImageIndex>),
    /// One image of the oldest kind, which says neither diff IDs nor sizes.
    Schema1(Box<Schema1>),
}

/// What a document is, if everything it says agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Index,
    Schema1,
}

/// One image: its configuration and its layers, bottom first.
#[derive(Debug)]
pub struct Manifest {
    /// The configuration's digest, which is the image ID.
    pub config: Digest,
    /// How large the configuration is, in bytes.
    pub config_size: u64,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// A layer as the registry stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the bytes as stored, mostly compressed.
    pub digest: Digest,
    /// How many bytes those are.
    pub size: u64,
    /// Who has it.
    pub origin: Origin,
}

/// Where a layer is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From the registry that has the manifest.
    Registry,
    /// From its publisher, at one of these places, which are not yet checked.
    Claimed(Vec<String>),
    /// From its publisher, at one of these places.
    Elsewhere(Vec<Url>),
}

impl Document {
    /// Reads a manifest or an index, whichever it says to be.
    ///
    /// # Errors
    /// When `content_type`, `mediaType` and the content do not agree.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Error> {
        let broken = |source| Error::Json {
            document: "manifest",
            content_type: content_type.map(str::to_owned),
            source,
        };
        std::str::from_utf8(bytes).map_err(|source| Error::Utf8 {
            document: "manifest",
            source,
        })?;
        let outline: Outline = serde_json::from_slice(bytes).map_err(broken)?;
        match kind(&outline, content_type)? {
            Kind::Index => serde_json::from_slice(bytes)
                .map(|index| Self::Index(Box::new(index)))
                .map_err(broken),
            Kind::Manifest => {
                let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(broken)?;
                Manifest::from_spec(&manifest).map(Self::Manifest)
            }
            Kind::Schema1 => Schema1::parse(bytes).map(|old| Self::Schema1(Box::new(old))),
        }
    }
}

/// Judges a manifest or an index as a pull would, and names what it refers to.
///
/// # Errors
/// Whatever a pull would refuse before it asks for any of that.
pub fn check_document(bytes: &[u8], content_type: Option<&str>) -> Result<Vec<Digest>, Error> {
    let text = without_signatures(bytes)?;
    match Document::parse(&text, content_type)? {
        Document::Manifest(Manifest { config, layers, .. }) => {
            let layers = layers.into_iter().map(|layer| layer.digest);
            Ok([config].into_iter().chain(layers).collect())
        }
        Document::Index(index) => {
            let entries = index.manifests().iter().map(described);
            entries.map(|entry| Ok(entry?.0)).collect()
        }
        Document::Schema1(old) => Ok(old.layers().to_vec()),
    }
}

/// What a document is, by its keys, its own word, and the word of who sent it.
fn kind(outline: &Outline, content_type: Option<&str>) -> Result<Kind, Error> {
    let own = outline.media_type.as_deref();
    let found = [
        (
            Kind::Manifest,
            outline.has("layers") || outline.has("config"),
        ),
        (Kind::Index, outline.has("manifests")),
        (Kind::Schema1, outline.has("fsLayers")),
    ];
    let mut found = found.iter().filter(|(_, has)| *has).map(|(kind, _)| *kind);
    let kind = found.next();
    if found.next().is_some() {
        let why = "it has the content of several kinds at once".to_owned();
        return Err(Error::Ambiguous { why });
    }
    if let (Some(own), Some(sent)) = (own, content_type.and_then(specific))
        && own != sent
    {
        let why = format!(
            "it says to be {}, and was sent as {}",
            own.escape_default(),
            sent.escape_default()
        );
        return Err(Error::Ambiguous { why });
    }
    for said in [own, content_type.and_then(specific)].into_iter().flatten() {
        let stands_for = match said {
            media_type::OCI_INDEX | media_type::DOCKER_LIST => Kind::Index,
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Kind::Manifest,
            other if media_type::is_schema1(other) => Kind::Schema1,
            other => {
                let media_type = other.to_owned();
                return Err(Error::UnknownType {
                    document: "manifest",
                    media_type,
                });
            }
        };
        if kind != Some(stands_for) {
            let why = format!("it says to be {said}, and has not the content of one");
            return Err(Error::Ambiguous { why });
        }
    }
    // One without any content is told what it lacks by the parser of manifests.
    Ok(kind.unwrap_or(Kind::Manifest))
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
        let (digest, size) = described(config)?;
        Ok(Self {
            config: digest,
            config_size: size,
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
        let (digest, size) = described(descriptor)?;
        let is_foreign = media_type::is_foreign_layer(&media_type);
        if !is_foreign && !media_type::is_layer(&media_type) {
            return Err(Error::UnknownType {
                document: "layer",
                media_type,
            });
        }
        // Other layers may have places as well, and are fetched from the registry all the same.
        let origin = if is_foreign {
            Origin::Claimed(descriptor.urls().clone().unwrap_or_default())
        } else {
            Origin::Registry
        };
        Ok(Self {
            digest,
            size,
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ForeignLayers;

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
        let Document::Manifest(mut foreign) = parse(&foreign, None).unwrap() else {
            panic!("an index?");
        };
        assert!(matches!(
            foreign.admit_foreign(ForeignLayers::Refused, &|_| false),
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
    fn s77_fields_of_schema_1_beside_others_are_refused() {
        for extra in [r#""fsLayers":[],"#, r#""fsLayers":null,"#] {
            let both = manifest(extra);
            assert!(matches!(parse(&both, None), Err(Error::Ambiguous { .. })));
        }
        let sent_as = Some("application/vnd.docker.distribution.manifest.v1+prettyjws");
        let refused = parse(&manifest(""), sent_as);
        assert!(matches!(refused, Err(Error::Ambiguous { .. })));
    }

    #[test]
    fn p71_text_that_is_no_utf_8_is_refused_wherever_it_stands() {
        let text = manifest(r#""annotations":{"a":"?"},"x":"?","#);
        assert!(parse(&text, None).is_ok());
        for (at, _) in text.match_indices('?') {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = 0xff;
            let refused = Document::parse(&bytes, None);
            assert!(matches!(refused, Err(Error::Utf8 { .. })), "{at}");
        }
    }

    #[test]
    fn p71_what_stands_before_or_behind_the_document_is_refused() {
        for text in [
            format!("\u{feff}{}", manifest("")),
            format!("{} {{}}", manifest("")),
            format!("{}x", manifest("")),
            format!("{}\0", manifest("")),
        ] {
            assert!(matches!(parse(&text, None), Err(Error::Json { .. })));
        }
        assert!(parse(&format!(" {}\n", manifest("")), None).is_ok());
    }

    #[test]
    fn p71_a_size_is_a_whole_number_of_63_bits() {
        for size in [
            "-1",
            "9223372036854775808",
            "1e400",
            "1e2",
            "3.5",
            "\"3\"",
            "null",
        ] {
            let odd = manifest("").replace(r#""size":3"#, &format!(r#""size":{size}"#));
            assert!(parse(&odd, None).is_err(), "{size}");
        }
    }

    #[test]
    fn p71_an_image_without_layers_is_one() {
        let none = manifest("").split_once(r#""layers""#).unwrap().0.to_owned() + r#""layers":[]}"#;
        let Document::Manifest(none) = parse(&none, None).unwrap() else {
            panic!("an index?");
        };
        assert!(none.layers.is_empty());
    }

    #[test]
    fn digests_of_sha_512_are_as_good() {
        let long = manifest("").replace(&hex("b"), &format!("sha512:{}", "b".repeat(128)));
        let Document::Manifest(long) = parse(&long, None).unwrap() else {
            panic!("an index?");
        };
        assert_eq!(long.layers[0].digest.algorithm(), crate::Algorithm::Sha512);
    }

    #[test]
    fn l112_more_layers_than_can_be_stacked_are_refused() {
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":3}}"#,
            hex("c")
        );
        let of = |count: usize| {
            let layers = vec![layer.as_str(); count].join(",");
            let text = format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":[{layers}]}}"#,
                hex("a")
            );
            parse(&text, None)
        };
        assert!(of(499).is_ok());
        for count in [500, 501] {
            let refused = of(count);
            assert!(
                matches!(refused, Err(Error::TooManyLayers { layers, .. }) if layers == count),
                "{refused:?}"
            );
        }
    }
}
