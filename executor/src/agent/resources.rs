//! `--resources`, as a text or as JSON.

use super::{AgentError, Given, Ranges};
use crate::document::{Document, Names, parse};
use crate::mesos::offered_ports;
use crate::ports::merged;

/// The ports of an agent's resources; none where others alone are said.
///
/// `ports(*):[8000-9000, 31000-32000];cpus:4`, or resources of `mesos.proto` in JSON: one, or a
/// list of them.
pub(super) fn ports(given: &Given) -> Result<Ranges, AgentError> {
    if given.file().is_some() {
        return Err(AgentError::Elsewhere {
            name: given.name().to_owned(),
            origin: given.origin().clone(),
        });
    }
    let text = given.value().trim();
    let found = if text.starts_with(['[', '{']) {
        of_json(text).map_err(|source| AgentError::Resources {
            origin: given.origin().clone(),
            source: Box::new(source),
        })?
    } else {
        let wanted = "resources, as ports(*):[8000-9000, 31000-32000];cpus:4, or as JSON";
        of_text(text).ok_or_else(|| given.wrong(wanted))?
    };
    // Mesos offers its own ports where resources say nothing of any.
    Ok(merged(found.unwrap_or_else(|| vec![super::PORTS])))
}

fn of_json(text: &str) -> Result<Option<Ranges>, crate::Error> {
    let value = parse(text.as_bytes())?;
    let document = Document::new(Names::Protobuf);
    let node = document.node("", &value);
    let nodes = if node.is_object() {
        vec![node]
    } else {
        node.list()?
    };
    let mut all = None;
    for node in nodes {
        if let Some(ranges) = offered_ports(&node)? {
            all.get_or_insert_with(Vec::new).extend(ranges);
        }
    }
    Ok(all)
}

fn of_text(text: &str) -> Option<Option<Ranges>> {
    let mut all = None;
    for resource in text.split(';').map(str::trim).filter(|one| !one.is_empty()) {
        let (name, value) = resource.split_once(':')?;
        // A role stands in parentheses behind the name.
        let name = name.split('(').next()?.trim();
        if name == "ports" {
            let inner = value.trim().strip_prefix('[')?.strip_suffix(']')?;
            let ranges = inner.split(',').map(range).collect::<Option<Vec<_>>>()?;
            all.get_or_insert_with(Vec::new).extend(ranges);
        } else if name.is_empty() || value.trim().is_empty() {
            return None;
        }
    }
    Some(all)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}
