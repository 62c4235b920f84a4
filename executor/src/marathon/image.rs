//! The image of a container, and as whom it is asked for.

use ucr_images::Secret;

use super::values::{Secrets, labels};
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{Image, TaskCredential};

/// Reads `container.docker` of an app.
pub(super) fn docker(docker: &Fields<'_>, secrets: &Secrets) -> Result<Image, Error> {
    let image = docker.need("image", "it names the image")?;
    let why = "an image is asked for by one credential";
    docker.only(&["credential", "pullConfig"], why)?;
    let login = docker.read("credential", login)?;
    let config = docker.read("pullConfig", |node| config(node, secrets))?;
    Ok(Image {
        name: names::docker_image(&image)?,
        force_pull: docker.is("forcePullImage")?,
        credential: login.or(config),
    })
}

static CREDENTIAL: Known = Known::all(&["principal", "secret"]);

/// `{"principal": …, "secret": …}`.
pub(crate) fn login(node: &Node<'_>) -> Result<TaskCredential, Error> {
    let fields = node.fields(&CREDENTIAL)?;
    let principal = fields.need("principal", "a credential is a principal and its secret")?;
    let secret = fields.need("secret", "a credential is a principal and its secret")?;
    Ok(TaskCredential::Login {
        principal: principal.filled()?.to_owned(),
        secret: Secret::new(secret.filled()?),
    })
}

static PULL_CONFIG: Known = Known::all(&["secret"]);

fn config(node: &Node<'_>, secrets: &Secrets) -> Result<TaskCredential, Error> {
    let fields = node.fields(&PULL_CONFIG)?;
    let secret = fields.need("secret", "it names the secret that holds a config.json")?;
    Ok(TaskCredential::Config(secrets.find(&secret)?))
}

static APPC: Known = Known::all(&["image", "id", "labels", "forcePullImage"]);

/// Reads `container.appc` of an app of Marathon 1.8 or older.
pub(super) fn appc(node: &Node<'_>) -> Result<Image, Error> {
    let fields = node.fields(&APPC)?;
    let image = fields.need("image", "it names the image")?;
    Ok(Image {
        name: names::appc_image(&image, fields.get("id").as_ref(), labels(&fields)?)?,
        force_pull: fields.is("forcePullImage")?,
        credential: None,
    })
}

static POD_IMAGE: Known = Known::all(&["kind", "id", "forcePull", "pullConfig", "labels"]);

/// Reads `image` of a pod's container.
pub(super) fn of_pod(node: &Node<'_>, secrets: &Secrets) -> Result<Image, Error> {
    let fields = node.fields(&POD_IMAGE)?;
    let kind = fields.need("kind", "it is DOCKER or APPC")?;
    let is_docker = kind.one_of(&[("DOCKER", true), ("APPC", false)])?;
    let id = fields.need("id", "it names the image")?;
    let name = if is_docker {
        fields.ignore(&["labels"]);
        names::docker_image(&id)?
    } else {
        names::appc_image(&id, None, labels(&fields)?)?
    };
    Ok(Image {
        name,
        force_pull: fields.is("forcePull")?,
        credential: fields.read("pullConfig", |node| config(node, secrets))?,
    })
}

/// The image of a volume: its name, or the object that a pod's container has.
pub(super) fn of_volume(node: &Node<'_>, secrets: &Secrets) -> Result<Image, Error> {
    if node.is_object() {
        return of_pod(node, secrets);
    }
    Ok(Image {
        name: names::docker_image(node)?,
        force_pull: false,
        credential: None,
    })
}
