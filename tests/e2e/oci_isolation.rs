//! What of a configuration holds inside of a container that is handed over.

use std::path::Path;

use serde_json::{Value, json};

use crate::oci_bundle::{Bundle, needs_containers};

/// The standard output of a run that must succeed.
#[track_caller]
fn said(bundle: &Bundle) -> String {
    bundle.run(&[]).ok().stdout
}

#[test]
fn mounts_have_the_options_that_are_asked_for() {
    needs_containers!();
    let bundle = Bundle::sh("grep -E ' /(bound|tmp|plain) ' /proc/mounts")
        .mount(
            json!({"destination": "/tmp", "type": "tmpfs", "source": "mine",
            "options": ["noexec", "nosuid", "noatime", "size=64k", "sync"]}),
        )
        .mount(
            json!({"destination": "/bound", "type": "bind", "source": "outside",
            "options": ["rbind", "ro", "nodev"]}),
        )
        .mount(
            json!({"destination": "/plain", "type": "none", "source": "outside",
            "options": ["bind"]}),
        );
    std::fs::create_dir(bundle.path("outside")).unwrap();
    let out = said(&bundle);
    let line = |at: &str| {
        out.lines()
            .find(|line| line.contains(at))
            .unwrap()
            .to_owned()
    };
    let tmp = line(" /tmp ");
    assert!(tmp.starts_with("mine /tmp tmpfs rw,"), "{tmp}");
    for option in ["sync", "nosuid", "noexec", "noatime", "size=64k"] {
        assert!(tmp.contains(option), "{option}: {tmp}");
    }
    assert!(line(" /bound ").contains("ro,nodev"), "{out}");
    assert!(!line(" /plain ").contains("nodev"), "{out}");
}

#[test]
fn a_recursive_option_reaches_what_is_mounted_below() {
    needs_containers!();
    let script = "touch /bound/inner/x && echo written; touch /bound/x && echo written; true";
    let run = |option: &str| {
        let bundle = Bundle::sh(script).mount(json!({"destination": "/bound", "type": "bind",
            "source": "outside", "options": ["rbind", option]}));
        std::fs::create_dir_all(bundle.path("outside/inner")).unwrap();
        let inner = bundle.path("outside/inner");
        rustix_mount(&inner);
        let said = said(&bundle);
        ucr_sys::mount::detach(&inner).unwrap();
        said.lines().count()
    };
    assert_eq!((run("rro"), run("ro"), run("rw")), (0, 1, 2));
}

