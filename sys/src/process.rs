//! Processes: cloning, waiting, replacing, and what one sets on itself.

use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions};

pub use rustix::process::Pid;

use crate::descriptors::close_all_but;
use crate::error::{Context, Error, Result};
use crate::signal::Number;

/// `SIGKILL`.
pub const KILL: Number = libc::SIGKILL;
/// `SIGTERM`.
pub const TERM: Number = libc::SIGTERM;

/// Namespaces that a new process starts in, as `CLONE_NEW*` bits of clone(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// Mounts, mount_namespaces(7).
    pub const MOUNT: Self = Self(0x0002_0000);
    /// The view of the cgroup hierarchies, cgroup_namespaces(7).
    pub const CGROUP: Self = Self(0x0200_0000);
    /// Host name and domain name, uts_namespaces(7).
    pub const UTS: Self = Self(0x0400_0000);
    /// System V IPC and POSIX message queues, ipc_namespaces(7).
    pub const IPC: Self = Self(0x0800_0000);
    /// Process numbers, pid_namespaces(7).
    pub const PID: Self = Self(0x2000_0000);
    /// Network, network_namespaces(7).
    pub const NETWORK: Self = Self(0x4000_0000);

    /// The set with these raw bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The raw bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every namespace of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Proof that this process has one thread, so that a copy of it is whole.
///
/// A fork copies one thread; a lock that another one held stays locked in the
/// copy for ever. The proof cannot be sent to a thread, and who holds it must
/// not start one.
#[derive(Debug)]
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Counts the threads of this process in `/proc/self/task`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is more than one; any failure to read the directory.
    pub fn check() -> Result<Self> {
        let tasks = std::fs::read_dir("/proc/self/task")
            .map_err(|error| Error::from_io("open", "\"/proc/self/task\"", &error))?;
        match tasks.count() {
            1 => Ok(Self(PhantomData)),
            count => Err(Error::new(
                "clone3",
                format!("{count} threads"),
                Errno::BUSY,
            )),
        }
    }
}

/// clone(2), since Linux 5.7; libc's constant has the wrong type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Where a clone came out.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the one that cloned it.
    Parent(Child),
}

/// A child process.
#[derive(Debug)]
pub struct Child {
    /// Its number, in the pid namespace of its parent.
    pub pid: Pid,
    /// What names it without fear of a reused number, pidfd_open(2).
    pub pidfd: OwnedFd,
}

/// Copies this process into new namespaces and, with `cgroup`, into that v2 cgroup.
///
/// # Errors
///
/// Any failure of `clone3`.
pub fn clone(
    proof: &SingleThreaded,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned> {
    clone_with(proof, namespaces.0, libc::SIGCHLD as u64, cgroup)
}

/// Copies this process with raw flags of clone3(2) and the signal that tells its parent of its end.
pub(crate) fn clone_with(
    _proof: &SingleThreaded,
    flags: u64,
    exit_signal: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero clone_args is a valid value of this plain C struct.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd).expose_provenance() as u64;
    arguments.exit_signal = exit_signal;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: the arguments are initialised and their size is passed; without
    // CLONE_VM the child runs on a copy of this stack; the proof says that no
    // other thread's locks are copied.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match result {
        0 => Ok(Cloned::Child),
        -1 => {
            let error = io::Error::last_os_error();
            Err(Error::from_io(
                "clone3",
                format!("{:#x}", arguments.flags),
                &error,
            ))
        }
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| Error::new("clone3", "pid", Errno::OVERFLOW))?;
            // SAFETY: CLONE_PIDFD stored a new descriptor that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Child { pid, pidfd }))
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By exiting with this status.
    Exited(i32),
    /// By this signal.
    Signaled(Number),
}

/// Waits for the process of `pidfd` to end, and reaps it.
///
/// # Errors
///
/// Any failure of `waitid`.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(ended(&status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("waitid", || "P_PIDFD, WEXITED".into()),
        }
    }
}

/// The same for one that may have been reaped already.
///
/// # Errors
///
/// Any failure of `waitid` other than that it is no child any more.
pub fn wait_if_there(pidfd: BorrowedFd<'_>) -> Result<()> {
    match wait(pidfd) {
        Err(error) if error.errno() == Errno::CHILD => Ok(()),
        other => other.map(drop),
    }
}

/// Reaps one ended child, if there is one, whichever it is.
///
/// # Errors
///
/// Any failure of `wait4`; `ECHILD` when there is no child at all.
pub fn reap_any() -> Result<Option<(Pid, Ended)>> {
    // Not `waitpid(None)`, which is rustix for the own process group.
    match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            let ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Ended::Exited(code),
                (None, Some(signal)) => Ended::Signaled(signal),
                (None, None) => return Ok(None),
            };
            Ok(Some((pid, ended)))
        }
        Ok(None) => Ok(None),
        Err(errno) => Err(errno).context("wait4", || "-1, WNOHANG".into()),
    }
}

