//! Removing a whole tree without ever following a link out of it.
//!
//! Each directory is opened with `O_NOFOLLOW` from the fd of its parent, so a
//! process that swaps a directory for a symbolic link meanwhile gets its link
//! removed, not what the link points to (CVE-2022-21658, RUSTSEC-2023-0018).

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Dir, FileType, renameat};

use crate::error::Context;
use crate::{Errno, Result, at, random_suffix};

/// Levels that are open at once. What is deeper is moved up first: a task may
/// nest directories beyond any limit of open files.
const OPEN_LEVELS: usize = 64;

/// A directory being emptied, and its name in the one above.
struct Level {
    dir: OwnedFd,
    name: Vec<u8>,
}

/// Removes `name` below `parent`, with everything in it; nothing there is no error.
///
/// Works to any depth with a bounded number of open files and no recursion.
///
/// # Errors
/// The first failure of openat(2), getdents64(2), renameat(2) or unlinkat(2).
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let Some(top) = unlink_or_open(parent, name)? else {
        return Ok(());
    };
    let mut levels = vec![Level {
        dir: top,
        name: name.to_vec(),
    }];
    while let Some(current) = levels.last() {
        let Some(child) = empty_until_directory(current.dir.as_fd())? else {
            let Some(done) = levels.pop() else { break };
            let above = levels.last().map_or(parent, |level| level.dir.as_fd());
            at::remove_dir(above, &done.name)?;
            continue;
        };
        if levels.len() < OPEN_LEVELS {
            levels.push(child);
        } else {
            let free = random_suffix();
            match renameat(&current.dir, &child.name[..], &levels[0].dir, free.as_str()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(crate::Error::new(
                        "renameat",
                        at::quoted(&child.name),
                        errno,
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Removes what is in `dir` until its first directory, which is opened.
fn empty_until_directory(dir: BorrowedFd<'_>) -> Result<Option<Level>> {
    let reader = Dir::read_from(dir).context("getdents64", || at::described(dir))?;
    for entry in reader {
        let entry = entry.context("getdents64", || at::described(dir))?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        // A name that is gone meanwhile is done by another: the first look tells.
        let opened = match entry.file_type() {
            FileType::Directory => match at::open_dir(dir, name) {
                Ok(opened) => Some(opened),
                Err(_) => unlink_or_open(dir, name)?,
            },
            _ => unlink_or_open(dir, name)?,
        };
        if let Some(opened) = opened {
            return Ok(Some(Level {
                dir: opened,
                name: name.to_vec(),
            }));
        }
    }
    Ok(None)
}

/// Removes `name`, or opens it if it is a directory.
fn unlink_or_open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>> {
    loop {
        match fs::unlinkat(parent, name, fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(None),
            // A directory: EISDIR on Linux, EPERM by POSIX.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(crate::Error::new("unlinkat", at::quoted(name), errno)),
        }
        match at::open_dir(parent, name) {
            Ok(dir) => return Ok(Some(dir)),
            // Swapped for something else since: that is unlinked next time round.
            Err(error) if matches!(error.errno(), Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Levels that are measured; no program that means well has more.
const MEASURED_LEVELS: usize = 900;

/// The bytes that `dir`, and what is below it on the same file system, take of the disk; what has
/// several names counts once. What others change meanwhile is counted as it is found.
///
/// # Errors
/// `ENAMETOOLONG` where directories are nested so deep that they cannot all be open at once, or a
/// failure to look at `dir` itself.
pub fn disk_use(dir: BorrowedFd<'_>) -> Result<u64> {
    let stat = at::stat_fd(dir)?;
    let mut seen = HashSet::new();
    let mut used = blocks(&stat);
    let top = at::open_dir(dir, b".")?;
    let mut levels = vec![(names_of(top.as_fd()), top)];
    while let Some((names, folder)) = levels.last_mut() {
        let Some(name) = names.pop() else {
            levels.pop();
            continue;
        };
        // Gone meanwhile, or swapped: what is there is counted the next time.
        let Ok(Some(entry)) = at::stat(folder.as_fd(), &name) else {
            continue;
        };
        if entry.st_dev != stat.st_dev {
            continue;
        }
        let is_directory = FileType::from_raw_mode(entry.st_mode) == FileType::Directory;
        if is_directory || entry.st_nlink == 1 || seen.insert(entry.st_ino) {
            used = used.saturating_add(blocks(&entry));
        }
        if !is_directory {
            continue;
        }
        if levels.len() >= MEASURED_LEVELS {
            let operands = at::quoted(&name);
            return Err(crate::Error::new("openat", operands, Errno::NAMETOOLONG));
        }
        if let Some((_, folder)) = levels.last()
            && let Ok(below) = at::open_dir(folder.as_fd(), &name)
        {
            levels.push((names_of(below.as_fd()), below));
        }
    }
    Ok(used)
}

/// What a file takes of its disk, stat(3type): in blocks of 512 bytes, whatever those of the disk.
fn blocks(stat: &fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks)
        .unwrap_or_default()
        .saturating_mul(512)
}

/// Names in a directory that can be read.
fn names_of(dir: BorrowedFd<'_>) -> Vec<Vec<u8>> {
    at::names(dir).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::io::Write as _;
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
    fn what_is_on_disk_is_counted_once_and_no_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let put = |path: std::path::PathBuf, size: usize| {
            let mut file = std_fs::File::create(path).unwrap();
            file.write_all(&vec![1; size]).unwrap();
        };
        put(outside.path().join("large"), 4 << 20);
        std_fs::create_dir_all(temp.path().join("a/b")).unwrap();
        put(temp.path().join("a/b/file"), 1 << 20);
        std_fs::hard_link(temp.path().join("a/b/file"), temp.path().join("again")).unwrap();
        symlink(outside.path(), temp.path().join("link")).unwrap();
        let dir = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        let used = disk_use(dir.as_fd()).unwrap();
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let temp = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        remove_tree(parent.as_fd(), b"nothing").unwrap();
    }

    #[test]
    fn a_tree_deeper_than_the_limit_of_open_files_can_be_removed() {
        let temp = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(std_fs::File::open(temp.path()).unwrap());
        let name = [b'd'; 200];
        let mut dir = parent.try_clone().unwrap();
        for _ in 0..5000 {
            at::make_dir(dir.as_fd(), &name).unwrap();
            dir = at::open_dir(dir.as_fd(), &name).unwrap();
            at::create_file(dir.as_fd(), b"f").unwrap();
        }
        remove_tree(parent.as_fd(), &name).unwrap();
        assert_eq!(std_fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
