//! Flags of `ucr run` that give a container more, or less, than the usual.

use std::path::Path;

use serde_json::json;
use test_support::{Entry, LayerBuilder};

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

fn env() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

/// The capability sets of a container's own task, permitted and bounding.
fn capabilities(env: &TestEnv, flags: &[&str]) -> (u64, u64) {
    let script = "sed -n 's/^Cap\\(Prm\\|Bnd\\):.//p' /proc/self/status";
    let output = env.run_sh(flags, script).ok();
    let sets: Vec<u64> = output
        .lines()
        .iter()
        .map(|line| u64::from_str_radix(line, 16).unwrap())
        .collect();
    (sets[0], sets[1])
}

/// Those of this process.
fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("CapPrm:"));
    u64::from_str_radix(line.unwrap().split_at(7).1.trim(), 16).unwrap()
}

#[test]
fn i17_capabilities_are_those_that_are_asked_for() {
    needs_machine!();
    let env = env();
    let net_admin = 1 << 12;
    let (usual, _) = capabilities(&env, &[]);
    assert_eq!(usual.count_ones(), 14);
    let cases: [(&[&str], u64); 4] = [
        (&["--cap-add", "NET_ADMIN"], usual | net_admin),
        (
            &["--cap-drop", "all", "--cap-add", "cap_net_admin"],
            net_admin,
        ),
        (&["--cap-drop", "CHOWN"], usual & !1),
        (&["--cap-add", "ALL"], own_capabilities()),
    ];
    for (flags, wanted) in cases {
        assert_eq!(capabilities(&env, flags), (wanted, wanted), "{flags:?}");
    }
    let as_user = [&["--user", "1000"], cases[0].0].concat();
    assert_eq!(capabilities(&env, &as_user), (0, usual | net_admin));
    env.run(&["--cap-add", "FOO"], &["true"])
        .ended(125)
        .said(&["there is no such capability"]);
    let lacking = env.run(&["--cap-add", "SYS_RESOURCE"], &["true"]);
    if own_capabilities() & 1 << 24 == 0 {
        lacking
            .refused(125)
            .said(&["cannot grant SYS_RESOURCE", "ucr itself does not have it"]);
    } else {
        lacking.ok();
    }
}

#[test]
fn privileged_hides_nothing_and_withholds_nothing() {
    needs_machine!();
    let env = env();
    let own = own_capabilities();
    assert_eq!(capabilities(&env, &["--privileged"]), (own, own));
    let script = "sed -n 's/^\\(NoNewPrivs\\|Seccomp\\):.//p' /proc/self/status; \
                  mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; \
                  test -w /proc/sys/kernel/hostname && echo written; \
                  mknod /dev/another c 1 3 && echo made; \
                  mount | grep -cE ' on (/proc/|/sys/(firmware|devices))'; \
                  mount | grep -E ' on /sys (type|.*) .*ro' ; ls /dev/loop-control";
    let output = env.run_sh(&["--privileged"], script);
    let wanted = "0\n0\nmounted\nwritten\nmade\n0\n";
    assert!(output.stdout.starts_with(wanted), "{output:?}");
    // What is asked for besides holds.
    let flags = [
        "--privileged",
        "--security-opt",
        "no-new-privileges",
        "--cap-drop",
        "ALL",
    ];
    let script = "sed -n 's/^\\(NoNewPrivs\\):.//p' /proc/self/status";
    assert_eq!(env.run_sh(&flags, script).ok().stdout, "1\n");
    let bound = "/dev/null:/tmp/null";
    let script = "echo x > /tmp/null && cat /tmp/null && echo works";
    let output = env.run_sh(&["--privileged", "-v", bound], script).ok();
    assert_eq!(output.stdout, "works\n");
    // Without it a device that is bound as a file is none.
    let refused = env.run_sh(&["-v", bound], script);
    assert_ne!(refused.code, 0, "{refused:?}");
}

