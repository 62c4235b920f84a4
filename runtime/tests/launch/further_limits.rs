//! Limits beyond memory, processor time and number of processes: in force, or refused by name.

use std::path::Path;

use serde_json::{Value, json};
use ucr_runtime::cgroup::detect::Hierarchies;

use crate::support::{Container, Output, privileged};

/// A container with `resources` that reads files of its cgroups: each by its name in version 1, or
/// else in version 2.
fn reading(resources: Value, files: &[(&str, &str)]) -> (Output, Vec<String>) {
    let script: String = files
        .iter()
        .map(|(v1, v2)| format!("cat {v1} 2>/dev/null || cat {v2}; "))
        .collect();
    let mut container = Container::sh(&format!("cd /sys/fs/cgroup; {script}"));
    container.patch(json!({"linux": {"resources": resources}}));
    let output = container.run();
    container.assert_swept();
    let lines = output.stdout.lines().map(ToOwned::to_owned).collect();
    (output, lines)
}

/// Whether `controller` is one of version 1; none where it is in neither.
fn is_in_v1(controller: &str) -> Option<bool> {
    let found = Hierarchies::detect_all().expect("detect");
    let has = |controllers: &[String]| controllers.iter().any(|name| name == controller);
    if found.v1.iter().any(|one| has(&one.controllers)) {
        return Some(true);
    }
    let other = if controller == "blkio" {
        "io"
    } else {
        controller
    };
    let two = found
        .v2
        .is_some_and(|two| two.controllers.iter().any(|name| name == other));
    if !two {
        eprintln!("skipped: no hierarchy has the controller {controller}");
    }
    two.then_some(false)
}

/// The number of a block device of this machine.
fn block_device() -> Option<(u32, u32)> {
    let devices = std::fs::read_dir("/sys/block").ok()?.flatten();
    let numbers = devices.filter_map(|one| std::fs::read_to_string(one.path().join("dev")).ok());
    let number = numbers.into_iter().next();
    if number.is_none() {
        eprintln!("skipped: this machine has no block device");
    }
    let number = number?;
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn i30_processors_and_memory_nodes_are_bounded() {
    if !privileged() || is_in_v1("cpuset").is_none() {
        return;
    }
    let mut container = Container::sh("grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status");
    container.patch(json!({"linux": {"resources": {"cpu": {"cpus": "0", "mems": "0"}}}}));
    let output = container.run();
    assert_eq!(
        output.stdout, "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n",
        "{output:?}"
    );
    container.assert_gone();
}

#[test]
fn i30_processors_that_are_not_there_are_refused() {
    if !privileged() || is_in_v1("cpuset").is_none() {
        return;
    }
    for cpus in ["0-8191", "0,63", "first"] {
        let (output, _) = reading(json!({"cpu": {"cpus": cpus}}), &[]);
        assert_eq!(output.code, 125, "{cpus}: {output:?}");
        for words in ["cpuset.cpus", cpus] {
            assert!(output.stderr.contains(words), "{output:?}");
        }
    }
}

#[test]
fn i30_reservation_and_swap_are_set() {
    if !privileged() || is_in_v1("memory").is_none() {
        return;
    }
    let memory = json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20}});
    let (output, lines) = reading(
        memory,
        &[
            ("memory/memory.soft_limit_in_bytes", "memory.low"),
            ("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
        ],
    );
    let both = if is_in_v1("memory") == Some(true) {
        96
    } else {
        32
    };
    let wanted = [32 << 20, both << 20].map(|size: u64| size.to_string());
    assert_eq!(lines, wanted, "{output:?}");
    // Of nothing there is no part.
    let (output, _) = reading(json!({"memory": {"swap": 96 << 20}}), &[]);
    assert_eq!(output.code, 125);
    assert!(
        output.stderr.contains("needs a limit on memory"),
        "{output:?}"
    );
}

#[test]
fn i30_swappiness_is_set_or_refused() {
    if !privileged() {
        return;
    }
    let Some(v1) = is_in_v1("memory") else {
        return;
    };
    let files = [("memory/memory.swappiness", "/dev/null")];
    let (output, lines) = reading(json!({"memory": {"swappiness": 7}}), &files);
    if v1 {
        assert_eq!(lines, ["7"], "{output:?}");
    } else {
        assert_eq!(output.code, 125, "{output:?}");
        assert!(
            output.stderr.contains("memory.swappiness needs"),
            "{output:?}"
        );
    }
}

