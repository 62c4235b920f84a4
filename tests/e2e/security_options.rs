//! `--security-opt`: the filter of system calls, new privileges, and what cannot be honoured.

use serde_json::json;

use crate::env::TestEnv;
use crate::images;

/// What the kernel says of the task.
const STATUS: &str = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'";

/// Podman's profile, as Debian has it: a real one, with names that are newer than the library.
const PODMANS: &str = "/usr/share/containers/seccomp.json";

#[test]
fn i20_the_default_filter_is_in_force_unless_it_is_waived() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let status = |flags: &[&str]| env.run_sh(flags, STATUS).ok().stdout;
    let filtered = "NoNewPrivs:1\nSeccomp:2\n";
    assert_eq!(status(&[]), filtered);
    assert_eq!(status(&["-u", "user"]), filtered);
    assert_eq!(status(&["--security-opt", "seccomp=builtin"]), filtered);
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    assert_eq!(status(&unconfined), "NoNewPrivs:1\nSeccomp:0\n");
    let unlabelled = [
        "--security-opt=label=disable",
        "--security-opt=apparmor=unconfined",
    ];
    assert_eq!(status(&unlabelled), filtered);
}

#[test]
fn i19_new_privileges_are_allowed_when_asked_for() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let status = |option: &str| {
        let flags = ["--security-opt", option, "-u", "user"];
        env.run_sh(&flags, STATUS).ok().stdout
    };
    assert_eq!(status("no-new-privileges"), "NoNewPrivs:1\nSeccomp:2\n");
    for option in ["no-new-privileges=false", "no-new-privileges:false"] {
        assert_eq!(status(option), "NoNewPrivs:0\nSeccomp:2\n", "{option}");
    }
}

#[test]
fn i20_unshare_is_denied_by_the_filter_and_not_by_a_capability() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = ["unshare", "-U", "true"];
    env.run(&[], &script).ended(1).said(&["not permitted"]);
    env.run(&["--security-opt", "seccomp=unconfined"], &script)
        .ok();
}

#[test]
fn i20_a_profile_in_dockers_form_is_honoured() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let deny = |name: &str, condition: &str, value: serde_json::Value| {
        json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
            condition: {"caps": value}})
    };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
        "syscalls": [
            deny("mkdir", "includes", json!(["CAP_CHOWN"])),
            deny("mkdirat", "includes", json!(["CAP_CHOWN"])),
            deny("rmdir", "includes", json!(["CAP_SYS_ADMIN"])),
            deny("unlinkat", "excludes", json!(["CAP_CHOWN"]))]});
    let file = env.write("profile.json", profile.to_string());
    let option = format!("seccomp={}", file.display());
    let script = "mkdir /x 2>&1; rmdir /home/none 2>&1";
    let output = env.run_sh(&["--security-opt", &option], script).ended(1);
    let lines = output.lines();
    assert!(lines[0].contains("No space left"), "{output:?}");
    assert!(lines[1].contains("No such file"), "{output:?}");
}

#[test]
fn i20_podmans_own_profile_is_read() {
    needs_machine!();
    if !std::path::Path::new(PODMANS).exists() {
        eprintln!("skipped: {PODMANS} is missing (Debian: golang-github-containers-common)");
        return;
    }
    let env = TestEnv::with_image(&images::busybox());
    let option = format!("seccomp={PODMANS}");
    let output = env.run_sh(&["--security-opt", &option], STATUS).ok();
    assert_eq!(output.stdout, "NoNewPrivs:1\nSeccomp:2\n");
}

#[test]
fn s32_a_profile_is_refused_where_there_is_no_apparmor() {
    needs_machine!();
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    // Where there is AppArmor, scripts/support/guest-tests says what it does with profiles.
    let reason = match enabled.is_ok_and(|text| text.starts_with(b"Y")) {
        true => "the AppArmor profile no-such-profile is not loaded",
        false => "this kernel has no AppArmor",
    };
    let env = TestEnv::with_image(&images::busybox());
    let option = ["--security-opt", "apparmor=no-such-profile"];
    env.run(&option, &["true"]).ended(125).said(&[reason]);
}

#[test]
fn s32_what_cannot_be_honoured_is_an_error() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for (option, text) in [
        ("label=type:spc_t", "label=disable"),
        ("systempaths=unconfined", "systempaths"),
    ] {
        env.run(&["--security-opt", option], &["true"])
            .ended(125)
            .said(&[option, text]);
    }
    let notify = r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#;
    let typing = r#"{"defaultAction": "SCMP_ACT_ALLOW", "sysalls": []}"#;
    for (name, content, text) in [
        (
            "notify.json",
            notify,
            "SCMP_ACT_NOTIFY of linux.seccomp.defaultAction",
        ),
        ("typing.json", typing, "sysalls"),
        ("text.json", "text", "no seccomp profile"),
    ] {
        env.write(name, content);
        let option = format!("seccomp={}", env.shown(name));
        env.run(&["--security-opt", &option], &["true"])
            .refused(125)
            .said(&[text]);
    }
    env.run(&["--security-opt", "seccomp=/no/such.json"], &["true"])
        .refused(125)
        .said(&["/no/such.json", "No such file"]);
}
