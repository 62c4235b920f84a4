//! Limits are in force before the task's first instruction.

use crate::support::{Container, privileged};

fn limited() -> serde_json::Value {
    serde_json::json!({"linux": {"resources": {
        "memory": {"limit": 64 << 20}, "cpu": {"quota": 50000, "period": 100000, "shares": 512},
        "pids": {"limit": 20}}}})
}

#[test]
fn i29_i30_limits_are_in_force_as_the_first_action() {
    if !privileged() {
        return;
    }
    let script = "cd /sys/fs/cgroup; \
        cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max; \
        cat pids/pids.max 2>/dev/null || cat pids.max; \
        cat cpu/cpu.cfs_quota_us 2>/dev/null || cat cpu.max; \
        grep -c ':/$' /proc/self/cgroup; grep -vc ':/$' /proc/self/cgroup";
    let mut container = Container::sh(script);
    container.patch(limited());
    let output = container.run();
    let found: Vec<_> = output.stdout.lines().collect();
    assert_eq!(found[..2], ["67108864", "20"], "{output:?}");
    assert!(
        found[2] == "50000" || found[2] == "50000 100000",
        "{output:?}"
    );
    // The namespace is rooted at the container's own cgroups.
    assert_eq!(found[4], "0", "{output:?}");
    container.assert_gone();
}

#[test]
fn i30_a_task_killed_for_memory_is_told_in_words() {
    if !privileged() {
        return;
    }
    let mut container = Container::new(&["/bin/tail", "/dev/zero"]);
    container.patch(limited());
    let output = container.run();
    assert_eq!(output.code, 137);
    assert_eq!(
        output.stderr,
        "ucr: the task was killed by the kernel: out of memory, limit 64 MiB\n"
    );
    container.assert_gone();
}

#[test]
fn i30_the_number_of_processes_is_bounded() {
    if !privileged() {
        return;
    }
    let script = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; ps | grep -c sleep";
    let mut container = Container::sh(script);
    container.patch(limited());
    let output = container.run();
    assert!(output.stderr.contains("can't fork"), "{output:?}");
    container.assert_gone();
}

#[test]
fn i32_a_leftover_cgroup_is_not_joined() {
    if !privileged() {
        return;
    }
    let container = Container::sh("true");
    let hierarchies = ucr_runtime::cgroup::detect::Hierarchies::detect().expect("detect");
    let base = match hierarchies.v1.first() {
        Some(hierarchy) => hierarchy.base.clone(),
        None => hierarchies.v2.expect("a hierarchy").base,
    };
    let leftover = base.join("ucr").join(&container.id);
    std::fs::create_dir_all(&leftover).expect("mkdir");
    let output = container.run();
    assert_eq!(output.code, 125);
    assert!(
        output.stderr.contains("is there already"),
        "{}",
        output.stderr
    );
    // It is not the refused one's to remove, and all else is gone.
    assert_eq!(container.cgroups(), [leftover.as_path()]);
    std::fs::remove_dir(&leftover).expect("rmdir");
    ucr_runtime::cgroup::made::remove_empty_parent(&leftover);
    container.assert_gone();
}
