//! Media types of Docker's image manifest 2 and of OCI 1.

/// Docker schema 2 manifest.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a manifest request accepts.
pub(crate) const ACCEPTED_MANIFESTS: &[&str] =
    &[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// Docker schema 1, signed or not.
pub(crate) fn is_schema1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
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
pub(crate) fn is_layer(media_type: &str) -> bool {
    media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"
        || media_type == "application/vnd.docker.image.rootfs.diff.tar"
        || media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.tar")
            .is_some_and(|rest| rest.is_empty() || matches!(rest, "+gzip" | "+zstd"))
}

/// A layer that its publisher keeps elsewhere (OCI layer.md, "Non-Distributable Layers").
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}
