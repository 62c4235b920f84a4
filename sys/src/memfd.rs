//! Sealed memory files: the plan, and the copy of `ucr-init` that runs.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// `MFD_EXEC`, since Linux 6.3, memfd_create(2): without it a host with
/// `vm.memfd_noexec` makes a file that cannot be executed.
const EXECUTABLE: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// Makes a memory file that holds `content` and can never change again.
///
/// # Errors
///
/// Any failure of `memfd_create`, `write` or `fcntl(F_ADD_SEALS)`.
pub fn sealed(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let mut file = create(name, MemfdFlags::empty())?;
    file.write_all(content)
        .map_err(|error| Error::from_io("write", name, &error))?;
    file.rewind()
        .map_err(|error| Error::from_io("lseek", name, &error))?;
    seal(name, file)
}

/// Copies an open executable into a memory file that can never change again.
///
/// What runs from it cannot be overwritten through `/proc/<pid>/exe`
/// (CVE-2019-5736, and CVE-2019-0204 in Mesos).
///
/// # Errors
///
/// Any failure of `memfd_create`, of the copy, or of `fcntl(F_ADD_SEALS)`.
pub fn sealed_executable(name: &str, source: &mut File) -> Result<OwnedFd> {
    let mut file = match create(name, EXECUTABLE) {
        // FIXME(linux 6.3): a kernel without MFD_EXEC makes it executable anyway.
        Err(error) if error.errno() == Errno::INVAL => create(name, MemfdFlags::empty())?,
        other => other?,
    };
    std::io::copy(source, &mut file).map_err(|error| Error::from_io("copy", name, &error))?;
    seal(name, file)
}

/// Makes an empty memory file, to be written and read.
///
/// # Errors
///
/// Any failure of `memfd_create`.
pub fn scratch(name: &str) -> Result<File> {
    create(name, MemfdFlags::empty())
}

fn create(name: &str, extra: MemfdFlags) -> Result<File> {
    memfd_create(
        name,
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | extra,
    )
    .map(File::from)
    .context("memfd_create", || format!("{name:?}"))
}

/// Nothing has mapped the file yet, so that `F_SEAL_FUTURE_WRITE` keeps out all that
/// `F_SEAL_WRITE` does. The latter waits for whoever holds a page besides, a processor that moves
/// pages, say, and fails with `EBUSY` when that takes 150 ms: one start in ten thousand.
fn seal(name: &str, file: File) -> Result<OwnedFd> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE;
    fcntl_add_seals(file.as_fd(), seals).context("fcntl", || format!("{name:?}, F_ADD_SEALS"))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_sealed_file_reads_back_and_refuses_writes() {
        let mut file = File::from(sealed("plan", b"content").expect("memfd"));
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "content");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }

    #[test]
    fn a_page_that_somebody_holds_is_sealed_like_the_others() {
        let mut file = create("plan", MemfdFlags::empty()).expect("memfd");
        file.write_all(&[1; 4096]).expect("write");
        let (reader, writer) = std::io::pipe().expect("pipe");
        let nothing = rustix::pipe::SpliceFlags::empty();
        let moved = rustix::pipe::splice(&file, Some(&mut 0), &writer, None, 4096, nothing);
        assert_eq!(moved.expect("splice"), 4096);
        let mut file = File::from(seal("plan", file).expect("seal"));
        file.rewind().expect("rewind");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        drop(reader);
    }
}
