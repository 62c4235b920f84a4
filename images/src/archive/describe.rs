//! An index of a tree that was not unpacked from an archive, by looking at it.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use ucr_sys::{FileType, Stat, at};

use super::index::{Facts, IndexWriter, Object, Record};
use super::{metadata, whiteout};

/// Writes an index of everything below `root` to `target`; of files it holds no digests.
///
/// # Errors
/// When something cannot be looked at or written.
pub fn describe(root: BorrowedFd<'_>, target: impl Write + Send) -> Result<(), ucr_sys::Error> {
    let failed = |error: io::Error| ucr_sys::Error::from_io("write", "\"index\"", &error);
    let mut index = IndexWriter::new(target).map_err(failed)?;
    let attributes = metadata::attributes_fd(root)?;
    let facts = facts(&at::stat_fd(root)?, Object::Directory, attributes);
    index.write(&Record::Made(b"", facts)).map_err(failed)?;
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let dir = at::open_dir_below(root, &path)
            .map_err(|errno| ucr_sys::Error::new("openat2", at::quoted(&path), errno))?;
        for name in at::names(dir.as_fd())? {
            let inner = match path.is_empty() {
                true => name.clone(),
                false => [&path, &b"/"[..], &name].concat(),
            };
            let Some(stat) = at::stat(dir.as_fd(), &name)? else {
                continue;
            };
            let object = object((dir.as_fd(), &name), &stat)?;
            if object == Object::Directory {
                ahead.push(inner.clone());
            }
            write(&mut index, (dir.as_fd(), &name), (&inner, &stat, object))?;
        }
    }
    index.finish().map_err(failed)
}

fn write(
    index: &mut IndexWriter<'_>,
    (dir, name): (BorrowedFd<'_>, &[u8]),
    (path, stat, object): (&[u8], &Stat, Object),
) -> Result<(), ucr_sys::Error> {
    let failed = |error: io::Error| ucr_sys::Error::from_io("write", "\"index\"", &error);
    if object == Object::Whiteout {
        return index.write(&Record::Hidden(path)).map_err(failed);
    }
    let is_directory = object == Object::Directory;
    let facts = facts(stat, object, metadata::attributes(dir, name)?);
    index.write(&Record::Made(path, facts)).map_err(failed)?;
    if is_directory && whiteout::is_opaque(at::open_dir(dir, name)?.as_fd())? {
        index.write(&Record::Opaque(path)).map_err(failed)?;
    }
    Ok(())
}

fn facts(stat: &Stat, object: Object, attributes: Option<super::index::Hash>) -> Facts {
    Facts {
        object,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        attributes,
    }
}

fn object((dir, name): (BorrowedFd<'_>, &[u8]), stat: &Stat) -> Result<Object, ucr_sys::Error> {
    let (major, minor) = at::device_parts(stat.st_rdev);
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Object::Directory,
        FileType::Symlink => Object::Symlink(at::read_link(dir, name)?),
        FileType::CharacterDevice if stat.st_rdev == 0 => Object::Whiteout,
        FileType::CharacterDevice => Object::CharDevice(major, minor),
        FileType::BlockDevice => Object::BlockDevice(major, minor),
        FileType::Fifo => Object::Fifo,
        _ => Object::File {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            content: None,
        },
    })
}
