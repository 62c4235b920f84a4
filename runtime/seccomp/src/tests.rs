//! Programs, run as the kernel would run them.

use libseccomp::{ScmpAction, ScmpArch, ScmpCompareOp, ScmpSyscall};

use crate::{Condition, Error, Filter, GRANTED_BY_DEFAULT, Rule, architectures, default_profile};

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0;
const NOT_PERMITTED: u32 = 0x0005_0001;
const NO_SUCH_CALL: u32 = 0x0005_0026;

/// `AUDIT_ARCH_*`, linux/audit.h.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ARM64: u32 = 0xc000_00b7;

/// `struct seccomp_data` of a call.
fn data(token: u32, number: u32, arguments: &[u64]) -> Vec<u32> {
    let mut words = vec![number, token, 0, 0];
    for at in 0..6 {
        let value = arguments.get(at).copied().unwrap_or_default();
        words.push(u32::try_from(value & 0xffff_ffff).unwrap());
        words.push(u32::try_from(value >> 32).unwrap());
    }
    words
}

/// Runs a program as `seccomp_run_filters` does: its verdict.
fn run(program: &[u8], data: &[u32]) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let [o0, o1, yes, no, v0, v1, v2, v3] = program[at * 8..][..8] else {
            panic!("an instruction is 8 bytes");
        };
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        at += 1;
        let holds = match u16::from_le_bytes([o0, o1]) {
            0x20 => {
                accumulator = data[value as usize / 4];
                continue;
            }
            0x54 => {
                accumulator &= value;
                continue;
            }
            0x05 => {
                at += value as usize;
                continue;
            }
            0x06 => return value,
            0x15 => accumulator == value,
            0x25 => accumulator > value,
            0x35 => accumulator >= value,
            0x45 => accumulator & value != 0,
            other => panic!("operation {other:#x}"),
        };
        at += usize::from(if holds { yes } else { no });
    }
}

fn docker(machine: ScmpArch, granted: u64) -> Vec<u8> {
    default_profile(machine, granted).compile().unwrap()
}

/// The number of a call in a table.
fn number(name: &str, table: ScmpArch) -> u32 {
    let call = ScmpSyscall::from_name_by_arch(name, table).unwrap();
    u32::try_from(call.as_raw_syscall()).unwrap()
}

#[test]
fn i20_the_default_profile_denies_what_dockers_does() {
    let program = docker(ScmpArch::X8664, GRANTED_BY_DEFAULT);
    let verdict = |name: &str, arguments: &[u64]| {
        let number = number(name, ScmpArch::X8664);
        run(&program, &data(X86_64, number, arguments))
    };
    for name in [
        "keyctl",
        "add_key",
        "request_key",
        "bpf",
        "unshare",
        "mount",
        "kexec_load",
        "open_by_handle_at",
        "userfaultfd",
        "io_uring_setup",
        "setns",
        "perf_event_open",
        "init_module",
        "ptrace",
        "chroot",
    ] {
        let wanted = match name {
            "ptrace" | "chroot" => ALLOW,
            _ => NOT_PERMITTED,
        };
        assert_eq!(verdict(name, &[]), wanted, "{name}");
    }
    assert_eq!(verdict("clone3", &[]), NO_SUCH_CALL);
    assert_eq!(verdict("clone", &[17]), ALLOW);
    assert_eq!(verdict("clone", &[0x1000_0000 | 17]), NOT_PERMITTED);
    assert_eq!(verdict("personality", &[0x2_0000]), ALLOW);
    assert_eq!(verdict("personality", &[0x4_0000]), NOT_PERMITTED);
}

#[test]
fn i20_calls_that_the_library_is_too_old_for_are_told_apart_by_number() {
    let native = ScmpArch::native();
    let token = match native {
        ScmpArch::X8664 => X86_64,
        ScmpArch::Aarch64 => ARM64,
        other => panic!("no token of {other:?} is known here"),
    };
    let verdict = |granted, number| run(&docker(native, granted), &data(token, number, &[]));
    // cachestat, statmount, listmount, mseal and removexattrat, as Docker's has them.
    for number in [451, 457, 458, 462, 466] {
        assert_eq!(verdict(GRANTED_BY_DEFAULT, number), ALLOW, "{number}");
    }
    // None of all those rules is about it.
    assert_eq!(verdict(u64::MAX, 480), NO_SUCH_CALL);
}

#[test]
fn i20_sockets_are_told_apart_by_what_the_kernel_looks_at() {
    let program = docker(ScmpArch::X8664, GRANTED_BY_DEFAULT);
    let socket = number("socket", ScmpArch::X8664);
    let verdict = |family: u64| run(&program, &data(X86_64, socket, &[family, 1, 0]));
    for family in [1, 2, 10, 16, 17, 39, 44] {
        assert_eq!(verdict(family), ALLOW, "{family}");
    }
    for family in [38, 40] {
        assert_eq!(verdict(family), NOT_PERMITTED, "{family}");
        assert_eq!(verdict(family | 1 << 32), NOT_PERMITTED, "{family}");
    }
}