/// Mounts a tmpfs there.
fn rustix_mount(at: &Path) {
    let status = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(at)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn tmpcopyup_begins_with_what_is_covered() {
    needs_containers!();
    let bundle = Bundle::sh(
        "cat /etc/deep/file; readlink /etc/link; stat -c %a:%u /etc/deep; echo x > /etc/deep/file",
    )
    .mount(
        json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs",
            "options": ["tmpcopyup"]}),
    );
    std::fs::create_dir_all(bundle.path("rootfs/etc/deep")).unwrap();
    std::os::unix::fs::symlink("deep/file", bundle.path("rootfs/etc/link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    std::fs::set_permissions(bundle.path("rootfs/etc/deep"), mode).unwrap();
    std::os::unix::fs::chown(bundle.path("rootfs/etc/deep"), Some(5), None).unwrap();
    std::fs::copy(
        "/proc/sys/kernel/ostype",
        bundle.path("rootfs/etc/deep/file"),
    )
    .unwrap();
    assert_eq!(said(&bundle), "Linux\ndeep/file\n750:5\n");
    assert_eq!(bundle.read("rootfs/etc/deep/file"), "Linux\n");
}

#[test]
fn tmpcopyup_leaves_the_mode_and_the_owner_that_are_asked_for() {
    needs_containers!();
    let shown = |options: Value| {
        let bundle = Bundle::sh("stat -c %a:%u:%g /etc; cat /etc/file").mount(json!({
            "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": options}));
        std::fs::create_dir_all(bundle.path("rootfs/etc")).unwrap();
        let file = bundle.path("rootfs/etc/file");
        std::fs::copy("/proc/sys/kernel/ostype", file).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
        std::fs::set_permissions(bundle.path("rootfs/etc"), mode).unwrap();
        said(&bundle)
    };
    let one = shown(json!(["tmpcopyup", "mode=1770", "uid=3"]));
    assert_eq!(one, "1770:3:0\nLinux\n");
    let other = shown(json!(["gid=4", "tmpcopyup"]));
    assert_eq!(other, "750:0:4\nLinux\n");
}

#[test]
fn s27_files_of_proc_that_lxcfs_has_can_be_covered() {
    needs_containers!();
    let bind = |at: &str| json!({"destination": at, "type": "bind", "source": "file", "options": ["bind", "ro"]});
    let bundle = Bundle::sh("cat /proc/cpuinfo /proc/meminfo /proc/uptime")
        .mount(bind("/proc/cpuinfo"))
        .mount(bind("/proc/meminfo"))
        .mount(bind("/proc/uptime"));
    std::fs::copy("/proc/sys/kernel/ostype", bundle.path("file")).unwrap();
    assert_eq!(said(&bundle), "Linux\nLinux\nLinux\n");
}

#[test]
fn s27_the_procfs_of_a_shared_pid_namespace_is_bound_and_nothing_else() {
    needs_containers!();
    let procfs = |source: &str| json!({"destination": "/proc", "type": "bind", "source": source, "options": ["rbind"]});
    let with = |source: &str| {
        let mut bundle = Bundle::sh("test -d /proc/self/task && echo there; exec cat /proc/1/comm")
            .namespace("pid", Value::Null);
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/proc");
        bundle.mount(procfs(source))
    };
    let comm = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert_eq!(said(&with("/proc")), format!("there\n{comm}"));
    with("/sys")
        .create(&[])
        .refused(1)
        .said(&["over or in /proc"]);
}

#[test]
fn s27_nothing_but_a_few_files_goes_over_proc() {
    needs_containers!();
    let bind = |at: &str| json!({"destination": at, "type": "bind", "source": "file", "options": ["bind"]});
    for at in ["/proc", "/proc/sys", "/proc/1/attr"] {
        let bundle = Bundle::new(&["true"]).mount(bind(at));
        std::fs::copy("/proc/sys/kernel/ostype", bundle.path("file")).unwrap();
        bundle.create(&[]).refused(1).said(&["/proc"]);
    }
}

#[test]
fn devices_are_made_with_mode_and_owner() {
    needs_containers!();
    let mut bundle = Bundle::sh(
        "stat -c '%F %a %u:%g %t:%T' /dev/mine /dev/sub/fifo /dev/null /dev/zero /dev/full; echo x >/dev/null",
    );
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/sub/fifo", "type": "p", "fileMode": 0o600},
        // Standard ones are there anyway, and are as they are asked for: podman lists all that
        // there are for a privileged container.
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 4},
    ]);
    let expected = "character special file 640 3:4 1:5\nfifo 600 0:0 0:0\n\
                    character special file 666 0:0 1:3\ncharacter special file 600 3:4 1:5\n\
                    character special file 666 0:0 1:7\n";
    assert_eq!(said(&bundle), expected);
}

#[test]
fn names_sysctls_and_the_user_are_those_asked_for() {
    needs_containers!();
    let mut bundle = Bundle::sh(
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward; id -u; id -g; id -G; umask; cat /proc/self/oom_score_adj",
    );
    bundle.config["hostname"] = json!("inside");
    bundle.config["domainname"] = json!("example");
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    bundle.config["process"]["oomScoreAdj"] = json!(77);
    bundle.config["process"]["user"] =
        json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27});
    let expected = "inside\nexample\n1\n1000\n1001\n1001 5 6\n0027\n77\n";
    assert_eq!(said(&bundle), expected);
    bundle.config["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/x"});
    bundle.create(&[]).refused(1).said(&["kernel.core_pattern"]);
}

