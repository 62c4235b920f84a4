//! The error of a system call: which call, on what, and the errno.

use std::fmt;

use rustix::io::Errno;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A system call that failed, with its operands, printed as `strace` would.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    operands: String,
    errno: Errno,
}

impl Error {
    /// Records that `call` on `operands` failed with `errno`.
    pub fn new(call: &'static str, operands: impl Into<String>, errno: Errno) -> Self {
        Self {
            call,
            operands: operands.into(),
            errno,
        }
    }

    /// Records a failure of `call` that the standard library reported.
    ///
    /// An error without an OS code (an unexpected end of file, say) counts as `EIO`.
    pub fn from_io(
        call: &'static str,
        operands: impl Into<String>,
        error: &std::io::Error,
    ) -> Self {
        let errno = error
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error);
        Self::new(call, operands, errno)
    }

    /// The name of the call that failed.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// What the call was applied to, as text for a person.
    pub fn operands(&self) -> &str {
        &self.operands
    }

    /// The error number that the kernel returned.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Whether the object that was named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno == Errno::NOENT
    }

    /// Whether the file system, the quota or the inodes are used up.
    pub fn is_out_of_space(&self) -> bool {
        self.errno == Errno::NOSPC || self.errno == Errno::DQUOT
    }
}

/// Calls that a kernel may be too old for, and since which Linux there are, of their manual pages.
const SINCE: [(&str, &str); 12] = [
    ("clone3", "5.3"),
    ("close_range", "5.9"),
    ("fsconfig", "5.2"),
    ("fsmount", "5.2"),
    ("fsopen", "5.2"),
    ("mount_setattr", "5.12"),
    ("move_mount", "5.2"),
    ("open_tree", "5.2"),
    ("openat2", "5.6"),
    ("pidfd_open", "5.3"),
    ("pidfd_send_signal", "5.1"),
    ("sched_setattr", "3.14"),
];

/// A failed call as `strace` has it; one that is not there in words.
pub fn failed(call: &str, operands: &str, errno: Errno) -> String {
    let since = SINCE.iter().find(|(name, _)| *name == call);
    match since.filter(|_| errno == Errno::NOSYS) {
        Some((_, since)) => format!(
            "this kernel, or a filter of system calls around this process, has no {call}, which Linux has since {since}"
        ),
        None => {
            let reason = crate::reason(&std::io::Error::from(errno));
            format!("{call}({operands}): {reason}")
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&failed(self.call, &self.operands, self.errno))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Error {}

/// Attaches the call and its operands to a bare errno.
pub(crate) trait Context<T> {
    /// Names the call that returned this errno; `operands` is only formatted on failure.
    fn context(self, call: &'static str, operands: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn context(self, call: &'static str, operands: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(call, operands(), errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_strace_without_the_number() {
        let error = Error::new("renameat2", "\"a\", \"b\"", Errno::EXIST);
        assert_eq!(error.to_string(), "renameat2(\"a\", \"b\"): File exists");
    }

    #[test]
    fn a_call_that_an_old_kernel_has_not_is_said_to_be_missing() {
        let missing = Error::new("mount_setattr", "Change { set: … }", Errno::NOSYS);
        assert_eq!(
            missing.to_string(),
            "this kernel, or a filter of system calls around this process, has no mount_setattr, \
             which Linux has since 5.12"
        );
        assert!(SINCE.is_sorted());
    }

    #[test]
    fn an_io_error_without_code_counts_as_eio() {
        let eof = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert_eq!(Error::from_io("read", "x", &eof).errno(), Errno::IO);
    }
}
