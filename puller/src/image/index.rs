//! Indexes: choosing the image for a platform.

use oci_spec::image::ImageIndex;

use super::error::Error;
use super::manifest::digest_of;
use super::media_type;
use crate::{Digest, Platform};

/// The digest of the first image in `index` that runs on `wanted`, one without a variant first.
///
/// Entries that are no images (attestations, say, which claim the platform
/// "unknown/unknown") and nested indexes are passed over.
pub(crate) fn choose_platform(index: &ImageIndex, wanted: &Platform) -> Result<Digest, Error> {
    let images = index.manifests().iter().filter(|entry| {
        let media_type = entry.media_type().to_string();
        media_type == media_type::OCI_MANIFEST || media_type == media_type::DOCKER_MANIFEST
    });
    let platforms: Vec<(Platform, _)> = images
        .filter_map(|entry| Some((Platform::from(entry.platform().as_ref()?), entry)))
        .collect();
    let fitting = || platforms.iter().filter(|(one, _)| wanted.accepts(one));
    let plain = fitting().find(|(one, _)| wanted.is_as_plain(one));
    if let Some((_, entry)) = plain.or_else(|| fitting().next()) {
        return digest_of(entry);
    }
    let names = platforms.iter().map(|(one, _)| one.to_string());
    let mut available: Vec<String> = names.filter(|name| name != "unknown/unknown").collect();
    if available.is_empty() {
        available.push("no platform at all".to_owned());
    }
    Err(Error::NoSuchPlatform {
        wanted: wanted.to_string(),
        available,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str, &str)]) -> ImageIndex {
        let manifests: Vec<String> = entries
            .iter()
            .map(|(architecture, digit, media_type)| {
                format!(
                    r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":1,"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                    digit.repeat(64)
                )
            })
            .collect();
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            manifests.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let list = [
            ("arm64", "a", media_type::OCI_MANIFEST),
            ("amd64", "b", media_type::DOCKER_MANIFEST),
            ("amd64", "c", media_type::OCI_MANIFEST),
        ];
        let chosen = choose_platform(&index(&list), &"linux/amd64".parse().unwrap()).unwrap();
        assert_eq!(chosen.hex(), "b".repeat(64));
    }

    #[test]
    fn p69_when_none_fits_the_message_lists_what_there_is() {
        let list = [
            ("arm64", "a", media_type::OCI_MANIFEST),
            ("s390x", "b", media_type::OCI_MANIFEST),
        ];
        let error = choose_platform(&index(&list), &"linux/amd64".parse().unwrap()).unwrap_err();
        let expected = "there is no image for linux/amd64, only for linux/arm64, linux/s390x";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn p69_a_nested_index_is_not_followed() {
        let list = [("amd64", "a", media_type::OCI_INDEX)];
        assert!(choose_platform(&index(&list), &"linux/amd64".parse().unwrap()).is_err());
    }
}
