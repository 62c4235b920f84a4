//! `LinuxInfo`, `RLimitInfo` and `TTYInfo`.

use crate::Error;
use crate::document::{Fields, Known, Node};
use crate::marathon::{has_no_parent, profile, shm_size};
use crate::task::{Ipc, Linux, Seccomp};

static LINUX: Known = Known {
    read: &[
        "bounding_capabilities",
        "capability_info",
        "effective_capabilities",
        "ipc_mode",
        "seccomp",
        "share_pid_namespace",
        "shm_size",
    ],
    // A task that is in no pod has cgroups of its own either way.
    ignored: &["share_cgroups"],
};

/// Reads a `LinuxInfo`.
pub(super) fn read(node: &Node<'_>) -> Result<Linux, Error> {
    let fields = node.fields(&LINUX)?;
    if fields.is("share_pid_namespace")? {
        let why = "the task would see and signal the agent's processes";
        return Err(fields.unsupported("share_pid_namespace", why));
    }
    let modes = [
        ("PRIVATE", Ipc::Own),
        ("SHARE_PARENT", Ipc::Shared),
        ("UNKNOWN", Ipc::Own),
    ];
    let ipc = fields.read("ipc_mode", |node| node.one_of(&modes))?;
    let (effective, bounding) = capabilities(&fields)?;
    let linux = Linux {
        effective,
        bounding,
        seccomp: fields.read("seccomp", seccomp)?.unwrap_or_default(),
        ipc: ipc.unwrap_or_default(),
        shm_size: fields.read("shm_size", shm_size)?,
        rlimits: Vec::new(),
    };
    has_no_parent(linux, &fields.at("ipc_mode"))
}

static SECCOMP: Known = Known::all(&["profile_name", "unconfined"]);

fn seccomp(node: &Node<'_>) -> Result<Seccomp, Error> {
    let fields = node.fields(&SECCOMP)?;
    let profile = fields.read("profile_name", profile)?;
    match (fields.is("unconfined")?, profile) {
        (true, Some(_)) => {
            let why = "without a filter there is no profile";
            Err(fields.together("profile_name", "unconfined", why))
        }
        (true, None) => Ok(Seccomp::Unconfined),
        (false, profile) => Ok(profile.map_or(Seccomp::Default, Seccomp::Profile)),
    }
}

/// Sets of capabilities: those in force, and those that can be had.
type Sets = (Option<Vec<String>>, Option<Vec<String>>);

fn capabilities(fields: &Fields<'_>) -> Result<Sets, Error> {
    let names = ["effective_capabilities", "capability_info"];
    let effective = match fields.only(&names, "the second is the older form of the first")? {
        Some(name) => fields.read(name, set)?,
        None => None,
    };
    let bounding = fields.read("bounding_capabilities", set)?;
    let Some(bounding) = bounding else {
        return Ok((effective, None));
    };
    let more = effective
        .iter()
        .flatten()
        .find(|name| !bounding.contains(name));
    if more.is_some() {
        let rule = "must hold all of effective_capabilities";
        return Err(fields.rule("bounding_capabilities", rule));
    }
    // What can be had is had, where nothing else is said (`linux/capabilities.cpp`).
    let effective = effective.unwrap_or_else(|| bounding.clone());
    Ok((Some(effective), Some(bounding)))
}

static SET: Known = Known::all(&["capabilities"]);

/// Those of `CapabilityInfo` in `mesos.proto`, and the kernel's that came later.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn set(node: &Node<'_>) -> Result<Vec<String>, Error> {
    node.fields(&SET)?.each("capabilities", |node| {
        let name = node.text()?;
        if !CAPABILITIES.contains(&name) {
            return Err(node.grammar(name, "a capability, as NET_RAW"));
        }
        Ok(name.to_owned())
    })
}

static RLIMITS: Known = Known::all(&["rlimits"]);
static RLIMIT: Known = Known::all(&["type", "soft", "hard"]);

/// Those of `RLimitInfo` in `mesos.proto`, by the names that the runtime has for them.
const KINDS: [(&str, &str); 16] = [
    ("RLMT_AS", "as"),
    ("RLMT_CORE", "core"),
    ("RLMT_CPU", "cpu"),
    ("RLMT_DATA", "data"),
    ("RLMT_FSIZE", "fsize"),
    ("RLMT_LOCKS", "locks"),
    ("RLMT_MEMLOCK", "memlock"),
    ("RLMT_MSGQUEUE", "msgqueue"),
    ("RLMT_NICE", "nice"),
    ("RLMT_NOFILE", "nofile"),
    ("RLMT_NPROC", "nproc"),
    ("RLMT_RSS", "rss"),
    ("RLMT_RTPRIO", "rtprio"),
    ("RLMT_RTTIME", "rttime"),
    ("RLMT_SIGPENDING", "sigpending"),
    ("RLMT_STACK", "stack"),
];

/// A limit of processes: its name, soft and hard; none for unlimited.
pub(super) type Rlimit = (String, Option<(u64, u64)>);

/// Reads an `RLimitInfo`.
pub(super) fn rlimits(node: &Node<'_>) -> Result<Vec<Rlimit>, Error> {
    node.fields(&RLIMITS)?.each("rlimits", |node| {
        let fields = node.fields(&RLIMIT)?;
        let name = fields
            .need("type", "it says what is limited")?
            .one_of(&KINDS)?;
        let limit = |name| fields.read(name, |node| node.integer(0..=u64::MAX));
        let limits = match (limit("soft")?, limit("hard")?) {
            (Some(soft), Some(hard)) if soft <= hard => Some((soft, hard)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(fields.rule("soft", "must be at most the hard one")),
            _ => return Err(node.rule("has soft and hard, or neither for unlimited")),
        };
        Ok((name.to_owned(), limits))
    })
}

static TERMINAL: Known = Known::all(&["window_size"]);
static SIZE: Known = Known::all(&["rows", "columns"]);

/// Reads a `TTYInfo`: lines and columns.
pub(super) fn terminal(node: &Node<'_>) -> Result<(u16, u16), Error> {
    let Some(size) = node.fields(&TERMINAL)?.get("window_size") else {
        return Ok((0, 0));
    };
    let fields = size.fields(&SIZE)?;
    let side = |name| fields.read(name, |node| node.integer(0..=u16::MAX));
    Ok((
        side("rows")?.unwrap_or_default(),
        side("columns")?.unwrap_or_default(),
    ))
}
