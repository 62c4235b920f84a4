//! Rules about devices are in force, for whoever is in the container's cgroups.

use std::path::{Path, PathBuf};
use std::process::Command;

use ucr_runtime::cgroup::detect::{Hierarchies, Unified};
use ucr_runtime::cgroup::devices::{Access, DeviceRule, Kind};
use ucr_runtime::cgroup::limits::{self, Limits};
use ucr_runtime::cgroup::{Version, group, made};

use crate::support::{Container, privileged};

/// What a shell of the host says that goes into `cgroups` and then runs `script`.
///
/// Inside of a container nothing but `nodev` would be seen: that denies every device already.
fn inside(cgroups: &[PathBuf], script: &str) -> String {
    let enter: String = cgroups
        .iter()
        .map(|group| format!("echo $$ >{}/cgroup.procs || exit 9; ", group.display()))
        .collect();
    let mut command = Command::new("sh");
    let output = command.args(["-c", &format!("{enter}{script}")]).output();
    let output = output.expect("sh");
    assert_ne!(output.status.code(), Some(9), "not let in: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Opens some devices in different ways.
const USES: &str = "r() { (: <$1) 2>&- && echo r $1; }; \
    w() { (: >>$1) 2>&- && echo w $1; }; \
    r /dev/null; w /dev/null; r /dev/zero; r /dev/full; w /dev/full; r /dev/kmsg; true";

#[test]
fn i16_the_default_rules_are_in_force_in_the_containers_cgroups() {
    if !privileged() {
        return;
    }
    assert!(Path::new("/dev/kmsg").exists(), "the test needs a device");
    let container = Container::sh("echo ready; sleep 1000 & wait");
    let running = container.spawn_until_ready();
    let cgroups = container.cgroups();
    assert!(!cgroups.is_empty());
    let wanted = "r /dev/null\nw /dev/null\nr /dev/zero\nr /dev/full\nw /dev/full\n";
    assert_eq!(inside(&cgroups, USES), wanted);
    // Any may be made, and those alone be used.
    let node = container.temp.path().join("node");
    let script = format!(
        "mknod {0} c 1 11 && echo made; (: <{0}) 2>&- || echo denied",
        node.display()
    );
    assert_eq!(inside(&cgroups, &script), "made\ndenied\n");
    let outside = Command::new("sh").args(["-c", USES]).output().expect("sh");
    assert!(String::from_utf8_lossy(&outside.stdout).ends_with("r /dev/kmsg\n"));
    running.kill("TERM");
    assert_eq!(running.wait().code, 143);
    container.assert_gone();
}

#[test]
fn i16_version_two_applies_rules_by_a_program() {
    if !privileged() {
        return;
    }
    let Some(unified) = Hierarchies::detect().expect("detect").v2 else {
        eprintln!("skipped: cgroup version 2 is not mounted");
        return;
    };
    let rule = |allow, minor, letters| DeviceRule {
        allow,
        kind: Some(Kind::Character),
        major: Some(1),
        minor,
        access: Access::parse(letters).expect("letters"),
    };
    let nothing = DeviceRule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        access: Access::ALL,
    };
    let limits = Limits {
        devices: vec![nothing, rule(true, None, "r"), rule(true, Some(7), "w")],
        ..Limits::default()
    };
    let two_alone = Hierarchies {
        v1: vec![],
        v2: Some(Unified {
            base: unified.base,
            controllers: vec![],
        }),
    };
    let id = format!("devices-{}", std::process::id());
    let plan = limits::plan(&two_alone, &id.parse().expect("id"), &limits).expect("plan");
    let mut made = Vec::new();
    group::create(&plan, &[Version::Two], &mut made).expect("create");
    let cgroups = [plan.groups[0].path.clone()];
    let said = inside(&cgroups, USES);
    let failures = made::remove(&made);
    assert!(failures.is_empty(), "{failures:?}");
    let wanted = "r /dev/null\nr /dev/zero\nr /dev/full\nw /dev/full\nr /dev/kmsg\n";
    assert_eq!(said, wanted);
}

#[test]
fn i16_a_long_list_of_rules_is_taken() {
    if !privileged() {
        return;
    }
    if Hierarchies::detect().expect("detect").v2.is_none() {
        eprintln!("skipped: cgroup version 2 is not mounted");
        return;
    }
    let rule = |number: u32| DeviceRule {
        allow: number.is_multiple_of(3),
        kind: number.is_multiple_of(2).then_some(Kind::Block),
        major: Some(number / 7),
        minor: (!number.is_multiple_of(5)).then_some(number),
        access: Access::parse(["r", "w", "rw", "rwm"][number as usize % 4]).expect("letters"),
    };
    let limits = Limits {
        devices: (0..200).map(rule).collect(),
        ..Limits::default()
    };
    let hierarchies = Hierarchies {
        v1: vec![],
        v2: Some(Unified {
            base: "/nowhere".into(),
            controllers: vec![],
        }),
    };
    let id = "long".parse().expect("id");
    let plan = limits::plan(&hierarchies, &id, &limits).expect("plan");
    // The kernel follows every way through it.
    ucr_sys::bpf::DeviceFilter::load(&plan.groups[0].device_filter).expect("load");
}