#[test]
fn i16_devices_are_those_that_are_asked_for() {
    needs_machine!();
    let device = "/dev/fuse";
    if !Path::new(device).exists() {
        println!("skipped: needs the device {device}");
        return;
    }
    let env = env();
    let script = "for one in /dev/fuse /dev/other; do test -c $one || continue; \
                  (: <> $one) && echo both; (: < $one) && echo reads; done";
    let allowed = |flags: &[&str]| env.run_sh(flags, script).stdout;
    assert_eq!(allowed(&[]), "");
    assert_eq!(allowed(&["--device", device]), "both\nreads\n");
    assert_eq!(
        allowed(&["--device", "/dev/fuse:/dev/other"]),
        "both\nreads\n"
    );
    let output = env.run_sh(
        &["--device", "/dev/null:/dev/zero"],
        "stat -c '%t %T' /dev/zero",
    );
    assert_eq!(output.ok().stdout, "1 3\n");
    // Access is the device cgroup's matter: of version 1, or a program of version 2.
    assert_eq!(allowed(&["--device", "/dev/fuse:r"]), "reads\n");
    let script = "stat -c '%t %T' /dev/net/tun; chmod 777 /dev/net/tun || echo kept";
    if Path::new("/dev/net/tun").exists() {
        let output = env.run_sh(&["--device", "/dev/net"], script);
        assert_eq!(output.stdout, "a c8\nkept\n");
    }
    for (wrong, why) in [
        ("/no/such", "cannot use the device /no/such of this host"),
        ("/etc/passwd", "neither a device nor a directory of devices"),
    ] {
        env.run(&["--device", wrong], &["true"])
            .refused(125)
            .said(&[why]);
    }
    for wrong in ["fuse", "/dev/fuse:/dev/other:x", "/dev/fuse:/"] {
        env.run(&["--device", wrong], &["true"]).ended(125);
    }
}

#[test]
fn i27_limits_of_each_process_are_those_that_are_asked_for() {
    needs_machine!();
    let env = env();
    let flags = [
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "core=0",
        "--oom-score-adj",
        "321",
    ];
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj";
    let output = env.run_sh(&flags, script).ok();
    assert_eq!(output.lines(), ["100", "200", "0", "321"]);
    env.run(&["--ulimit", "nofile=9:1"], &["true"])
        .ended(125)
        .said(&["the soft limit is above the hard one"]);
}

#[test]
fn i24_groups_are_added_by_the_images_names_or_by_number() {
    needs_machine!();
    let layer = LayerBuilder::new()
        .file("etc/passwd", "web:x:1000:1000::/:/bin/sh\n")
        .file("etc/group", "web:x:1000:\nextra:x:2000:\n")
        .build();
    let env = TestEnv::with_image(&images::builder().layer(layer).build());
    let flags = ["--user", "web", "--group-add", "extra", "--group-add", "7"];
    assert_eq!(env.run(&flags, &["id", "-G"]).ok().stdout, "1000 7 2000\n");
    env.run(&["--group-add", "nobody-here"], &["true"])
        .refused(125)
        .said(&["no group \"nobody-here\" in the image's /etc/group"]);
}

#[test]
fn i34_sysctls_are_those_of_the_containers_own_namespaces() {
    needs_machine!();
    let env = env();
    let read = |name: &str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
    let before = [read("kernel/msgmax"), read("net/ipv4/ip_forward")];
    let flags = ["--network", "none", "--sysctl", "kernel.msgmax=9001"];
    let flags = [&flags[..], &["--sysctl", "net/ipv4/ip_forward=1"]].concat();
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward";
    assert_eq!(env.run_sh(&flags, script).ok().stdout, "9001\n1\n");
    for (name, network, why) in [
        (
            "kernel.core_pattern",
            "none",
            "no namespace of the container",
        ),
        ("net.ipv4.ip_forward", "host", "--network none gives it one"),
        (
            "kernel/../kernel/core_pattern",
            "none",
            "no namespace of the container",
        ),
        ("fs.file-max", "none", "no namespace of the container"),
    ] {
        let sysctl = format!("{name}=1");
        let refused = env.run(&["--network", network, "--sysctl", &sysctl], &["true"]);
        refused.refused(125).said(&[name, "is the host's", why]);
    }
    let after = [read("kernel/msgmax"), read("net/ipv4/ip_forward")];
    assert_eq!(after, before);
}