/// Reaps the ended children older than any of `kept` that has ended, whichever they are.
///
/// # Errors
///
/// Any failure of `waitid` other than that there is no child.
pub fn reap_others(kept: &[Pid]) -> Result<()> {
    while let Some(pid) = first_ended()?.filter(|pid| !kept.contains(pid)) {
        rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)
            .context("waitid", || "P_PID, WEXITED".into())?;
    }
    Ok(())
}

/// Waits until no child is left, and reaps them all.
///
/// # Errors
///
/// Any failure of `wait4` other than that there is no child.
pub fn wait_for_all() -> Result<()> {
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(errno) => return Err(errno).context("wait4", || "-1".into()),
        }
    }
}

/// The oldest child that has ended, left to be reaped.
fn first_ended() -> Result<Option<Pid>> {
    // SAFETY: an all-zero siginfo_t is a valid value of this plain C struct.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable and outlives the call.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } < 0 {
        let error = Error::from_io("waitid", "P_ALL, WNOWAIT", &io::Error::last_os_error());
        return (error.errno() == Errno::CHILD).then_some(None).ok_or(error);
    }
    // SAFETY: waitid filled the fields of SIGCHLD in, or left the zeroes.
    Ok(Pid::from_raw(unsafe { info.si_pid() }))
}

fn ended(status: &rustix::process::WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signaled(signal),
        // WEXITED alone was asked for, so there is no third way.
        (None, None) => Ended::Exited(-1),
    }
}

/// Sends signal `number` to the process of `pidfd`; one that is gone is fine.
///
/// # Errors
///
/// Any failure of `pidfd_send_signal` other than `ESRCH`.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: Number) -> Result<()> {
    send_by_pidfd(pidfd, number, 0)
}

/// Sends signal `number` to all processes of the group that the one of `pidfd` leads; one that is
/// gone is fine.
///
/// # Errors
///
/// Any failure of `pidfd_send_signal` other than `ESRCH`; `EINVAL` before Linux 6.9.
pub fn send_signal_to_group(pidfd: BorrowedFd<'_>, number: Number) -> Result<()> {
    // `PIDFD_SIGNAL_PROCESS_GROUP`, include/uapi/linux/pidfd.h.
    const PROCESS_GROUP: u32 = 1 << 2;
    send_by_pidfd(pidfd, number, PROCESS_GROUP)
}

fn send_by_pidfd(pidfd: BorrowedFd<'_>, number: Number, flags: u32) -> Result<()> {
    // SAFETY: the descriptor is open, a null siginfo is allowed, no memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    match result {
        -1 => {
            let error = Error::from_io(
                "pidfd_send_signal",
                number.to_string(),
                &io::Error::last_os_error(),
            );
            if error.errno() == Errno::SRCH {
                Ok(())
            } else {
                Err(error)
            }
        }
        _ => Ok(()),
    }
}

/// Asks the kernel to kill this process when its parent dies, prctl(2).
///
/// # Errors
///
/// Any failure of `prctl`.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("prctl", || "PR_SET_PDEATHSIG, SIGKILL".into())
}

/// Keeps other processes from tracing this one and opening its `/proc` files (CVE-2016-9962).
///
/// # Errors
///
/// Any failure of `prctl`.
pub fn forbid_tracing() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("prctl", || "PR_SET_DUMPABLE, 0".into())
}

/// Names this process in `ps`.
///
/// # Errors
///
/// Any failure of `prctl`.
pub fn set_name(name: &std::ffi::CStr) -> Result<()> {
    rustix::thread::set_name(name).context("prctl", || format!("PR_SET_NAME, {name:?}"))
}

/// Starts a new session, so that a terminal's signals do not arrive here.
///
/// # Errors
///
/// Any failure of `setsid`.
pub fn new_session() -> Result<()> {
    rustix::process::setsid()
        .map(drop)
        .context("setsid", String::new)
}

/// Sets the mode bits that files made from now on do not get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Moves this process into a new cgroup namespace, rooted where it is now.
///
/// # Errors
///
/// Any failure of `unshare`.
pub fn unshare_cgroup() -> Result<()> {
    // SAFETY: unshare takes no memory, and CLONE_NEWCGROUP closes no descriptor.
    let result = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(Error::from_io("unshare", "CLONE_NEWCGROUP", &error));
    }
    Ok(())
}

/// Sets the host name of this uts namespace.
///
/// # Errors
///
/// Any failure of `sethostname`.
pub fn set_hostname(name: &[u8]) -> Result<()> {
    rustix::system::sethostname(name)
        .context("sethostname", || String::from_utf8_lossy(name).into_owned())
}

/// Sets the NIS domain name of this uts namespace.
///
/// # Errors
///
/// Any failure of `setdomainname`.
pub fn set_domainname(name: &[u8]) -> Result<()> {
    rustix::system::setdomainname(name).context("setdomainname", || {
        String::from_utf8_lossy(name).into_owned()
    })
}

