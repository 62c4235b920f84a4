//! The process of the task, from fork to `execve`.
//!
//! Everything it needs is prepared in a [`Task`] before the fork. The child
//! then makes raw system calls on that data and nothing else: no allocation, no
//! formatting, no lock, no panic. A failure crosses as one record in shared
//! memory, once a pipe is closed by `execve` or by the child's end; the parent
//! gives it words.
//!
//! A system call filter comes last, so that none of the calls here but `execve`
//! itself is subject to it: as strict as it may be, it is the program's matter.

mod limit;
mod profile;
mod record;
mod replace;

use std::ffi::{CStr, CString, c_char, c_ulong};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use self::record::Record;
use crate::error::{Context, Result};
use crate::namespace::clone_as_sibling;
use crate::process::{Child, Cloned, Namespaces, SingleThreaded};

pub use self::limit::Limit;
pub use self::profile::Profile;
pub use self::replace::Assumed;

/// What the task will be, ready for raw system calls.
#[derive(Debug)]
pub struct Task {
    /// The files to try as the program, in order: the search in `PATH` spelled out.
    pub candidates: Vec<CString>,
    /// The arguments, with the program's name first.
    pub arguments: Vec<CString>,
    /// The environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// User, group and supplementary groups.
    pub credentials: Credentials,
    /// The five capability sets, capabilities(7).
    pub capabilities: Capabilities,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Whether `execve` may grant privileges, `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// What is asked before each of its system calls, if anything.
    pub filter: Option<Filter>,
    /// What AppArmor confines it by, if anything is asked for.
    pub profile: Option<Profile>,
    /// The mode bits that files of the task do not get.
    pub umask: u32,
    /// Whether its standard input is a terminal that is to be its own.
    pub terminal: bool,
    /// Whether it is killed when its parent dies, which is outside its pid namespace.
    pub dies_with_parent: bool,
    /// How many descriptors after standard error it has, where it is started in a process of its own.
    pub preserved: u32,
}

/// Who the task runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Capability sets as bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What `execve` can ever grant.
    pub bounding: u64,
    /// What the task may use.
    pub permitted: u64,
    /// What is in force.
    pub effective: u64,
    /// What is kept across `execve` by files that allow it.
    pub inheritable: u64,
    /// What is kept across `execve` by a user who is not root.
    pub ambient: u64,
}

/// A filter of system calls, seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program: an array of `struct sock_filter`, in bytes.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

/// The step of the child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new session.
    Session,
    /// Its controlling terminal.
    Terminal,
    /// What AppArmor confines it by.
    Profile,
    /// A resource limit; the index says which.
    Limit,
    /// The bounding set; the index is the capability.
    Bounding,
    /// Supplementary groups.
    Groups,
    /// Primary group.
    Group,
    /// User.
    User,
    /// Permitted, effective and inheritable sets.
    Capabilities,
    /// The ambient set; the index is the capability.
    Ambient,
    /// `no_new_privs`.
    NoNewPrivileges,
    /// Dying with the parent.
    Parent,
    /// Descriptors that are not the task's.
    Descriptors,
    /// The filter of system calls.
    Filter,
    /// The program; the index is the candidate.
    Execute,
}

const STEPS: [Step; 15] = [
    Step::Session,
    Step::Terminal,
    Step::Profile,
    Step::Limit,
    Step::Bounding,
    Step::Groups,
    Step::Group,
    Step::User,
    Step::Capabilities,
    Step::Ambient,
    Step::NoNewPrivileges,
    Step::Parent,
    Step::Descriptors,
    Step::Filter,
    Step::Execute,
];

/// A failure in the child: where, why, and on which of several operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Which limit, capability or candidate.
    pub index: usize,
    /// The reason.
    pub errno: Errno,
}

/// How a start came out.
#[derive(Debug)]
pub enum Start {
    /// The program runs (or was killed before it could).
    Running(Child),
    /// It does not; the child ended.
    Failed(Failure),
}

/// The descriptor that the pipe has in the child, just above the standard three and what is preserved.
const PIPE: RawFd = 3;

/// Joins a new session keyring, so that the task does not possess the caller's keys, keyctl(2).
///
/// A kernel without keyrings, or one whose seccomp filter keeps them away, has
/// none to leave.
///
/// # Errors
///
/// Any other failure of `keyctl`.
pub fn leave_session_keyring() -> Result<()> {
    let none = std::ptr::null::<c_char>();
    // SAFETY: a null name is allowed and means an unnamed keyring.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, none) };
    match last_errno() {
        _ if result >= 0 => Ok(()),
        Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP => Ok(()),
        errno => Err(errno).context("keyctl", || "KEYCTL_JOIN_SESSION_KEYRING".into()),
    }
}

/// The capabilities that this process can give, as a bit mask: its permitted set, capabilities(7).
///
/// # Errors
///
/// Any failure of `capget`.
pub fn own_capabilities() -> Result<u64> {
    rustix::thread::capabilities(None)
        .map(|sets| sets.permitted.bits())
        .context("capget", String::new)
}

/// Gives the pipes among standard input, output and error to user `uid`.
///
/// Without it a task that is not root cannot open `/dev/stdout`, which opens the
/// pipe anew. Only pipes: files, terminals and devices are others' too, and a
/// file that the caller just reads from must not change hands.
///
/// # Errors
///
/// Any failure of `fstat` or `fchown`, other than that the owner cannot be
/// changed here, and for a descriptor that is closed.
pub fn own_standard_pipes(uid: u32) -> Result<()> {
    give_pipes(uid, None)
}

/// Gives the pipes among standard input, output and error to a user and group.
///
/// For root of a user namespace, who can change the owner only of what belongs to users and groups
/// of that namespace, user_namespaces(7).
///
/// # Errors
///
/// As [`own_standard_pipes`].
pub fn give_standard_pipes((uid, gid): (u32, u32)) -> Result<()> {
    give_pipes(uid, Some(gid))
}

fn give_pipes(uid: u32, gid: Option<u32>) -> Result<()> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for fd in [input.as_fd(), output.as_fd(), error.as_fd()] {
        let stat = match rustix::fs::fstat(fd) {
            Err(Errno::BADF) => continue,
            other => other.context("fstat", || fd.as_raw_fd().to_string())?,
        };
        let pipe = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo();
        if !pipe || stat.st_uid == uid {
            continue;
        }
        match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), gid.map(Gid::from_raw)) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            other => other.context("fchown", || format!("{}, {uid}", fd.as_raw_fd()))?,
        }
    }
    Ok(())
}

impl Task {
    /// Forks, and replaces the copy by the task's program.
    ///
    /// The working directory and root are inherited. Standard input, output and
    /// error stay; every other descriptor is closed in the child.
    ///
    /// # Errors
    ///
    /// Any failure of `pipe2`, `mmap`, `clone3`, or of waiting for the pipe's end.
    pub fn start(&self, proof: &SingleThreaded) -> Result<Start> {
        let clone = || crate::process::clone(proof, Namespaces::default(), None);
        let (child, failure) = self.start_by(clone)?;
        if failure.is_some() {
            crate::process::wait(child.pidfd.as_fd())?;
        }
        Ok(failure.map_or(Start::Running(child), Start::Failed))
    }

    /// The same as a child of this process's parent, which has to wait for it either way; it begins
    /// once `introduce` has told somebody of it.
    ///
    /// # Errors
    ///
    /// As [`Task::start`], and what `introduce` fails with: then it never begins.
    pub fn start_as_sibling(
        &self,
        proof: &SingleThreaded,
        introduce: impl FnOnce(&Child) -> Result<()>,
    ) -> Result<Start> {
        let (waiting, gate) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .context("pipe2", || "O_CLOEXEC".into())?;
        let clone = || match clone_as_sibling(proof, Namespaces::default(), None)? {
            Cloned::Child => {
                drop(gate);
                // Closed without a word by who did not come to it, or is dead.
                if rustix::io::read(&waiting, &mut [0_u8; 1]) != Ok(1) {
                    crate::process::leave(127);
                }
                Ok(Cloned::Child)
            }
            Cloned::Parent(child) => {
                introduce(&child)?;
                rustix::io::write(&gate, &[0]).context("write", || "gate of the task".into())?;
                Ok(Cloned::Parent(child))
            }
        };
        let (child, failure) = self.start_by(clone)?;
        Ok(failure.map_or(Start::Running(child), Start::Failed))
    }

    /// Starts the task in what `clone` makes, and waits until it runs or has failed.
    fn start_by(&self, clone: impl FnOnce() -> Result<Cloned>) -> Result<(Child, Option<Failure>)> {
        let pointers = Pointers::new(self);
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .context("pipe2", || "O_CLOEXEC".into())?;
        let record = Record::new()?;
        match clone()? {
            Cloned::Child => self.become_program(&pointers, &writer, &record),
            Cloned::Parent(child) => {
                drop(writer);
                wait_for_end(&reader)?;
                Ok((child, record.read()))
            }
        }
    }

    /// In the child: never returns.
    fn become_program(&self, pointers: &Pointers, pipe: &OwnedFd, record: &Record) -> ! {
        let failure = match self.prepare(pointers, pipe) {
            Ok(()) => pointers.execute(),
            Err(failure) => failure,
        };
        record.leave(failure);
        crate::process::leave(127)
    }

    fn prepare(&self, pointers: &Pointers, pipe: &OwnedFd) -> Result<(), Failure> {
        rustix::process::setsid().map(drop).at(Step::Session)?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).at(Step::Terminal)?;
        }
        self.confine()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        // Before the capabilities go: raising a hard limit needs CAP_SYS_RESOURCE.
        for (index, limit) in pointers.limits.iter().enumerate() {
            rustix::process::setrlimit(limit.0, limit.1).at_index(Step::Limit, index)?;
        }
        self.drop_privileges(pointers)?;
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges)?;
        }
        if self.dies_with_parent {
            bind_to_parent()?;
        }
        crate::signal::reset_all();
        keep_only_standard(pipe, self.preserved)?;
        pointers.filter.as_ref().map_or(Ok(()), Loadable::load)
    }

    /// Before `no_new_privs`, which lets no profile be left for another one.
    fn confine(&self) -> Result<(), Failure> {
        self.profile
            .as_ref()
            .map_or(Ok(()), Profile::ask_for)
            .at(Step::Profile)
    }

    fn drop_privileges(&self, pointers: &Pointers) -> Result<(), Failure> {
        for capability in &pointers.outside_bounding {
            let index = capability.bits().trailing_zeros() as usize;
            match rustix::thread::remove_capability_from_bounding_set(*capability) {
                // A capability that this kernel does not know: it is not there.
                Ok(()) | Err(Errno::INVAL) => {}
                other => other.at_index(Step::Bounding, index)?,
            }
        }
        let credentials = &self.credentials;
        rustix::thread::set_thread_groups(&pointers.groups).at(Step::Groups)?;
        let gid = Gid::from_raw(credentials.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::Group)?;
        // Without this the kernel empties the sets when the last uid 0 goes.
        rustix::thread::set_keep_capabilities(true).at(Step::User)?;
        let uid = Uid::from_raw(credentials.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::User)?;
        rustix::thread::set_capabilities(None, pointers.sets).at(Step::Capabilities)?;
        rustix::thread::set_keep_capabilities(false).at(Step::Capabilities)?;
        rustix::thread::clear_ambient_capability_set().at(Step::Ambient)?;
        for capability in &pointers.ambient {
            let index = capability.bits().trailing_zeros() as usize;
            rustix::thread::configure_capability_in_ambient_set(*capability, true)
                .at_index(Step::Ambient, index)?;
        }
        Ok(())
    }
}

/// After the change of user, which makes the kernel forget it, prctl(2) `PR_SET_PDEATHSIG`.
fn bind_to_parent() -> Result<(), Failure> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).at(Step::Parent)?;
    // One outside has no number here; one that has is who adopts orphans.
    match rustix::process::getppid() {
        None => Ok(()),
        Some(_) => Err(Errno::SRCH).at(Step::Parent),
    }
}

/// Moves the pipe behind the standard three and the `preserved` ones, and closes everything above
/// (CVE-2024-21626).
fn keep_only_standard(pipe: &OwnedFd, preserved: u32) -> Result<(), Failure> {
    let place = RawFd::try_from(preserved)
        .unwrap_or(RawFd::MAX)
        .saturating_add(PIPE);
    for number in PIPE..place {
        // SAFETY: fcntl takes no memory here. The descriptor is the caller's, who asked for it.
        if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } < 0 {
            return Err(last_errno()).at(Step::Descriptors);
        }
    }
    if pipe.as_raw_fd() != place {
        // SAFETY: dup3 takes no memory. What was at its place belonged to this process
        // before the fork; in the child nothing uses it again.
        let result = unsafe { libc::dup3(pipe.as_raw_fd(), place, libc::O_CLOEXEC) };
        if result < 0 {
            return Err(last_errno()).at(Step::Descriptors);
        }
    }
    // SAFETY: close_range takes no memory; nothing in the child uses these again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, place + 1, RawFd::MAX, 0) };
    if result < 0 {
        Err(last_errno()).at(Step::Descriptors)
    } else {
        Ok(())
    }
}

/// Arrays in the form that the system calls take, built before the fork.
struct Pointers<'a> {
    candidates: Vec<&'a CStr>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    groups: Vec<Gid>,
    limits: Vec<(Resource, Rlimit)>,
    outside_bounding: Vec<CapabilitySet>,
    ambient: Vec<CapabilitySet>,
    sets: CapabilitySets,
    filter: Option<Loadable<'a>>,
}

impl<'a> Pointers<'a> {
    fn new(task: &'a Task) -> Self {
        let capabilities = &task.capabilities;
        // Without no_new_privs the kernel takes a filter from CAP_SYS_ADMIN alone.
        // Nothing of it is left after `execve`, which computes both sets anew, of
        // bounding, inheritable and ambient set, capabilities(7).
        let for_filter = match (&task.filter, task.no_new_privileges) {
            (Some(_), false) => CapabilitySet::SYS_ADMIN.bits(),
            _ => 0,
        };
        Self {
            candidates: task.candidates.iter().map(CString::as_c_str).collect(),
            arguments: null_terminated(&task.arguments),
            environment: null_terminated(&task.environment),
            groups: task
                .credentials
                .groups
                .iter()
                .map(|gid| Gid::from_raw(*gid))
                .collect(),
            limits: task.limits.iter().filter_map(Limit::prepared).collect(),
            outside_bounding: single_capabilities(!capabilities.bounding),
            ambient: single_capabilities(capabilities.ambient),
            sets: CapabilitySets {
                effective: CapabilitySet::from_bits_retain(capabilities.effective | for_filter),
                permitted: CapabilitySet::from_bits_retain(capabilities.permitted | for_filter),
                inheritable: CapabilitySet::from_bits_retain(capabilities.inheritable),
            },
            filter: task.filter.as_ref().map(Loadable::new),
        }
    }

    /// Tries each candidate as execvp(3) does; returns why the best one failed.
    fn execute(&self) -> Failure {
        let mut worst = Failure {
            step: Step::Execute,
            index: 0,
            errno: Errno::NOENT,
        };
        for (index, candidate) in self.candidates.iter().enumerate() {
            // SAFETY: the path is a C string; both arrays end with a null pointer
            // and point at C strings that the Task owns.
            unsafe {
                libc::execve(
                    candidate.as_ptr(),
                    self.arguments.as_ptr(),
                    self.environment.as_ptr(),
                )
            };
            let errno = last_errno();
            match errno {
                // A missing interpreter gives ENOENT too: then the file is there.
                Errno::NOENT | Errno::NOTDIR if !exists(candidate) => {}
                Errno::ACCESS => {
                    worst = Failure {
                        step: Step::Execute,
                        index,
                        errno,
                    }
                }
                _ => {
                    return Failure {
                        step: Step::Execute,
                        index,
                        errno,
                    };
                }
            }
        }
        worst
    }
}

/// A filter in the form that seccomp(2) takes.
struct Loadable<'a> {
    filter: libc::sock_fprog,
    flags: c_ulong,
    program: PhantomData<&'a [u8]>,
}

impl<'a> Loadable<'a> {
    fn new(filter: &'a Filter) -> Self {
        let length = filter.program.len() / size_of::<libc::sock_filter>();
        Self {
            filter: libc::sock_fprog {
                // A program that is too long is refused by the kernel, as an empty one is.
                len: u16::try_from(length).unwrap_or(0),
                filter: filter.program.as_ptr().cast_mut().cast(),
            },
            flags: filter.flags.into(),
            program: PhantomData,
        }
    }

    fn load(&self) -> Result<(), Failure> {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the kernel reads `len` instructions, which `'a` keeps; it wants no alignment.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, self.flags, &self.filter) };
        if result < 0 {
            Err(last_errno()).at(Step::Filter)
        } else {
            Ok(())
        }
    }
}

fn exists(path: &CStr) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

fn single_capabilities(mask: u64) -> Vec<CapabilitySet> {
    (0..64)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| mask & bit != 0)
        .map(CapabilitySet::from_bits_retain)
        .collect()
}

/// Waits until nobody has the other end of the pipe, which nothing is ever written to.
fn wait_for_end(reader: &OwnedFd) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut [0_u8; 1]))
        .map(drop)
        .context("read", || "pipe of the task".into())
}

/// The errno of the libc call just made, without allocating.
fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error();
    code.map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Attaches the step to a bare errno.
trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
    fn at_index(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_index(step, 0)
    }

    fn at_index(self, step: Step, index: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, index, errno })
    }
}
