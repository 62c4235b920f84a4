//! What the task sees of the host, and what host users see of the image.

use test_support::{Entry, LayerBuilder};

use crate::env::{TestEnv, as_nobody};
use crate::images;
use crate::output::Output;

/// Docker's default set, security.md section 3.2.
const CAPABILITIES: &str = "00000000a80425fb";

#[test]
fn i17_i19_capabilities_are_dockers_and_no_new_ones_come() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
    let status = |flags: &[&str]| env.run_sh(flags, script).ok().stdout;
    let none = "0000000000000000";
    let expected = |inside: &str| {
        format!(
            "CapInh:{none}\nCapPrm:{inside}\nCapEff:{inside}\nCapBnd:{CAPABILITIES}\n\
             CapAmb:{none}\nNoNewPrivs:1\n"
        )
    };
    assert_eq!(status(&[]), expected(CAPABILITIES));
    assert_eq!(status(&["-u", "user"]), expected(none));
}

#[test]
fn i10_i11_i12_masked_and_read_only_paths_are_so() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
            if test -e $path; then wc -c <$path; fi
        done | sort -u
        find /sys/firmware /proc/acpi /proc/scsi -mindepth 1 2>/dev/null
        for path in /proc/sys/kernel/panic /proc/sysrq-trigger /sys/new /proc/irq/new; do
            (: >$path) 2>/dev/null && echo wrote $path
        done
        mount -o remount,rw /sys 2>/dev/null && echo remounted
        mount -t tmpfs none /tmp 2>/dev/null && echo mounted
        echo end";
    assert_eq!(env.run_sh(&[], script).ok().stdout, "0\nend\n");
}

#[test]
fn i4_i8_i9_nothing_of_the_host_is_in_view() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "ls -d /proc/[0-9]* | wc -l; cut -d ' ' -f 5 /proc/self/mountinfo; ls /dev";
    let output = env.run_sh(&[], script).ok();
    let processes: u32 = output.lines()[0].parse().unwrap();
    assert!(processes <= 5, "{output:?}");
    let own = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for mount in own.lines().filter_map(|line| line.split(' ').nth(4)) {
        let inside = [
            "/",
            "/proc",
            "/sys",
            "/dev",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
        ];
        if !inside.contains(&mount) && !mount.starts_with("/sys/fs/cgroup") {
            assert!(!output.lines().contains(&mount), "{mount} in {output:?}");
        }
    }
    for device in [
        "null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "fd",
    ] {
        assert!(
            output.lines().contains(&device),
            "{device} not in {output:?}"
        );
    }
}

#[test]
fn i14_what_is_bound_over_dev_is_what_is_there_and_stays_as_it_was() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let mine = env.make_dir("mine");
    env.write("mine/file", "x");
    let bound = format!("{}:/dev", mine.display());
    let shown = "ls -A /dev; cut -d ' ' -f 5 /proc/self/mountinfo | grep -c ^/dev/";
    let output = env.run_sh(&["-v", &bound], shown).ended(1);
    assert_eq!(output.stdout, "file\n0\n");
    let left: Vec<_> = std::fs::read_dir(&mine).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // That of the host, with what is mounted in it.
    let used = "echo x > /dev/null && ls /dev/pts/ptmx";
    for flags in [&["--privileged"][..], &[]] {
        let flags = [flags, &["-v", "/dev:/dev"]].concat();
        let output = env
            .run_sh(&flags, "ls /dev/pts/ptmx; readlink /dev/fd")
            .ok();
        assert_eq!(output.stdout, "/dev/pts/ptmx\n/proc/self/fd\n", "{flags:?}");
    }
    env.run_sh(&["--privileged", "-v", "/dev:/dev"], used).ok();
    // A directory below is no matter of /dev itself.
    let below = format!("{}:/dev/mine", mine.display());
    let output = env.run_sh(&["-v", &below], "ls /dev/mine /dev/null").ok();
    assert_eq!(output.stdout, "/dev/null\n\n/dev/mine:\nfile\n");
}

#[test]
fn s27_no_other_file_system_goes_over_proc() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for flags in [
        ["--tmpfs", "/proc"],
        ["--tmpfs", "/proc/sys"],
        ["--mount", "type=tmpfs,target=/proc/sys"],
        ["--tmpfs", "//proc/./acpi"],
    ] {
        env.run(&flags, &["true"])
            .refused(125)
            .said(&["over or in /proc"]);
    }
}

#[test]
fn s40_setuid_files_of_images_are_out_of_reach_of_host_users() {
    needs_machine!();
    let setuid = LayerBuilder::new()
        .entry(Entry::file("bin/elevate", "#!/bin/sh\n").mode(0o4755))
        .file("secret", "of the image")
        .build();
    for umask in ["000", "077"] {
        let env = TestEnv::new();
        env.push(
            &images::builder().layer(setuid.clone()).build(),
            crate::env::APP,
        );
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(env.path(""), open).unwrap();
        let script = r#"
            umask "$1"
            "$UCR" pull -q --principal tester --secret-file secret "$2"
            exec "$UCR" run --pull never "$2" stat -c %a /bin/elevate /secret"#;
        let image = env.reference(crate::env::APP);
        let output = Output::of(env.as_user(&mut env.shell(script, &[umask, &image]))).ok();
        assert_eq!(output.lines()[1..], ["4755", "644"], "umask {umask}");
        let find = [
            "find",
            &env.shown("root"),
            &env.shown("state"),
            "-name",
            "elevate",
        ];
        let sh = std::path::Path::new("/usr/bin/env");
        let found = Output::of(&mut as_nobody(&env, sh, &find)).ended(1);
        assert_eq!(found.lines(), Vec::<&str>::new());
        assert!(
            found.stderr.matches("Permission denied").count() >= 2,
            "{found:?}"
        );
    }
}

#[test]
fn i6_the_hosts_mounts_are_as_before_even_where_they_are_shared() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::with_image(&images::busybox());
    // As on hosts with systemd, where every mount is shared unless made private.
    let script = r#"
        mount --make-rshared /
        before=$(cat /proc/self/mountinfo)
        "$UCR" run --pull never "$1" sh -c 'mkdir /x; exit 5' || test $? = 5
        "$UCR" run --pull never --read-only -v /etc:/mnt:ro "$1" true
        after=$(cat /proc/self/mountinfo)
        test "$before" = "$after" || { echo "$before"; echo; echo "$after"; exit 1; }"#;
    let image = env.reference(crate::env::APP);
    Output::of(env.as_user(&mut env.shell_with_own_mounts(script, &[&image]))).ok();
}
