//! Settings of the kernel's for the namespaces of a container.

use oci_spec::runtime::Linux;
use ucr_sys::process::Namespaces;

/// A setting that would change the host, or that has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sysctl {name:?} is the host's: {}", why(.name))]
pub struct NotOwn {
    /// Its name, as it was given.
    pub name: String,
}

/// Why a container has no setting of that name for itself.
fn why(name: &str) -> &'static str {
    if name.starts_with("net.") || name.starts_with("net/") {
        "the container has no network of its own (--network none gives it one)"
    } else {
        "no namespace of the container has one of its own"
    }
}

/// Settings of the System V and POSIX kinds of an ipc namespace, ipc_namespaces(7).
const IPC: [&str; 11] = [
    "kernel.auto_msgmni",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Paths below `/proc/sys` and values; only those of namespaces of the container's own.
///
/// What is left in the host's would change the host (CVE-2022-0811 began so).
pub(super) fn convert(
    linux: &Linux,
    has: &dyn Fn(Namespaces) -> bool,
) -> Result<Vec<(String, String)>, NotOwn> {
    let mut found = Vec::new();
    for (name, value) in linux.sysctl().iter().flatten() {
        // Both spellings of sysctl(8): with dots, or with slashes where a name has a dot in it.
        let path = match name.split_once(['.', '/']) {
            Some(_)
                if name
                    .find('/')
                    .is_some_and(|at| name.find('.').is_none_or(|dot| at < dot)) =>
            {
                name.clone()
            }
            _ => name.replace('.', "/"),
        };
        let dotted = path.replace('/', ".");
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let own = (IPC.contains(&dotted.as_str()) || path.starts_with("fs/mqueue/"))
            && has(Namespaces::IPC)
            || path.starts_with("net/") && has(Namespaces::NETWORK)
            || matches!(dotted.as_str(), "kernel.domainname" | "kernel.hostname")
                && has(Namespaces::UTS);
        if !plain || !own || path.contains('\0') {
            return Err(NotOwn { name: name.clone() });
        }
        found.push((path, value.clone()));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(own: Namespaces, name: &str) -> Result<Vec<(String, String)>, NotOwn> {
        let mut linux = Linux::default();
        linux.set_sysctl(Some([(name.to_owned(), "1".to_owned())].into()));
        convert(&linux, &|kind| own.contains(kind))
    }

    #[test]
    fn s18_only_settings_of_own_namespaces_are_taken() {
        for (own, name, path) in [
            (
                Namespaces::NETWORK,
                "net.ipv4.ip_forward",
                "net/ipv4/ip_forward",
            ),
            (
                Namespaces::NETWORK,
                "net/ipv4/conf/eth0.1/rp_filter",
                "net/ipv4/conf/eth0.1/rp_filter",
            ),
            (Namespaces::IPC, "kernel.shmmax", "kernel/shmmax"),
            (Namespaces::IPC, "fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            (Namespaces::UTS, "kernel.domainname", "kernel/domainname"),
        ] {
            let wanted = vec![(path.to_owned(), "1".to_owned())];
            assert_eq!(taken(own, name), Ok(wanted));
            let others = Namespaces::from_bits(!own.bits());
            assert_eq!(
                taken(others, name),
                Err(NotOwn {
                    name: name.to_owned()
                })
            );
        }
        let all = Namespaces::from_bits(u64::MAX);
        for name in [
            "kernel.core_pattern",
            "net/../kernel/core_pattern",
            "net//x",
            "vm.swappiness",
        ] {
            assert_eq!(
                taken(all, name),
                Err(NotOwn {
                    name: name.to_owned()
                })
            );
        }
    }
}
