//! `Volume`s of a container.

use super::{image, secret};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::{host, is_read_only};
use crate::paths;
use crate::task::{Volume, VolumeSource};

static VOLUME: Known = Known::all(&["container_path", "host_path", "image", "mode", "source"]);
static SOURCE: Known = Known::all(&[
    "type",
    "host_path",
    "sandbox_path",
    "secret",
    "docker_volume",
    "csi_volume",
]);
static HOST_PATH: Known = Known::all(&["path", "mount_propagation"]);
static SANDBOX_PATH: Known = Known::all(&["type", "path"]);

/// Reads a `Volume`.
pub(super) fn read(node: &Node<'_>) -> Result<Volume, Error> {
    let fields = node.fields(&VOLUME)?;
    let target = fields.need("container_path", "it says where the volume is mounted")?;
    let said = fields.only(&["host_path", "image", "source"], "a volume is one thing")?;
    let source = match said {
        Some("host_path") => host(&fields.need("host_path", "")?)?,
        Some("image") => VolumeSource::Image(image::read(&fields.need("image", "")?)?),
        Some(_) => source(&fields.need("source", "")?)?,
        None => {
            let why = "a volume has a host_path, an image or a source";
            return Err(fields.missing("source", why));
        }
    };
    if matches!(source, VolumeSource::Sandbox(_)) && !paths::is_absolute(&target)? {
        let rule = "must be absolute: what is mounted there is in the sandbox already";
        return Err(fields.rule("container_path", rule));
    }
    Ok(Volume {
        path: node.path.clone(),
        target: paths::in_container(&target)?,
        source,
        read_only: is_read_only(&fields.need("mode", "it is RO or RW")?)?,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Host,
    Sandbox,
    Secret,
    Docker,
    Csi,
}

const KINDS: [(&str, Kind); 5] = [
    ("HOST_PATH", Kind::Host),
    ("SANDBOX_PATH", Kind::Sandbox),
    ("SECRET", Kind::Secret),
    ("DOCKER_VOLUME", Kind::Docker),
    ("CSI_VOLUME", Kind::Csi),
];

fn source(node: &Node<'_>) -> Result<VolumeSource, Error> {
    let fields = node.fields(&SOURCE)?;
    let kind = fields
        .need("type", "it says what the volume is")?
        .one_of(&KINDS)?;
    fields.only(&SOURCE.read[1..], "a volume is one thing")?;
    let why = "it says what a source of that type is";
    match kind {
        Kind::Host => {
            let path = fields.need("host_path", why)?.fields(&HOST_PATH)?;
            if path.says("mount_propagation") {
                let why = "mounts of the one side stay there: leave it out";
                return Err(path.unsupported("mount_propagation", why));
            }
            paths::on_host(&path.need("path", why)?).map(VolumeSource::Host)
        }
        Kind::Sandbox => sandbox(&fields.need("sandbox_path", why)?.fields(&SANDBOX_PATH)?),
        Kind::Secret => secret::read(&fields.need("secret", why)?).map(VolumeSource::Secret),
        Kind::Docker => Err(fields.unsupported("docker_volume", PLUGIN)),
        Kind::Csi => Err(fields.unsupported("csi_volume", PLUGIN)),
    }
}

const PLUGIN: &str = "plug-ins of the agent attach such a volume: attach it to the host, \
    and name that directory with host_path";

fn sandbox(fields: &Fields<'_>) -> Result<VolumeSource, Error> {
    let is_own = fields.read("type", |node| {
        node.one_of(&[("SELF", true), ("PARENT", false)])
    })?;
    if is_own == Some(false) {
        let why = "a task that is in no pod has no parent: use SELF";
        return Err(fields.unsupported("type", why));
    }
    let path = fields.need("path", "it is a directory of the sandbox")?;
    paths::in_sandbox(&path).map(VolumeSource::Sandbox)
}
