//! Docker's default profile, for the machines that `ucr` runs on.
//!
//! What is in it is that of moby `profiles/seccomp` v0.2.3 (2026): what no group
//! here allows is denied with `EPERM`, and `io_uring`, `userfaultfd`, keyrings
//! and what makes namespaces are in none. It differs in one point: `socket` is
//! told apart by the 32 bits that the kernel looks at, not by all 64 (see
//! [`FAMILIES`]). Calls that the library is too old to know are
//! allowed by their numbers, to programs of the machine's own kind (`newer`).

use std::iter::once;

use libseccomp::{ScmpAction, ScmpArch, ScmpCompareOp};

use crate::filter::{Condition, Filter, Rule};

/// `EPERM`, errno(3).
const NOT_PERMITTED: i32 = 1;

/// `ENOSYS`, errno(3).
const NO_SUCH_CALL: i32 = 38;

/// Numbers of capabilities, linux/capability.h.
mod capability {
    pub(super) const DAC_READ_SEARCH: u32 = 2;
    pub(super) const SYS_MODULE: u32 = 16;
    pub(super) const SYS_RAWIO: u32 = 17;
    pub(super) const SYS_CHROOT: u32 = 18;
    pub(super) const SYS_PTRACE: u32 = 19;
    pub(super) const SYS_PACCT: u32 = 20;
    pub(super) const SYS_ADMIN: u32 = 21;
    pub(super) const SYS_BOOT: u32 = 22;
    pub(super) const SYS_NICE: u32 = 23;
    pub(super) const SYS_TIME: u32 = 25;
    pub(super) const SYS_TTY_CONFIG: u32 = 26;
    pub(super) const SYSLOG: u32 = 34;
    pub(super) const PERFMON: u32 = 38;
    pub(super) const BPF: u32 = 39;
}

/// Of Docker's 14 capabilities, those that the profile looks at, as a mask.
pub const GRANTED_BY_DEFAULT: u64 = 1 << capability::SYS_CHROOT;

/// All capabilities that the profile looks at, as a mask: others make no difference to it.
pub const RELEVANT: u64 = relevant();

const fn relevant() -> u64 {
    let mut mask = 0;
    let mut at = 0;
    while at < GRANTED.len() {
        mask |= 1 << GRANTED[at].0;
        at += 1;
    }
    mask
}

