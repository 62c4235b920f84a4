//! `--userns`, `--uidmap` and `--gidmap`: ids of the container that are others of this machine.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use test_support::{Entry, LayerBuilder};

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::{Output, Running};

/// Ids that no `/etc/subuid` of a test machine gives away.
const MAP: [&str; 2] = ["--uidmap", "0:1500000000:65536"];
const AUTO: [&str; 2] = ["--userns", "auto"];

/// What a container of an automatic range says of its own.
fn start_of(map: &str) -> u32 {
    let words: Vec<u32> = map
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert_eq!((words.len(), words[0], words[2]), (3, 0, 65_536), "{map}");
    words[1]
}

#[test]
fn i35_ids_are_mapped_and_files_have_those_of_the_image() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map;
        stat -c '%u:%g %n' / /bin/busybox /etc /etc/hosts /home/user /dev /dev/pts /dev/shm;
        touch /new; chown 7:8 /new; stat -c %u:%g /new";
    let flags = [MAP[0], MAP[1], "--gidmap", "0:1600000000:65536"];
    let words = env.run_sh(&flags, script).ok();
    let words: Vec<&str> = words.stdout.split_whitespace().collect();
    assert_eq!(words[..2], ["0", "0"]);
    assert_eq!(words[2..5], ["0", "1500000000", "65536"]);
    assert_eq!(words[5..8], ["0", "1600000000", "65536"]);
    let expected = "0:0 / 0:0 /bin/busybox 0:0 /etc 0:0 /etc/hosts 1000:1000 /home/user \
        0:0 /dev 0:0 /dev/pts 0:0 /dev/shm 7:8";
    assert_eq!(words[8..].join(" "), expected);
}

#[test]
fn i35_the_host_sees_other_ids_and_inspect_says_which() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for (user, uid) in [("0", 1_500_000_000), ("user", 1_500_001_000)] {
        let flags = [MAP[0], MAP[1], "-i", "-u", user, "--name", "mapped"];
        let mut run = env.run_command(&flags, &["sh", "-c", "echo ready; read line"]);
        let mut running = Running::spawn(run.stdin(Stdio::piped()));
        running.until("ready");
        let record = &env.containers()[0];
        let pid = &record["pid"];
        // Said by the kernel: the record may not have the task yet.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let task = std::fs::metadata(format!("/proc/{}", children.trim())).unwrap();
        assert_eq!(task.uid(), uid);
        // Pid 1 cannot be traced, so that its files in /proc are root's: its status tells.
        let status = format!("/proc/{}/status", record["pid"]);
        let status = std::fs::read_to_string(status).unwrap();
        assert!(
            status.contains("\nUid:\t1500000000\t1500000000\t"),
            "{status}"
        );
        let inspected = env.ucr(&["inspect", "mapped"]).ok().stdout;
        let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        let host = &inspected[0]["HostConfig"];
        assert_eq!(host["UsernsMode"], "private");
        let expected = json!({"UidMap": ["0:1500000000:65536"], "GidMap": ["0:1500000000:65536"]});
        assert_eq!(host["IDMappings"], expected);
        running.close_stdin();
        running.finish().ended(1);
    }
}

#[test]
fn i35_two_at_once_have_different_ids_and_the_next_has_them_again() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "cat /proc/self/uid_map; echo ready; read line";
    let start = || {
        let mut run = env.run_command(&[AUTO[0], AUTO[1], "-i"], &["sh", "-c", script]);
        let mut running = Running::spawn(run.stdin(Stdio::piped()));
        running.until("ready");
        running
    };
    let (mut first, mut second) = (start(), start());
    first.close_stdin();
    let freed = first.finish().ended(1).lines()[0].to_owned();
    let again = env.run(&AUTO, &["cat", "/proc/self/uid_map"]).ok().stdout;
    second.close_stdin();
    let held = second.finish().ended(1).lines()[0].to_owned();
    assert!(start_of(&freed).abs_diff(start_of(&held)) >= 65_536);
    assert_eq!(start_of(&again), start_of(&freed));
    let left = std::fs::read_dir(env.state().join("userns")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn i35_ids_come_from_those_of_the_user_containers() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::with_image(&images::busybox());
    env.write("ids", "somebody:1:5\ncontainers:1700000000:70000\n");
    let script = r#"
        for file in /etc/subuid /etc/subgid; do
            test -e $file || { echo skipped; exit 0; }
            mount --bind ids $file
        done
        "$UCR" run --pull never --userns auto "$1" cat /proc/self/uid_map
        "$UCR" run --pull never --userns auto:size=70001 "$1" true || echo refused $?"#;
    let image = env.reference(APP);
    let said = Output::of(env.as_user(&mut env.shell_with_own_mounts(script, &[&image]))).ok();
    if said.stdout == "skipped\n" {
        println!("skipped: needs /etc/subuid and /etc/subgid");
        return;
    }
    assert_eq!(start_of(said.lines()[0]), 1_700_000_000);
    assert_eq!(said.lines()[1], "refused 125");
    let texts = ["70001", "1700000000 to 1700069999", "/etc/subuid"];
    said.said(&texts);
}

