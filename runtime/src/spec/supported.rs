//! Which fields of a spec are honoured, by their JSON names.

use oci_spec::runtime::Spec;
use serde_json::Value;

use super::Owner;

/// The objects of a spec and the fields of each that the conversion reads.
///
/// What a spec has beyond these and is not empty, false or null is refused:
/// forgetting a field here refuses it, which is the safe way to be wrong.
const FIELDS: [(&str, &[&str]); 11] = [
    (
        "",
        &[
            "ociVersion",
            "root",
            "mounts",
            "process",
            "hostname",
            "domainname",
            "annotations",
            "linux",
        ],
    ),
    ("root", &["path", "readonly"]),
    ("mounts", &["destination", "type", "source", "options"]),
    (
        "process",
        &[
            "user",
            "args",
            "env",
            "cwd",
            "capabilities",
            "rlimits",
            "noNewPrivileges",
            "apparmorProfile",
            "oomScoreAdj",
            "terminal",
            "consoleSize",
        ],
    ),
    ("process.user", &["uid", "gid", "umask", "additionalGids"]),
    (
        "linux",
        &[
            "resources",
            "namespaces",
            "uidMappings",
            "gidMappings",
            "cgroupsPath",
            "rootfsPropagation",
            "maskedPaths",
            "readonlyPaths",
            "seccomp",
            "sysctl",
        ],
    ),
    (
        "linux.seccomp",
        &[
            "defaultAction",
            "defaultErrnoRet",
            "architectures",
            "flags",
            "syscalls",
        ],
    ),
    (
        "linux.seccomp.syscalls",
        &["names", "action", "errnoRet", "args"],
    ),
    (
        "linux.resources",
        &[
            "devices",
            "memory",
            "cpu",
            "pids",
            "blockIO",
            "hugepageLimits",
        ],
    ),
    (
        "linux.resources.memory",
        &["limit", "reservation", "swap", "swappiness"],
    ),
    (
        "linux.resources.cpu",
        &["shares", "quota", "period", "cpus", "mems"],
    ),
];

/// What is honoured besides of a container that is handed over.
const HANDED_OVER: [(&str, &[&str]); 7] = [
    ("", &["hooks"]),
    ("mounts", &["uidMappings", "gidMappings"]),
    ("process", &["scheduler", "ioPriority"]),
    (
        "linux",
        &["timeOffsets", "devices", "mountLabel", "personality"],
    ),
    ("linux.resources", &["network", "rdma", "unified"]),
    (
        "linux.resources.memory",
        &[
            "disableOOMKiller",
            "kernelTCP",
            "useHierarchy",
            "checkBeforeUpdate",
        ],
    ),
    (
        "linux.resources.cpu",
        &["realtimeRuntime", "realtimePeriod", "burst", "idle"],
    ),
];

/// Objects that ask for something by being there.
const MEANT_EMPTY: [&str; 1] = ["intelRdt"];

/// The path of the first field of `spec` that would be dropped.
pub(super) fn first_unsupported(
    spec: &Spec,
    owner: Owner<'_>,
) -> Result<Option<String>, serde_json::Error> {
    let spec = serde_json::to_value(spec)?;
    let more = |path: &str| -> &[&str] {
        let found = HANDED_OVER.iter().find(|(at, _)| *at == path);
        match (owner, found) {
            (Owner::Nobody(_), Some((_, fields))) => fields,
            _ => &[],
        }
    };
    Ok(FIELDS.iter().find_map(|(path, known)| {
        let more = more(path);
        objects(&spec, path).find_map(|object| {
            let fields = object.as_object()?;
            let strange = |(name, value): &(&String, &Value)| {
                let name = &name.as_str();
                let says_nothing = is_empty(value) && !MEANT_EMPTY.contains(name);
                !known.contains(name) && !more.contains(name) && !says_nothing
            };
            let (name, _) = fields.iter().find(strange)?;
            let dot = if path.is_empty() { "" } else { "." };
            Some(format!("{path}{dot}{name}"))
        })
    }))
}

/// What is at `path`: the elements of it, if it is a list.
fn objects<'a>(spec: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    let mut names = path.split('.').filter(|name| !name.is_empty());
    let found = names.try_fold(spec, |value, name| value.get(name));
    let elements = match found {
        Some(Value::Array(elements)) => elements.iter().collect(),
        other => other.into_iter().collect::<Vec<_>>(),
    };
    elements.into_iter()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        // An object in an object is the name of something: of a network device, say.
        Value::Object(fields) => fields
            .values()
            .all(|value| is_empty(value) && !value.is_object()),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsupported(json: &str) -> Option<String> {
        let spec: Spec = serde_json::from_str(json).expect("spec");
        first_unsupported(&spec, Owner::Supervisor).expect("walk")
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        assert_eq!(unsupported("{}"), None);
        let listener = r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO",
            "listenerPath": "/run/agent"}}}"#;
        assert_eq!(
            unsupported(listener).as_deref(),
            Some("linux.seccomp.listenerPath")
        );
        let hooks = r#"{"hooks": {"prestart": [{"path": "/x"}]}}"#;
        assert_eq!(unsupported(hooks).as_deref(), Some("hooks"));
        let label =
            r#"{"process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "selinuxLabel": "x"}}"#;
        assert_eq!(unsupported(label).as_deref(), Some("process.selinuxLabel"));
        let idle = r#"{"linux": {"resources": {"cpu": {"idle": 1}}}}"#;
        assert_eq!(
            unsupported(idle).as_deref(),
            Some("linux.resources.cpu.idle")
        );
        let devices = r#"{"linux": {"netDevices": {"eth0": {}}}}"#;
        assert_eq!(unsupported(devices).as_deref(), Some("linux.netDevices"));
        let rdt = r#"{"linux": {"intelRdt": {}}}"#;
        assert_eq!(unsupported(rdt).as_deref(), Some("linux.intelRdt"));
        let nothing = r#"{"linux": {"netDevices": {}}, "hooks": {"prestart": []}}"#;
        assert_eq!(unsupported(nothing), None);
        let idmap = r#"{"mounts": [{"destination": "/a"}, {"destination": "/b",
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}]}"#;
        assert_eq!(unsupported(idmap).as_deref(), Some("mounts.uidMappings"));
    }
}
