//! Programs that decide which devices the processes of a cgroup may use, bpf(2).
//!
//! Version 2 of cgroups has no file for that: the kernel asks a program of type
//! `BPF_PROG_TYPE_CGROUP_DEVICE` (Linux 4.15) at each `mknod` and each opening of a device.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::error::{Error, Result};

// Commands, types and flags of linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;

/// The kernel insists on a string; our programs call no function that depends on what it says.
const LICENSE: &CStr = c"Apache-2.0";

/// How often a load is tried again that a signal interrupted.
const LOAD_TRIES: usize = 5;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs; what is missing counts as zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_PROG_ATTACH` needs.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// A program about devices that the kernel has taken.
#[derive(Debug)]
pub struct DeviceFilter(OwnedFd);

impl DeviceFilter {
    /// Loads `instructions`, each a `struct bpf_insn` in the byte order of this machine.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN` or `CAP_BPF`, `EINVAL` where the kernel has no such programs,
    /// `EACCES` for a program that its verifier refuses.
    pub fn load(instructions: &[u64]) -> Result<Self> {
        let count = u32::try_from(instructions.len()).unwrap_or(u32::MAX);
        let load = Load {
            kind: PROG_TYPE_CGROUP_DEVICE,
            count,
            instructions: instructions.as_ptr().expose_provenance() as u64,
            license: LICENSE.as_ptr().expose_provenance() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
        };
        let operands = || format!("BPF_PROG_LOAD, cgroup device, {count} instructions");
        let mut tries = LOAD_TRIES;
        loop {
            // SAFETY: `load` says where the instructions and the string are and how many there
            // are of the former; both outlive the call, which writes nothing.
            let result = unsafe {
                libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>())
            };
            if let Ok(number @ 0..) = RawFd::try_from(result) {
                // SAFETY: the call made this descriptor just now, and nothing else owns it.
                return Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }));
            }
            let error = Error::from_io("bpf", operands(), &io::Error::last_os_error());
            tries -= 1;
            if error.errno() != Errno::AGAIN || tries == 0 {
                return Err(error);
            }
        }
    }

    /// Has the program asked for the version 2 cgroup that `cgroup` is open on, beside those of the
    /// cgroups above it, for as long as that cgroup exists.
    ///
    /// # Errors
    ///
    /// `EPERM` below a cgroup with a program that shares with no other; `EBADF` for what is no
    /// cgroup of version 2.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> Result<()> {
        let attach = Attach {
            target: cgroup.as_raw_fd().unsigned_abs(),
            program: self.0.as_raw_fd().unsigned_abs(),
            kind: ATTACH_CGROUP_DEVICE,
            flags: ALLOW_MULTI,
        };
        let size = size_of::<Attach>();
        // SAFETY: `attach` is initialised, its size is passed, and it outlives the call, which
        // writes nothing.
        let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size) };
        if result < 0 {
            let operands = "BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI";
            let error = io::Error::last_os_error();
            return Err(Error::from_io("bpf", operands, &error));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// `r0 = 1; exit`, linux/bpf.h.
    const ALLOW: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

    fn skipped() -> bool {
        let root = crate::is_root();
        if !root {
            eprintln!("skipped: needs root");
        }
        !root
    }

    #[test]
    fn what_is_no_program_is_refused() {
        if skipped() {
            return;
        }
        DeviceFilter::load(&ALLOW).expect("two instructions");
        let error = DeviceFilter::load(&ALLOW[..1]).expect_err("no exit");
        assert_eq!(error.errno(), Errno::INVAL, "{error}");
        let error = DeviceFilter::load(&[]).expect_err("nothing");
        assert!(error.to_string().contains("0 instructions"), "{error}");
    }

    #[test]
    fn what_is_no_cgroup_is_refused() {
        if skipped() {
            return;
        }
        let temp = tempfile::tempdir().expect("tempdir");
        let directory = std::fs::File::open(temp.path()).expect("open");
        let filter = DeviceFilter::load(&ALLOW).expect("load");
        let error = filter.attach(directory.as_fd()).expect_err("no cgroup");
        assert_eq!(error.errno(), Errno::BADF, "{error}");
    }
}