#[test]
fn i37_writes_never_reach_the_layers() {
    needs_machine!();
    let more = LayerBuilder::new()
        .entry(
            Entry::file("data", "of the image")
                .owner(33, 44)
                .mode(0o640),
        )
        .entry(Entry::file("bin/as-root", "").mode(0o4755))
        .build();
    let env = TestEnv::with_image(&images::builder().layer(more).build());
    let layers = env.root().join("layers");
    let before = test_support::tree(&layers);
    let script = "echo x >> /data; chown 5:6 /etc/passwd; chmod 700 /bin; rm /bin/as-root;
        mkdir /deep; mv /home /deep/home; stat -c %u:%g:%a /data /etc/passwd";
    let said = env.run_sh(&AUTO, script).ok().stdout;
    assert_eq!(said, "33:44:640\n5:6:644\n");
    assert_eq!(test_support::tree(&layers), before);
}

#[test]
fn i35_a_setuid_program_is_roots_of_the_container_alone() {
    needs_machine!();
    let program = std::fs::read("/bin/busybox").unwrap();
    let layer = LayerBuilder::new()
        .entry(Entry::file("suid/ping", program).mode(0o4755))
        .build();
    let env = TestEnv::with_image(&images::builder().layer(layer).build());
    // Raw sockets are for root of the network namespace; busybox keeps what it is given for them.
    let ping = |flags: &[&str], program| {
        let more = ["-u", "user", "--network", "none"];
        let flags = [&MAP[..], &more, flags].concat();
        env.run(&flags, &[program, "-c", "1", "127.0.0.1"])
    };
    let granting = ["--security-opt", "no-new-privileges=false"];
    ping(&granting, "/suid/ping").ok();
    ping(&granting, "/bin/ping")
        .ended(1)
        .said(&["permission denied"]);
    ping(&[], "/suid/ping")
        .ended(1)
        .said(&["permission denied"]);
}

#[test]
fn i35_nothing_of_the_host_can_be_taken_over() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let volume = env.make_dir("volume");
    let file = env.write("volume/file", "of the host");
    chown(&file, Some(1000), Some(1000)).unwrap();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bind = format!("{}:/v", volume.display());
    let script = "stat -c '%u %n' /v /v/file;
        chown 0 /v/file 2>/dev/null || echo kept; touch /v/new 2>/dev/null || echo closed;
        mknod /null c 1 3 2>/dev/null || echo no device;
        mount -t tmpfs none /tmp 2>/dev/null || echo no mount; kill -0 1; true";
    let flags = [&AUTO[..], &["-v", &bind]].concat();
    let said = env.run_sh(&flags, script).ok().stdout;
    let expected = "65534 /v\n65534 /v/file\nkept\nclosed\nno device\nno mount\n";
    assert_eq!(said, expected);
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), 1000);
}

#[test]
fn i35_a_volume_with_idmap_has_the_same_ids_on_both_sides() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let volume = env.make_dir("volume");
    chown(env.write("volume/file", "x"), Some(1000), Some(1001)).unwrap();
    let bind = |options: &str| format!("{}:/v:{options}", volume.display());
    let script = "stat -c %u:%g /v /v/file; touch /v/new && chown 7:8 /v/new";
    let writable = bind("idmap");
    let flags = [&AUTO[..], &["-v", &writable]].concat();
    assert_eq!(env.run_sh(&flags, script).ok().stdout, "0:0\n1000:1001\n");
    let new = std::fs::metadata(volume.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (7, 8));
    let fixed = bind("ro,idmap");
    let flags = [&AUTO[..], &["-v", &fixed]].concat();
    env.run(&flags, &["touch", "/v/other"])
        .ended(1)
        .said(&["Read-only"]);
    let refused = env.run(&["-v", &writable], &["true"]).refused(125);
    refused.said(&["mappings of ids need a new user namespace"]);
}

