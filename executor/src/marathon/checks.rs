//! How the health of a container is told.

use std::time::Duration;

use super::values;
use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::task::{Command, HealthCheck, Port, Probe, ProbePort};

/// What is usual where a check does not say (`healthCheck.raml`).
const GRACE: u32 = 300;
const INTERVAL: u32 = 60;
const TIMEOUT: u32 = 20;
const DELAY: u32 = 15;
const FAILURES: u32 = 3;

/// Reads a number of seconds.
pub(super) fn seconds(
    fields: &Fields<'_>,
    name: &'static str,
    usual: u32,
) -> Result<Duration, Error> {
    let seconds = fields.read(name, |node| node.integer(0..=u32::MAX))?;
    Ok(Duration::from_secs(u64::from(seconds.unwrap_or(usual))))
}

/// The path that a web server is asked for: one line, from its root.
pub(crate) fn http_path(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if text.chars().any(|c| c.is_control() || c == ' ') || text.len() > 1024 {
        return Err(node.grammar(
            text,
            "a path of a URL, without spaces and control characters",
        ));
    }
    let slash = if text.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{text}"))
}

static HEALTH: Known = Known {
    read: &[
        "protocol",
        "command",
        "path",
        "port",
        "portIndex",
        "ipProtocol",
        "gracePeriodSeconds",
        "intervalSeconds",
        "timeoutSeconds",
        "maxConsecutiveFailures",
        "delaySeconds",
    ],
    ignored: &["ignoreHttp1xx"],
};

/// What an app's check does, and who does it in Marathon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

const PROTOCOLS: [(&str, Protocol); 7] = [
    ("HTTP", Protocol::Http),
    ("HTTPS", Protocol::Https),
    ("TCP", Protocol::Tcp),
    ("COMMAND", Protocol::Command),
    ("MESOS_HTTP", Protocol::MesosHttp),
    ("MESOS_HTTPS", Protocol::MesosHttps),
    ("MESOS_TCP", Protocol::MesosTcp),
];

impl Protocol {
    /// Whether Marathon does it, which sees the task from outside.
    fn is_marathons(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::Tcp)
    }
}

/// Reads `healthChecks` of an app.
pub(super) fn of_app(app: &Fields<'_>, ports: &[Port]) -> Result<Vec<HealthCheck>, Error> {
    let checks = app.each("healthChecks", |node| health(node, ports))?;
    let of_mesos = |(protocol, _): &&(Protocol, HealthCheck)| {
        !protocol.is_marathons() && *protocol != Protocol::Command
    };
    if let Some((_, second)) = checks.iter().filter(of_mesos).nth(1) {
        return Err(Error::Rule {
            path: second.path.clone(),
            rule: "is a second one of those whose protocol begins with MESOS_: a task can have one",
        });
    }
    Ok(checks.into_iter().map(|(_, check)| check).collect())
}

fn health(node: &Node<'_>, ports: &[Port]) -> Result<(Protocol, HealthCheck), Error> {
    let fields = node.fields(&HEALTH)?;
    let usual = if fields.says("command") {
        Protocol::Command
    } else {
        Protocol::Http
    };
    let protocol = fields.read("protocol", |node| node.one_of(&PROTOCOLS))?;
    let protocol = protocol.unwrap_or(usual);
    let failures = fields.read("maxConsecutiveFailures", |node| node.integer(0..=u32::MAX))?;
    let kill_after = match failures.unwrap_or(FAILURES) {
        // Marathon's own checks never kill then; Mesos' kill at the first failure.
        0 => (!protocol.is_marathons()).then_some(1),
        failures => Some(failures),
    };
    let check = HealthCheck {
        path: node.path.clone(),
        probe: probe(&fields, protocol, ports)?,
        delay: seconds(&fields, "delaySeconds", DELAY)?,
        interval: seconds(&fields, "intervalSeconds", INTERVAL)?,
        timeout: timeout(&fields)?,
        grace: seconds(&fields, "gracePeriodSeconds", GRACE)?,
        kill_after,
    };
    Ok((protocol, check))
}

/// After which a check has failed; nothing answers in no time.
fn timeout(fields: &Fields<'_>) -> Result<Duration, Error> {
    let timeout = seconds(fields, "timeoutSeconds", TIMEOUT)?;
    if timeout.is_zero() {
        return Err(fields.rule(
            "timeoutSeconds",
            "must be a second at least: nothing answers in no time",
        ));
    }
    Ok(timeout)
}

static COMMAND: Known = Known::all(&["value"]);

fn probe(fields: &Fields<'_>, protocol: Protocol, ports: &[Port]) -> Result<Probe, Error> {
    if protocol == Protocol::Command {
        let command = fields.need("command", "protocol COMMAND runs one")?;
        fields.ignore(&["path", "port", "portIndex", "ipProtocol"]);
        let value = command
            .fields(&COMMAND)?
            .need("value", "it is a line for /bin/sh")?;
        return Ok(Probe::Command(Command {
            shell: true,
            value: Some(value.filled()?.to_owned()),
            ..Command::default()
        }));
    }
    if fields.says("command") {
        return Err(fields.together(
            "command",
            "protocol",
            "a check that runs a command is of protocol COMMAND",
        ));
    }
    let ipv6 = fields.read("ipProtocol", |node| {
        node.one_of(&[("IPv4", false), ("IPv6", true)])
    })?;
    let ipv6 = ipv6.unwrap_or_default();
    let port = port(fields, protocol, ports)?;
    let path = fields
        .read("path", http_path)?
        .unwrap_or_else(|| "/".to_owned());
    Ok(match protocol {
        Protocol::Tcp | Protocol::MesosTcp => {
            fields.ignore(&["path"]);
            Probe::Tcp { port, ipv6 }
        }
        _ => Probe::Http {
            tls: matches!(protocol, Protocol::Https | Protocol::MesosHttps),
            port,
            path,
            ipv6,
        },
    })
}

