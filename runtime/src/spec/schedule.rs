//! How a task shares processors and disks with others.

use oci_spec::runtime::{IOPriorityClass, LinuxSchedulerPolicy, Process};

use crate::plan::Scheduler;

/// What cannot be honoured of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A policy under which no process can be started by another, or that Linux has not.
    #[error("process.scheduler.policy {0} is not supported")]
    Policy(String),
    /// What belongs to such a policy.
    #[error("process.scheduler.{0} is not supported")]
    Field(&'static str),
    /// A priority that is none.
    #[error("{0} is no priority of process.scheduler: there are 0 to 99")]
    Priority(i32),
    /// A level that is none.
    #[error("{0} is no process.ioPriority.priority: there are 0 to 7")]
    Level(i64),
}

/// The policy of sched(7) that `process` asks for.
pub(super) fn policy(process: &Process) -> Result<Option<Scheduler>, Error> {
    let Some(asked) = process.scheduler() else {
        return Ok(None);
    };
    // sched.h
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIdle => 5,
        other => return Err(Error::Policy(other.to_string())),
    };
    for (is_asked, field) in [
        (asked.flags().iter().flatten().next().is_some(), "flags"),
        (asked.runtime().unwrap_or(0) != 0, "runtime"),
        (asked.deadline().unwrap_or(0) != 0, "deadline"),
        (asked.period().unwrap_or(0) != 0, "period"),
    ] {
        if is_asked {
            return Err(Error::Field(field));
        }
    }
    let priority = asked.priority().unwrap_or(0);
    let in_range = u32::try_from(priority).ok().filter(|number| *number < 100);
    Ok(Some(Scheduler {
        policy,
        nice: asked.nice().unwrap_or(0),
        priority: in_range.ok_or(Error::Priority(priority))?,
    }))
}

/// Class and level at block devices that `process` asks for, as ioprio_set(2) joins them.
pub(super) fn io_priority(process: &Process) -> Result<Option<i32>, Error> {
    const CLASS_SHIFT: i32 = 13;
    let Some(asked) = process.io_priority() else {
        return Ok(None);
    };
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = asked.priority();
    let in_range = i32::try_from(level)
        .ok()
        .filter(|number| (0..8).contains(number));
    let level = in_range.ok_or(Error::Level(level))?;
    Ok(Some(class << CLASS_SHIFT | level))
}