/// Goes to the directory that `fd` is open on, and returns where that is, getcwd(2).
///
/// # Errors
///
/// Any failure of `fchdir` or `getcwd`.
pub fn change_directory(fd: BorrowedFd<'_>) -> Result<CString> {
    rustix::process::fchdir(fd).context("fchdir", || fd.as_raw_fd().to_string())?;
    rustix::process::getcwd(Vec::new()).context("getcwd", String::new)
}

/// Replaces this process by the program that `program` is open on, execveat(2).
///
/// Returns only the error.
pub fn exec(program: BorrowedFd<'_>, arguments: &[CString]) -> Error {
    let mut pointers: Vec<*const libc::c_char> =
        arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both arrays end with a null pointer and every other element points
    // at a C string that outlives the call; the path is the empty C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    let error = io::Error::last_os_error();
    Error::from_io("execveat", format!("{:?}", arguments.first()), &error)
}

/// The first child of process `pid` that is still there, proc(5) "children".
///
/// # Errors
///
/// Any failure to read the list.
pub fn first_child(pid: Pid) -> Result<Option<i32>> {
    let pid = pid.as_raw_nonzero();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::from_io("read", format!("{path:?}"), &error))?;
    Ok(text
        .split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok()))
}

/// Lets a copy of this process do `work` by itself, once this process has been replaced or has
/// ended; nobody waits for it.
///
/// The copy is in a session of its own, reads and writes nothing of the caller's, and has none
/// of its descriptors but `kept`.
///
/// # Errors
///
/// Any failure of `pipe2` or `clone3`.
pub fn spawn_detached(
    proof: &SingleThreaded,
    kept: &[BorrowedFd<'_>],
    work: impl FnOnce(),
) -> Result<()> {
    let (handed_over, ours) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("pipe2", String::new)?;
    match clone(proof, Namespaces::default(), None)? {
        Cloned::Parent(_) => {
            // Closed by execve or by the end of this process, which is what the copy waits for.
            std::mem::forget(ours);
            Ok(())
        }
        Cloned::Child => {
            let mut numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
            numbers.push(handed_over.as_raw_fd());
            let alone = detach(&mut numbers);
            if alone
                .and_then(|()| crate::ready::wait_readable([handed_over.as_fd()]))
                .is_ok()
            {
                work();
            }
            leave(0)
        }
    }
}

/// Lets a copy of this process do `work` beside it, and leave; the caller waits for it.
///
/// The copy is in a session of its own, reads and writes nothing of the caller's, and has none
/// of its descriptors but `kept`.
///
/// # Errors
///
/// Any failure of `clone3`.
pub fn spawn_aside(
    proof: &SingleThreaded,
    kept: &[BorrowedFd<'_>],
    work: impl FnOnce(),
) -> Result<Child> {
    match clone(proof, Namespaces::default(), None)? {
        Cloned::Parent(child) => Ok(child),
        Cloned::Child => {
            let mut numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
            if detach(&mut numbers).is_ok() {
                work();
            }
            leave(0)
        }
    }
}

/// Leaves session, standard streams and all descriptors but `kept` to the original.
fn detach(kept: &mut [RawFd]) -> Result<()> {
    new_session()?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::empty(),
    )
    .context("open", || "/dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null).context("dup2", || "0".to_owned())?;
    rustix::stdio::dup2_stdout(&null).context("dup2", || "1".to_owned())?;
    rustix::stdio::dup2_stderr(&null).context("dup2", || "2".to_owned())?;
    // Whatever number it has, it is among those that are closed now.
    std::mem::forget(null);
    close_all_but(3, kept)
}

/// Ends this process at once, running no destructor and no handler, `_exit(2)`.
pub fn leave(status: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(status) }
}

/// Opens process `pid` so that its number cannot be reused; none when there is no such process.
///
/// # Errors
///
/// Any failure of `pidfd_open` other than `ESRCH`.
pub fn open(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // The last two: the number is a thread's by now.
        Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno).context("pidfd_open", || pid.as_raw_nonzero().to_string()),
    }
}

/// The parent of process `pid`, proc_pid_status(5); none if there is no such process.
pub fn parent_of(pid: i32) -> Option<i32> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    let mut lines = status.split(|byte| *byte == b'\n');
    let parent = lines.find_map(|line| line.strip_prefix(b"PPid:"))?;
    std::str::from_utf8(parent).ok()?.trim().parse().ok()
}

/// Lets others run for a millisecond, where the kernel has no event to wait for.
///
/// Say at each call which event is missing.
pub fn pause_briefly() {
    let timeout = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    // Its only outcome is that time has passed.
    let _: rustix::io::Result<usize> = rustix::event::poll(&mut [], Some(&timeout));
}
