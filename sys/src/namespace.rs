//! Namespaces that exist already: opening, joining, and being their root.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{Gid, Uid};

use crate::error::{Context, Error, Result};
use crate::process::{self, Cloned, Namespaces, SingleThreaded};

impl Namespaces {
    /// User and group ids, user_namespaces(7).
    pub const USER: Self = Self::from_bits(0x1000_0000);
    /// Clocks that count from boot, time_namespaces(7); for unshare(2) and setns(2), not for a clone.
    pub const TIME: Self = Self::from_bits(0x80);
}

/// Opens the namespace that `path` names, `/proc/<pid>/ns/net` say, without waiting on a FIFO.
///
/// # Errors
///
/// Any failure of `open`.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context("open", || format!("{path:?}"))
}

/// Moves this process into a namespace of `kind`, or into those of `kind` of the process that
/// `namespace` is a pidfd of, at once; its children, for process numbers and time, setns(2).
///
/// # Errors
///
/// Any failure of `setns`: `EINVAL` when `namespace` is not of that kind.
pub fn join(namespace: BorrowedFd<'_>, kind: Namespaces) -> Result<()> {
    let bits = libc::c_int::try_from(kind.bits()).unwrap_or(0);
    // SAFETY: setns takes no memory, and closes no descriptor.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), bits) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        let operands = format!("{}, {bits:#x}", namespace.as_raw_fd());
        return Err(Error::from_io("setns", operands, &error));
    }
    Ok(())
}

/// The kinds of namespaces in which process `pid` is in another than this one.
///
/// # Errors
///
/// Any failure to look at `/proc/<pid>/ns`.
pub fn others(pid: i32) -> Result<Namespaces> {
    const KINDS: [(&str, Namespaces); 8] = [
        ("user", Namespaces::USER),
        ("mnt", Namespaces::MOUNT),
        ("uts", Namespaces::UTS),
        ("ipc", Namespaces::IPC),
        ("pid", Namespaces::PID),
        ("net", Namespaces::NETWORK),
        ("cgroup", Namespaces::CGROUP),
        ("time", Namespaces::TIME),
    ];
    let look = |path: String| {
        let stat = rustix::fs::stat(Path::new(&path)).context("stat", || format!("{path:?}"))?;
        Ok((stat.st_dev, stat.st_ino))
    };
    let mut others = Namespaces::default();
    for (name, kind) in KINDS {
        if look(format!("/proc/{pid}/ns/{name}"))? != look(format!("/proc/self/ns/{name}"))? {
            others = others.with(kind);
        }
    }
    Ok(others)
}

/// Leaves the namespaces of this process for new ones, unshare(2).
///
/// # Errors
///
/// Any failure of `unshare`.
pub fn leave(kinds: Namespaces) -> Result<()> {
    let bits = libc::c_int::try_from(kinds.bits()).unwrap_or(0);
    // SAFETY: unshare takes no memory, and of namespaces alone it closes no descriptor.
    let result = unsafe { libc::unshare(bits) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::from_io("unshare", format!("{bits:#x}"), &error));
    }
    Ok(())
}

/// Copies this process as a child of its parent, in new namespaces and, with `cgroup`, in that v2 cgroup.
///
/// # Errors
///
/// Any failure of `clone3`.
pub fn clone_as_sibling(
    proof: &SingleThreaded,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned> {
    // The parent is told as it would be of this process: no signal of its own, clone(2).
    let flags = namespaces.bits() | libc::CLONE_PARENT as u64;
    process::clone_with(proof, flags, 0, cgroup)
}

/// Takes on the ids 0:0 of this user namespace, and no other group.
///
/// # Errors
///
/// Any failure of `setgroups`, `setresgid` or `setresuid`; `EINVAL` where 0 is not mapped.
pub fn become_root() -> Result<()> {
    rustix::thread::set_thread_groups(&[]).context("setgroups", || "[]".into())?;
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("setresgid", || "0".into())?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).context("setresuid", || "0".into())
}

/// A user namespace with nobody in it: that of a child that ends once `settle` has given it its ids.
///
/// # Errors
///
/// Any failure of `clone3`, of `settle`, or of `open`.
pub fn user_namespace(
    proof: &SingleThreaded,
    settle: impl FnOnce(process::Pid) -> Result<()>,
) -> Result<OwnedFd> {
    match process::clone(proof, Namespaces::USER, None)? {
        Cloned::Child => loop {
            rustix::event::pause();
        },
        Cloned::Parent(child) => {
            let pid = child.pid;
            let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
            let opened = settle(pid).and_then(|()| open(Path::new(&path)));
            process::send_signal(child.pidfd.as_fd(), process::KILL)?;
            process::wait(child.pidfd.as_fd())?;
            opened
        }
    }
}
