//! Manifests of Docker's schema 1, which say neither diff IDs nor sizes.
//!
//! What identifies one is its text without the signatures, whose keys nobody
//! knows; the IDs that it gives its layers are claims, and name nothing here
//! (distribution, "Image Manifest Version 2, Schema 1").

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::manifest::MAX_LAYERS;
use super::outline::Outline;
use crate::Digest;

/// More layers than any image has, those without content too.
const MAX_HISTORY: usize = 4096;
/// The empty layer as Docker compressed it, which old versions did not mark as thrown away.
const EMPTY_LAYER: &str = "a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";
/// What of the newest layer's description becomes the configuration.
const KEPT: [&str; 6] = [
    "architecture",
    "author",
    "config",
    "created",
    "docker_version",
    "os",
];

/// An image as schema 1 describes it.
#[derive(Debug)]
pub struct Schema1 {
    layers: Vec<Digest>,
    config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    schema_version: u64,
    fs_layers: Vec<FsLayer>,
    history: Vec<History>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct History {
    v1_compatibility: String,
}

/// What a layer's description says of its place.
#[derive(Deserialize)]
struct Place {
    id: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    throwaway: bool,
}

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

/// Where the text without signatures ends, and with what (JSON Web Signatures, pretty form).
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Format {
    format_length: usize,
    format_tail: String,
}

/// What the digest of a manifest is over: all of it, but for one of schema 1 without signatures.
///
/// # Errors
/// When it has signatures that do not agree on what is signed.
pub fn without_signatures(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    // Whatever else is wrong with the document its parser will say.
    let signed = serde_json::from_slice::<Outline>(bytes)
        .is_ok_and(|outline| outline.has("fsLayers") && outline.has("signatures"));
    if !signed {
        return Ok(Cow::Borrowed(bytes));
    }
    let refused = |why| Error::Schema1 { why };
    let broken = || refused("its signatures are no JSON Web Signatures");
    let signed: Signed = serde_json::from_slice(bytes).map_err(|_other_shape| broken())?;
    let mut agreed: Option<Format> = None;
    for signature in &signed.signatures {
        let format = URL_SAFE_NO_PAD.decode(&signature.protected).ok();
        let format = format.and_then(|text| serde_json::from_slice(&text).ok());
        let format: Format = format.ok_or_else(broken)?;
        if agreed.get_or_insert_with(|| format.clone()) != &format {
            return Err(refused("its signatures are of different texts"));
        }
    }
    let format = agreed.ok_or_else(broken)?;
    let head = bytes.get(..format.format_length);
    let tail = URL_SAFE_NO_PAD.decode(&format.format_tail);
    match (head, tail) {
        (Some(head), Ok(tail)) => Ok(Cow::Owned([head, &tail].concat())),
        _ => Err(broken()),
    }
}

impl Schema1 {
    /// Reads a manifest that [`without_signatures`] has been over.
    ///
    /// # Errors
    /// Also when its layers do not stand on each other as they are listed (S82).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let broken = |source| Error::Json {
            document: "manifest",
            content_type: None,
            source,
        };
        let refused = |why| Error::Schema1 { why };
        let text: Text = serde_json::from_slice(bytes).map_err(broken)?;
        if text.schema_version != 1 {
            return Err(refused("its schemaVersion is not 1"));
        }
        if text.fs_layers.len() != text.history.len() {
            return Err(refused("it has not as many layers as descriptions of them"));
        }
        if text.history.len() > MAX_HISTORY {
            return Err(refused("it has more layers than any image"));
        }
        let Some(newest) = text.history.first() else {
            return Err(refused("it has no layers"));
        };
        let config = serde_json::from_str(&newest.v1_compatibility).map_err(broken)?;
        let places = text
            .history
            .iter()
            .map(|one| serde_json::from_str(&one.v1_compatibility));
        let places: Vec<Place> = places.collect::<Result<_, _>>().map_err(broken)?;
        check_order(&places).map_err(refused)?;
        let listed = text.fs_layers.iter().zip(&places).zip(1..);
        let mut layers = Vec::new();
        for ((layer, place), next) in listed {
            let digest: Digest = layer.blob_sum.parse().map_err(|source| Error::Digest {
                document: "manifest",
                source,
            })?;
            let repeated = places.get(next).is_some_and(|next| next.id == place.id);
            if !place.throwaway && !repeated && digest.hex() != EMPTY_LAYER {
                layers.push(digest);
            }
        }
        if layers.len() > MAX_LAYERS {
            return Err(Error::TooManyLayers {
                layers: layers.len(),
                limit: MAX_LAYERS,
            });
        }
        layers.reverse();
        Ok(Self { layers, config })
    }

    /// The layers with content as the registry has them, bottom first.
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }

    /// The configuration that schema 2 would have, once it is known what the layers hold.
    ///
    /// The same manifest and diff IDs always give the same bytes.
    pub fn config(&self, diff_ids: &[Digest]) -> Vec<u8> {
        let kept = KEPT.iter().filter_map(|&key| {
            let value = self.config.get(key)?;
            Some((key.to_owned(), value.clone()))
        });
        let mut config: Map<String, Value> = kept.collect();
        let diff_ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
        config.insert(
            "rootfs".to_owned(),
            json!({"type": "layers", "diff_ids": diff_ids}),
        );
        config.insert("history".to_owned(), json!([]));
        Value::Object(config).to_string().into_bytes()
    }
}

