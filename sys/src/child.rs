//! A child process of the standard library, waited for no longer than one likes.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{Errno, Error, Result};

/// Has a program killed when the thread that starts it ends, which the process's end is as well.
///
/// It is not told to a program that gives up its rights, prctl(2).
pub fn die_with_starter(command: &mut Command) {
    let bind = || crate::process::die_with_parent().map_err(|error| error.errno().into());
    // SAFETY: between fork and exec there is one system call, and no allocation but for its error.
    unsafe { command.pre_exec(bind) };
}

/// Waits for a child to end and reaps it; `None` when it has not ended within `patience`.
///
/// # Errors
/// When the child has been reaped already, or there is no fd left to wait by.
pub fn wait_for(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + patience;
    let number = child.id().to_string();
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| Error::new("pidfd_open", number.clone(), errno))?;
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Error::from_io("waitid", number.clone(), &error))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if ended.is_some() || left.is_zero() {
            return Ok(ended);
        }
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("poll", number, errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_that_ends_is_reaped_and_one_that_does_not_is_left() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(wait_for(&mut cat, Duration::from_millis(1)).unwrap(), None);
        drop(cat.stdin.take());
        let status = wait_for(&mut cat, Duration::from_secs(60)).unwrap();
        assert!(status.is_some_and(|status| status.success()));
    }

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped());
            die_with_starter(&mut command);
            command.spawn().unwrap()
        };
        let mut cat = std::thread::spawn(start).join().unwrap();
        let status = wait_for(&mut cat, Duration::from_secs(60)).unwrap();
        assert!(status.is_some_and(|status| !status.success()));
    }
}
