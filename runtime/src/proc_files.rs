//! Files of `/proc` that may be covered by one of the caller's, as runc has it for lxcfs.

use std::path::Path;

const FILES: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Whether a file may be bound over `path`.
pub(crate) fn may_be_covered(path: &Path) -> bool {
    FILES.iter().any(|file| path == Path::new(file))
}
