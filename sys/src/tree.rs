//! Removing a whole tree without ever following a link out of it.
//!
//! Each directory is opened with `O_NOFOLLOW` from the fd of its parent, so a
//! process that swaps a directory for a symbolic link meanwhile gets its link
//! removed, not what the link points to (CVE-2022-21658, RUSTSEC-2023-0018).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Dir, FileType};

use crate::error::Context;
use crate::{Errno, Result, at, random_suffix};

/// Levels that are gone down with fds held open; what is deeper is moved up first.
const MAX_DEPTH: u32 = 64;

/// Removes `name` below `parent`, with everything in it; nothing there is no error.
///
/// Works to any depth with a bounded number of open fds.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let Some(dir) = remove_unless_dir(parent, name)? else {
        return Ok(());
    };
    empty_dir(&dir)?;
    at::remove_dir(parent, name)
}

/// Removes everything below an open directory, which itself stays.
pub fn empty_dir(dir: &OwnedFd) -> Result<()> {
    while empty(dir, dir, 0)? == Left::Deeper {}
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Trees from too far down, now right below the top.
    Deeper,
}

fn empty(dir: &OwnedFd, top: &OwnedFd, depth: u32) -> Result<Left> {
    let mut left = Left::Nothing;
    let reader = Dir::read_from(dir).context("getdents64", || at::described(dir.as_fd()))?;
    for entry in reader {
        let entry = entry.context("getdents64", || at::described(dir.as_fd()))?;
        if is_dot(entry.file_name()) {
            continue;
        }
        let name = entry.file_name().to_bytes();
        if entry.file_type() != FileType::Directory && at::remove(dir.as_fd(), name).is_ok() {
            continue;
        }
        if depth == MAX_DEPTH {
            let up = random_suffix();
            fs::renameat(dir, name, top, &up)
                .context("renameat", || format!("{}, \"{up}\"", at::quoted(name)))?;
            left = Left::Deeper;
        } else if let Some(below) = remove_unless_dir(dir.as_fd(), name)? {
            if empty(&below, top, depth + 1)? == Left::Deeper {
                left = Left::Deeper;
            }
            at::remove_dir(dir.as_fd(), name)?;
        }
    }
    Ok(left)
}

/// Removes `name` if it is no directory, else opens it.
fn remove_unless_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>> {
    match at::remove(parent, name) {
        // EISDIR: Linux' answer to unlink of a directory (POSIX allows EPERM).
        Err(error) if error.errno() == Errno::ISDIR || error.errno() == Errno::PERM => {}
        other => return other.map(|()| None),
    }
    match at::open_dir(parent, name) {
        Ok(dir) => Ok(Some(dir)),
        // Swapped for something else since: what is there now is a plain name.
        Err(error) if matches!(error.errno(), Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
            at::remove(parent, name).map(|()| None)
        }
        Err(error) => Err(error),
    }
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

    #[test]
    fn l14_a_tree_deeper_than_there_are_fds_can_be_removed() {
        let temp = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        let mut dir = parent.try_clone().unwrap();
        for _ in 0..5 * MAX_DEPTH {
            at::make_dir(dir.as_fd(), b"d").unwrap();
            at::make_dir(dir.as_fd(), b"e").unwrap();
            dir = at::open_dir(dir.as_fd(), b"d").unwrap();
            at::create_file(dir.as_fd(), b"f").unwrap();
        }
        remove_tree(parent.as_fd(), b"d").unwrap();
        remove_tree(parent.as_fd(), b"e").unwrap();
        assert_eq!(std_fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