#[test]
fn i34_a_namespace_that_is_the_callers_is_not_the_containers_own() {
    needs_containers!();
    let mut bundle = Bundle::sh("true").namespace(
        "network",
        json!({"type": "network", "path": "/proc/self/ns/net"}),
    );
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_default_ttl": "77"});
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    let refused = bundle.create(&[]).refused(1);
    refused.said(&["net.ipv4.ip_default_ttl", "is the host's"]);
    let after = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    assert_eq!(after, before);
}

#[test]
fn paths_are_hidden_and_read_only() {
    needs_containers!();
    let mut bundle = Bundle::sh(
        "cat /secret; ls /hidden; touch /fixed/x 2>/dev/null || echo refused; touch /x 2>/dev/null || echo refused",
    );
    for name in ["hidden/inner", "fixed"] {
        std::fs::create_dir_all(bundle.path("rootfs").join(name)).unwrap();
    }
    std::fs::copy("/proc/sys/kernel/ostype", bundle.path("rootfs/secret")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/secret", "/hidden", "/not/there"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/fixed"]);
    bundle.config["root"]["readonly"] = json!(true);
    assert_eq!(said(&bundle), "refused\nrefused\n");
}

#[test]
fn namespaces_are_new_joined_or_the_callers() {
    needs_containers!();
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let inside = |bundle: &Bundle, kind: &str| {
        bundle.create(&[]).ok();
        let pid = bundle.state()["pid"].to_string();
        std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
    };
    for (kind, file) in [
        ("ipc", "ipc"),
        ("network", "net"),
        ("uts", "uts"),
        ("pid", "pid"),
    ] {
        let mut bundle = Bundle::new(&["sleep", "1000"]);
        assert_ne!(inside(&bundle, file), own(file), "{kind} is new");
        bundle.verb(&["delete", "--force", &bundle.id]).ok();

        bundle.config.as_object_mut().unwrap().remove("hostname");
        let other = Bundle::new(&["sleep", "1000"]);
        let there = inside(&other, file);
        let pid = other.state()["pid"].to_string();
        let path = format!("/proc/{pid}/ns/{file}");
        let joined = bundle.namespace(kind, json!({"type": kind, "path": path}));
        assert_eq!(inside(&joined, file), there, "{kind} is joined");
        joined.verb(&["delete", "--force", &joined.id]).ok();

        let shared = joined.namespace(kind, Value::Null);
        assert_eq!(inside(&shared, file), own(file), "{kind} is the caller's");
    }
}

#[test]
fn a_namespace_of_another_kind_is_not_joined() {
    needs_containers!();
    let bundle = Bundle::new(&["true"])
        .namespace("ipc", json!({"type": "ipc", "path": "/proc/self/ns/uts"}));
    bundle
        .create(&[])
        .refused(1)
        .said(&["/proc/self/ns/uts", "Invalid argument"]);
}

#[test]
fn without_a_mount_namespace_deletion_takes_the_mounts_away() {
    needs_containers!();
    let bundle = Bundle::sh("grep -c proc /proc/mounts").namespace("mount", Value::Null);
    bundle.run(&[]).ok();
}

#[test]
fn a_user_namespace_has_its_ids_and_files_keep_theirs() {
    needs_containers!();
    let mut bundle = Bundle::sh(
        "id -u; cat /proc/self/uid_map; stat -c %u /mapped/file /bin; touch /mapped/new; ls -l /dev/null > /dev/null",
    );
    bundle.config["linux"]["uidMappings"] =
        json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    bundle.config["linux"]["gidMappings"] =
        json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let bundle = bundle
        .namespace("user", json!({"type": "user"}))
        .mount(json!({
            "destination": "/mapped", "type": "bind", "source": "outside",
            "options": ["bind", "idmap"],
        }));
    // As those who use user namespaces have to: the root file system is the container's.
    let chown = std::process::Command::new("chown")
        .args(["-R", "100000:100000", &bundle.shown("rootfs")])
        .status();
    assert!(chown.unwrap().success());
    std::fs::create_dir(bundle.path("outside")).unwrap();
    std::fs::copy("/proc/sys/kernel/ostype", bundle.path("outside/file")).unwrap();
    let out = said(&bundle);
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "1000", "0", "0"], "{out}");
    let made = std::fs::metadata(bundle.path("outside/new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
}

#[test]
fn a_time_namespace_has_its_own_clocks() {
    needs_containers!();
    if !Path::new("/proc/self/ns/time").exists() {
        return;
    }
    let mut bundle = Bundle::sh("cat /proc/uptime").namespace("time", json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 5_000_000}});
    let uptime = said(&bundle);
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 5_000_000.0, "{uptime}");
}

