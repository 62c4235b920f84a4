//! Docker's current defaults, moby `daemon/pkg/oci/defaults.go`.

use std::path::PathBuf;

use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxNamespace, LinuxNamespaceType, LinuxResources, Mount, Process, Root, Spec,
};

/// A spec with Docker's defaults: isolated, without network, limits, environment or program.
///
/// Docker's default seccomp profile is not in it, with its 400 names, but asked
/// for by [`SeccompRequest::SpecOrDefault`](super::SeccompRequest::SpecOrDefault).
pub fn defaults() -> Spec {
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(None);
    let mut spec = Spec::default();
    spec.set_version("1.2.0".into())
        .set_root(Some(root))
        .set_process(Some(process()))
        .set_hostname(None)
        .set_mounts(Some(mounts()))
        .set_annotations(None)
        .set_linux(Some(linux()));
    spec
}

fn process() -> Process {
    let mut process = Process::default();
    process
        .set_args(None)
        .set_env(None)
        .set_cwd(PathBuf::from("/"))
        .set_rlimits(None)
        .set_no_new_privileges(Some(true))
        .set_capabilities(Some(capabilities()));
    process
}

/// The 14 that Docker grants; nothing inheritable or ambient (CVE-2022-24769).
fn capabilities() -> LinuxCapabilities {
    use Capability as C;

    let granted: Capabilities = [
        C::Chown,
        C::DacOverride,
        C::Fsetid,
        C::Fowner,
        C::Mknod,
        C::NetRaw,
        C::Setgid,
        C::Setuid,
        C::Setfcap,
        C::Setpcap,
        C::NetBindService,
        C::SysChroot,
        C::Kill,
        C::AuditWrite,
    ]
    .into();
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(granted.clone()))
        .set_permitted(Some(granted.clone()))
        .set_effective(Some(granted))
        .set_inheritable(None)
        .set_ambient(None);
    sets
}

fn mounts() -> Vec<Mount> {
    [
        ("/proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        (
            "/dev/pts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        ("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        ("/sys/fs/cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
        ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
        (
            "/dev/shm",
            "tmpfs",
            "nosuid,noexec,nodev,mode=1777,size=67108864",
        ),
    ]
    .into_iter()
    .map(|(destination, kind, options)| {
        let mut mount = Mount::default();
        mount
            .set_destination(PathBuf::from(destination))
            .set_typ(Some(kind.into()))
            .set_source(Some(PathBuf::from(kind)))
            .set_options(Some(options.split(',').map(ToOwned::to_owned).collect()));
        mount
    })
    .collect()
}

fn linux() -> Linux {
    use LinuxNamespaceType as N;

    let namespaces = [N::Mount, N::Network, N::Uts, N::Pid, N::Ipc, N::Cgroup].map(|kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(None);
        namespace
    });
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(device_rules()));
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.into()))
        .set_resources(Some(resources))
        .set_devices(None)
        .set_cgroups_path(None)
        .set_masked_paths(Some(masked_paths()))
        .set_readonly_paths(Some(
            ["bus", "fs", "irq", "sys", "sysrq-trigger"]
                .map(|name| format!("/proc/{name}"))
                .into(),
        ));
    linux
}

/// Deny all, then what Docker allows; `mknod` of anything, use of these alone.
fn device_rules() -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C};

    let rules = [
        (false, A, None, None, "rwm"),
        (true, C, None, None, "m"),
        (true, B, None, None, "m"),
        (true, C, Some(1), Some(3), "rwm"),
        (true, C, Some(1), Some(5), "rwm"),
        (true, C, Some(1), Some(7), "rwm"),
        (true, C, Some(1), Some(8), "rwm"),
        (true, C, Some(1), Some(9), "rwm"),
        (true, C, Some(5), Some(0), "rwm"),
        (true, C, Some(5), Some(1), "rwm"),
        (true, C, Some(5), Some(2), "rwm"),
        (true, C, Some(136), None, "rwm"),
    ];
    rules
        .into_iter()
        .map(|(allow, kind, major, minor, access)| {
            let mut rule = LinuxDeviceCgroup::default();
            rule.set_allow(allow)
                .set_typ(Some(kind))
                .set_major(major)
                .set_minor(minor)
                .set_access(Some(access.into()));
            rule
        })
        .collect()
}

fn masked_paths() -> Vec<String> {
    let proc = [
        "acpi",
        "asound",
        "interrupts",
        "kcore",
        "keys",
        "latency_stats",
        "sched_debug",
        "scsi",
        "timer_list",
        "timer_stats",
    ];
    let mut paths: Vec<String> = proc.iter().map(|name| format!("/proc/{name}")).collect();
    // Side channels: GHSA-jq35-85cj-fj4p, GHSA-6fw5-f8r9-fgfm.
    paths.push("/sys/devices/virtual/powercap".into());
    paths.push("/sys/firmware".into());
    paths.extend(thermal_throttles());
    paths
}

/// One directory for each processor of this machine that has it.
fn thermal_throttles() -> Vec<String> {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu");
    let paths = cpus.into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("cpu")?;
        let path = entry.path().join("thermal_throttle");
        let is_one = number.starts_with(|first: char| first.is_ascii_digit()) && path.is_dir();
        is_one.then(|| path.to_string_lossy().into_owned())
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_defaults_is_unsupported() {
        let found = super::super::supported::first_unsupported(
            &defaults(),
            super::super::Owner::Supervisor,
        )
        .expect("walk");
        assert_eq!(found, None);
    }

    #[test]
    fn s16_nothing_is_inheritable_or_ambient() {
        let spec = defaults();
        let sets = spec
            .process()
            .as_ref()
            .unwrap()
            .capabilities()
            .as_ref()
            .unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 14);
        assert!(sets.inheritable().is_none() && sets.ambient().is_none());
    }
}
