//! A program that whoever runs it cannot write: a read-only view of its file, or a copy of it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::mount::{Attributes, FsOption, Tree};
use crate::{inroot, memfd};

/// Opens the executable `path` such that its file cannot be written through `/proc/<pid>/exe` of
/// what runs from it (CVE-2019-5736, and CVE-2019-0204 in Mesos).
///
/// It is the file in an overlay of its directory that has no writable layer, as runc takes since
/// 1.2: nothing is copied, and all share its pages. Where that cannot be had, a copy in memory is
/// taken that can never change. `other` is any directory, neither above nor below the
/// executable's: an overlay without a writable layer needs two.
///
/// # Errors
///
/// Any failure to open or to copy the executable.
pub fn unwritable(path: &Path, other: &Path) -> Result<OwnedFd> {
    // Whatever the reason, no mounts for us, say: a copy is as safe, and 0.6 ms slower.
    view(path, other).or_else(|_| copy(path))
}

fn copy(path: &Path) -> Result<OwnedFd> {
    let mut file =
        File::open(path).map_err(|error| Error::from_io("open", format!("{path:?}"), &error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    memfd::sealed_executable(&name, &mut file)
}

/// The file as an overlay of its directory shows it.
fn view(path: &Path, other: &Path) -> Result<OwnedFd> {
    let refused = |errno| Error::new("openat2", format!("{path:?}"), errno);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused(Errno::ISDIR));
    };
    let [directory, other] = [inroot::host_place(directory)?, inroot::host_place(other)?];
    // Neither a link, which would lead out of the overlay, nor mounted over, which it does not show.
    itself(directory.as_fd(), name, OFlags::PATH).map_err(refused)?;
    let layers = [&directory, &other].map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let layers = layers.join(":");
    let option = FsOption {
        key: "lowerdir",
        value: Some(&layers),
    };
    let attributes = Attributes::MOUNT_ATTR_RDONLY
        | Attributes::MOUNT_ATTR_NOSUID
        | Attributes::MOUNT_ATTR_NODEV;
    let overlay = Tree::new("overlay", "ucr", &[option], attributes)?;
    itself(overlay.as_fd(), name, OFlags::RDONLY).map_err(refused)
}

/// Opens `name` in `directory`, which is no link and on the same mount.
fn itself(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    access: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = access | OFlags::CLOEXEC;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve)
}

/// Whether processes `one` and `two` run from the same file, proc(5) "exe".
///
/// # Errors
///
/// Any failure to find either.
pub fn is_same(one: i32, two: i32) -> Result<bool> {
    let [one, two] = [one, two].map(|pid| {
        let path = format!("/proc/{pid}/exe");
        rustix::fs::stat(&path).context("stat", || format!("{path:?}"))
    });
    let (one, two) = (one?, two?);
    Ok((one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn privileged() -> bool {
        let privileged = rustix::process::geteuid().is_root();
        if !privileged {
            eprintln!("skipped: needs root, to mount");
        }
        privileged
    }

    /// A directory with an executable, and another directory.
    fn executable() -> (tempfile::TempDir, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("directory");
        fs::copy("/bin/true", directory.path().join("program")).expect("copy");
        (directory, tempfile::tempdir().expect("directory"))
    }

    fn is_copy(program: &OwnedFd) -> bool {
        let link = format!("/proc/self/fd/{}", program.as_raw_fd());
        let shown = fs::read_link(link).expect("readlink");
        shown.to_string_lossy().starts_with("/memfd:")
    }

    /// Nobody writes it who opens it anew, as a process may by `/proc/self/exe`.
    fn assert_unwritable(program: &OwnedFd) {
        let again = format!("/proc/self/fd/{}", program.as_raw_fd());
        let mut opened = fs::OpenOptions::new().write(true).open(&again);
        let written = opened
            .as_mut()
            .is_ok_and(|file| std::io::Write::write(file, b"x").is_ok());
        assert!(!written);
        assert!(
            fs::OpenOptions::new()
                .truncate(true)
                .write(true)
                .open(&again)
                .is_err()
        );
        let same = fs::read(&again).expect("read") == fs::read("/bin/true").expect("read");
        assert!(same);
    }

    #[test]
    fn s2_the_view_of_a_program_is_its_file_and_cannot_be_written() {
        if !privileged() {
            return;
        }
        let (directory, other) = executable();
        let program = unwritable(&directory.path().join("program"), other.path()).expect("program");
        assert!(!is_copy(&program));
        assert_unwritable(&program);
    }

    #[test]
    fn s2_where_there_is_no_view_a_sealed_copy_is_taken() {
        let (directory, _other) = executable();
        // The directory is below this one: overlayfs takes no such two.
        let program = unwritable(&directory.path().join("program"), Path::new("/"));
        let program = program.expect("program");
        assert!(is_copy(&program));
        assert_unwritable(&program);
    }

    #[test]
    fn s2_a_link_to_a_program_does_not_lead_out_of_the_view() {
        let (directory, other) = executable();
        let link = directory.path().join("link");
        symlink(directory.path().join("program"), &link).expect("symlink");
        let program = unwritable(&link, other.path()).expect("program");
        assert!(is_copy(&program));
        assert_unwritable(&program);
    }

    #[test]
    fn a_program_that_is_mounted_over_its_name_is_the_one_that_runs() {
        if !privileged() {
            return;
        }
        let (directory, other) = executable();
        let path = directory.path().join("program");
        fs::copy("/bin/false", &path).expect("copy");
        let target = inroot::host_place(&path).expect("place");
        let tree = Tree::copy_of(Path::new("/bin/true"), crate::mount::Depth::One).expect("tree");
        tree.attach(target.as_fd()).expect("attach");
        let program = unwritable(&path, other.path());
        crate::mount::detach(&path).expect("detach");
        assert_unwritable(&program.expect("program"));
    }

    #[test]
    fn a_process_runs_from_its_own_file_and_not_from_anothers() {
        let own = i32::try_from(std::process::id()).expect("pid");
        assert!(is_same(own, own).expect("own"));
        let mut other = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(other.id()).expect("pid");
        // Spawned is executed: `spawn` waits for that.
        let same = is_same(own, pid);
        other.kill().expect("kill");
        other.wait().expect("wait");
        assert!(!same.expect("both"));
    }
}
