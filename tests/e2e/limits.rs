//! Limits, as the container itself reads them before it does anything else.

use crate::env::TestEnv;
use crate::images;

/// Reads one limit in version 1 or, where that is not mounted, version 2.
fn script() -> String {
    [
        ("memory/memory.limit_in_bytes", "memory.max"),
        ("cpu/cpu.cfs_quota_us", "cpu.max"),
        ("cpu/cpu.shares", "cpu.weight"),
        ("pids/pids.max", "pids.max"),
    ]
    .map(|(one, two)| format!("cat /sys/fs/cgroup/{one} 2>/dev/null || cat /sys/fs/cgroup/{two}"))
    .join("; ")
}

/// Whether a controller is in a version 1 hierarchy here.
fn is_v1(controller: &str) -> bool {
    std::path::Path::new("/sys/fs/cgroup")
        .join(controller)
        .is_dir()
}

#[test]
fn i29_i30_every_limit_is_in_force_as_the_first_action() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let flags = [
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--pids-limit",
        "77",
    ];
    let output = env.run_sh(&flags, &script()).ok();
    let cpu = if is_v1("cpu") {
        ["50000", "512"]
    } else {
        ["50000 100000", "20"]
    };
    assert_eq!(
        output.lines(),
        ["67108864", cpu[0], cpu[1], "77"],
        "{output:?}"
    );
}

#[test]
fn i29_the_task_itself_is_where_the_limits_are() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    // No shell before it: the task's own first action is the look.
    let output = env
        .run(&["--pids-limit", "77"], &["cat", "/proc/self/cgroup"])
        .ok();
    for line in output.lines() {
        let (_, path) = line.rsplit_once(':').unwrap();
        assert!(!path.starts_with("/.."), "{output:?}");
    }
    let pids = ["/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"];
    let pids = pids[usize::from(!is_v1("pids"))];
    assert_eq!(
        env.run(&["--pids-limit", "77"], &["cat", pids]).ok().stdout,
        "77\n"
    );
}

#[test]
fn i30_too_much_memory_ends_the_task_with_words() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let killed = env.run(&["-m", "32m"], &["tail", "/dev/zero"]).ended(137);
    killed.said(&["out of memory", "32 MiB"]);
}

#[test]
fn i30_a_fork_bomb_is_bounded() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; echo $i";
    let bounded = env.run_sh(&["--pids-limit", "20"], script);
    assert!(bounded.stderr.contains("can't fork"), "{bounded:?}");
    for unlimited in ["0", "-1"] {
        env.run_sh(&["--pids-limit", unlimited], script).ok();
    }
}

#[test]
fn i31_limits_cannot_be_lifted_from_inside() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "for file in /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do
            test -e $file && (echo max >$file) 2>/dev/null && echo lifted
        done; echo end";
    assert_eq!(
        env.run_sh(&["--pids-limit", "77"], script).ok().stdout,
        "end\n"
    );
}

#[test]
fn nonsense_limits_are_refused_by_name() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for [flag, value] in [
        ["-m", "lots"],
        ["-m", "-1"],
        ["--cpus", "0"],
        ["--cpus", "none"],
        ["--cpu-shares", "1"],
        ["--pids-limit", "x"],
    ] {
        env.run(&[flag, value], &["true"])
            .ended(125)
            .said(&[flag.trim_start_matches('-')]);
    }
}
