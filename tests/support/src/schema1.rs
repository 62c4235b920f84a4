//! Images of Docker's schema 1, signed as Docker signed them or not at all.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::image::{Stored, sha256_digest};
use crate::layer::{Blob, Compression, Layer};

const SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const UNSIGNED: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// An empty archive as Docker compressed it: known by its digest everywhere.
const EMPTY: [u8; 32] = [
    31, 139, 8, 0, 0, 9, 110, 136, 0, 255, 98, 24, 5, 163, 96, 20, 140, 88, 0, 8, 0, 0, 255, 255,
    46, 175, 181, 239, 0, 4, 0, 0,
];

/// An image, ready to be served.
#[derive(Debug, Clone)]
pub struct Schema1Image {
    /// The manifest; its digest is that of the text that is signed.
    pub manifest: Stored,
    /// The layers as they are sent, from the lowest; empty ones are left out.
    pub layers: Vec<Blob>,
    /// The digests of the layers before compression.
    pub diff_ids: Vec<String>,
    empty: bool,
}

impl Schema1Image {
    /// All that must be there before the manifest, by digest.
    pub fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let layers = self.layers.iter();
        let layers = layers.map(|blob| (blob.digest.clone(), blob.bytes.clone()));
        let empty = self.empty.then(|| (sha256_digest(&EMPTY), EMPTY.to_vec()));
        layers.chain(empty).collect()
    }
}

/// One layer, with what there is to unpack, or nothing.
#[derive(Debug)]
enum Part {
    Layer(Blob, String),
    Empty,
    Throwaway,
}

/// Makes an image.
#[derive(Debug)]
pub struct Schema1Builder {
    name: String,
    tag: String,
    parts: Vec<Part>,
    process: serde_json::Map<String, Value>,
    platform: (String, String),
}

impl Schema1Builder {
    /// Starts an image, which says its own name as old ones do.
    pub fn new(name: &str, tag: &str) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
            parts: Vec::new(),
            process: serde_json::Map::new(),
            platform: ("linux".to_owned(), architecture.to_owned()),
        }
    }

    /// Puts a layer, gzip-compressed, on top.
    pub fn layer(mut self, layer: &Layer) -> Self {
        let blob = layer.compress(Compression::Gzip);
        self.parts.push(Part::Layer(blob, layer.diff_id.clone()));
        self
    }

    /// Puts the empty layer on top, which nothing marks as such.
    pub fn empty(mut self) -> Self {
        self.parts.push(Part::Empty);
        self
    }

    /// Puts a layer on top that is marked as one to throw away.
    pub fn throwaway(mut self) -> Self {
        self.parts.push(Part::Throwaway);
        self
    }

    /// Sets the architecture.
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.platform.1);
        self
    }

    /// Sets the default command.
    pub fn cmd(mut self, arguments: &[&str]) -> Self {
        self.process.insert("Cmd".to_owned(), json!(arguments));
        self
    }

    /// Finishes the image without a signature.
    pub fn unsigned(self) -> Schema1Image {
        let text = self.text();
        self.with(Stored::new(UNSIGNED, text.into_bytes()))
    }

    /// Finishes the image with a signature by a key of its own (ES256, RFC 7518 section 3.4).
    pub fn signed(self) -> Schema1Image {
        let text = self.text();
        let manifest = Stored {
            digest: sha256_digest(text.as_bytes()),
            ..Stored::new(SIGNED, sign(&text).into_bytes())
        };
        self.with(manifest)
    }

    fn with(self, manifest: Stored) -> Schema1Image {
        let empty = !self
            .parts
            .iter()
            .all(|part| matches!(part, Part::Layer(..)));
        let layers = self.parts.into_iter().filter_map(|part| match part {
            Part::Layer(blob, diff_id) => Some((blob, diff_id)),
            Part::Empty | Part::Throwaway => None,
        });
        let (layers, diff_ids) = layers.unzip();
        Schema1Image {
            manifest,
            layers,
            diff_ids,
            empty,
        }
    }

    /// The manifest as Docker wrote it, newest layer first.
    fn text(&self) -> String {
        let mut parent: Option<String> = None;
        let mut layers = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let id = sha256_digest(format!("{} {number}", self.name).as_bytes());
            let id = id.trim_start_matches("sha256:").to_owned();
            let mut described = json!({
                "id": id,
                "created": "2015-01-01T00:00:00Z",
                "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD x"]},
            });
            if let Some(parent) = parent.replace(id) {
                described["parent"] = json!(parent);
            }
            if matches!(part, Part::Throwaway) {
                described["throwaway"] = json!(true);
            }
            let blob = match part {
                Part::Layer(blob, _) => blob.digest.clone(),
                Part::Empty | Part::Throwaway => sha256_digest(&EMPTY),
            };
            layers.insert(0, (blob, described));
        }
        if let Some((_, newest)) = layers.first_mut() {
            newest["os"] = json!(self.platform.0);
            newest["architecture"] = json!(self.platform.1);
            newest["config"] = json!(self.process);
        }
        let blobs = layers.iter().map(|(blob, _)| json!({"blobSum": blob}));
        let history = layers.iter();
        let history = history.map(|(_, one)| json!({"v1Compatibility": one.to_string()}));
        let manifest = json!({
            "schemaVersion": 1,
            "name": self.name,
            "tag": self.tag,
            "architecture": self.platform.1,
            "fsLayers": blobs.collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&manifest).unwrap()
    }
}

/// Puts a signature before the last characters of a text, as libtrust does.
fn sign(text: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let head = text.strip_suffix("\n}").unwrap();
    let protected = json!({
        "formatLength": head.len(),
        "formatTail": URL_SAFE_NO_PAD.encode("\n}"),
        "time": "2015-01-01T00:00:00Z",
    });
    let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
    let signed = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(text));
    // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
    let (x, y) = key.der_bytes()[1..].split_at(32);
    let signature = fixed(&key.sign(signed.as_bytes()).unwrap());
    let signatures = json!([{
        "header": {
            "jwk": {
                "crv": "P-256",
                "kty": "EC",
                "x": URL_SAFE_NO_PAD.encode(x),
                "y": URL_SAFE_NO_PAD.encode(y),
            },
            "alg": "ES256",
        },
        "signature": URL_SAFE_NO_PAD.encode(signature),
        "protected": protected,
    }]);
    format!("{head},\n  \"signatures\": {signatures}\n}}")
}

/// The two numbers of an ECDSA signature in 32 bytes each, of their ASN.1 form.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut both = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(32)..];
        both.resize(both.len() + 32 - number.len(), 0);
        both.extend(number);
        rest = after;
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerBuilder;

    #[test]
    fn the_empty_layer_is_the_one_that_everybody_knows() {
        let known = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";
        assert_eq!(sha256_digest(&EMPTY), known);
    }

    #[test]
    fn the_digest_is_that_of_the_text_without_the_signature() {
        let layer = LayerBuilder::new().file("x", "y").build();
        let build = || Schema1Builder::new("app", "1").layer(&layer).throwaway();
        let (signed, unsigned) = (build().signed(), build().unsigned());
        assert_eq!(signed.manifest.digest, unsigned.manifest.digest);
        assert_ne!(signed.manifest.bytes, unsigned.manifest.bytes);
        assert_eq!((signed.layers.len(), signed.blobs().len()), (1, 2));
    }
}
