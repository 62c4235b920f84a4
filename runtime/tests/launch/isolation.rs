//! What the task sees and may do: security.md, section 3.3.

use std::path::Path;
use std::process::Command;

use crate::support::{Container, privileged};

fn lines(script: &str) -> Vec<String> {
    let output = Container::sh(script).run();
    assert_eq!(output.stderr, "", "{script}");
    output.stdout.lines().map(ToOwned::to_owned).collect()
}

/// The script's own shell does what it can; complaints are part of the answer.
fn all_output(script: &str) -> String {
    let output = Container::sh(&format!("{{ {script}; }} 2>&1")).run();
    output.stdout
}

#[test]
fn i1_s3_no_descriptor_of_the_caller_is_visible() {
    if !privileged() {
        return;
    }
    let container = Container::sh("ls /proc/self/fd | wc -l");
    let launch = container.command();
    // A shell leaves 3 to 9 open, as a careless caller does, and becomes the launcher.
    let opens: Vec<String> = (3..=9).map(|number| format!("exec {number}</")).collect();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{}; exec \"$@\"", opens.join("; ")))
        .arg("sh");
    let output = shell
        .arg(launch.get_program())
        .args(launch.get_args())
        .output()
        .expect("run");
    // 0, 1, 2 and the directory that ls itself has open.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4\n", "{output:?}");
}

#[test]
fn s1_the_descriptors_of_pid_1_cannot_be_followed() {
    if !privileged() {
        return;
    }
    let script = "for f in /proc/1/fd/* /proc/1/root /proc/1/cwd /proc/1/exe; do \
        readlink $f; ls $f/ && echo opened $f; cat $f; done 2>/dev/null";
    assert_eq!(Container::sh(script).run().stdout, "");
}

#[test]
fn s3_a_working_directory_through_a_descriptor_is_refused() {
    if !privileged() {
        return;
    }
    for number in 3..9 {
        let mut container = Container::sh("pwd");
        container.directory(&format!("/proc/self/fd/{number}"));
        let output = container.run();
        assert_eq!(output.code, 125, "{}", output.stdout);
        container.assert_gone();
    }
}

#[test]
fn s2_the_program_of_pid_1_is_no_file_of_the_host() {
    if !privileged() {
        return;
    }
    let mut container = Container::new(&["/proc/self/exe"]);
    let launcher = crate::support::launcher();
    let before = std::fs::read(&launcher).expect("read");
    container.run();
    container.arguments(&[
        "/bin/sh",
        "-c",
        "echo x > /proc/1/exe; readlink /proc/1/exe",
    ]);
    let output = container.run();
    assert!(!output.stdout.contains('/'), "{}", output.stdout);
    assert_eq!(std::fs::read(&launcher).expect("read"), before);
}

#[test]
fn i4_i9_own_processes_only_in_a_fresh_proc() {
    if !privileged() {
        return;
    }
    let found = lines("cat /proc/1/comm; ls /proc | grep -c '^[0-9]*$'; ls /proc/self/root/..");
    assert_eq!(found[0], "ucr-init");
    // pid 1, the shell, and the two ends of the pipe.
    assert!(found[1].parse::<u32>().unwrap() <= 4, "{found:?}");
    assert!(found.contains(&"bin".to_owned()) && !found.contains(&"boot".to_owned()));
}

#[test]
fn i7_i8_nothing_of_the_hosts_mounts_is_left() {
    if !privileged() {
        return;
    }
    let mountinfo = lines("cat /proc/self/mountinfo").join("\n");
    assert!(
        !mountinfo.contains("shared:") && !mountinfo.contains("master:"),
        "{mountinfo}"
    );
    assert!(!mountinfo.contains("/tmp/"), "{mountinfo}");
    // The devices that are bound, and the container's own terminals.
    let of_devices = |line: &&str| line.contains("devtmpfs") || line.contains(" - devpts ");
    for line in mountinfo.lines().filter(|line| !of_devices(line)) {
        let masked = line.contains("size=0k");
        assert!(line.contains("nodev") || masked, "{line}");
    }
}