/// What every container may call, by what it is for.
const ALWAYS: [(&str, &str); 14] = [
    (
        "files and directories",
        "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 \
         faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 \
         fchown fchown32 fchownat fcntl fcntl64 flock fstat fstat64 fstatat64 ftruncate \
         ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat \
         _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2 \
         readlink readlinkat rename renameat renameat2 rmdir stat stat64 statx symlink symlinkat \
         truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes",
    ),
    (
        // A handle opens nothing: open_by_handle_at is what escapes with it.
        "file systems, without changing what is mounted",
        "fdatasync fstatfs fstatfs64 fsync listmount name_to_handle_at statfs statfs64 statmount \
         sync sync_file_range syncfs",
    ),
    (
        "extended attributes",
        "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr \
         listxattrat llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr \
         setxattrat",
    ),
    (
        // Asynchronous by io_setup only: io_uring has been the way out too often.
        "reading and writing",
        "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit \
         pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv \
         sendfile sendfile64 splice tee vmsplice write writev",
    ),
    (
        "waiting for events",
        "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
         epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init \
         inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64 pselect6 \
         pselect6_time64 select",
    ),
    (
        // On i386 socketcall makes sockets too, of any family: its arguments are
        // in memory, which a filter cannot read.
        "sockets that are there",
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom \
         recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown \
         socketcall socketpair",
    ),
    (
        "memory",
        "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 \
         mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc \
         pkey_free pkey_mprotect process_mrelease remap_file_pages",
    ),
    (
        "processes and threads",
        "execve execveat exit exit_group fork get_robust_list get_thread_area getpgid getpgrp \
         getpid getppid getsid gettid pidfd_open prctl restart_syscall rseq set_robust_list \
         set_thread_area set_tid_address setpgid setsid uretprobe vfork wait4 waitid waitpid",
    ),
    (
        // Of one's own processes: since Linux 4.8 a tracer cannot get past a filter.
        "tracing",
        "process_vm_readv process_vm_writev ptrace",
    ),
    (
        "users, groups, capabilities, and giving up more of them",
        "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 \
         getresgid getresgid32 getresuid getresuid32 getuid getuid32 landlock_add_rule \
         landlock_create_ruleset landlock_restrict_self seccomp setfsgid setfsgid32 setfsuid \
         setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid \
         setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    ),
    (
        "scheduling and limits",
        "getcpu getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_getaffinity \
         sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min \
         sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
         sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit \
         ugetrlimit",
    ),
    (
        "signals",
        "kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo \
         rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
         sigaltstack signalfd signalfd4 sigprocmask sigreturn tgkill tkill",
    ),
    (
        // adjtimex and clock_adjtime change nothing without CAP_SYS_TIME.
        "time",
        "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
         clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer \
         gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun \
         timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
         timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times",
    ),
    (
        "locks, queues, and what the machine is",
        "cachestat futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake getrandom \
         ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
         mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop \
         semtimedop_time64 shmat shmctl shmdt shmget sysinfo uname",
    ),
];

/// What is there on one kind of machine only.
const X86: &str = "arch_prctl modify_ldt";

/// The same for arm, 32 bits and 64.
const ARM: &str =
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";

/// What a capability is good for only with these calls, and these only with it.
const GRANTED: [(u32, &str); 14] = [
    (capability::DAC_READ_SEARCH, "open_by_handle_at"),
    (
        capability::SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    (capability::SYS_BOOT, "reboot"),
    (capability::SYS_CHROOT, "chroot"),
    (
        capability::SYS_MODULE,
        "delete_module finit_module init_module",
    ),
    (capability::SYS_PACCT, "acct"),
    (
        capability::SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (capability::SYS_RAWIO, "ioperm iopl"),
    (
        capability::SYS_TIME,
        "clock_settime clock_settime64 settimeofday stime",
    ),
    (capability::SYS_TTY_CONFIG, "vhangup"),
    (
        capability::SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (capability::SYSLOG, "syslog"),
    (capability::BPF, "bpf"),
    (capability::PERFMON, "perf_event_open"),
];

/// The address families of socket(2) that may be used, as mask and value.
///
/// All but `AF_ALG` (38), whose parsers in the kernel take what anybody sends,
/// and `AF_VSOCK` (40), which leads to the host of a virtual machine past any
/// network namespace. The kernel takes the lower 32 bits for the family, and
/// Docker's rules (less than 38, 39, more than 40) compare 64: with a bit above
/// them, 38 is more than 40.
const FAMILIES: [(u64, u64); 8] = [
    (0xffff_ffe0, 0),
    (0xffff_fffc, 32),
    (0xffff_fffe, 36),
    (0xffff_ffff, 39),
    (0xffff_ffff, 41),
    (0xffff_fffe, 42),
    (0xffff_fffc, 44),
    // The kernel knows none of 64 or more.
    (0xffff_fff0, 48),
];

/// personality(2): Linux, 32 bits, with `UNAME26` or without, and only asking.
///
/// No other turns address space randomisation off, or lets page 0 be mapped.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The bits of clone(2) that make namespaces: mount, cgroup, UTS, IPC, user, PID and network.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The tables of system calls that a process of this machine may use: its own, and those of 32 bits.
pub fn architectures(machine: ScmpArch) -> Vec<ScmpArch> {
    let narrow: &[ScmpArch] = match machine {
        ScmpArch::X8664 => &[ScmpArch::X86, ScmpArch::X32],
        ScmpArch::Aarch64 => &[ScmpArch::Arm],
        _ => &[],
    };
    once(machine).chain(narrow.iter().copied()).collect()
}

/// Docker's default profile for the capabilities in the mask `granted`.
///
/// Source: moby `profiles/seccomp`, `default_linux.go`.
pub fn default_profile(machine: ScmpArch, granted: u64) -> Filter<'static> {
    let of_machine = match machine {
        ScmpArch::X8664 => X86,
        ScmpArch::Aarch64 => ARM,
        _ => "",
    };
    let has = |capability: u32| granted & 1 << capability != 0;
    let mut rules: Vec<Rule<'_>> = ALWAYS
        .iter()
        .map(|(_purpose, names)| allow(names))
        .chain(once(allow(of_machine)))
        .collect();
    let held = GRANTED.iter().filter(|(capability, _)| has(*capability));
    rules.extend(held.map(|(_, names)| allow(names)));
    if !has(capability::SYS_ADMIN) {
        rules.extend(without_namespaces());
    }
    rules.extend(FAMILIES.map(|(mask, value)| masked("socket", mask, value)));
    let equal = |value| when("personality", ScmpCompareOp::Equal, value);
    rules.extend(PERSONALITIES.map(equal));
    Filter {
        default: ScmpAction::Errno(NOT_PERMITTED),
        architectures: architectures(machine),
        rules,
    }
}

/// New processes and threads, but no namespaces.
///
/// clone3 has its flags in memory, which a filter cannot read; where it does not
/// exist, C libraries use clone.
fn without_namespaces() -> [Rule<'static>; 2] {
    let nothing = Rule {
        action: ScmpAction::Errno(NO_SUCH_CALL),
        ..allow("clone3")
    };
    [masked("clone", NEW_NAMESPACES, 0), nothing]
}

fn allow(names: &'static str) -> Rule<'static> {
    Rule {
        names: names.split_ascii_whitespace().collect(),
        action: ScmpAction::Allow,
        conditions: Vec::new(),
    }
}

/// Allows a call if its first argument compares so.
fn when(name: &'static str, operator: ScmpCompareOp, value: u64) -> Rule<'static> {
    let condition = Condition {
        argument: 0,
        operator,
        value,
    };
    Rule {
        conditions: vec![condition],
        ..allow(name)
    }
}

/// Allows a call if the bits of `mask` in its first argument are these.
fn masked(name: &'static str, mask: u64, value: u64) -> Rule<'static> {
    when(name, ScmpCompareOp::MaskedEqual(mask), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libseccomp::ScmpSyscall;

    #[test]
    fn i20_every_name_is_known_or_known_to_be_newer_than_the_library() {
        // Of kernels after 5.17, which libseccomp 2.5.4 ends with, Debian 12's.
        const NEWER: &str = "cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat \
            listmount listxattrat lsm_get_self_attr lsm_list_modules lsm_set_self_attr \
            map_shadow_stack mseal removexattrat setxattrat statmount uretprobe";
        let newer: Vec<_> = NEWER.split_ascii_whitespace().collect();
        for machine in [ScmpArch::X8664, ScmpArch::Aarch64] {
            let filter = default_profile(machine, u64::MAX);
            for name in filter.names().filter(|name| !newer.contains(name)) {
                let known = |table: &ScmpArch| {
                    let call = ScmpSyscall::from_name_by_arch(name, *table);
                    call.is_ok_and(|call| call.as_raw_syscall() != -1)
                };
                let tables = architectures(machine);
                assert!(tables.iter().any(known), "{name} on {machine:?}");
            }
        }
    }

    #[test]
    fn i20_no_call_is_in_two_groups_that_are_always_there() {
        let mut names: Vec<&str> = ALWAYS
            .iter()
            .flat_map(|(_, names)| names.split_ascii_whitespace())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for absent in [
            "io_uring_setup",
            "userfaultfd",
            "keyctl",
            "add_key",
            "unshare",
            "bpf",
        ] {
            assert!(!names.contains(&absent), "{absent}");
        }
    }

    #[test]
    fn i20_the_families_are_all_but_two() {
        let allowed = |family: u64| {
            let matching = |(mask, value): &&(u64, u64)| family & mask == *value;
            FAMILIES.iter().filter(matching).count()
        };
        for family in 0..64 {
            let wanted = usize::from(family != 38 && family != 40);
            assert_eq!(allowed(family), wanted, "{family}");
            assert_eq!(allowed(family | 1 << 32), wanted, "{family}");
        }
        assert_eq!(allowed(0xffff_ffff), 0);
    }

    #[test]
    fn i20_a_capability_opens_its_calls() {
        let named = |granted: u64, name: &str| {
            let filter = default_profile(ScmpArch::X8664, granted);
            filter.names().any(|one| one == name)
        };
        assert!(named(GRANTED_BY_DEFAULT, "chroot") && !named(0, "chroot"));
        assert!(!named(GRANTED_BY_DEFAULT, "mount"));
        assert!(named(1 << capability::SYS_ADMIN, "mount"));
        assert!(named(1 << capability::BPF, "bpf"));
        assert_eq!(RELEVANT & GRANTED_BY_DEFAULT, GRANTED_BY_DEFAULT);
        assert_eq!(RELEVANT.count_ones(), 14);
    }
}
