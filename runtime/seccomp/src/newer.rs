//! System calls by number that a library may be too old to know by name.
//!
//! libseccomp 2.5.4, Debian 12's, ends with Linux 5.17. Since Linux 5.1 a new call has one number
//! on all machines, syscall(2); the library takes one that it cannot name for the machine that it
//! runs on alone, so that of another table, as for programs of 32 bits, they are not there.

use libseccomp::{ScmpArch, ScmpSyscall};

/// Names and numbers, include/uapi/asm-generic/unistd.h.
const NEWER: [(&str, i32); 17] = [
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
];

/// The number of one, if the machine has `table` and it is one of these.
fn newer(name: &str, table: ScmpArch) -> Option<i32> {
    let found = NEWER.iter().find(|(newer, _)| *newer == name);
    found
        .map(|(_, number)| *number)
        .filter(|_| table == ScmpArch::native())
}

/// The call of that name, as a rule for `table` names it.
pub(crate) fn call(name: &str, table: ScmpArch) -> Option<ScmpSyscall> {
    let known = ScmpSyscall::from_name(name).ok();
    known.or_else(|| newer(name, table).map(ScmpSyscall::from_raw_syscall))
}

/// The number of the call of that name in `table`.
pub(crate) fn number(name: &str, table: ScmpArch) -> Option<u32> {
    let known = ScmpSyscall::from_name_by_arch(name, table).ok();
    let number = known.map(ScmpSyscall::as_raw_syscall);
    // What only other tables have is a negative number here.
    u32::try_from(number.or_else(|| newer(name, table))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i20_a_library_that_knows_them_has_the_same_numbers() {
        for (name, number) in NEWER {
            if let Ok(call) = ScmpSyscall::from_name(name) {
                assert_eq!(call.as_raw_syscall(), number, "{name}");
            }
        }
        assert!(NEWER.iter().is_sorted_by_key(|(_, number)| number));
    }
}
