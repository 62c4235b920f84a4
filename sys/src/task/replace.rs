//! The task without a process of its own: the one that set it up becomes it.
//!
//! Everything that can fail for want of something (a privilege, the program) fails in
//! [`Task::assume`], while somebody waits for the outcome; [`Assumed::replace`] may come much later.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::{At, Failure, Loadable, Pointers, Step, Task, bind_to_parent};
use crate::descriptors::close_all_but;
use crate::process::SingleThreaded;

/// A task whose limits, identity and privileges this process has already.
#[derive(Debug)]
pub struct Assumed<'a> {
    task: &'a Task,
}

impl Task {
    /// Takes on the task's limits, identity and privileges, and looks for its program.
    ///
    /// The working directory, root and session are inherited, and stay.
    ///
    /// # Errors
    ///
    /// The step that failed; [`Step::Execute`] when the program is not there, or not for this user.
    pub fn assume(&self, _proof: &SingleThreaded) -> Result<Assumed<'_>, Failure> {
        let pointers = Pointers::new(self);
        self.confine()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        for (index, limit) in pointers.limits.iter().enumerate() {
            rustix::process::setrlimit(limit.0, limit.1).at_index(Step::Limit, index)?;
        }
        self.drop_privileges(&pointers)?;
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges)?;
        }
        if self.dies_with_parent {
            bind_to_parent()?;
        }
        self.find_program()?;
        Ok(Assumed { task: self })
    }

    /// Whether there is a program that this user may execute, as far as can be told beforehand.
    fn find_program(&self) -> Result<(), Failure> {
        let mut worst = Failure {
            step: Step::Execute,
            index: 0,
            errno: Errno::NOENT,
        };
        for (index, candidate) in self.candidates.iter().enumerate() {
            let found = rustix::fs::accessat(CWD, candidate, Access::EXEC_OK, AtFlags::EACCESS);
            let directory = rustix::fs::stat(candidate)
                .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
            match found {
                Ok(()) if !directory => return Ok(()),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                other => {
                    let errno = other.err().unwrap_or(Errno::ACCESS);
                    worst = Failure {
                        step: Step::Execute,
                        index,
                        errno,
                    };
                }
            }
        }
        Err(worst)
    }
}

impl Assumed<'_> {
    /// Closes every descriptor but standard input, output and error, the `preserved` ones after
    /// them, and `kept`.
    ///
    /// # Errors
    ///
    /// Any failure of `close_range`.
    pub fn keep_only(&self, preserved: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        let mut numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
        let closed = close_all_but(first_after(preserved), &mut numbers);
        closed.map_err(|error| error.errno()).at(Step::Descriptors)
    }

    /// Replaces this process by the program; returns only why that failed.
    ///
    /// Standard input, output and error stay open, and the `preserved` descriptors after them;
    /// `report` is closed by `execve`, every other before.
    pub fn replace(self, preserved: u32, report: BorrowedFd<'_>) -> Failure {
        let pointers = Pointers::new(self.task);
        crate::signal::reset_all();
        let filter = || pointers.filter.as_ref().map_or(Ok(()), Loadable::load);
        match self.keep_only(preserved, &[report]).and_then(|()| filter()) {
            Ok(()) => pointers.execute(),
            Err(failure) => failure,
        }
    }
}

/// The descriptor after the standard three and the `preserved` ones.
fn first_after(preserved: u32) -> RawFd {
    RawFd::try_from(preserved).unwrap_or(0).saturating_add(3)
}
