//! An `Image`, of a container or a volume.

use super::{secret, values};
use crate::Error;
use crate::document::{Known, Node};
use crate::marathon::login;
use crate::names;
use crate::task::{Image, ImageName, TaskCredential};

static IMAGE: Known = Known::all(&["type", "docker", "appc", "cached"]);
static DOCKER: Known = Known::all(&["name", "credential", "config"]);
static APPC: Known = Known::all(&["name", "id", "labels"]);

/// Reads an `Image`.
pub(super) fn read(node: &Node<'_>) -> Result<Image, Error> {
    let fields = node.fields(&IMAGE)?;
    let kinds = [("DOCKER", "docker"), ("APPC", "appc")];
    let kind = fields.read("type", |node| node.one_of(&kinds))?;
    let said = fields.only(&["docker", "appc"], "an image is of one kind")?;
    let cached = fields.read("cached", Node::boolean)?.unwrap_or(true);
    let (name, credential) = match kind.or(said) {
        Some("docker") => docker(&fields.need("docker", "the image is of type DOCKER")?)?,
        Some(_) => (
            appc(&fields.need("appc", "the image is of type APPC")?)?,
            None,
        ),
        None => return Err(fields.missing("type", "it is DOCKER or APPC")),
    };
    Ok(Image {
        name,
        force_pull: !cached,
        credential,
    })
}

fn docker(node: &Node<'_>) -> Result<(ImageName, Option<TaskCredential>), Error> {
    let fields = node.fields(&DOCKER)?;
    let name = names::docker_image(&fields.need("name", "it names the image")?)?;
    let login = fields.read("credential", login)?;
    let config = fields.read("config", |node| {
        secret::read(node).map(TaskCredential::Config)
    })?;
    if let (Some(_), Some(node)) = (&login, fields.get("config")) {
        // The one that is meant for this image alone.
        node.ignore();
    }
    Ok((name, login.or(config)))
}

fn appc(node: &Node<'_>) -> Result<ImageName, Error> {
    let fields = node.fields(&APPC)?;
    let name = fields.need("name", "it names the image")?;
    names::appc_image(&name, fields.get("id").as_ref(), values::labels(&fields)?)
}