#[test]
fn i38_mounts_are_those_that_are_asked_for_whatever_their_order() {
    needs_machine!();
    let env = env();
    env.make_dir("data");
    env.write("data/file", "of the host");
    let data = env.shown("data");
    let below = format!("{data}:/top/below:ro");
    let word = format!("type=bind,src={data},dst=/word,ro");
    let flags = [
        "-v",
        &below,
        "--tmpfs",
        "/top:size=1m,mode=700",
        "--mount",
        &word,
        "--mount",
        "type=tmpfs,dst=/memory,tmpfs-size=2m",
        "--shm-size",
        "3m",
        "--read-only",
    ];
    let script = "cat /top/below/file /word/file; echo; stat -c %a /top /memory; \
                  for one in /top /memory /dev/shm; do df -k $one | tail -1 | awk '{print $2}'; done; \
                  touch /top/x /memory/x && echo written; touch /word/x /top/below/x /x; \
                  grep -cE ' /(top|memory) .*nosuid,nodev,noexec' /proc/mounts";
    let output = env.run_sh(&flags, script).ok();
    let wanted = [
        "of the hostof the host",
        "700",
        "1777",
        "1024",
        "2048",
        "3072",
        "written",
        "2",
    ];
    assert_eq!(output.lines(), wanted, "{output:?}");
    for (flag, value, why) in [
        ("-v", "name:/data", "./name"),
        ("--mount", "type=volume,src=name,dst=/data", "type=bind"),
        (
            "--mount",
            "type=bind,src=/tmp,taget=/x",
            "\"taget=/x\" is not known",
        ),
        ("--mount", "type=bind,src=/tmp", "target=DIR is missing"),
        ("--tmpfs", "relative", "not an absolute path"),
    ] {
        env.run(&[flag, value], &["true"]).ended(125).said(&[why]);
    }
}

#[test]
fn a_path_that_begins_with_a_dot_is_of_the_callers_directory() {
    needs_machine!();
    let env = env();
    env.make_dir("data");
    env.write("data/file", "of the host");
    let output = env.run(&["-v", "./data:/data"], &["cat", "/data/file"]);
    assert_eq!(output.ok().stdout, "of the host");
}

#[test]
fn two_things_in_one_place_are_refused() {
    needs_machine!();
    let env = env();
    for flags in [
        ["-v", "/tmp:/x", "-v", "/var:/x"],
        ["--tmpfs", "/x", "-v", "/tmp:/x/"],
    ] {
        env.run(&flags, &["true"])
            .refused(125)
            .said(&["/x", "is asked for twice"]);
    }
}

#[test]
fn flags_mean_what_dockers_do_or_are_refused_with_what_to_do() {
    needs_machine!();
    let env = env();
    let named = env.run(&["-h", "inside"], &["hostname"]).ok();
    assert_eq!(named.stdout, "inside\n");
    for (flags, words) in [
        (&["-d"][..], &["there is no \"-d\"", "setsid ucr run"][..]),
        (
            &["--expose", "80"],
            &[
                "there is no \"--expose\"",
                "-p leads one of this host to it",
            ],
        ),
        (
            &["--pids-limit", "1"],
            &["leaves no process for the task", "--no-init"],
        ),
        (&["--pids-limit", "x"], &["\"x\" is not a whole number"]),
        (
            &["--stop-timeout", "soon"],
            &["\"soon\" is neither seconds nor a time"],
        ),
        (
            &["--cpuset-cpus", "0-9999"],
            &["of these there are only \"0"],
        ),
        (
            &["--ulimit", "nofile=999999999"],
            &["RLIMIT_NOFILE cannot be 999999999: ucr itself has"],
        ),
    ] {
        let refused = env.run(flags, &["true"]);
        assert!([125, 126].contains(&refused.code), "{refused:?}");
        refused.said(words);
    }
}

