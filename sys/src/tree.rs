//! Deleting a tree without ever following a link or a name that moved.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Deletes `name` in `parent` with everything in it; what is not there is fine.
///
/// Each directory is opened relative to the one before with `O_NOFOLLOW`, so a
/// symbolic link is removed and never followed.
///
/// # Errors
///
/// The first failure of `openat`, `getdents64` or `unlinkat`.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A directory: EISDIR on Linux, EPERM by POSIX.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).context("unlinkat", || format!("{name:?}")),
    }
    // Iterative: a deep tree, which any task can make, must not end the stack.
    let mut stack = vec![open_directory(parent, name)?];
    let mut names = vec![name.to_os_string()];
    while let Some(current) = stack.last() {
        if let Some((child, child_name)) = empty_until_directory(current)? {
            stack.push(child);
            names.push(child_name);
            continue;
        }
        stack.pop();
        let Some(done) = names.pop() else { break };
        let above = stack.last().map_or(parent, |fd| fd.as_fd());
        match unlinkat(above, done.as_os_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                return Err(errno).context("unlinkat", || format!("{done:?}, AT_REMOVEDIR"));
            }
        }
    }
    Ok(())
}

/// Removes files of `directory` until its first subdirectory, which it opens.
fn empty_until_directory(directory: &OwnedFd) -> Result<Option<(OwnedFd, std::ffi::OsString)>> {
    use std::os::unix::ffi::OsStrExt;

    let entries = Dir::read_from(directory).context("getdents64", || "directory".into())?;
    for entry in entries {
        let entry = entry.context("getdents64", || "directory".into())?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => open_directory(directory.as_fd(), name).is_ok(),
            _ => false,
        };
        if is_directory {
            return Ok(Some((
                open_directory(directory.as_fd(), name)?,
                name.to_os_string(),
            )));
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context("unlinkat", || format!("{name:?}")),
        }
    }
    Ok(None)
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).context("openat", || format!("{name:?}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn removes_the_tree_and_never_what_its_links_point_at() {
        let temp = tempfile::tempdir().expect("tempdir");
        let outside = temp.path().join("outside");
        std::fs::create_dir_all(outside.join("kept")).expect("mkdir");
        let tree = temp.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).expect("mkdir");
        std::fs::File::create(tree.join("a/file")).expect("create");
        symlink(&outside, tree.join("a/link")).expect("symlink");
        let parent = std::fs::File::open(temp.path()).expect("open");
        remove_tree(parent.as_fd(), OsStr::new("tree")).expect("remove");
        remove_tree(parent.as_fd(), OsStr::new("tree")).expect("remove twice");
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_link_in_place_of_the_tree_is_removed_alone() {
        let temp = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(temp.path().join("outside")).expect("mkdir");
        symlink("outside", temp.path().join("tree")).expect("symlink");
        let parent = std::fs::File::open(temp.path()).expect("open");
        remove_tree(parent.as_fd(), OsStr::new("tree")).expect("remove");
        assert!(temp.path().join("outside").is_dir());
    }
}
