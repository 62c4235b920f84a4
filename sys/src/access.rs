//! Opening files with the rights of somebody else.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::thread::{Gid, Uid};

use crate::error::Context;
use crate::{Errno, Error, Result};

/// Opens the regular file `path` for reading as user `uid` of group `gid` and no other may.
///
/// A thread of its own takes their ids on and ends: ids are a thread's, credentials(7), whatever
/// the C library makes of them.
///
/// # Errors
/// What is no regular file (`EINVAL`), and what they may not open.
pub fn open_as(path: &Path, (uid, gid): (u32, u32)) -> Result<OwnedFd> {
    let operands = || format!("{path:?} as {uid}:{gid}");
    // A second without that means "as it is", setresuid(2).
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Error::new("setresuid", operands(), Errno::INVAL));
    }
    let open = || {
        become_user(Uid::from_raw(uid), Gid::from_raw(gid))?;
        // Neither a FIFO nor a terminal is waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).context("open", operands)?;
        let facts = crate::at::stat_fd(file.as_fd())?;
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(Error::new("open", operands(), Errno::INVAL)),
        }
    };
    std::thread::scope(|threads| {
        let opened = threads.spawn(open).join();
        opened.unwrap_or_else(|_panicked| Err(Error::new("open", operands(), Errno::CANCELED)))
    })
}

fn become_user(uid: Uid, gid: Gid) -> Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    if uid == rustix::process::geteuid() && gid == rustix::process::getegid() {
        return Ok(());
    }
    set_thread_groups(&[]).context("setgroups", || "[]".into())?;
    set_thread_res_gid(gid, gid, gid).context("setresgid", || gid.to_string())?;
    set_thread_res_uid(uid, uid, uid).context("setresuid", || uid.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_opened_by_who_may_and_by_nobody_else() {
        if !crate::is_root() {
            eprintln!("skipped: only root becomes somebody else");
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), mode(0o600)).unwrap();
        assert!(open_as(file.path(), (0, 0)).is_ok());
        let refused = open_as(file.path(), (65534, 65534)).unwrap_err();
        assert_eq!(refused.errno(), Errno::ACCESS);
        std::fs::set_permissions(file.path(), mode(0o644)).unwrap();
        assert!(open_as(file.path(), (65534, 65534)).is_ok());
        // Whoever opened it was a thread: this one is who it was.
        assert!(crate::is_root());
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let own = (crate::user_id(), crate::group_id());
        for path in ["/dev/null", "/tmp", "/proc/self/fd"] {
            let refused = open_as(Path::new(path), own).unwrap_err();
            assert_eq!(refused.errno(), Errno::INVAL, "{path}");
        }
        assert!(
            open_as(Path::new("/no/such"), own)
                .unwrap_err()
                .is_not_found()
        );
        assert!(open_as(Path::new("/"), (u32::MAX, 0)).is_err());
    }
}
