//! What a container may use.

use std::ops::RangeInclusive;

use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::task::{Limit, Resources};

/// Processors: more than nothing, and not more than any machine has.
pub(crate) const CPUS: RangeInclusive<f64> = 0.001..=1_000_000.0;
/// MiB: up to what a number of bytes can say.
pub(crate) const MEBIBYTES: RangeInclusive<f64> = 0.0..=4_398_046_511_104.0;

/// What an app gets that does not say.
const APP: Resources = Resources {
    cpus: 1.0,
    mem: 128.0,
    disk: 0.0,
    gpus: 0,
    cpus_limit: None,
    mem_limit: None,
};

/// Reads `cpus`, `mem`, `disk`, `gpus` of an object, and `resourceLimits` of `limits`.
pub(super) fn read(fields: &Fields<'_>, limits: Option<&Node<'_>>) -> Result<Resources, Error> {
    let number = |name, range: &RangeInclusive<f64>, usual| {
        let number = fields.read(name, |node| node.number(range.clone()))?;
        Ok::<_, Error>(number.unwrap_or(usual))
    };
    if let Some(gpus) = fields.get("gpus") {
        no_gpus(&gpus, gpus.integer(0..=u32::MAX)? > 0)?;
    }
    let resources = Resources {
        cpus: number("cpus", &CPUS, APP.cpus)?,
        mem: number("mem", &MEBIBYTES, APP.mem)?,
        disk: number("disk", &MEBIBYTES, APP.disk)?,
        ..APP
    };
    limits.map_or(Ok(resources), |node| limited(resources, node))
}

/// Refuses GPUs, where there are any.
pub(crate) fn no_gpus(node: &Node<'_>, any: bool) -> Result<(), Error> {
    if any {
        let why = "no GPU can be given to a container yet: devices are described by CDI, which is to come";
        return Err(node.unsupported(why));
    }
    Ok(())
}

static LIMITS: Known = Known::all(&["cpus", "mem"]);

fn limited(resources: Resources, node: &Node<'_>) -> Result<Resources, Error> {
    let fields = node.fields(&LIMITS)?;
    let limit = |name, least: f64, most: f64| {
        fields.read(name, |node| {
            if node.text().is_ok() {
                return node.one_of(&[("unlimited", Limit::Unlimited)]);
            }
            at_least(node, node.number(0.0..=most)?, least).map(Limit::To)
        })
    };
    Ok(Resources {
        cpus_limit: limit("cpus", resources.cpus, *CPUS.end())?,
        mem_limit: limit("mem", resources.mem, *MEBIBYTES.end())?,
        ..resources
    })
}

/// A limit, which is no less than what is asked for.
pub(crate) fn at_least(node: &Node<'_>, limit: f64, least: f64) -> Result<f64, Error> {
    if limit < least {
        return Err(Error::Range {
            path: node.path.clone(),
            value: limit.to_string(),
            wanted: format!("{least} or more, which the task asks for"),
        });
    }
    Ok(limit)
}