#[test]
fn i10_masked_paths_are_empty() {
    if !privileged() {
        return;
    }
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
    ] {
        assert_eq!(
            lines(&format!("cat {path} 2>/dev/null | wc -c")),
            ["0"],
            "{path}"
        );
    }
    for path in ["/proc/acpi", "/sys/firmware", "/proc/scsi"] {
        assert_eq!(
            lines(&format!("ls {path} 2>/dev/null | wc -l")),
            ["0"],
            "{path}"
        );
        let write = all_output(&format!("mkdir {path}/x"));
        assert!(
            write.contains("Read-only") || write.contains("No such"),
            "{write}"
        );
    }
}

#[test]
fn i11_i12_read_only_paths_stay_so() {
    if !privileged() {
        return;
    }
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/x /sys/x \
        /sys/fs/cgroup/x; do echo b > $f; done; mount -o remount,rw /sys; \
        for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ ! -d $d ] || mkdir $d/x; done";
    let output = all_output(script);
    let refused = [
        "Read-only",
        "denied",
        "nonexistent",
        "not permitted",
        "Operation not permitted",
    ];
    assert!(
        output
            .lines()
            .all(|line| refused.iter().any(|words| line.contains(words))),
        "{output}"
    );
}

#[test]
fn i14_dev_holds_the_standard_devices_and_links() {
    if !privileged() {
        return;
    }
    let found = lines("ls /dev; stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/tty");
    let names = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(found[..15].join(" "), names);
    assert_eq!(
        found[15..],
        [
            "/dev/null 1:3 666",
            "/dev/zero 1:5 666",
            "/dev/full 1:7 666",
            "/dev/tty 5:0 666"
        ]
    );
    let used = lines(
        "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo shm > /dev/shm/x && cat /dev/shm/x",
    );
    assert_eq!(used, ["3", "5", "shm"]);
}

#[test]
fn i15_the_hosts_devices_cannot_be_changed_through_the_containers() {
    if !privileged() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let host = || {
        let stat = std::fs::metadata("/dev/null").expect("stat");
        (stat.mode(), stat.uid(), stat.gid(), stat.ctime())
    };
    let before = host();
    let output =
        all_output("chmod 600 /dev/null; chown 5:5 /dev/null; rm /dev/null; mv /dev/null /dev/x");
    assert_eq!(output.lines().count(), 4, "{output}");
    assert_eq!(host(), before);
}

#[test]
fn i16_a_device_node_made_inside_cannot_be_opened() {
    if !privileged() {
        return;
    }
    let script = "for d in / /dev /dev/shm /tmp; do mknod $d/disk b 8 0; mknod $d/mem c 1 1; \
        cat $d/disk; cat $d/mem; done";
    let output = all_output(script);
    let opened = output.lines().filter(|line| line.contains("can't open"));
    assert_eq!(opened.count(), 8, "{output}");
}

#[test]
fn i17_s16_capabilities_are_dockers() {
    if !privileged() {
        return;
    }
    let found = lines("grep Cap /proc/self/status | tr -d '\\t'");
    let expected = ["00000000a80425fb"; 3];
    assert_eq!(found[0], "CapInh:0000000000000000");
    assert_eq!(
        found[1..4],
        ["CapPrm:", "CapEff:", "CapBnd:"].map(|name| name.to_owned() + expected[0])
    );
    assert_eq!(found[4], "CapAmb:0000000000000000");
}

#[test]
fn i19_no_new_privileges_by_default() {
    if !privileged() {
        return;
    }
    assert_eq!(
        lines("grep NoNewPrivs /proc/self/status | tr -d '\\t'"),
        ["NoNewPrivs:1"]
    );
}

#[test]
fn i26_the_umask_is_022() {
    if !privileged() {
        return;
    }
    let script = ": > /f; mkdir /d; stat -c %a /f /d";
    assert_eq!(lines(script), ["644", "755"]);
}