#[test]
fn mounts_below_the_root_propagate_as_asked() {
    needs_containers!();
    let script = "mkdir /a /b /c; mount -o bind / /a; mount -o bind /b /c && test -e /a/c/file && echo seen; true";
    let run = |propagation: &str| {
        let mut bundle = Bundle::sh(&format!("mkdir -p /b; touch /b/file; rm -rf /a; {script}"));
        bundle.config["linux"]["rootfsPropagation"] = json!(propagation);
        for set in ["bounding", "effective", "permitted"] {
            let list = bundle.config["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap();
            list.push(json!("CAP_SYS_ADMIN"));
        }
        let output = bundle.run(&[]).ok();
        (output.stdout, output.stderr)
    };
    assert_eq!(run("shared").0, "seen\n");
    assert_eq!(run("private").0, "");
    assert!(run("unbindable").1.contains("Invalid argument"));
}

#[test]
fn hooks_run_at_their_moments_with_the_state() {
    needs_containers!();
    let mut bundle = Bundle::sh("echo task >> /log");
    std::fs::File::create(bundle.path("rootfs/log")).unwrap();
    let hook = |file: &str, name: &str| {
        let script = format!("echo {name} $(grep -o '\"status\":\"[a-z]*\"') >> {file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let log = bundle.shown("rootfs/log");
    bundle.config["hooks"] = json!({
        "prestart": hook(&log, "prestart"), "createRuntime": hook(&log, "createRuntime"),
        "createContainer": hook(&log, "createContainer"), "startContainer": hook("/log", "startContainer"),
        "poststart": hook(&log, "poststart"), "poststop": hook(&log, "poststop"),
    });
    bundle.create(&[]).ok();
    bundle.verb(&["start", &bundle.id]).ok();
    if bundle.status() != "stopped" {
        bundle.wait();
    }
    bundle.verb(&["delete", &bundle.id]).ok();
    let log = bundle.read("rootfs/log");
    let lines: Vec<&str> = log
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        lines[..4],
        [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer"
        ],
        "{log}"
    );
    assert!(
        lines.contains(&"task") && lines.contains(&"poststart"),
        "{log}"
    );
    assert_eq!(
        log.lines().last().unwrap(),
        "poststop \"status\":\"stopped\""
    );
    assert!(log.contains("prestart \"status\":\"created\""), "{log}");
    assert!(log.contains("poststart \"status\":\"running\""), "{log}");
}

#[test]
fn a_hook_that_fails_ends_the_container() {
    needs_containers!();
    for moment in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["hooks"] = json!({moment: [{"path": "/bin/sh",
            "args": ["sh", "-c", "echo no luck >&2; exit 3"]}]});
        bundle
            .create(&[])
            .refused(1)
            .said(&[moment, "exit status 3: no luck"]);
        assert!(!bundle.path("state").join(&bundle.id).exists());
    }
}

#[test]
fn s3_no_descriptor_of_the_callers_but_the_preserved_ones_gets_in() {
    needs_containers!();
    let bundle = Bundle::sh("ls /proc/self/fd; readlink /proc/1/cwd");
    bundle.save();
    let shell = format!(
        "exec 3</etc/passwd 4</ 5</etc; exec {} oci --root {} run --preserve-fds=1 -b {} {}",
        crate::binaries::ucr().display(),
        bundle.shown("state"),
        bundle.shown(""),
        bundle.id
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // 4 is the directory that ls itself reads.
    assert_eq!(
        text,
        "0\n1\n2\n3\n4\n/\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn s7_s9_links_of_the_root_lead_nowhere_outside() {
    needs_containers!();
    for (name, target) in [("dev", "../../.."), ("proc", "/tmp"), ("sys", "/tmp")] {
        let bundle = Bundle::new(&["true"]);
        std::os::unix::fs::symlink(target, bundle.path("rootfs").join(name)).unwrap();
        bundle.create(&[]).refused(1).said(&["symbolic link"]);
    }
}

#[test]
fn cgroups_are_where_they_are_asked_for() {
    needs_containers!();
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let path = format!("/oci-test-{0}/{1}", std::process::id(), bundle.id);
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    bundle.create(&[]).ok();
    let pid = bundle.state()["pid"].to_string();
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let placed = cgroups.lines().filter(|line| !line.contains("name="));
    for line in placed {
        assert!(line.ends_with(&path), "{line}");
    }
    bundle.verb(&["delete", "--force", &bundle.id]).ok();
    // The directory above was made for it, and is another's to remove.
    for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let above = entry
            .unwrap()
            .path()
            .join(format!("oci-test-{}", std::process::id()));
        drop(std::fs::remove_dir(above));
    }
}

#[test]
fn limits_are_in_force_where_they_are_asked_for() {
    needs_containers!();
    if !Path::new("/sys/fs/cgroup/cpuset/cpuset.cpus").exists() {
        return;
    }
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("{}-relative", bundle.id));
    let resources = &mut bundle.config["linux"]["resources"];
    resources["memory"] = json!({"limit": 67_108_864, "swappiness": 7});
    resources["cpu"] =
        json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"});
    resources["pids"] = json!({"limit": 77});
    resources["devices"] = json!([{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]);
    bundle.create(&[]).ok();
    let pid = bundle.state()["pid"].to_string();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let value = |controller: &str, file: &str| {
        let line = own
            .lines()
            .find(|line| line.split(':').nth(1) == Some(controller));
        let path = line.unwrap().rsplit(':').next().unwrap();
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{controller}{path}/{file}"));
        text.unwrap().trim().to_owned()
    };
    assert_eq!(value("memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(value("memory", "memory.swappiness"), "7");
    assert_eq!(value("cpu", "cpu.shares"), "512");
    assert_eq!(value("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(value("cpuset", "cpuset.cpus"), "0");
    assert_eq!(value("pids", "pids.max"), "77");
    assert!(value("devices", "devices.list").contains("c 10:229 rwm"));
    bundle.verb(&["delete", "--force", &bundle.id]).ok();

    let resources = &mut bundle.config["linux"]["resources"];
    resources["hugepageLimits"] = json!([{"pageSize": "3MB", "limit": 1}]);
    bundle.create(&[]).refused(1).said(&["hugetlb"]);
}

#[test]
fn a_task_is_scheduled_as_it_is_asked_for_and_so_is_what_joins_it() {
    needs_containers!();
    // The nice value and the policy, proc_pid_stat(5).
    let shown = "set -- $(cat /proc/self/stat); shift 18; echo $1; shift 22; echo $1";
    let mut bundle = Bundle::sh(&format!("{shown}; exec sleep 1000"));
    bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    bundle.create(&[]).ok();
    bundle.verb(&["start", &bundle.id]).ok();
    let joined = bundle.verb(&["exec", &bundle.id, "/bin/sh", "-c", shown]);
    assert_eq!(joined.ok().stdout, "5\n3\n");
    let pid = bundle.state()["pid"].to_string();
    let priority = std::process::Command::new("ionice")
        .args(["-p", &pid])
        .output();
    if let Ok(priority) = priority {
        let text = String::from_utf8(priority.stdout).unwrap();
        assert_eq!(text.trim(), "idle");
    }
    for (field, value, said) in [
        (
            "scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 1}),
            "SCHED_DEADLINE",
        ),
        (
            "scheduler",
            json!({"policy": "SCHED_OTHER", "period": 1}),
            "period",
        ),
        (
            "scheduler",
            json!({"policy": "SCHED_FIFO", "priority": 100}),
            "100",
        ),
        (
            "ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "8",
        ),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["process"][field] = value;
        bundle.create(&[]).refused(1).said(&[said]);
    }
}
