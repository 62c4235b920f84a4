//! `Resource`s of a task, and their limits.

use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::{CPUS, MEBIBYTES, at_least, no_gpus};
use crate::task::{Limit, Resources};

static RESOURCE: Known = Known {
    read: &[
        "name",
        "type",
        "scalar",
        "ranges",
        "set",
        "allocation_info",
        "disk",
    ],
    ignored: &[
        "provider_id",
        "reservation",
        "reservations",
        "revocable",
        "role",
        "shared",
    ],
};
static SCALAR: Known = Known::all(&["value"]);
static RANGES: Known = Known::all(&["range"]);
static RANGE: Known = Known::all(&["begin", "end"]);
static ALLOCATION: Known = Known::all(&["role"]);
static DISK: Known = Known {
    read: &["persistence", "volume"],
    ignored: &["source"],
};

/// The ports of one of an agent's resources, where it is ports.
pub(crate) fn offered_ports(node: &Node<'_>) -> Result<Option<Vec<(u16, u16)>>, Error> {
    let fields = node.fields(&RESOURCE)?;
    if fields
        .need("name", "it says what the resource is")?
        .filled()?
        != "ports"
    {
        return Ok(None);
    }
    ranges(&fields).map(Some)
}

fn ranges(fields: &Fields<'_>) -> Result<Vec<(u16, u16)>, Error> {
    let ranges = fields.need("ranges", "ports are given in ranges")?;
    ranges.fields(&RANGES)?.each("range", range)
}

/// What is said of each of the resources that become limits.
#[derive(Default)]
struct Sums {
    cpus: Option<f64>,
    mem: Option<f64>,
    disk: Option<f64>,
}

/// What a task was given.
#[derive(Default)]
pub(super) struct Given {
    pub(super) resources: Resources,
    /// Ranges of ports.
    pub(super) ports: Vec<(u16, u16)>,
    /// To which role it was given.
    pub(super) role: Option<String>,
}

/// Reads `resources` and `limits` of a task.
pub(super) fn read(task: &Fields<'_>) -> Result<Given, Error> {
    let mut said = Sums::default();
    let mut given = Given::default();
    let list = task.need("resources", WHY)?;
    for node in list.list()? {
        resource(&node, &mut given, &mut said)?;
    }
    let whole = |value: Option<f64>| value.ok_or_else(|| task.missing("resources", WHY));
    given.resources.cpus = in_range(
        &list,
        whole(said.cpus)?,
        &CPUS,
        "cpus in all from 0.001 to 1000000",
    )?;
    given.resources.mem = whole(said.mem)?;
    given.resources.disk = said.disk.unwrap_or_default();
    if let Some(node) = task.get("limits") {
        limits(&node, &mut given.resources)?;
    }
    Ok(given)
}

const WHY: &str = "a task is given cpus and mem, and gets no more";

fn in_range(
    node: &Node<'_>,
    value: f64,
    range: &std::ops::RangeInclusive<f64>,
    wanted: &str,
) -> Result<f64, Error> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Error::Range {
        path: node.path.clone(),
        value: value.to_string(),
        wanted: wanted.to_owned(),
    })
}

/// Adds one of the resources: several of a kind are of several roles.
fn resource(node: &Node<'_>, given: &mut Given, said: &mut Sums) -> Result<(), Error> {
    let fields = node.fields(&RESOURCE)?;
    let name = fields
        .need("name", "it says what the resource is")?
        .filled()?;
    fields.read("type", |node| {
        node.one_of(&[("SCALAR", ()), ("RANGES", ()), ("SET", ())])
    })?;
    fields.only(&["scalar", "ranges", "set"], "a resource is of one type")?;
    if let Some(disk) = fields.get("disk") {
        refuse_volume(&disk)?;
    }
    let allocation = fields.read("allocation_info", |node| node.fields(&ALLOCATION))?;
    if let Some(allocation) = allocation {
        given.role = allocation.read("role", Node::owned)?;
    }
    let add = |sum: &mut Option<f64>| {
        let scalar = fields.need("scalar", "the resource is a number")?;
        let value = scalar.fields(&SCALAR)?.need("value", "it is the number")?;
        *sum = Some(sum.unwrap_or_default() + value.number(0.0..=*MEBIBYTES.end())?);
        Ok(())
    };
    match name {
        "cpus" => add(&mut said.cpus),
        "mem" => add(&mut said.mem),
        "disk" => add(&mut said.disk),
        "gpus" => {
            let mut gpus = None;
            add(&mut gpus)?;
            no_gpus(node, gpus > Some(0.0))
        }
        "ports" => {
            given.ports.extend(ranges(&fields)?);
            Ok(())
        }
        _ => {
            node.ignore();
            Ok(())
        }
    }
}

fn refuse_volume(node: &Node<'_>) -> Result<(), Error> {
    let disk = node.fields(&DISK)?;
    match ["persistence", "volume"]
        .into_iter()
        .find(|name| disk.says(name))
    {
        None => Ok(()),
        Some(name) => {
            let why = "what outlives the task is kept by the agent's disk resources, which nobody reserves here: name a directory of the host";
            Err(disk.unsupported(name, why))
        }
    }
}

fn range(node: &Node<'_>) -> Result<(u16, u16), Error> {
    let fields = node.fields(&RANGE)?;
    let port = |name, why| fields.need(name, why)?.integer(1..=u16::MAX);
    let begin = port("begin", "a range has a first port")?;
    let end = port("end", "a range has a last port")?;
    if begin > end {
        return Err(node.rule("must begin before it ends"));
    }
    Ok((begin, end))
}

static LIMITS: Known = Known::all(&["cpus", "mem"]);

fn limits(node: &Node<'_>, resources: &mut Resources) -> Result<(), Error> {
    let fields = node.fields(&LIMITS)?;
    let limit = |name, least| {
        fields.read(name, |node| {
            let value = node.fields(&SCALAR)?.need("value", "it is the limit")?;
            if value.text().is_ok_and(|text| text == "Infinity") {
                return Ok(Limit::Unlimited);
            }
            at_least(&value, value.number(0.0..=*MEBIBYTES.end())?, least).map(Limit::To)
        })
    };
    resources.cpus_limit = limit("cpus", resources.cpus)?;
    resources.mem_limit = limit("mem", resources.mem)?;
    Ok(())
}