#[test]
fn i35_streams_networks_and_a_read_only_root_are_as_without_it() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let echo = "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin > /dev/null";
    for user in ["0", "user"] {
        let said = env.run_sh(&[&AUTO[..], &["-u", user]].concat(), echo).ok();
        assert_eq!((&*said.stdout, &*said.stderr), ("out\n", "err\n"), "{user}");
    }
    let script = "hostname; ls /sys/class/net; stat -f -c %T /sys;
        touch /sys/x /proc/sys/kernel/x 2>/dev/null || echo fixed";
    let none = ["--network", "none", "--hostname", "inside"];
    let said = env.run_sh(&[&AUTO[..], &none].concat(), script).ok();
    assert_eq!(said.stdout, "inside\nlo\nsysfs\nfixed\n");
    let host = env.run_sh(&[&AUTO[..], &["--hostname", "h"]].concat(), script);
    let host = host.ok().stdout;
    assert!(
        host.starts_with("h\n") && host.ends_with("sysfs\nfixed\n"),
        "{host}"
    );
    let flags = [&AUTO[..], &["--read-only"]].concat();
    env.run(&flags, &["touch", "/x"])
        .ended(1)
        .said(&["Read-only"]);
}

#[test]
fn s30_limits_are_in_force_before_the_first_instruction() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let limits = ["-m", "64m", "--pids-limit", "20"];
    let flags = [&AUTO[..], &limits, &["-i"]].concat();
    let script = "echo ready; read line";
    let mut run = env.run_command(&flags, &["sh", "-c", script]);
    let mut running = Running::spawn(run.stdin(Stdio::piped()));
    running.until("ready");
    let record = &env.containers()[0];
    let id = record["id"].as_str().unwrap();
    let pid = &record["pid"];
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.contains(id), "{cgroups}");
    running.close_stdin();
    running.finish().ended(1);
    let fork = "i=0; while test $i -lt 30; do sleep 100 & i=$((i+1)); done; echo all";
    let said = env.run_sh(&flags, fork);
    assert!(!said.stdout.contains("all"), "{said:?}");
}

#[test]
fn i43_a_killed_supervisor_leaves_nothing_and_frees_the_ids() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "cat /proc/self/uid_map; touch /x; echo ready; sleep 1000 & wait";
    let running = env.start_sh(&[AUTO[0], AUTO[1], "-m", "64m"], script);
    let id = env.containers()[0]["id"].as_str().unwrap().to_owned();
    running.signal(Signal::KILL);
    // Its output ends when nobody has the other end any more: the task is gone.
    let first = running.finish().ended(137);
    let next = env.run(&AUTO, &["cat", "/proc/self/uid_map"]).ok();
    assert_eq!(next.lines()[0], first.lines()[0]);
    assert_eq!(env.leftovers(), Vec::<String>::new());
    assert!(crate::leftovers::cgroups(&id).is_empty());
    assert!(!env.state().join("userns").join(&id).exists());
}

#[test]
fn i35_what_cannot_be_honoured_is_refused() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let cases: [(&[&str], &str); 8] = [
        (&["--userns", "keep-id"], "keep-id"),
        (&["--userns", "private"], "--uidmap"),
        (&["--userns", "host", "--uidmap", "0:1:1"], "--userns host"),
        (&["--userns", "auto", "--gidmap", "0:1:1"], "--userns auto"),
        (&["--uidmap", "1:100000:10"], "id 0"),
        (
            &["--uidmap", "0:100000:10", "--uidmap", "5:200000:1"],
            "overlap",
        ),
        (&["--uidmap", "0:100000:10", "-u", "1000"], "1000"),
        (&["--uidmap", "0:4294967290:10"], "4294967295"),
    ];
    for (flags, text) in cases {
        env.run(flags, &["true"]).ended(125).said(&[text]);
        assert_eq!(env.leftovers(), Vec::<String>::new(), "{flags:?}");
    }
}
