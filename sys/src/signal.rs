//! Signals as a file descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// A signal number, as the kernel counts them.
pub type Number = i32;

/// `SIGCHLD`.
pub const CHILD: Number = libc::SIGCHLD;

/// The number of the highest signal.
pub const HIGHEST: Number = 64;

/// A `signalfd` that receives every signal, all of them being blocked.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks every signal of this thread and returns where they arrive.
    ///
    /// # Errors
    ///
    /// Any failure of `rt_sigprocmask` or `signalfd4`.
    pub fn for_all() -> Result<Self> {
        let set = full_set();
        block_all()?;
        // SAFETY: `set` is an initialised sigset_t that outlives the call.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(last("signalfd4", "all signals"));
        }
        // SAFETY: signalfd returned a new descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next pending signal, if there is one.
    ///
    /// # Errors
    ///
    /// Any failure of `read` other than that nothing is pending.
    pub fn next(&self) -> Result<Option<Number>> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info) {
            // ssi_signo is the first field, signalfd(2).
            Ok(_) => {
                let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                Ok(Number::try_from(number).ok())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Error::new(
                "read",
                format!("signalfd {}", self.0.as_raw_fd()),
                errno,
            )),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks every signal of this thread; what arrives stays pending, across `execve` too.
///
/// # Errors
///
/// Any failure of `rt_sigprocmask`.
pub fn block_all() -> Result<()> {
    let set = full_set();
    // SAFETY: `set` is initialised, and a null third argument is allowed.
    let result =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if result < 0 {
        Err(last("rt_sigprocmask", "SIG_SETMASK, all"))
    } else {
        Ok(())
    }
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// The signals that this process ignores, as its caller may have wished: nohup(1), `&` of sh(1).
    ///
    /// They stay ignored across `execve`; blocked, they arrive nevertheless, sigaction(2).
    pub fn ignored() -> Self {
        let mut set = 0;
        for number in 1..=HIGHEST {
            // SAFETY: an all-zero sigaction is a valid value to be overwritten.
            let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: a null new action is allowed and `current` is writable; it
            // stays SIG_DFL for the numbers that libc keeps to itself.
            unsafe { libc::sigaction(number, std::ptr::null(), &raw mut current) };
            if current.sa_sigaction == libc::SIG_IGN {
                set |= 1 << (number - 1);
            }
        }
        Self(set)
    }

    /// Whether `number` is in the set.
    pub fn contains(self, number: Number) -> bool {
        (1..=HIGHEST).contains(&number) && self.0 & 1 << (number - 1) != 0
    }
}

/// Gives the end of a child its default action, which a caller may have ignored.
///
/// An ignored `SIGCHLD` survives `execve`, and with it the kernel reaps children
/// itself and says nothing, sigaction(2).
///
/// # Errors
///
/// Any failure of `rt_sigaction`.
pub fn notice_children() -> Result<()> {
    // SAFETY: an all-zero sigaction is a valid value: SIG_DFL, empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `default` is initialised, and a null old action is allowed.
    let result =
        unsafe { libc::sigaction(libc::SIGCHLD, &raw const default, std::ptr::null_mut()) };
    if result < 0 {
        Err(last("rt_sigaction", "SIGCHLD, SIG_DFL"))
    } else {
        Ok(())
    }
}

/// Gives every signal its default action and unblocks all of them.
///
/// For the child between fork and exec: it allocates nothing and cannot fail
/// in a way that matters (`SIGKILL` and `SIGSTOP` are refused, and are default).
pub(crate) fn reset_all() {
    // SAFETY: an all-zero sigaction is a valid value: SIG_DFL, empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    for number in 1..=HIGHEST {
        // SAFETY: `default` is initialised, and a null old action is allowed.
        unsafe { libc::sigaction(number, &raw const default, std::ptr::null_mut()) };
    }
    let mut empty = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is to writable memory of the size of a sigset_t.
    unsafe { libc::sigemptyset(empty.as_mut_ptr()) };
    // SAFETY: `empty` was initialised just now, and a null old set is allowed.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null_mut()) };
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is to writable memory of the size of a sigset_t.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: sigfillset initialised it, and zeroed memory was a valid value before.
    unsafe { set.assume_init() }
}

fn last(call: &'static str, operands: &str) -> Error {
    Error::from_io(call, operands, &io::Error::last_os_error())
}