/// Which port is asked: one by number, one of the task's, or its first.
fn port(fields: &Fields<'_>, protocol: Protocol, ports: &[Port]) -> Result<ProbePort, Error> {
    fields.only(&["port", "portIndex"], "a check asks one port")?;
    if let Some(number) = fields.read("port", |node| node.integer(1..=u16::MAX))? {
        // Marathon asks a port of the host, by which it sees the task: the one behind is meant.
        let is_meant = |port: &Port| {
            protocol.is_marathons() && port.container.is_some() && port.host == Some(number)
        };
        let behind = ports.iter().position(is_meant);
        return Ok(behind.map_or(ProbePort::Number(number), ProbePort::Index));
    }
    let index: u32 = fields
        .read("portIndex", |node| node.integer(0..=u32::MAX))?
        .unwrap_or_default();
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if index >= ports.len() {
        let rule = "must be the index of one of the task's ports, the first of which has 0";
        return Err(fields.rule("portIndex", rule));
    }
    Ok(ProbePort::Index(index))
}

static CHECK: Known = Known::all(&[
    "http",
    "tcp",
    "exec",
    "intervalSeconds",
    "timeoutSeconds",
    "delaySeconds",
]);
static POD_HEALTH: Known = Known::all(&[
    "http",
    "tcp",
    "exec",
    "gracePeriodSeconds",
    "intervalSeconds",
    "timeoutSeconds",
    "maxConsecutiveFailures",
    "delaySeconds",
]);
static HTTP: Known = Known::all(&["endpoint", "portIndex", "port", "path", "scheme"]);
static TCP: Known = Known::all(&["endpoint", "portIndex", "port"]);
static EXEC: Known = Known::all(&["command"]);

/// Reads `check` of an app or of a pod's container.
pub(super) fn check(node: &Node<'_>, ports: &[Port]) -> Result<HealthCheck, Error> {
    let fields = node.fields(&CHECK)?;
    Ok(HealthCheck {
        path: node.path.clone(),
        probe: one_of_three(&fields, ports)?,
        delay: seconds(&fields, "delaySeconds", DELAY)?,
        interval: seconds(&fields, "intervalSeconds", INTERVAL)?,
        timeout: timeout(&fields)?,
        grace: Duration::ZERO,
        kill_after: None,
    })
}

/// Reads `healthCheck` of a pod's container.
pub(super) fn of_pod(node: &Node<'_>, ports: &[Port]) -> Result<HealthCheck, Error> {
    let fields = node.fields(&POD_HEALTH)?;
    let failures = fields.read("maxConsecutiveFailures", |node| node.integer(0..=u32::MAX))?;
    let check = HealthCheck {
        path: node.path.clone(),
        probe: one_of_three(&fields, ports)?,
        delay: seconds(&fields, "delaySeconds", DELAY)?,
        interval: seconds(&fields, "intervalSeconds", INTERVAL)?,
        timeout: timeout(&fields)?,
        grace: seconds(&fields, "gracePeriodSeconds", GRACE)?,
        kill_after: Some(failures.unwrap_or(FAILURES).max(1)),
    };
    if check.timeout >= check.interval {
        return Err(fields.rule("timeoutSeconds", "must be less than intervalSeconds"));
    }
    Ok(check)
}

/// What a check does that says it by the name of a field.
fn one_of_three(fields: &Fields<'_>, ports: &[Port]) -> Result<Probe, Error> {
    let why = "a check does one thing";
    let Some(kind) = fields.only(&["http", "tcp", "exec"], why)? else {
        return Err(fields.missing("http", "a check has http, tcp or exec"));
    };
    let node = fields.need(kind, why)?;
    match kind {
        "exec" => {
            let command = node.fields(&EXEC)?.need("command", "exec runs one")?;
            values::command(&command).map(Probe::Command)
        }
        "tcp" => Ok(Probe::Tcp {
            port: named_port(&node.fields(&TCP)?, ports)?,
            ipv6: false,
        }),
        _ => {
            let http = node.fields(&HTTP)?;
            let tls = http.read("scheme", |node| {
                node.one_of(&[("HTTP", false), ("HTTPS", true)])
            })?;
            let path = http.read("path", http_path)?;
            Ok(Probe::Http {
                tls: tls.unwrap_or_default(),
                port: named_port(&http, ports)?,
                path: path.unwrap_or_else(|| "/".to_owned()),
                ipv6: false,
            })
        }
    }
}

/// The port of a check, by the name of an endpoint too.
fn named_port(fields: &Fields<'_>, ports: &[Port]) -> Result<ProbePort, Error> {
    fields.only(&["endpoint", "port", "portIndex"], "a check asks one port")?;
    let Some(endpoint) = fields.get("endpoint") else {
        return port(fields, Protocol::MesosTcp, ports);
    };
    let name = endpoint.filled()?;
    let named = ports
        .iter()
        .position(|port| port.name.as_deref() == Some(name));
    named.map(ProbePort::Index).ok_or_else(|| Error::Undefined {
        path: endpoint.path.clone(),
        name: name.to_owned(),
        place: "the endpoints or ports of the task",
    })
}

/// Moves the index of a check's port, when there are other ports before its own.
pub(super) fn shift(check: &mut HealthCheck, before: usize) {
    if let Probe::Http { port, .. } | Probe::Tcp { port, .. } = &mut check.probe
        && let ProbePort::Index(index) = port
    {
        *index += before;
    }
}
