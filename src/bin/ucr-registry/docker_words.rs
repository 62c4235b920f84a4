//! Words of Docker's command line that are not here, and what to do instead.

/// The word, and what stands in for it.
const INSTEAD: [(&str, &str); 25] = [
    ("-d", BACKGROUND),
    ("--detach", BACKGROUND),
    ("--expose", PORTS),
    ("-a", ATTACHED),
    ("--attach", ATTACHED),
    (
        "--cgroupns",
        "a container always sees its own cgroups alone",
    ),
    (
        "--device-cgroup-rule",
        "--device names each device file; ucr oci run takes rules",
    ),
    ("--restart", "let a systemd unit with Restart= run it"),
    ("--log-driver", LOGS),
    ("--log-opt", LOGS),
    ("logs", LOGS),
    (
        "--gpus",
        "name it by its CDI name, as --device nvidia.com/gpu=all",
    ),
    ("--health-cmd", HEALTH),
    ("--no-healthcheck", HEALTH),
    ("--pid", NAMESPACES),
    ("--ipc", NAMESPACES),
    ("--uts", NAMESPACES),
    (
        "--volume-driver",
        "volumes have no names: -v takes paths of this host",
    ),
    (
        "volume",
        "volumes have no names: ucr run -v takes paths of this host",
    ),
    (
        "network",
        "the bridge is made by the first who needs it, other networks are files of CNI's: \
         ucr run --network host|none|bridge|NAME",
    ),
    (
        "rm",
        "nothing stays of a container that has ended; ucr kill ends one",
    ),
    (
        "create",
        "ucr run makes and starts a container, ucr oci create one of a bundle",
    ),
    (
        "start",
        "ucr run makes and starts a container, ucr oci start one of a bundle",
    ),
    (
        "build",
        "ucr makes no images: another tool does, and a registry or an archive brings them",
    ),
    ("push", "ucr sends no images: skopeo copy does"),
];

const BACKGROUND: &str = "ucr run stays with its container, so let the shell keep it: \
    setsid ucr run IMAGE >FILE 2>&1 &, or a systemd unit";
const ATTACHED: &str = "ucr run stays with its container: what the task writes is what it writes, and -i passes standard \
    input on";
const PORTS: &str =
    "ports of the container are open on its network as they are; -p leads one of this host to it";
const LOGS: &str = "what the task writes is what ucr run writes: send it to a file, or to the journal \
    by a systemd unit";
const HEALTH: &str = "nobody looks how the task is but who calls ucr exec";
const NAMESPACES: &str =
    "these namespaces are always the container's own; ucr oci run takes others";

/// What to do instead of `word`, if Docker has it and `ucr` has not.
pub(crate) fn instead_of(word: &str) -> Option<&'static str> {
    let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
    let found = INSTEAD.iter().find(|(known, _)| *known == flag);
    found.map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::parse;

    #[test]
    fn what_is_here_is_not_among_them() {
        for (word, _) in INSTEAD {
            let words = match word.strip_prefix('-') {
                Some(_) => vec!["ucr", "run", word],
                None => vec!["ucr", word],
            };
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let refused = parse(&words).expect_err(word).text();
            let instead = instead_of(word).expect("known");
            assert!(refused.ends_with(&format!("try: {instead}\n")), "{refused}");
            assert!(refused.contains(&format!("\"{word}\"")), "{refused}");
        }
    }
}
