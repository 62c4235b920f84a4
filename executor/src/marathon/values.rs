//! Labels, variables and secrets: texts by name.

use std::collections::BTreeMap;

use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::names;
use crate::task::{Command, Value};

/// The secrets that a document declares: where each is kept, by the name that it has within.
#[derive(Debug, Default)]
pub(super) struct Secrets(BTreeMap<String, String>);

static SECRET: Known = Known::all(&["source"]);

impl Secrets {
    /// Reads `secrets` of an app or pod.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Error> {
        let members = fields.read("secrets", Node::members)?.unwrap_or_default();
        let source = |(name, node): &(&str, Node<'_>)| {
            let secret = node.fields(&SECRET)?;
            let source = secret.need("source", "it says where the secret is kept")?;
            Ok(((*name).to_owned(), source.filled()?.to_owned()))
        };
        members
            .iter()
            .map(source)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What the name in `node` stands for.
    pub(super) fn find(&self, node: &Node<'_>) -> Result<Value, Error> {
        let name = node.filled()?;
        let source = self.0.get(name).ok_or_else(|| Error::Undefined {
            path: node.path.clone(),
            name: name.to_owned(),
            place: "secrets",
        })?;
        Ok(Value::Reference {
            name: source.clone(),
            path: node.path.clone(),
        })
    }
}

/// Texts by name, as labels are.
pub(super) fn texts(node: &Node<'_>) -> Result<BTreeMap<String, String>, Error> {
    let members = node.members()?;
    let text = |(name, node): &(&str, Node<'_>)| Ok(((*name).to_owned(), node.owned()?));
    members.iter().map(text).collect()
}

/// `labels` of an object.
pub(super) fn labels(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Error> {
    Ok(fields.read("labels", texts)?.unwrap_or_default())
}

static VARIABLE: Known = Known::all(&["secret"]);

/// Variables of an environment: texts, and secrets by name.
pub(super) fn variables(
    fields: &Fields<'_>,
    field: &'static str,
    secrets: &Secrets,
) -> Result<Vec<(String, Value)>, Error> {
    let members = fields.read(field, Node::members)?.unwrap_or_default();
    let variable = |(name, node): &(&str, Node<'_>)| {
        let name = names::variable(node, name)?;
        if !node.is_object() {
            return Ok((name, Value::Plain(node.owned()?)));
        }
        let value = node.fields(&VARIABLE)?;
        let secret = value.need("secret", "the variable has a text, or the name of a secret")?;
        Ok((name, secrets.find(&secret)?))
    };
    members.iter().map(variable).collect()
}

static COMMAND: Known = Known::all(&["shell", "argv"]);

/// A command of a pod or check: `{"shell": …}` or `{"argv": […]}`.
///
/// The program of `argv` is its first, as in Mesos, which is told of both.
pub(super) fn command(node: &Node<'_>) -> Result<Command, Error> {
    let fields = node.fields(&COMMAND)?;
    fields.only(&["shell", "argv"], "a command is the one or the other")?;
    if let Some(shell) = fields.get("shell") {
        return Ok(Command {
            shell: true,
            value: Some(shell.filled()?.to_owned()),
            ..Command::default()
        });
    }
    let argv = fields.need("argv", "a command has shell or argv")?;
    let arguments = argv.each(Node::owned)?;
    let Some(program) = arguments.first().filter(|program| !program.is_empty()) else {
        return Err(argv.rule("must begin with a program"));
    };
    Ok(Command {
        value: Some(program.clone()),
        arguments,
        ..Command::default()
    })
}