#[test]
fn i20_other_tables_of_the_machine_are_filtered_too() {
    let program = docker(ScmpArch::X8664, GRANTED_BY_DEFAULT);
    let on = |table, token, name| run(&program, &data(token, number(name, table), &[]));
    assert_eq!(on(ScmpArch::X86, I386, "getpid"), ALLOW);
    assert_eq!(on(ScmpArch::X86, I386, "mount"), NOT_PERMITTED);
    assert_eq!(on(ScmpArch::X86, I386, "clone3"), NO_SUCH_CALL);
    assert_eq!(on(ScmpArch::X32, X86_64, "getpid"), ALLOW);
    assert_eq!(on(ScmpArch::X32, X86_64, "keyctl"), NOT_PERMITTED);
    assert_eq!(run(&program, &data(ARM64, 172, &[])), KILL);
}

#[test]
fn i20_what_is_newer_than_the_profile_does_not_exist() {
    let program = docker(ScmpArch::X8664, GRANTED_BY_DEFAULT);
    for (token, number) in [
        (X86_64, 500),
        (X86_64, 0x3fff_ffff),
        (X86_64, 0x4000_0000 + 600),
        (X86_64, u32::MAX),
        (I386, 500),
        (I386, u32::MAX),
    ] {
        let verdict = run(&program, &data(token, number, &[]));
        assert_eq!(verdict, NO_SUCH_CALL, "{number:#x}");
    }
    // A hole in the table that is below is denied as ever.
    assert_eq!(run(&program, &data(X86_64, 400, &[])), NOT_PERMITTED);
}

#[test]
fn i20_the_profile_of_arm64_is_made_on_any_machine() {
    let program = docker(ScmpArch::Aarch64, GRANTED_BY_DEFAULT);
    let verdict = |name: &str| {
        let number = number(name, ScmpArch::Aarch64);
        run(&program, &data(ARM64, number, &[]))
    };
    assert_eq!(verdict("openat"), ALLOW);
    assert_eq!(verdict("mount"), NOT_PERMITTED);
    assert_eq!(verdict("clone3"), NO_SUCH_CALL);
    assert_eq!(run(&program, &data(ARM64, 999, &[])), NO_SUCH_CALL);
    assert_eq!(run(&program, &data(X86_64, 0, &[])), KILL);
    let private = number("set_tls", ScmpArch::Arm);
    assert_eq!(run(&program, &data(0x4000_0028, private, &[])), ALLOW);
}

#[test]
fn i20_with_sys_admin_namespaces_can_be_made() {
    let program = docker(ScmpArch::X8664, 1 << 21);
    for name in ["clone", "clone3", "unshare", "mount", "setns", "bpf"] {
        let number = number(name, ScmpArch::X8664);
        let call = data(X86_64, number, &[0x1000_0000]);
        assert_eq!(run(&program, &call), ALLOW, "{name}");
    }
    let keyctl = number("keyctl", ScmpArch::X8664);
    assert_eq!(run(&program, &data(X86_64, keyctl, &[])), NOT_PERMITTED);
}

/// A filter of one rule.
fn one<'a>(default: ScmpAction, name: &'a str, action: ScmpAction) -> Filter<'a> {
    Filter {
        default,
        architectures: architectures(ScmpArch::X8664),
        rules: vec![Rule {
            names: vec![name],
            action,
            conditions: vec![],
        }],
    }
}

#[test]
fn a_filter_that_allows_has_no_answer_for_newer_calls() {
    let deny = one(ScmpAction::Allow, "getcwd", ScmpAction::Errno(13));
    let program = deny.compile().unwrap();
    assert_eq!(run(&program, &data(X86_64, 79, &[])), 0x0005_000d);
    assert_eq!(run(&program, &data(X86_64, 5000, &[])), ALLOW);
}

#[test]
fn two_conditions_for_one_argument_are_alternatives() {
    let mut filter = one(ScmpAction::Errno(1), "personality", ScmpAction::Allow);
    let equal = |argument, value| Condition {
        argument,
        operator: ScmpCompareOp::Equal,
        value,
    };
    filter.rules[0].conditions = vec![equal(0, 5), equal(0, 6)];
    let program = filter.compile().unwrap();
    let verdict = |arguments: &[u64]| run(&program, &data(X86_64, 135, arguments));
    assert_eq!(
        [5, 6, 7].map(|value| verdict(&[value])),
        [ALLOW, ALLOW, NOT_PERMITTED]
    );
    filter.rules[0].conditions = vec![equal(0, 5), equal(1, 6)];
    let program = filter.compile().unwrap();
    let verdict = |arguments: &[u64]| run(&program, &data(X86_64, 135, arguments));
    assert_eq!([verdict(&[5, 6]), verdict(&[5, 7])], [ALLOW, NOT_PERMITTED]);
}

#[test]
fn s32_a_name_that_is_not_known_can_be_allowed_but_not_denied() {
    let allow = one(ScmpAction::Errno(1), "futex_wiat", ScmpAction::Allow);
    assert!(allow.compile().is_ok());
    let deny = one(ScmpAction::Allow, "futex_wiat", ScmpAction::Errno(1));
    let error = deny.compile().unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

#[test]
fn a_filter_that_the_kernel_would_not_take_is_refused() {
    let mut filter = one(ScmpAction::Errno(1), "ioctl", ScmpAction::Allow);
    let condition = |value| Condition {
        argument: 1,
        operator: ScmpCompareOp::Equal,
        value,
    };
    filter.rules[0].conditions = (0..4100).map(condition).collect();
    let compiled = filter.compile().map(|program| program.len());
    assert!(matches!(compiled, Err(Error::TooLong(_))), "{compiled:?}");
}