#[test]
fn i36_volumes_of_the_image_can_be_written_when_its_root_cannot() {
    needs_machine!();
    let layer = LayerBuilder::new()
        .entry(Entry::dir("data").mode(0o750))
        .file("data/file", "of the image")
        .build();
    let image = images::builder()
        .layer(layer)
        .process("Volumes", json!({"/data": {}, "/new": {}}));
    let env = TestEnv::with_image(&image.build());
    let script = "cat /data/file; echo; stat -c %a /data; echo x > /data/file && touch /new/x && echo written; \
                  touch /x || echo kept";
    for flags in [&["--read-only"][..], &["--read-only", "--userns", "auto"]] {
        let output = env.run_sh(flags, script).ok();
        assert_eq!(output.lines(), ["of the image", "750", "written", "kept"]);
    }
    // The layers are as they were.
    assert_eq!(
        env.run_sh(&[], "cat /data/file").ok().stdout,
        "of the image"
    );
    env.make_dir("own");
    let volume = format!("{}:/data:ro", env.shown("own"));
    let output = env.run_sh(
        &["--read-only", "-v", &volume],
        "ls /data; touch /data/x || echo kept",
    );
    assert_eq!(output.ok().stdout, "kept\n");
}

#[test]
fn s27_no_link_of_the_image_leads_a_mount_over_proc_sys_or_the_root() {
    needs_machine!();
    let layer = LayerBuilder::new()
        .symlink("proc-all", "proc")
        .symlink("settings", "/proc/sys")
        .symlink("groups", "../sys/fs/cgroup")
        .symlink("slash", "/");
    let env = TestEnv::with_image(&images::builder().layer(layer.build()).build());
    for place in ["/proc-all", "/settings", "/groups", "/slash"] {
        for flags in [["--tmpfs", place], ["-v", &format!("/tmp:{place}")]] {
            let refused = env.run(&flags, &["true"]);
            assert!([125, 126].contains(&refused.code), "{flags:?} {refused:?}");
            refused.said(&[place]);
        }
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn s3_a_directory_of_the_host_is_no_stream() {
    needs_machine!();
    let env = env();
    let image = env.reference(APP);
    let script = r#""$UCR" run -q --pull never -i "$1" true </etc"#;
    let refused = Output::of(env.as_user(&mut env.shell(script, &[&image])));
    refused
        .ended(125)
        .said(&["standard input is a directory of this host"]);
}

#[test]
fn s4_a_volume_of_the_image_over_proc_is_refused() {
    needs_machine!();
    let env = TestEnv::with_image(
        &images::builder()
            .process("Volumes", json!({"/proc": {}}))
            .build(),
    );
    let refused = env.run(&["--read-only"], &["true"]).refused(125);
    refused.said(&["nothing may be mounted over or in /proc"]);
}

#[test]
fn names_are_found_as_asked_for() {
    needs_machine!();
    let env = env();
    let flags = [
        "--add-host",
        "db:192.0.2.7",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "a.example",
    ];
    let script = "grep db /etc/hosts; cat /etc/resolv.conf";
    let output = env
        .run_sh(&[&flags[..], &["--dns-option", "ndots:2"]].concat(), script)
        .ok();
    assert_eq!(
        output.lines()[..3],
        ["192.0.2.7\tdb", "search a.example", "nameserver 192.0.2.53"]
    );
    assert_eq!(output.lines()[3], "options ndots:2");
    env.run(&["--add-host", "a\nb:1.2.3.4"], &["true"])
        .ended(125);
}

#[test]
fn variables_come_from_files_too() {
    needs_machine!();
    let env = env();
    let file = env.write("variables", "# a comment\nA=of the file\nB=2 words\n");
    let flags = ["--env-file", file.to_str().unwrap(), "-e", "A=of the flag"];
    let output = env.run_sh(&flags, "echo $A; echo $B").ok();
    assert_eq!(output.lines(), ["of the flag", "2 words"]);
    let missing = env.run(&["--env-file", "/no/such"], &["true"]).refused(125);
    missing.said(&["cannot read the variables of /no/such"]);
}

#[test]
fn i30_more_limits_are_in_force() {
    needs_machine!();
    let env = env();
    let flags = [
        "-m",
        "32m",
        "--memory-reservation",
        "16m",
        "--cpuset-cpus",
        "0",
        "--cpu-quota",
        "20000",
        "--cpu-period",
        "40000",
    ];
    let script = "nproc; cd /sys/fs/cgroup; \
                  cat memory/memory.soft_limit_in_bytes cpu*/cpu.cfs_quota_us 2>/dev/null \
                  || cat memory.low cpu.max";
    let output = env.run_sh(&flags, script).ok();
    assert_eq!(output.lines()[0], "1", "{output:?}");
    assert!(output.stdout.contains("16777216\n"), "{output:?}");
    assert!(output.stdout.contains("20000"), "{output:?}");
    for (flags, why) in [
        (&["--memory-swap", "10m"][..], "try: --memory, too"),
        (&["-m", "20m", "--memory-swap", "10m"], "less than --memory"),
        (
            &["-m", "20m", "--memory-reservation", "30m"],
            "makes no sense",
        ),
        (
            &["--device-read-bps", "/dev/null:1m"],
            "/dev/null: it is no block device",
        ),
    ] {
        env.run(flags, &["true"]).refused(125).said(&[why]);
    }
}

#[test]
fn switches_and_limits_of_docker_are_taken_in_all_their_forms() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let flags = [
        "--rm=true",
        "--init=true",
        "--tty=false",
        "--interactive=0",
        "--read-only=false",
        "--privileged=F",
        "--sig-proxy=true",
        "--stop-timeout",
        "-1",
        "--memory-swap",
        "0",
        "--cpu-shares",
        "0",
        "--cpu-quota",
        "-1",
    ];
    assert_eq!(env.run_sh(&flags, "echo $$").ok().stdout, "2\n");
    let output = env.run_sh(&["--init=false"], "echo $$").ok();
    assert_eq!(output.stdout, "1\n");
    env.run_sh(&["--read-only=true"], ": > /x").ended(1);
    for wrong in ["--rm=maybe", "--sig-proxy=false", "--cpu-shares=1"] {
        env.run(&[wrong], &["true"]).ended(125);
    }
    let refused = env.run(&["--no-such-flag"], &["true"]).ended(125);
    assert!(!refused.stderr.contains("tip:"), "{refused:?}");
    env.run(&["--attach", "stdout"], &["true"])
        .ended(125)
        .said(&["try: ucr run stays with its container"]);
}

#[test]
fn a_network_of_its_own_has_the_settings_that_dockers_has() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let shown = "cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range";
    let run = |flags: &[&str]| env.run_sh(flags, shown).ok().stdout;
    assert_eq!(run(&["--network", "none"]), "0\n0\t2147483647\n");
    let asked = ["--network", "none", "--sysctl"];
    let port = [&asked[..], &["net.ipv4.ip_unprivileged_port_start=80"]].concat();
    assert_eq!(run(&port), "80\n0\t2147483647\n");
    let ids = run(&["--network", "none", "--userns", "auto"]);
    assert!(ids.starts_with("0\n"), "{ids}");
    let host = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert!(run(&[]).starts_with(&host));
}

#[test]
fn a_mount_over_what_is_of_another_kind_is_refused_in_words() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let (directory, file) = (env.make_dir("dir"), env.write("file", "x"));
    env.run(
        &["-v", &format!("{}:/etc/passwd", directory.display())],
        &["true"],
    )
    .refused(125)
    .said(&["/etc/passwd", "it is a file in the image"]);
    env.run(&["-v", &format!("{}:/bin", file.display())], &["true"])
        .refused(125)
        .said(&["/bin", "it is a directory in the image"]);
    env.run(&["--tmpfs", "/etc/passwd"], &["true"])
        .refused(125)
        .said(&["it is a file in the image"]);
}

#[test]
fn a_pid_file_that_has_no_place_is_refused_before_the_task_runs() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let pid_file = env.shown("nowhere/pid");
    let made = env.make_dir("made");
    let volume = format!("{}:/made", made.display());
    let flags = ["--pidfile", &pid_file, "-v", &volume];
    env.run_sh(&flags, ": > /made/ran")
        .refused(125)
        .said(&["nowhere/pid"]);
    assert!(!made.join("ran").exists());
    assert_eq!(env.leftovers(), Vec::<String>::new());
}
