//! What is mounted in the container of an app.

use std::collections::BTreeMap;

use super::image;
use super::values::Secrets;
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::paths;
use crate::task::{Volume, VolumeSource};

static VOLUME: Known = Known::all(&[
    "containerPath",
    "hostPath",
    "mode",
    "secret",
    "image",
    "persistent",
    "external",
]);

/// Of which a volume has one.
const SOURCES: [&str; 5] = ["hostPath", "secret", "image", "persistent", "external"];

/// Reads one of `container.volumes`.
pub(super) fn read(node: &Node<'_>, secrets: &Secrets) -> Result<Volume, Error> {
    let fields = node.fields(&VOLUME)?;
    let target = fields.need("containerPath", "it says where the volume is mounted")?;
    let source = fields.only(&SOURCES, "a volume is one thing")?;
    let source = source_of(&fields, source, secrets)?;
    // What Marathon would let be written is only what it can write.
    let usual = matches!(source, VolumeSource::Secret(_) | VolumeSource::Image(_));
    if matches!(source, VolumeSource::Sandbox(_)) && !paths::is_absolute(&target)? {
        let why = "both are within the sandbox: one of them must be absolute";
        return Err(fields.together("containerPath", "hostPath", why));
    }
    Ok(Volume {
        path: node.path.clone(),
        target: paths::in_container(&target)?,
        source,
        read_only: fields.read("mode", is_read_only)?.unwrap_or(usual),
    })
}

fn source_of(
    fields: &Fields<'_>,
    name: Option<&'static str>,
    secrets: &Secrets,
) -> Result<VolumeSource, Error> {
    match name {
        Some("secret") => {
            let secret = fields.need("secret", "it names a secret")?;
            secrets.find(&secret).map(VolumeSource::Secret)
        }
        Some("image") => {
            let node = fields.need("image", "it names an image")?;
            image::of_volume(&node, secrets).map(VolumeSource::Image)
        }
        Some("persistent") => Err(fields.unsupported("persistent", PERSISTENT)),
        Some("external") => Err(fields.unsupported("external", EXTERNAL)),
        _ => host(&fields.need("hostPath", "a volume has a hostPath, a secret or an image")?),
    }
}

/// Why a persistent volume is refused.
pub(super) const PERSISTENT: &str = "what outlives the task is kept by the agent's disk resources, \
    which nobody reserves here: name a directory with hostPath";
const EXTERNAL: &str = "volumes of DVDI and CSI providers are attached by plug-ins of the agent: \
    attach it to the host, and name that directory with hostPath";

/// A path of the host, or within the sandbox.
pub(crate) fn host(node: &Node<'_>) -> Result<VolumeSource, Error> {
    if paths::is_absolute(node)? {
        return paths::on_host(node).map(VolumeSource::Host);
    }
    paths::in_sandbox(node).map(VolumeSource::Sandbox)
}

/// Whether a volume's mode is `RO`.
pub(crate) fn is_read_only(node: &Node<'_>) -> Result<bool, Error> {
    node.one_of(&[("RO", true), ("RW", false)])
}

/// Checks that no two volumes are mounted at one place: the later would hide the earlier.
pub(crate) fn are_apart(volumes: &[Volume]) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for volume in volumes {
        if let Some(other) = seen.insert(&volume.target, volume) {
            return Err(Error::Repeated {
                path: volume.path.clone(),
                other: other.path.clone(),
                text: volume.target.display().to_string(),
            });
        }
    }
    Ok(())
}
