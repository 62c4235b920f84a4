//! A `Secret`: the bytes themselves, or the name of where they are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ucr_images::Secret;

use crate::Error;
use crate::document::{Known, Node};
use crate::task::Value;

static SECRET: Known = Known::all(&["type", "value", "reference"]);
static VALUE: Known = Known::all(&["data"]);
static REFERENCE: Known = Known::all(&["name", "key"]);

/// Reads a secret, whose bytes are base64 in JSON.
pub(super) fn read(node: &Node<'_>) -> Result<Value, Error> {
    let fields = node.fields(&SECRET)?;
    let kind = fields.read("type", |node| {
        node.one_of(&[("VALUE", "value"), ("REFERENCE", "reference")])
    })?;
    let said = fields.only(&["value", "reference"], "a secret is the one or the other")?;
    match kind.or(said) {
        Some("value") => bytes(&fields.need("value", "it holds a secret of type VALUE")?),
        Some(_) => reference(&fields.need("reference", "it names a secret of type REFERENCE")?),
        None => Err(fields.missing("value", "a secret has a value or a reference")),
    }
}

fn bytes(node: &Node<'_>) -> Result<Value, Error> {
    let data = node
        .fields(&VALUE)?
        .need("data", "it is the secret itself")?;
    // What is wrong with it is said without showing it.
    let bytes = STANDARD.decode(data.text()?).ok();
    let bytes = bytes.ok_or_else(|| data.rule("must be base64, as bytes are in JSON"))?;
    let text = String::from_utf8(bytes).ok();
    let text = text.ok_or_else(|| data.rule("must be a text in UTF-8 when it is decoded"))?;
    Ok(Value::Secret(Secret::new(text)))
}

fn reference(node: &Node<'_>) -> Result<Value, Error> {
    let fields = node.fields(&REFERENCE)?;
    let name = fields.need("name", "it says where the secret is kept")?;
    if fields.has("key") {
        return Err(fields.unsupported("key", "a secret is found by its name alone"));
    }
    Ok(Value::Reference {
        name: name.filled()?.to_owned(),
        path: name.path.clone(),
    })
}
