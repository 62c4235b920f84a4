//! From the plan to the task, everything prepared before its fork.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ucr_sys::inroot::{self, InRoot};
use ucr_sys::mount::{Attributes, Tree};
use ucr_sys::pty::Pty;
use ucr_sys::task::{Capabilities, Credentials, Filter, Limit, Profile, Task, own_standard_pipes};

use crate::failure::{Cause, During, Failure, Step};
use crate::plan::{Bytes, Process, User};
use crate::user::{self, Resolved};

/// Largest `/etc/passwd` or `/etc/group` that is read (CVE-2026-47262).
const ACCOUNTS_MAX: u64 = 16 << 20;

/// Finds out who the task runs as, from the image's own files.
///
/// # Errors
///
/// A [`Failure`] of [`Step::User`].
pub(super) fn resolve_user(root: &InRoot, process: &Process) -> Result<Resolved, Failure> {
    let passwd = accounts(root, "/etc/passwd")?;
    let mut resolved = match &process.user {
        User::Ids { uid, gid, groups } => {
            let mut groups = groups.clone();
            if !groups.contains(gid) {
                groups.insert(0, *gid);
            }
            let credentials = Credentials {
                uid: *uid,
                gid: *gid,
                groups,
            };
            Resolved {
                credentials,
                home: user::home_of(*uid, &passwd),
            }
        }
        User::Named(name) => {
            let group = accounts(root, "/etc/group")?;
            user::resolve(name, &passwd, &group).map_err(refused)?
        }
    };
    if !process.groups.is_empty() {
        let group = accounts(root, "/etc/group")?;
        resolved.join(&process.groups, &group).map_err(refused)?;
    }
    Ok(resolved)
}

fn refused(error: user::Error) -> Failure {
    Failure::new(Step::User, "", Cause::User(error))
}

/// Reads a file of accounts; an image without one has no accounts.
///
/// Never one of `/proc` or `/sys`, to which the image may have linked it: pid 1
/// still has every capability, and reading `/proc/kmsg`, say, waits and consumes.
fn accounts(root: &InRoot, path: &str) -> Result<Vec<u8>, Failure> {
    let file = match root.regular_file(Path::new(path)) {
        Err(error) if error.is_not_found() || error.errno() == ucr_sys::Errno::NOTDIR => {
            return Ok(Vec::new());
        }
        other => other.during(Step::User, path)?,
    };
    if inroot::is_made_up(file.as_fd()).during(Step::User, path)? {
        return Err(Failure::new(Step::User, path, Cause::MadeUp));
    }
    inroot::read_within(&file, Path::new(path), ACCOUNTS_MAX).during(Step::User, path)
}

/// Builds the task of `process` for the user it turned out to be, confined by `profile`.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Execute`] when there is no program, or a string holds a NUL.
pub(super) fn prepare(
    process: &Process,
    user: &Resolved,
    profile: Option<Profile>,
) -> Result<Task, Failure> {
    let environment = environment(process, user.home.as_deref());
    let program = process.arguments.first().map_or(&b""[..], AsRef::as_ref);
    if program.is_empty() {
        return Err(Failure::new(Step::Execute, "", Cause::NotFound));
    }
    Ok(Task {
        candidates: c_strings(&candidates(program, &environment))?,
        arguments: c_strings(&process.arguments)?,
        environment: c_strings(&environment)?,
        capabilities: capabilities(process, user.credentials.uid),
        credentials: user.credentials.clone(),
        limits: process
            .limits
            .iter()
            .map(|&(resource, soft, hard)| Limit {
                resource,
                soft,
                hard,
            })
            .collect(),
        no_new_privileges: process.no_new_privileges,
        filter: process.filter.as_ref().map(|filter| Filter {
            program: filter.program.0.clone(),
            flags: filter.flags,
        }),
        profile,
        umask: process.umask,
        terminal: process.terminal.is_some(),
        dies_with_parent: false,
        preserved: 0,
    })
}

/// The profile that AppArmor is asked for, if any.
///
/// By a procfs of this process's pid namespace, which takes the privileges over that one.
pub(super) fn profile(process: &Process) -> Result<Option<Profile>, Failure> {
    let Some(name) = &process.apparmor else {
        return Ok(None);
    };
    let procfs = Tree::new("proc", "proc", &[], Attributes::empty());
    let procfs = procfs.during(Step::Privileges, "")?;
    Ok(Some(Profile::new(procfs, name.as_ref())))
}