#[test]
fn i30_rates_of_a_block_device_are_bounded() {
    if !privileged() {
        return;
    }
    let (Some(v1), Some((major, minor))) = (is_in_v1("blkio"), block_device()) else {
        return;
    };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let block = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
        "throttleReadIOPSDevice": rate(30), "throttleWriteIOPSDevice": rate(40)}});
    let files = ["read_bps", "write_bps", "read_iops", "write_iops"];
    let files = files.map(|kind| format!("blkio/blkio.throttle.{kind}_device"));
    let files: Vec<_> = files.iter().map(|file| (file.as_str(), "io.max")).collect();
    let (output, lines) = reading(block, if v1 { &files } else { &files[..1] });
    let wanted: Vec<String> = if v1 {
        let values = [1 << 20, 2 << 20, 30, 40];
        values
            .map(|value: u64| format!("{major}:{minor} {value}"))
            .into()
    } else {
        vec![format!(
            "{major}:{minor} rbps=1048576 wbps=2097152 riops=30 wiops=40"
        )]
    };
    assert_eq!(lines, wanted, "{output:?}");
}

#[test]
fn i30_the_weight_of_block_io_is_set_or_refused_by_name() {
    if !privileged() || is_in_v1("blkio").is_none() {
        return;
    }
    let files = [(
        "blkio/blkio.bfq.weight",
        "io.bfq.weight 2>/dev/null || cat io.weight",
    )];
    let (output, lines) = reading(json!({"blockIO": {"weight": 500}}), &files);
    if output.code == 0 {
        let given = lines
            .first()
            .map(|line| line.trim_start_matches("default ").to_owned());
        assert!(
            ["500", "4950"]
                .map(|one| Some(one.to_owned()))
                .contains(&given),
            "{output:?}"
        );
    } else {
        // A kernel without the scheduler BFQ and without the cost model.
        assert_eq!(output.code, 125);
        assert!(
            output.stderr.contains("weight\" to \"4950\"") || output.stderr.contains("bfq.weight"),
            "{output:?}"
        );
    }
}

#[test]
fn i30_huge_pages_are_bounded() {
    if !privileged() || is_in_v1("hugetlb").is_none() {
        return;
    }
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        eprintln!("skipped: this machine has no huge pages of 2 MB");
        return;
    }
    let limit = |size: &str| json!({"hugepageLimits": [{"pageSize": size, "limit": 4 << 20}]});
    let at = if is_in_v1("memory") == Some(true) {
        "unified/"
    } else {
        ""
    };
    let of = |kind: &str| {
        (
            format!("hugetlb/hugetlb.2MB{kind}.limit_in_bytes"),
            format!("{at}hugetlb.2MB{kind}.max"),
        )
    };
    let files = [of(""), of(".rsvd")];
    let files = files.each_ref().map(|(v1, v2)| (v1.as_str(), v2.as_str()));
    let (output, lines) = reading(limit("2MB"), &files);
    assert_eq!(lines, ["4194304", "4194304"], "{output:?}");
    for size in ["3MB", "../2MB", "x/y"] {
        let (output, _) = reading(limit(size), &[]);
        assert_eq!(output.code, 125, "{output:?}");
        assert!(output.stderr.contains(size), "{output:?}");
    }
}

#[test]
fn a_container_has_no_cgroup_that_it_does_not_need() {
    if !privileged() {
        return;
    }
    let count = |resources: Value| {
        let mut container =
            Container::sh("grep -c '' /proc/self/cgroup; ls /sys/fs/cgroup | tr '\\n' ' '");
        container.patch(json!({"linux": {"resources": resources}}));
        let output = container.run();
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    };
    let without = count(json!({"pids": {"limit": 100}}));
    assert!(!without.contains("cpuset"), "{without}");
    if is_in_v1("cpuset").is_some() {
        let with = count(json!({"cpu": {"cpus": "0"}}));
        assert!(with.contains("cpuset"), "{with}");
    }
}
