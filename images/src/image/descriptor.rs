//! Descriptors: what one document says of another, checked by our own, stricter rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::Descriptor;

use super::error::Error;
use crate::Digest;

/// The digest and the size of what a descriptor is of (OCI descriptor.md, "Properties").
///
/// # Errors
/// A digest of a weak kind, a size that is none, and embedded data of something else.
pub(super) fn described(descriptor: &Descriptor) -> Result<(Digest, u64), Error> {
    let digest = descriptor.digest().to_string();
    let digest: Digest = digest.parse().map_err(|source| Error::Digest {
        document: "manifest",
        source,
    })?;
    let size = descriptor.size();
    // The specification's int64, beyond which other programs see another number.
    if i64::try_from(size).is_err() {
        return Err(Error::Size { digest, size });
    }
    if let Some(data) = descriptor.data() {
        let is_right = STANDARD
            .decode(data)
            .is_ok_and(|bytes| bytes.len() as u64 == size && digest.matches(&bytes));
        if !is_right {
            return Err(Error::EmbeddedData { digest });
        }
    }
    Ok((digest, size))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(size: u64, data: Option<&str>) -> Result<(Digest, u64), Error> {
        let mut descriptor = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(b"{}").to_string(),
            "size": size,
        });
        if let Some(data) = data {
            descriptor["data"] = json!(data);
        }
        described(&serde_json::from_value(descriptor).unwrap())
    }

    #[test]
    fn p71_embedded_data_must_be_what_it_is_embedded_for() {
        assert_eq!(check(2, Some("e30=")).unwrap().1, 2);
        for (size, data) in [(2, "e319"), (3, "e30="), (2, "e30"), (2, "!"), (2, "")] {
            let refused = check(size, Some(data));
            assert!(matches!(refused, Err(Error::EmbeddedData { .. })), "{data}");
        }
    }

    #[test]
    fn p71_a_size_beyond_63_bits_is_refused() {
        assert!(check(1 << 62, None).is_ok());
        assert!(matches!(check(1 << 63, None), Err(Error::Size { .. })));
        assert!(matches!(check(u64::MAX, None), Err(Error::Size { .. })));
    }

    #[test]
    fn s88_digests_are_sha256_or_sha512() {
        let with = |digest: &str| {
            let text = format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":1}}"#);
            serde_json::from_str(&text).map(|descriptor| described(&descriptor))
        };
        for (algorithm, length) in [("md5", 32), ("sha1", 40), ("sha384", 96), ("blake3", 64)] {
            let digest = format!("{algorithm}:{}", "a".repeat(length));
            // Either parser may be the one to refuse it.
            assert!(!matches!(with(&digest), Ok(Ok(_))), "{digest}");
        }
        assert!(
            with(&format!("sha512:{}", "a".repeat(128)))
                .unwrap()
                .is_ok()
        );
    }
}
