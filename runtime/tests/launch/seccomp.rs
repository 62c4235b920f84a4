//! What the filter of system calls does to a task: security.md I20 and I21.
//!
//! The programs are of x86-64; on other machines `ucr-seccomp`'s own tests run
//! the filter without a kernel.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::program::{self, Gate, X32};
use crate::support::{Container, Output, privileged};

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
/// What a shell makes of SIGSYS.
const KILLED: i32 = 128 + 31;

/// Names of x86-64, in `unistd_64.h`.
mod number {
    pub(super) const SOCKET: u32 = 41;
    pub(super) const CLONE: u32 = 56;
    pub(super) const GETPID: u32 = 39;
    pub(super) const GETCWD: u32 = 79;
    pub(super) const PERSONALITY: u32 = 135;
    pub(super) const MOUNT: u32 = 165;
    pub(super) const KEYCTL: u32 = 250;
    pub(super) const UNSHARE: u32 = 272;
    pub(super) const CLONE3: u32 = 435;
}

const NEW_USER: u64 = 0x1000_0000;

/// Whether programs of x86-64 can run in containers here.
fn can_run() -> bool {
    let machine = cfg!(target_arch = "x86_64");
    if !machine {
        eprintln!("skipped: the programs of this test are of x86-64");
    }
    machine && privileged()
}

/// A call to try: a name for it, how, its number and its arguments.
type Call<'a> = (&'a str, Gate, u32, &'a [u64]);