/// Checks that each layer names the next one as its parent, and none comes twice.
///
/// Directly after itself one may: some versions of Docker repeated the last.
fn check_order(places: &[Place]) -> Result<(), &'static str> {
    let is_id = |id: &str| {
        id.len() == 64
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut seen = HashSet::new();
    for (place, next) in places.iter().zip(1..) {
        let next = places.get(next).map(|next| next.id.as_str());
        if !is_id(&place.id) {
            return Err("the ID of a layer is not 64 hex digits");
        }
        if next == Some(&place.id) {
            continue;
        }
        if !seen.insert(&place.id) {
            return Err("a layer stands on itself");
        }
        if place.parent != next.unwrap_or_default() {
            return Err("a layer does not stand on the one below it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageConfig;

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn blob(name: &str) -> String {
        Digest::sha256(name.as_bytes()).to_string()
    }

    /// A manifest of these layers, newest first: blob, and description.
    fn manifest(layers: &[(String, Value)]) -> Value {
        let blobs = layers.iter().map(|(blob, _)| json!({"blobSum": blob}));
        let history = layers
            .iter()
            .map(|(_, description)| json!({"v1Compatibility": description.to_string()}));
        json!({
            "schemaVersion": 1,
            "name": "app",
            "tag": "1",
            "architecture": "amd64",
            "fsLayers": blobs.collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(),
        })
    }

    fn two() -> Value {
        let top = json!({"id": id('b'), "parent": id('a'), "os": "linux", "architecture": "amd64",
            "config": {"Cmd": ["sh"], "Env": ["A=b"]}, "Size": 5});
        manifest(&[(blob("top"), top), (blob("base"), json!({"id": id('a')}))])
    }

    fn parse(manifest: &Value) -> Result<Schema1, Error> {
        Schema1::parse(manifest.to_string().as_bytes())
    }

    /// Signs as libtrust does: the signatures come before the last characters of the text.
    fn signed(text: &str, formats: &[(usize, &str)]) -> String {
        let signatures = formats.iter().map(|(length, tail)| {
            let protected = json!({
                "formatLength": length,
                "formatTail": URL_SAFE_NO_PAD.encode(tail),
                "time": "2015-01-01T00:00:00Z",
            });
            let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
            json!({"header": {"alg": "ES256"}, "signature": "x", "protected": protected})
        });
        let signatures = json!(signatures.collect::<Vec<_>>());
        let head = text.strip_suffix("\n}").unwrap();
        format!("{head},\n   \"signatures\": {signatures}\n}}")
    }

    #[test]
    fn the_digest_is_over_what_was_signed() {
        let text = serde_json::to_string_pretty(&two()).unwrap();
        let format = (text.len() - 2, "\n}");
        let whole = signed(&text, &[format, format]);
        assert_ne!(whole, text);
        let payload = without_signatures(whole.as_bytes()).unwrap();
        assert_eq!(payload, text.as_bytes());
        assert_eq!(
            without_signatures(text.as_bytes()).unwrap(),
            text.as_bytes()
        );
        assert_eq!(Schema1::parse(&payload).unwrap().layers().len(), 2);
    }

    #[test]
    fn signatures_that_disagree_or_are_none_are_refused() {
        let text = serde_json::to_string_pretty(&two()).unwrap();
        let end = text.len() - 2;
        for formats in [
            &[(end, "\n}"), (end, "}")][..],
            &[(end, "\n}"), (1, "}")],
            &[(1 << 40, "}")],
            &[],
        ] {
            let refused = without_signatures(signed(&text, formats).as_bytes()).unwrap_err();
            assert!(matches!(refused, Error::Schema1 { .. }));
        }
        let odd = signed(&text, &[(end, "\n}")]).replace("protected", "other");
        assert!(without_signatures(odd.as_bytes()).is_err());
        let odd = r#"{"fsLayers":[],"signatures":{}}"#;
        assert!(without_signatures(odd.as_bytes()).is_err());
        let schema2 = br#"{"layers":[],"signatures":[]}"#;
        assert_eq!(without_signatures(schema2).unwrap(), &schema2[..]);
    }

    #[test]
    fn layers_are_listed_bottom_first_without_the_empty_ones() {
        let descriptions = [
            (
                blob("none"),
                json!({"id": id('d'), "parent": id('c'), "throwaway": true}),
            ),
            (
                format!("sha256:{EMPTY_LAYER}"),
                json!({"id": id('c'), "parent": id('b')}),
            ),
            (blob("top"), json!({"id": id('b'), "parent": id('a')})),
            (blob("base"), json!({"id": id('a')})),
        ];
        let parsed = parse(&manifest(&descriptions)).unwrap();
        let listed: Vec<String> = parsed.layers().iter().map(Digest::to_string).collect();
        assert_eq!(listed, [blob("base"), blob("top")]);
    }

    #[test]
    fn the_configuration_is_that_of_the_newest_layer() {
        let parsed = parse(&two()).unwrap();
        let diff_ids = [Digest::sha256(b"base"), Digest::sha256(b"top")];
        let bytes = parsed.config(&diff_ids);
        let config = ImageConfig::parse(&bytes).unwrap();
        assert_eq!(config.diff_ids(), diff_ids);
        assert_eq!(
            (config.cmd(), config.env()),
            (&["sh".to_owned()][..], &["A=b".to_owned()][..])
        );
        assert!(
            config
                .check_platform(&"linux/amd64".parse().unwrap())
                .is_ok()
        );
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains("Size") && !text.contains(&id('b')), "{text}");
        assert_eq!(parse(&two()).unwrap().config(&diff_ids), bytes);
    }

    #[test]
    fn s82_layers_that_stand_on_themselves_or_on_nothing_are_refused() {
        let layer = |own: char, parent: &str| (blob("x"), json!({"id": id(own), "parent": parent}));
        let (a, b) = (id('a'), id('b'));
        for layers in [
            &[layer('a', &a)][..],
            &[layer('a', &b), layer('b', &a)],
            &[layer('a', &b), layer('b', &a), layer('a', "")],
            &[layer('a', ""), layer('b', "")],
            &[layer('b', &a), layer('a', &b)],
        ] {
            let refused = parse(&manifest(layers)).unwrap_err();
            assert!(matches!(refused, Error::Schema1 { .. }), "{refused}");
        }
        let repeated = [layer('b', &a), layer('b', &a), layer('a', "")];
        assert_eq!(parse(&manifest(&repeated)).unwrap().layers().len(), 2);
    }

    #[test]
    fn w5_what_claims_to_be_a_layers_id_is_none() {
        for hostile in ["../../etc", "", "ABC", &"a".repeat(63)] {
            let one = [(blob("x"), json!({"id": hostile}))];
            assert!(parse(&manifest(&one)).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn s81_lists_that_do_not_agree_are_refused() {
        let edit = |change: &dyn Fn(&mut Value)| {
            let mut manifest = two();
            change(&mut manifest);
            assert!(parse(&manifest).is_err(), "{manifest}");
        };
        edit(&|manifest| manifest["fsLayers"] = json!([]));
        edit(&|manifest| manifest["history"] = json!([]));
        edit(&|manifest| (manifest["history"], manifest["fsLayers"]) = (json!([]), json!([])));
        edit(&|manifest| manifest["schemaVersion"] = json!(2));
        edit(&|manifest| manifest["fsLayers"][0]["blobSum"] = json!("sha256:../x"));
        edit(&|manifest| manifest["history"][1]["v1Compatibility"] = json!("["));
        edit(&|manifest| manifest["history"][0]["v1Compatibility"] = json!("[]"));
    }
}
