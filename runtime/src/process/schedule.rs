//! How a task shares processors and disks with others.

use ucr_sys::schedule;

use crate::failure::{During, Failure, Step};
use crate::plan::Process;

/// Sets it for process `pid`, or for this one for 0: what that becomes and starts inherits it.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Schedule`].
pub(super) fn set(process: &Process, pid: i32) -> Result<(), Failure> {
    if let Some(scheduler) = process.scheduler {
        let policy = schedule::Policy {
            policy: scheduler.policy,
            nice: scheduler.nice,
            priority: scheduler.priority,
        };
        schedule::set_policy(pid, policy).during(Step::Schedule, "")?;
    }
    if let Some(priority) = process.io_priority {
        schedule::set_io_priority(pid, priority).during(Step::Schedule, "")?;
    }
    Ok(())
}
