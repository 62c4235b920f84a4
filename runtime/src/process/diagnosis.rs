//! Why the task's program could not be executed, in words that help.

use std::io::Read;
use std::path::Path;

use ucr_sys::Errno;
use ucr_sys::inroot::{InRoot, Links};
use ucr_sys::task::{self, Profile, Task};

use crate::failure::{Cause, Failure, Step};

/// How much of a script's first line the kernel reads, `BINPRM_BUF_SIZE`.
const FIRST_LINE_MAX: u64 = 256;

/// Turns the child's record into a failure, looking at the program if that is what failed.
pub(super) fn explain(
    root: &InRoot,
    directory: &Path,
    task: &Task,
    failure: task::Failure,
) -> Failure {
    if failure.step != task::Step::Execute {
        return Failure::new(Step::Privileges, "", refused(task, failure));
    }
    let program = task
        .arguments
        .first()
        .map_or(&b""[..], |program| program.as_bytes());
    let path = task
        .candidates
        .get(failure.index)
        .map_or(program, |path| path.as_bytes());
    let path = &directory.join(as_path(path));
    let searched = !program.contains(&b'/');
    let cause = match failure.errno {
        Errno::NOENT | Errno::NOTDIR => missing(root, path, searched),
        Errno::ACCESS if is_directory(root, path) => Cause::IsDirectory,
        Errno::ACCESS => Cause::NotExecutable,
        Errno::NOEXEC => Cause::Format,
        errno => ucr_sys::Error::new("execve", format!("{path:?}"), errno).into(),
    };
    Failure::new(Step::Execute, program, cause)
}

/// Why the task did not get what it is to have.
fn refused(task: &Task, failure: task::Failure) -> Cause {
    let limit = task.limits.get(failure.index);
    match (failure.step, failure.errno, limit) {
        (task::Step::Profile, Errno::NOENT, _) => Cause::NoProfile(profile_name(task)),
        (task::Step::Limit, Errno::PERM, Some(limit)) => Cause::LimitTooHigh {
            name: limit.name().to_owned(),
            asked: limit.hard,
            own: limit.own_hard(),
        },
        (step, errno, _) => ucr_sys::Error::new(call(step), operand(task, failure), errno).into(),
    }
}

fn call(step: task::Step) -> &'static str {
    match step {
        task::Step::Session => "setsid",
        task::Step::Terminal => "ioctl",
        task::Step::Profile => "write",
        task::Step::Limit => "setrlimit",
        task::Step::Bounding => "prctl",
        task::Step::Groups => "setgroups",
        task::Step::Group => "setresgid",
        task::Step::User => "setresuid",
        task::Step::Capabilities => "capset",
        task::Step::Ambient | task::Step::NoNewPrivileges | task::Step::Parent => "prctl",
        task::Step::Descriptors => "close_range",
        task::Step::Filter => "seccomp",
        task::Step::Execute => "execve",
    }
}

/// The name of the profile that was asked for, as people read it.
fn profile_name(task: &Task) -> String {
    let name = task.profile.as_ref().map_or(&b""[..], Profile::name);
    String::from_utf8_lossy(name).into_owned()
}

/// What the failed call was applied to.
fn operand(task: &Task, failure: task::Failure) -> String {
    match failure.step {
        task::Step::Limit => task
            .limits
            .get(failure.index)
            .map_or(String::new(), |limit| {
                format!("{}, {}:{}", limit.name(), limit.soft, limit.hard)
            }),
        task::Step::Bounding => format!("PR_CAPBSET_DROP, capability {}", failure.index),
        task::Step::Ambient => format!("PR_CAP_AMBIENT, capability {}", failure.index),
        task::Step::NoNewPrivileges => "PR_SET_NO_NEW_PRIVS".into(),
        task::Step::Parent => "PR_SET_PDEATHSIG".into(),
        task::Step::Terminal => "TIOCSCTTY".into(),
        task::Step::Profile => format!("attr/apparmor/exec, {:?}", profile_name(task)),
        task::Step::Filter => task.filter.as_ref().map_or(String::new(), |filter| {
            let flags = filter.flags;
            let bytes = filter.program.len();
            format!("SECCOMP_SET_MODE_FILTER, {flags:#x}, {bytes} bytes")
        }),
        task::Step::Groups => format!("{:?}", task.credentials.groups),
        task::Step::Group => task.credentials.gid.to_string(),
        task::Step::User => task.credentials.uid.to_string(),
        _ => String::new(),
    }
}

/// `ENOENT`: the file is missing, or it is there and its interpreter is.
fn missing(root: &InRoot, path: &Path, searched: bool) -> Cause {
    if root.place(path, Links::Follow).is_err() {
        return if searched {
            Cause::NotInPath
        } else {
            Cause::NotFound
        };
    }
    let interpreter = first_line(root, path).unwrap_or_else(|| "its ELF interpreter".into());
    Cause::NoInterpreter(interpreter)
}

/// The interpreter that a script names.
fn first_line(root: &InRoot, path: &Path) -> Option<String> {
    let mut start = Vec::new();
    root.regular_file(path)
        .ok()?
        .take(FIRST_LINE_MAX)
        .read_to_end(&mut start)
        .ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let text = String::from_utf8_lossy(line);
    text.split_ascii_whitespace().next().map(ToOwned::to_owned)
}

fn is_directory(root: &InRoot, path: &Path) -> bool {
    use std::os::fd::AsFd;

    let place = root.place(path, Links::Follow).ok();
    let kind = place.and_then(|fd| ucr_sys::inroot::kind_of(fd.as_fd()).ok());
    kind == Some(ucr_sys::inroot::Kind::Directory)
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;

    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
