//! Media types of Docker's image manifests 1 and 2, and of OCI 1.

/// Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Docker schema 1, signed.
pub(crate) const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker schema 1, without signatures.
pub(crate) const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// What a manifest request accepts, best first.
pub const ACCEPTED_MANIFESTS: &[&str] = &[
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    SCHEMA1_SIGNED,
    SCHEMA1,
];

/// Docker schema 1, signed or not.
pub(crate) fn is_schema1(media_type: &str) -> bool {
    media_type == SCHEMA1 || media_type == SCHEMA1_SIGNED
}

/// An index of either family.
pub(crate) fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_LIST
}

/// A manifest of either family, or of schema 1, which Docker takes out of a list as well.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    media_type == OCI_MANIFEST || media_type == DOCKER_MANIFEST || is_schema1(media_type)
}

/// The configuration of an image that can be run.
pub(crate) fn is_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.docker.container.image.v1+json"
            | "application/vnd.oci.image.config.v1+json"
    )
}

/// A layer that is a tar archive, in whatever compression: its bytes tell which.
///
/// Docker's with zstd is in no specification; containerd knows it as
/// `MediaTypeDockerSchema2LayerZstd`.
pub(crate) fn is_layer(media_type: &str) -> bool {
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.v1.tar");
    docker.is_some_and(|rest| matches!(rest, "" | ".gzip" | ".zstd"))
        || oci.is_some_and(|rest| matches!(rest, "" | "+gzip" | "+zstd"))
}

/// A layer that its publisher keeps elsewhere (OCI layer.md, "Non-Distributable Layers").
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_either_family_in_each_compression() {
        for known in [
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ] {
            assert!(is_layer(known), "{known}");
        }
        for other in [
            "application/vnd.docker.image.rootfs.diff.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar.gzip",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.oci.empty.v1+json",
        ] {
            assert!(!is_layer(other), "{other}");
        }
    }
}
