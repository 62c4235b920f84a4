//! `CommandInfo`: what runs, in which environment, with which files.

use super::secret;
use crate::Error;
use crate::document::{Known, Node};
use crate::marathon::uri;
use crate::task::{Command, Uri, Value};
use crate::{names, paths};

static COMMAND: Known = Known::all(&["value", "shell", "arguments", "environment", "uris", "user"]);

/// What a command says.
pub(super) struct Said {
    pub(super) command: Command,
    pub(super) env: Vec<(String, Value)>,
    pub(super) fetch: Vec<Uri>,
    pub(super) user: Option<String>,
}

/// Reads a `CommandInfo`.
pub(super) fn read(node: &Node<'_>) -> Result<Said, Error> {
    let fields = node.fields(&COMMAND)?;
    let shell = fields.read("shell", Node::boolean)?.unwrap_or(true);
    let value = fields.read("value", |node| node.filled().map(str::to_owned))?;
    let mut arguments = fields.each("arguments", Node::owned)?;
    if shell && value.is_none() {
        let why = "a command is for a shell unless it says \"shell\": false";
        return Err(fields.missing("value", why));
    }
    if shell && !arguments.is_empty() {
        fields.ignore(&["arguments"]);
        arguments.clear();
    }
    Ok(Said {
        command: Command {
            shell,
            value,
            arguments,
            directory: None,
        },
        env: fields.read("environment", environment)?.unwrap_or_default(),
        fetch: fields.each("uris", uri_of)?,
        user: fields.read("user", |node| node.filled().map(str::to_owned))?,
    })
}

/// Reads the command of a check, which runs as its container does.
pub(super) fn of_check(node: &Node<'_>) -> Result<Command, Error> {
    let said = read(node)?;
    let more = [
        ("environment", said.env.is_empty()),
        ("uris", said.fetch.is_empty()),
        ("user", said.user.is_none()),
    ];
    if let Some((name, _)) = more.into_iter().find(|(_, is_absent)| !is_absent) {
        return Err(Error::Unsupported {
            path: format!("{}.{name}", node.path),
            why: "a check runs in the container as its task does: leave it out",
        });
    }
    if said.command.value.is_none() {
        return Err(node.rule("has no value: there is nothing to run"));
    }
    Ok(said.command)
}

static ENVIRONMENT: Known = Known::all(&["variables"]);
static VARIABLE: Known = Known::all(&["name", "type", "value", "secret"]);

fn environment(node: &Node<'_>) -> Result<Vec<(String, Value)>, Error> {
    node.fields(&ENVIRONMENT)?.each("variables", |node| {
        let fields = node.fields(&VARIABLE)?;
        let name = fields.need("name", "a variable has one")?;
        let name = names::variable(&name, name.text()?)?;
        fields.only(&["value", "secret"], "a variable has the one or the other")?;
        let kinds = [("VALUE", false), ("SECRET", true), ("UNKNOWN", false)];
        let kind = fields.read("type", |node| node.one_of(&kinds))?;
        let value = if kind.unwrap_or(fields.has("secret")) {
            secret::read(&fields.need("secret", "the variable is of type SECRET")?)?
        } else {
            Value::Plain(
                fields
                    .need("value", "the variable is of type VALUE")?
                    .owned()?,
            )
        };
        if let Value::Secret(secret) = &value
            && secret.expose().contains('\0')
        {
            return Err(fields.rule(
                "secret",
                "must not contain NUL: it ends a variable before its end",
            ));
        }
        Ok((name, value))
    })
}

static URI: Known = Known::all(&["value", "executable", "extract", "cache", "output_file"]);

fn uri_of(node: &Node<'_>) -> Result<Uri, Error> {
    let fields = node.fields(&URI)?;
    let executable = fields.is("executable")?;
    let extract = fields.read("extract", Node::boolean)?.unwrap_or(true);
    Ok(Uri {
        path: node.path.clone(),
        value: uri(&fields.need("value", "it says what is fetched")?)?,
        extract: extract && !executable,
        executable,
        cache: fields.is("cache")?,
        output: fields.read("output_file", paths::in_sandbox)?,
    })
}
