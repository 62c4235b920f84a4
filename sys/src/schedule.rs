//! How a process shares processors and disks with others.

use std::mem::size_of;

use crate::error::{Error, Result};

/// A policy of sched(7), but for that of deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `SCHED_*`.
    pub policy: u32,
    /// The nice value, for those that share.
    pub nice: i32,
    /// The static priority, for those of real time.
    pub priority: u32,
}

/// `struct sched_attr` as Linux 3.14 has it, sched_setattr(2).
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets the policy of process `pid`, or of this one for 0.
///
/// # Errors
///
/// Any failure of `sched_setattr`: `EPERM` without the privilege, or where the cgroup has no time
/// for real-time processes.
pub fn set_policy(pid: i32, policy: Policy) -> Result<()> {
    let size = u32::try_from(size_of::<Attributes>()).unwrap_or_default();
    let attributes = Attributes {
        size,
        policy: policy.policy,
        flags: 0,
        nice: policy.nice,
        priority: policy.priority,
        runtime: 0,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the attributes are initialised, say their own size, and are only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0) };
    done(result, "sched_setattr", || format!("{pid}, {policy:?}"))
}

/// Sets the priority of process `pid`, or of this one for 0, at block devices: class and level as
/// ioprio_set(2) joins them.
///
/// # Errors
///
/// Any failure of `ioprio_set`.
pub fn set_io_priority(pid: i32, priority: i32) -> Result<()> {
    const PROCESS: libc::c_int = 1;
    // SAFETY: ioprio_set takes no memory.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, pid, priority) };
    done(result, "ioprio_set", || format!("{pid}, {priority:#x}"))
}

fn done(result: libc::c_long, call: &'static str, operands: impl FnOnce() -> String) -> Result<()> {
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::from_io(call, operands(), &error));
    }
    Ok(())
}
