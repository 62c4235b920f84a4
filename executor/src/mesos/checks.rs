//! `HealthCheck` and `CheckInfo`.

use std::time::Duration;

use super::command;
use super::values::seconds;
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::http_path;
use crate::task::{HealthCheck, Probe, ProbePort};

/// What is usual where a check does not say (`mesos.proto`).
const DELAY: u32 = 15;
const INTERVAL: u32 = 10;
const TIMEOUT: u32 = 20;
const FAILURES: u32 = 3;
const GRACE: u32 = 10;

static HEALTH: Known = Known::all(&[
    "command",
    "consecutive_failures",
    "delay_seconds",
    "grace_period_seconds",
    "http",
    "interval_seconds",
    "tcp",
    "timeout_seconds",
    "type",
]);

/// Reads a `HealthCheck`.
pub(super) fn health(node: &Node<'_>) -> Result<HealthCheck, Error> {
    let fields = node.fields(&HEALTH)?;
    let failures = fields.read("consecutive_failures", |node| node.integer(0..=u32::MAX))?;
    let probe = match kind(&fields)? {
        Kind::Command => Probe::Command(command::of_check(&fields.need("command", WHY)?)?),
        Kind::Http => http(&fields.need("http", WHY)?)?,
        Kind::Tcp => tcp(&fields.need("tcp", WHY)?)?,
    };
    Ok(HealthCheck {
        grace: seconds(&fields, "grace_period_seconds", GRACE)?,
        // The first failure of none that are allowed kills.
        kill_after: Some(failures.unwrap_or(FAILURES).max(1)),
        ..timed(node, &fields, probe)?
    })
}

const WHY: &str = "it says what a check of that type does";

fn timed(node: &Node<'_>, fields: &Fields<'_>, probe: Probe) -> Result<HealthCheck, Error> {
    let timeout = seconds(fields, "timeout_seconds", TIMEOUT)?;
    if timeout.is_zero() {
        let rule = "must be more than 0: a check that never ends tells nothing";
        return Err(fields.rule("timeout_seconds", rule));
    }
    Ok(HealthCheck {
        path: node.path.clone(),
        probe,
        delay: seconds(fields, "delay_seconds", DELAY)?,
        interval: seconds(fields, "interval_seconds", INTERVAL)?,
        timeout,
        grace: Duration::ZERO,
        kill_after: None,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Command,
    Http,
    Tcp,
}

fn kind(fields: &Fields<'_>) -> Result<Kind, Error> {
    let kinds = [
        ("COMMAND", Kind::Command),
        ("HTTP", Kind::Http),
        ("TCP", Kind::Tcp),
    ];
    let said = fields.read("type", |node| node.one_of(&kinds))?;
    let there = fields.only(&["command", "http", "tcp"], "a check does one thing")?;
    let of = |name| match name {
        "command" => Kind::Command,
        "http" => Kind::Http,
        _ => Kind::Tcp,
    };
    said.or(there.map(of))
        .ok_or_else(|| fields.missing("type", "it is COMMAND, HTTP or TCP"))
}

static CHECK: Known = Known::all(&[
    "command",
    "delay_seconds",
    "http",
    "interval_seconds",
    "tcp",
    "timeout_seconds",
    "type",
]);
static CHECK_COMMAND: Known = Known::all(&["command"]);

/// Reads a `CheckInfo`.
pub(super) fn check(node: &Node<'_>) -> Result<HealthCheck, Error> {
    let fields = node.fields(&CHECK)?;
    let probe = match kind(&fields)? {
        Kind::Command => {
            let check = fields.need("command", WHY)?.fields(&CHECK_COMMAND)?;
            Probe::Command(command::of_check(&check.need("command", WHY)?)?)
        }
        Kind::Http => http(&fields.need("http", WHY)?)?,
        Kind::Tcp => tcp(&fields.need("tcp", WHY)?)?,
    };
    timed(node, &fields, probe)
}

static HTTP: Known = Known {
    read: &["scheme", "port", "path", "protocol"],
    // Mesos does not look at it either: 200 to 399 is healthy.
    ignored: &["statuses"],
};
static TCP: Known = Known::all(&["port", "protocol"]);

fn port(fields: &Fields<'_>) -> Result<ProbePort, Error> {
    let port = fields.need("port", "the check asks one")?;
    port.integer(1..=u16::MAX).map(ProbePort::Number)
}

fn ipv6(fields: &Fields<'_>) -> Result<bool, Error> {
    let versions = [
        ("IPv4", false),
        ("IPv6", true),
        ("IPV4", false),
        ("IPV6", true),
    ];
    Ok(fields
        .read("protocol", |node| node.one_of(&versions))?
        .unwrap_or_default())
}

fn http(node: &Node<'_>) -> Result<Probe, Error> {
    let fields = node.fields(&HTTP)?;
    let tls = fields.read("scheme", |node| {
        node.one_of(&[("http", false), ("https", true)])
    })?;
    let path = fields.read("path", http_path)?;
    Ok(Probe::Http {
        tls: tls.unwrap_or_default(),
        port: port(&fields)?,
        path: path.unwrap_or_else(|| "/".to_owned()),
        ipv6: ipv6(&fields)?,
    })
}

fn tcp(node: &Node<'_>) -> Result<Probe, Error> {
    let fields = node.fields(&TCP)?;
    Ok(Probe::Tcp {
        port: port(&fields)?,
        ipv6: ipv6(&fields)?,
    })
}