/// The capability sets for `uid`: one who is not root gets the ambient ones alone.
///
/// Otherwise they would be kept across the change of user (CVE-2018-10856).
fn capabilities(process: &Process, uid: u32) -> Capabilities {
    let asked = process.capabilities;
    let keep = if uid == 0 { u64::MAX } else { asked.ambient };
    Capabilities {
        bounding: asked.bounding,
        permitted: asked.permitted & keep,
        effective: asked.effective & keep,
        inheritable: asked.inheritable,
        ambient: asked.ambient,
    }
}

/// The environment, with `HOME` from the account where it has none.
fn environment(process: &Process, home: Option<&[u8]>) -> Vec<Bytes> {
    let mut environment = process.environment.clone();
    if variable(&environment, b"HOME=").is_none() {
        let home = [b"HOME=", home.unwrap_or(b"/")].concat();
        environment.push(Bytes(home));
    }
    environment
}

fn variable<'a>(environment: &'a [Bytes], prefix: &[u8]) -> Option<&'a [u8]> {
    environment
        .iter()
        .find_map(|entry| entry.0.strip_prefix(prefix))
}

/// The files that `program` may mean, as execvp(3) looks for it in the task's own `PATH`.
fn candidates(program: &[u8], environment: &[Bytes]) -> Vec<Bytes> {
    /// What Docker sets in an image that has none.
    const DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if program.contains(&b'/') {
        return vec![Bytes(program.to_vec())];
    }
    let path = variable(environment, b"PATH=").unwrap_or(DEFAULT);
    path.split(|byte| *byte == b':')
        // An empty entry would mean the working directory: never searched unasked.
        .filter(|directory| !directory.is_empty())
        .map(|directory| Bytes([directory, b"/", program].concat()))
        .collect()
}

/// Makes standard input, output and error those of the task's user; returns the other side of the
/// terminal if they become one.
///
/// # Errors
///
/// A [`Failure`] of [`Step::User`] or [`Step::Terminal`].
pub(super) fn take_streams(uid: u32, terminal: Option<Pty>) -> Result<Option<OwnedFd>, Failure> {
    if let Some(pty) = terminal {
        return pty
            .become_standard(uid)
            .map(Some)
            .during(Step::Terminal, "");
    }
    if uid != 0 {
        own_standard_pipes(uid).during(Step::User, uid.to_string())?;
    }
    Ok(None)
}

fn c_strings(strings: &[Bytes]) -> Result<Vec<CString>, Failure> {
    let convert = |bytes: &Bytes| {
        CString::new(bytes.0.clone()).map_err(|_nul| {
            let errno = ucr_sys::Errno::INVAL;
            Failure::new(
                Step::Execute,
                bytes,
                ucr_sys::Error::new("execve", "a NUL byte", errno),
            )
        })
    };
    strings.iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    fn process(environment: &[&str]) -> Process {
        Process {
            arguments: vec!["true".into()],
            environment: environment
                .iter()
                .map(|entry| Bytes::from(*entry))
                .collect(),
            directory: "/".into(),
            user: User::Ids {
                uid: 0,
                gid: 0,
                groups: vec![],
            },
            umask: 0o22,
            capabilities: plan::Capabilities {
                bounding: 7,
                permitted: 7,
                effective: 7,
                ..Default::default()
            },
            limits: vec![],
            no_new_privileges: true,
            filter: None,
            apparmor: None,
            oom_score_adj: None,
            scheduler: None,
            io_priority: None,
            terminal: None,
            groups: vec![],
        }
    }

    #[test]
    fn s17_another_user_than_root_has_no_capabilities() {
        let sets = capabilities(&process(&[]), 1000);
        assert_eq!((sets.permitted, sets.effective, sets.bounding), (0, 0, 7));
        assert_eq!(capabilities(&process(&[]), 0).effective, 7);
    }

    #[test]
    fn the_program_is_searched_in_the_tasks_own_path() {
        let environment = [Bytes::from("PATH=/a::/b")];
        assert_eq!(
            candidates(b"x", &environment),
            vec![Bytes::from("/a/x"), "/b/x".into()]
        );
        assert_eq!(candidates(b"./x", &environment), vec![Bytes::from("./x")]);
        assert_eq!(candidates(b"x", &[]).len(), 6);
    }

    #[test]
    fn home_is_set_unless_it_was() {
        let home = |entries: &[&str], home| environment(&process(entries), home);
        assert_eq!(
            home(&["HOME=/x"], Some(b"/y")),
            vec![Bytes::from("HOME=/x")]
        );
        assert_eq!(home(&[], Some(b"/y")), vec![Bytes::from("HOME=/y")]);
        assert_eq!(home(&[], None), vec![Bytes::from("HOME=/")]);
    }
}