/// Makes each call in a process of its own in `container`: error numbers by name, 0 for success.
fn errors(container: &mut Container, calls: &[Call<'_>]) -> BTreeMap<String, i32> {
    for (name, gate, number, arguments) in calls {
        let path = container.layer().join("probe").join(name);
        program::write(&path, *gate, *number, arguments);
    }
    let script = "for f in /probe/*; do $f 2>/dev/null; echo ${f##*/} $?; done 2>/dev/null";
    container.arguments(&["/bin/sh", "-c", script]);
    let output = container.run();
    assert_eq!(output.code, 0, "{output:?}");
    let line = |line: &str| {
        let (name, error) = line.split_once(' ').expect("two words");
        (name.to_owned(), error.parse().expect("number"))
    };
    let errors: BTreeMap<_, _> = output.stdout.lines().map(line).collect();
    assert_eq!(errors.len(), calls.len(), "{output:?}");
    errors
}

/// The calls that Docker's profile denies; a null pointer is the worst that the kernel gets.
const DENIED: [Call<'_>; 16] = [
    ("add_key", Gate::Syscall, 248, &[]),
    (
        "keyctl",
        Gate::Syscall,
        number::KEYCTL,
        &[0, 0xffff_fffd, 0],
    ),
    ("bpf", Gate::Syscall, 321, &[]),
    ("unshare", Gate::Syscall, number::UNSHARE, &[NEW_USER]),
    ("clone", Gate::Syscall, number::CLONE, &[NEW_USER | 17]),
    ("mount", Gate::Syscall, number::MOUNT, &[]),
    ("kexec_load", Gate::Syscall, 246, &[]),
    ("open_by_handle_at", Gate::Syscall, 304, &[]),
    ("userfaultfd", Gate::Syscall, 323, &[0xffff]),
    ("io_uring_setup", Gate::Syscall, 425, &[]),
    (
        "personality",
        Gate::Syscall,
        number::PERSONALITY,
        &[0x4_0000],
    ),
    ("alg", Gate::Syscall, number::SOCKET, &[38, 5, 0]),
    ("vsock", Gate::Syscall, number::SOCKET, &[40, 1, 0]),
    // The kernel takes the lower 32 bits for the family.
    (
        "alg_high",
        Gate::Syscall,
        number::SOCKET,
        &[1 << 32 | 38, 5, 0],
    ),
    (
        "vsock_high",
        Gate::Syscall,
        number::SOCKET,
        &[1 << 32 | 40, 1, 0],
    ),
    ("x32_keyctl", Gate::Syscall, X32 | number::KEYCTL, &[]),
];

#[test]
fn i20_the_default_filter_is_in_force() {
    if !privileged() {
        return;
    }
    let script = "grep Seccomp: /proc/self/status | tr -d '\\t'";
    let mut container = Container::sh(script);
    assert_eq!(container.run().stdout, "Seccomp:2\n");
    container.unconfined = true;
    assert_eq!(container.run().stdout, "Seccomp:0\n");
}

#[test]
fn i20_what_dockers_profile_denies_is_denied() {
    if !can_run() {
        return;
    }
    let found = errors(&mut Container::sh(""), &DENIED);
    assert!(found.values().all(|error| *error == EPERM), "{found:?}");
}

#[test]
fn i20_without_a_filter_the_kernel_answers_itself() {
    if !can_run() {
        return;
    }
    let mut container = Container::sh("");
    container.unconfined = true;
    let found = errors(&mut container, &DENIED);
    let denied = found.iter().filter(|(_, error)| **error == EPERM);
    let denied: Vec<_> = denied.map(|(name, _)| name.as_str()).collect();
    for name in [
        "unshare",
        "clone",
        "personality",
        "alg",
        "alg_high",
        "vsock",
    ] {
        assert!(!denied.contains(&name), "{found:?}");
    }
}

#[test]
fn i20_what_is_allowed_works_and_what_is_new_does_not_exist() {
    if !can_run() {
        return;
    }
    let calls: [Call<'_>; 7] = [
        ("getpid", Gate::Syscall, number::GETPID, &[]),
        ("unix", Gate::Syscall, number::SOCKET, &[1, 1, 0]),
        ("inet6", Gate::Syscall, number::SOCKET, &[10, 1, 0]),
        ("process", Gate::Syscall, number::CLONE, &[17]),
        ("query", Gate::Syscall, number::PERSONALITY, &[0xffff_ffff]),
        ("clone3", Gate::Syscall, number::CLONE3, &[]),
        ("unknown", Gate::Syscall, 1000, &[]),
    ];
    let found = errors(&mut Container::sh(""), &calls);
    for (name, error) in found {
        let wanted = match name.as_str() {
            "clone3" | "unknown" => ENOSYS,
            _ => 0,
        };
        assert_eq!(error, wanted, "{name}");
    }
}

#[test]
fn i20_calls_of_i386_are_filtered_too() {
    if !can_run() {
        return;
    }
    // In the numbers of unistd_32.h.
    let calls: [Call<'_>; 7] = [
        ("getpid", Gate::Int80, 20, &[]),
        ("mount", Gate::Int80, 21, &[]),
        ("keyctl", Gate::Int80, 288, &[]),
        ("unshare", Gate::Int80, 310, &[NEW_USER]),
        ("alg", Gate::Int80, 359, &[38, 5, 0]),
        ("clone3", Gate::Int80, 435, &[]),
        ("unknown", Gate::Int80, 1000, &[]),
    ];
    let found = errors(&mut Container::sh(""), &calls);
    if found["getpid"] != 0 {
        eprintln!("skipped: this kernel has no calls of i386");
        return;
    }
    for name in ["mount", "keyctl", "unshare", "alg"] {
        assert_eq!(found[name], EPERM, "{name}");
    }
    assert_eq!((found["clone3"], found["unknown"]), (ENOSYS, ENOSYS));
}

#[test]
fn i20_sys_admin_opens_what_it_is_for() {
    if !can_run() {
        return;
    }
    let mut container = Container::sh("");
    let mut spec = serde_json::to_value(&container.spec).unwrap();
    let sets = &mut spec["process"]["capabilities"];
    for set in ["bounding", "permitted", "effective"] {
        sets[set]
            .as_array_mut()
            .unwrap()
            .push("CAP_SYS_ADMIN".into());
    }
    container.spec = serde_json::from_value(spec).unwrap();
    let found = errors(&mut container, &DENIED);
    for name in ["unshare", "clone"] {
        assert_eq!(found[name], 0, "{name}");
    }
    // It reached the kernel, which does not like the pointers.
    assert_ne!(found["mount"], EPERM);
    for name in ["keyctl", "alg", "userfaultfd", "personality"] {
        assert_eq!(found[name], EPERM, "{name}");
    }
}

/// Starts a thread; run by the next test in a container.
#[test]
fn a_thread_runs() {
    assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
}

#[test]
fn i20_threads_start_although_clone3_does_not_exist() {
    if !privileged() {
        return;
    }
    let mut container = Container::new(&[
        "/threads",
        "--exact",
        "seccomp::a_thread_runs",
        "--test-threads=2",
    ]);
    container.bind(&std::env::current_exe().unwrap(), "/threads", &["ro"]);
    for library in ["/lib", "/lib64", "/usr/lib"].map(std::path::Path::new) {
        if library.exists() {
            container.bind(library, &library.to_string_lossy(), &["ro", "rbind"]);
        }
    }
    let output = container.run();
    assert!(output.stdout.contains("1 passed"), "{output:?}");
}

/// A container of this `linux.seccomp`.
fn with_filter(mut container: Container, seccomp: Value) -> Container {
    container.patch(json!({"linux": {"seccomp": seccomp}}));
    container
}

fn rule(names: &[&str], action: &str) -> Value {
    json!({"names": names, "action": action})
}

#[test]
fn i21_our_own_calls_are_not_subject_to_the_filter() {
    if !privileged() {
        return;
    }
    let ours = [
        "getcwd",
        "prctl",
        "capset",
        "capget",
        "setresuid",
        "setresgid",
        "setgroups",
        "setsid",
        "close_range",
        "dup3",
        "seccomp",
        "fchdir",
        "chdir",
        "umask",
        "prlimit64",
        "setrlimit",
        "setns",
        "unshare",
        "fchown",
    ];
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(&ours, "SCMP_ACT_ERRNO")]});
    let mut container = with_filter(Container::new(&["/bin/true"]), seccomp);
    for user in [None, Some("web")] {
        container.user = user.map(str::to_owned);
        let output = container.run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{user:?}");
    }
}

