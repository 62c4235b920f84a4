//! podman with `ucr` as its OCI runtime.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::binaries;
use crate::oci_bundle::{Bundle, needs_containers};
use crate::output::Output;

/// The filter of system calls that podman hands over unless it is told otherwise.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// Runs podman on the root file system of `bundle`, with everything of its own below the bundle.
fn podman(bundle: &Bundle, words: &[&str]) -> Output {
    let runtime = bundle.path("ucr-oci");
    if !runtime.exists() {
        symlink(binaries::ucr(), &runtime).unwrap();
    }
    let mut command = Command::new("podman");
    for (flag, folder) in [
        ("--root", "store"),
        ("--runroot", "run"),
        ("--tmpdir", "tmp"),
    ] {
        command.args([flag, &bundle.shown(folder)]);
    }
    command.args([
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
    ]);
    command.args(["--runtime", runtime.to_str().unwrap()]);
    if let [verb @ ("exec" | "rm"), words @ ..] = words {
        return Output::of(command.arg(verb).args(words));
    }
    command.args(["run", "--rm", "--network=none"]);
    // Its own would be raised above ours, which takes CAP_SYS_RESOURCE.
    command.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
    command.args(words);
    Output::of(&mut command)
}

/// What podman runs: a root file system with the directories that it mounts on.
fn bundle() -> Bundle {
    let bundle = Bundle::new(&["true"]);
    for name in ["etc", "proc", "sys", "dev", "run", "tmp"] {
        std::fs::create_dir(bundle.path("rootfs").join(name)).unwrap();
    }
    let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(bundle.path("rootfs/tmp"), everybodys).unwrap();
    bundle
}

#[test]
fn i20_the_filter_of_system_calls_that_podman_hands_over_is_in_force() {
    needs_containers!();
    test_support::need_command!("podman", "conmon");
    if !Path::new(PROFILE).exists() {
        eprintln!("skipped: {PROFILE}, podman's own, is missing");
        return;
    }
    let bundle = bundle();
    let rootfs = bundle.shown("rootfs");
    let root = ["--rootfs", &rootfs];
    let run = |flags: &[&str], words: &[&str]| podman(&bundle, &[flags, &root, words].concat());
    let shown = ["cat", "/proc/self/status"];
    let status = run(&[], &shown).ok().stdout;
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let status = run(&["--security-opt=seccomp=unconfined"], &shown);
    let status = status.ok().stdout;
    assert!(status.contains("Seccomp:\t0"), "{status}");
}

#[test]
fn podman_runs_containers_with_ucr() {
    needs_containers!();
    test_support::need_command!("podman", "conmon");
    if !Path::new(PROFILE).exists() {
        eprintln!("skipped: {PROFILE}, podman's own, is missing");
        return;
    }
    let bundle = bundle();
    let rootfs = bundle.shown("rootfs");
    let root = ["--rootfs", &rootfs];
    let run = |flags: &[&str], words: &[&str]| podman(&bundle, &[flags, &root, words].concat());

    let output = run(&[], &["sh", "-c", "echo hello; id -u"]).ok();
    assert_eq!(output.stdout, "hello\n0\n", "{output:?}");
    run(&[], &["sh", "-c", "exit 7"]).ended(7);
    run(&[], &["/no/such/program"])
        .ended(127)
        .said(&["no such file or directory"]);
    run(&[], &["missing"])
        .ended(127)
        .said(&["executable file not found in"]);
    let limited = run(
        &[
            "--memory=64m",
            "--pids-limit=99",
            "--user=1000",
            "--tmpfs=/tmp",
            "--hostname=inside",
        ],
        &["sh", "-c", "id -u; hostname; touch /tmp/x && echo made"],
    );
    assert_eq!(limited.ok().stdout, "1000\ninside\nmade\n");
    let id = run(&["--detach"], &["sleep", "1000"]).ok().stdout;
    let exec = |words: &[&str]| podman(&bundle, &[&["exec"], words].concat());
    let output = exec(&[
        "--user=1000",
        id.trim(),
        "sh",
        "-c",
        "id -u; cat /proc/1/comm",
    ])
    .ok();
    assert_eq!(output.stdout, "1000\nsleep\n");
    exec(&[id.trim(), "sh", "-c", "exit 7"]).ended(7);
    let shown = exec(&["--tty", id.trim(), "readlink", "/proc/self/fd/1"]);
    assert_eq!(shown.ok().stdout, "/dev/pts/0\r\n");
    podman(&bundle, &["rm", "--force", "--time=0", id.trim()]).ok();
    let all = "test -c /dev/full && grep CapEff /proc/self/status";
    for flags in [&["--privileged"][..], &["--privileged", "--tty"]] {
        let privileged = run(flags, &["sh", "-c", all]).ok();
        assert!(privileged.stdout.contains("CapEff:"), "{privileged:?}");
    }
    // The cgroup of systemd, mounted into those of the container.
    let systemd = run(&["--systemd=always"], &["ls", "/sys/fs/cgroup"]).ok();
    assert!(!systemd.stdout.is_empty(), "{systemd:?}");
    let shown = run(&["--tty"], &["sh", "-c", "readlink /proc/self/fd/1"]);
    assert_eq!(shown.ok().stdout, "/dev/pts/0\r\n");
}
