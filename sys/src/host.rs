//! Facts of the process and the machine that need no operands.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::Context;
use crate::{Error, Result};

/// Whether this process acts as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The machine's host name, as far as it is text.
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The first two numbers of the kernel's version, uname(2); zeroes where it has none.
pub fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|text| text.parse().ok());
    (next().unwrap_or(0), next().unwrap_or(0))
}

/// The memory of the machine in bytes, sysinfo(2).
pub fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// Makes standard input read nothing, from here on and in whatever is executed.
///
/// # Errors
/// When `/dev/null` cannot be opened, or not take its place.
pub fn stdin_from_null() -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())
        .context("open", || "/dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| Error::new("dup2", "0", errno))
}

/// Whether descriptor `number` of this process is open on a directory.
pub fn is_directory(number: i32) -> bool {
    let data = std::fs::metadata(format!("/proc/self/fd/{number}"));
    data.is_ok_and(|data| data.is_dir())
}

/// Lets standard output write to `output`, and standard error to `error`.
///
/// # Errors
///
/// Any failure of `dup2`.
pub fn output_to(output: BorrowedFd<'_>, error: BorrowedFd<'_>) -> Result<()> {
    rustix::stdio::dup2_stdout(output).map_err(|errno| Error::new("dup2", "1", errno))?;
    rustix::stdio::dup2_stderr(error).map_err(|errno| Error::new("dup2", "2", errno))
}

/// Lets standard output and error write to nobody.
///
/// # Errors
///
/// Any failure of `open` or `dup2`.
pub fn output_to_null() -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY, Mode::empty())
        .context("open", || "/dev/null".to_owned())?;
    rustix::stdio::dup2_stdout(&null).map_err(|errno| Error::new("dup2", "1", errno))?;
    rustix::stdio::dup2_stderr(&null).map_err(|errno| Error::new("dup2", "2", errno))
}

/// Why a call of the standard library failed, without the number of the errno.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The number of the user that this process acts as.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The number of the group that this process acts as.
pub fn group_id() -> u32 {
    rustix::process::getegid().as_raw()
}
