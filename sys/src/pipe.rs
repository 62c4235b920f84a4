//! Pipes, and their bytes moved to files without passing through this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::error::{Context, Error, Result};

/// A pipe: the end that is read, which never waits, and the end that is written.
#[derive(Debug)]
pub struct Pipe {
    /// What is read.
    pub reader: OwnedFd,
    /// What is written.
    pub writer: OwnedFd,
}

/// What came of moving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nobody will write any more.
    End,
}

/// Makes a pipe that takes up to `size` bytes where the kernel lets it, both ends close-on-exec.
///
/// # Errors
///
/// Any failure of `pipe2` or `fcntl`; that it stays smaller is none.
pub fn pipe(size: usize) -> Result<Pipe> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("pipe2", String::new)?;
    match fcntl_setpipe_size(&reader, size) {
        // Others of this user have so much already, pipe(7) "pipe-user-pages-soft".
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => {
            return Err(Error::new("fcntl", format!("F_SETPIPE_SZ {size}"), errno));
        }
    }
    crate::descriptors::never_wait(reader.as_fd())?;
    Ok(Pipe { reader, writer })
}

/// Moves at most `most` bytes from a pipe to the place in a file where it is written next.
///
/// # Errors
///
/// Any failure of `splice`, of which those of the file, `ENOSPC` say, lose nothing.
pub fn move_to_file(pipe: BorrowedFd<'_>, file: BorrowedFd<'_>, most: usize) -> Result<Moved> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(pipe, None, file, None, most, flags) {
            Ok(0) => return Ok(Moved::End),
            Ok(count) => return Ok(Moved::Bytes(count)),
            Err(Errno::AGAIN) => return Ok(Moved::Nothing),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("splice", format!("{most} bytes"), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_arrives_in_the_file_and_the_end_is_told() {
        let Pipe { reader, writer } = pipe(1 << 20).unwrap();
        let temp = tempfile::NamedTempFile::new().unwrap();
        let file = temp.as_file();
        let moved = |most| move_to_file(reader.as_fd(), file.as_fd(), most).unwrap();
        assert_eq!(moved(10), Moved::Nothing);
        let mut writer = File::from(writer);
        writer.write_all(b"hello world").unwrap();
        assert_eq!(moved(5), Moved::Bytes(5));
        assert_eq!(moved(100), Moved::Bytes(6));
        assert_eq!(moved(100), Moved::Nothing);
        drop(writer);
        assert_eq!(moved(100), Moved::End);
        assert_eq!(std::fs::read(temp.path()).unwrap(), b"hello world");
    }
}