#[test]
fn i33_hostname_and_network_are_the_containers_own() {
    if !privileged() {
        return;
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let mut container =
        Container::sh("hostname; ifconfig | grep -c 'Link encap'; ifconfig lo | grep -c UP");
    container.patch(serde_json::json!({"hostname": "inside"}));
    assert_eq!(container.run().stdout, "inside\n1\n1\n");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"),
        host
    );

    let mut shared = Container::sh("readlink /proc/self/ns/net");
    shared.without_namespace("net");
    let own = std::fs::read_link("/proc/self/ns/net").expect("readlink");
    assert_eq!(shared.run().stdout.trim(), own.to_string_lossy());
}

#[test]
fn i36_a_read_only_root_leaves_its_mounts_writable() {
    if !privileged() {
        return;
    }
    let mut container =
        Container::sh("{ : > /x; } 2>&1 | grep -c Read-only; : > /dev/shm/x && echo shm; pwd");
    container.patch(serde_json::json!({"root": {"readonly": true}}));
    container.directory("/made/here");
    assert_eq!(container.run().stdout, "1\nshm\n/made/here\n");
}

#[test]
fn i37_writes_never_reach_a_layer() {
    if !privileged() {
        return;
    }
    let container =
        Container::sh("echo bad > /etc/passwd; chmod 777 /bin; rm -r /root; mv /etc /etc2");
    let before = std::fs::read_to_string(container.layer().join("etc/passwd")).expect("read");
    assert_eq!(container.run().code, 0);
    assert_eq!(
        std::fs::read_to_string(container.layer().join("etc/passwd")).unwrap(),
        before
    );
    assert!(container.layer().join("root").is_dir());
}

#[test]
fn the_root_has_the_attributes_that_it_has_in_the_image() {
    if !privileged() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let container = Container::sh("stat -c '%a %u:%g' / /tmp");
    std::fs::set_permissions(container.layer(), PermissionsExt::from_mode(0o751)).expect("chmod");
    std::os::unix::fs::chown(container.layer(), Some(7), Some(8)).expect("chown");
    assert_eq!(container.run().stdout, "751 7:8\n1777 0:0\n");
}

#[test]
fn many_layers_are_stacked_in_order() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("cat /which; ls /only | wc -l");
    let base = container.lower.pop().expect("layer");
    for number in 0..400 {
        let layer = container.temp.path().join(format!("layers/{number}"));
        crate::support::write(&layer.join("which"), &format!("{number}\n"));
        crate::support::write(&layer.join(format!("only/{number}")), "");
        container.lower.push(layer);
    }
    container.lower.push(base);
    assert_eq!(container.run().stdout, "0\n400\n");
}

#[test]
fn i25_the_callers_environment_does_not_leak() {
    if !privileged() {
        return;
    }
    let container = Container::new(&["/bin/env"]);
    let output = container.command().env("LEAK", "1").output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: Vec<_> = text.lines().collect();
    found.sort_unstable();
    assert_eq!(found, ["HOME=/root", "PATH=/bin"]);
}

#[test]
fn i27_a_limit_that_cannot_be_set_is_named() {
    if !privileged() {
        return;
    }
    let limit = |hard: u64| {
        serde_json::json!({"process": {"rlimits":
            [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": hard}]}})
    };
    let mut container = Container::sh("ulimit -n; ulimit -Hn");
    container.patch(limit(128));
    assert_eq!(container.run().stdout, "64\n128\n");
    // Beyond fs.nr_open, which no capability allows.
    container.patch(limit(u64::MAX));
    let output = container.run();
    assert_eq!(output.code, 125);
    assert!(output.stderr.contains("RLIMIT_NOFILE"), "{}", output.stderr);
}

#[test]
fn i28_oom_score_adj_is_as_asked() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("cat /proc/self/oom_score_adj");
    container.patch(serde_json::json!({"process": {"oomScoreAdj": 300}}));
    assert_eq!(container.run().stdout, "300\n");
}

#[test]
fn s32_what_is_not_honoured_is_refused() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("true");
    container.patch(serde_json::json!({"process": {"selinuxLabel": "x"}}));
    let output = container.run();
    assert_eq!(output.code, 125);
    assert!(
        output.stderr.contains("process.selinuxLabel"),
        "{}",
        output.stderr
    );
    assert!(
        Path::new(&container.work_dir()).exists(),
        "the caller's until ucr-init runs"
    );
}
