//! Removing a whole tree without ever following a link out of it.
//!
//! Each directory is opened with `O_NOFOLLOW` from the fd of its parent, so a
//! process that swaps a directory for a symbolic link meanwhile gets its link
//! removed, not what the link points to (CVE-2022-21658, RUSTSEC-2023-0018).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Dir, FileType};

use crate::error::Context;
use crate::{Errno, Result, at};

/// Removes `name` below `parent`, with everything in it; nothing there is no error.
///
/// Works to any depth with one open fd per level of depth.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match at::remove(parent, name) {
        // EISDIR: Linux' answer to unlink of a directory (POSIX allows EPERM).
        Err(error) if error.errno() == Errno::ISDIR || error.errno() == Errno::PERM => {}
        other => return other,
    }
    let dir = match at::open_dir(parent, name) {
        Ok(dir) => dir,
        // Swapped for something else since: what is there now is a plain name.
        Err(error) if matches!(error.errno(), Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
            return at::remove(parent, name);
        }
        Err(error) => return Err(error),
    };
    empty_dir(&dir)?;
    at::remove_dir(parent, name)
}

/// Removes everything below an open directory, which itself stays.
pub fn empty_dir(dir: &OwnedFd) -> Result<()> {
    let reader = Dir::read_from(dir).context("getdents64", || at::described(dir.as_fd()))?;
    for entry in reader {
        let entry = entry.context("getdents64", || at::described(dir.as_fd()))?;
        if is_dot(entry.file_name()) {
            continue;
        }
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory {
            remove_tree(dir.as_fd(), name)?;
        } else {
            match fs::unlinkat(dir, name, fs::AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => remove_tree(dir.as_fd(), name)?,
            }
        }
    }
    Ok(())
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn s46_a_link_in_the_tree_is_removed_and_its_target_stays() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std_fs::create_dir_all(temp.path().join("tree/a/b")).unwrap();
        std_fs::create_dir(&outside).unwrap();
        std_fs::File::create(outside.join("sentinel")).unwrap();
        symlink(&outside, temp.path().join("tree/a/b/link")).unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());

        remove_tree(parent.as_fd(), b"tree").unwrap();

        assert!(!temp.path().join("tree").exists());
        assert!(outside.join("sentinel").exists());
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let temp = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        remove_tree(parent.as_fd(), b"nothing").unwrap();
    }

    #[test]
    fn a_tree_deeper_than_path_max_can_be_removed() {
        let temp = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        let name = [b'd'; 200];
        let mut dir = parent.try_clone().unwrap();
        for _ in 0..40 {
            at::make_dir(dir.as_fd(), &name).unwrap();
            dir = at::open_dir(dir.as_fd(), &name).unwrap();
        }
        remove_tree(parent.as_fd(), &name).unwrap();
        assert_eq!(std_fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