#[test]
fn i21_the_strictest_filter_starts_and_says_what_failed() {
    if !can_run() {
        return;
    }
    let strict = |container, allowed: &[&str]| {
        let seccomp = json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [rule(allowed, "SCMP_ACT_ALLOW")]});
        let output: Output = with_filter(container, seccomp).run();
        output
    };
    let container = Container::new(&["/probe"]);
    let path = container.layer().join("probe");
    program::write(&path, Gate::Syscall, number::GETPID, &[]);
    assert_eq!(strict(container, &["execve", "exit"]).code, EPERM);
    // It can neither write nor exit: what failed is told all the same.
    let output = strict(Container::new(&["/no/such"]), &["execve"]);
    assert_eq!(output.code, 127);
    assert!(output.stderr.contains("/no/such"), "{output:?}");
    let output = strict(Container::new(&["/bin/true"]), &["exit"]);
    assert_eq!(output.code, 126);
    assert!(output.stderr.contains("execve"), "{output:?}");
}

#[test]
fn i21_without_no_new_privileges_the_filter_costs_no_capability() {
    if !privileged() {
        return;
    }
    let script = "grep -E '^(Cap[PE]|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'";
    let mut container = Container::sh(script);
    container.patch(json!({"process": {"noNewPrivileges": false}}));
    for (user, sets) in [
        (None, "00000000a80425fb"),
        (Some("web"), "0000000000000000"),
    ] {
        container.user = user.map(str::to_owned);
        let wanted = format!("CapPrm:{sets}\nCapEff:{sets}\nNoNewPrivs:0\nSeccomp:2\n");
        assert_eq!(container.run().stdout, wanted, "{user:?}");
    }
}

#[test]
fn i20_the_filter_of_the_spec_is_honoured() {
    if !can_run() {
        return;
    }
    let calls: [Call<'_>; 3] = [
        ("getcwd", Gate::Syscall, number::GETCWD, &[]),
        ("personality", Gate::Syscall, number::PERSONALITY, &[8]),
        ("query", Gate::Syscall, number::PERSONALITY, &[0xffff_ffff]),
    ];
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    "syscalls": [
        {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99},
        {"names": ["personality"], "action": "SCMP_ACT_KILL_PROCESS",
            "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]});
    let mut container = with_filter(Container::sh(""), seccomp);
    let found = errors(&mut container, &calls);
    assert_eq!(found["getcwd"], 99);
    assert_eq!(found["personality"], KILLED);
    assert_eq!(found["query"], 0);
}

#[test]
fn s32_a_filter_that_cannot_be_honoured_is_refused() {
    if !privileged() {
        return;
    }
    let notify = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(&["mount"], "SCMP_ACT_NOTIFY")]});
    let listener = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent"});
    for (seccomp, field) in [
        (notify, "linux.seccomp.syscalls[0].action"),
        (listener, "linux.seccomp.listenerPath"),
    ] {
        let output = with_filter(Container::sh("true"), seccomp).run();
        assert_eq!(output.code, 125);
        assert!(output.stderr.contains(field), "{output:?}");
    }
}
