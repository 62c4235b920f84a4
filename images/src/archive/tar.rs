//! A tar archive as a sequence of entries, from a reader, with bounded memory.

use std::io::{Read, Seek, SeekFrom};

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};
use ucr_sys::at::FileTime;

use super::error::Error;
use super::strict::{self, BLOCK};

/// The most metadata (PAX records, long names) of one entry, in bytes.
const MAX_METADATA: u32 = 1024 * 1024;
/// What is read at once; large enough that small entries come many at a time.
const BUFFER: usize = 128 * 1024;
/// `BUFFER` or one entry's metadata with its headers, whichever is more.
const MAX_BUFFER: usize = 2 * MAX_METADATA as usize;

/// An entry's head; its content follows in the archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name as in the archive.
    pub(super) path: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Permission bits, set-user-ID and sticky bits included.
    pub(super) mode: u32,
    /// When it was modified.
    pub(super) time: FileTime,
    /// Extended attributes, in the archive's order.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is, with what only that kind has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link that says this.
    Symlink(Vec<u8>),
    /// Another name for the entry of this name.
    HardLink(Vec<u8>),
    /// A character device of these major and minor numbers.
    CharDevice(u32, u32),
    /// A block device of these major and minor numbers.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// The entries of an archive, one after the other.
pub(super) struct Archive<R> {
    reader: R,
    parser: Parser,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Content and padding of the last entry that are still in the way.
    unread: u64,
    padding: u64,
}

impl<R: Read> Archive<R> {
    /// Reads from where `reader` stands.
    pub(crate) fn new(reader: R) -> Self {
        let limits = Limits {
            max_metadata_size: MAX_METADATA,
            ..Limits::default()
        };
        let mut parser = Parser::new(limits);
        // `strict` refuses bad numbers itself; the parser would refuse negative times too.
        parser.set_ignore_pax_errors(true);
        parser.set_allow_empty_path(true);
        Self {
            reader,
            parser,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            unread: 0,
            padding: 0,
        }
    }

    /// The next entry, or `None` at the end marker or the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_content()?;
        loop {
            if self.refuse_stray_zero_block()? {
                return Ok(None);
            }
            let input = &self.buffer[self.start..self.end];
            let (entry, consumed) = match self.parser.parse(input).map_err(Error::Tar)? {
                ParseEvent::NeedData { min_bytes } => {
                    if self.fill(min_bytes)? {
                        continue;
                    }
                    return self.at_end_of_file();
                }
                ParseEvent::End { consumed } => {
                    self.start += consumed;
                    return Ok(None);
                }
                // "g" headers of git archives and others: nothing of them applies (L90).
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    strict::check_global(&input[..consumed])?;
                    self.start += consumed;
                    continue;
                }
                ParseEvent::SparseEntry { .. } => {
                    return Err(Error::Strict(
                        "a sparse file, which no image builder writes",
                    ));
                }
                ParseEvent::Entry { consumed, entry } => {
                    let facts = strict::check(&input[..consumed])?;
                    (convert(&entry, &facts)?, consumed)
                }
            };
            self.start += consumed;
            if let Kind::File(size) = entry.kind {
                self.unread = size;
                self.padding = size.next_multiple_of(BLOCK as u64) - size;
            }
            return Ok(Some(entry));
        }
    }

    /// The next piece of the current entry's content; an empty one is its end.
    pub(super) fn content(&mut self) -> Result<&[u8], Error> {
        if self.unread == 0 {
            return Ok(&[]);
        }
        if self.start == self.end && !self.fill(1)? {
            return Err(Error::Strict("it ends within a file"));
        }
        let available = self.end - self.start;
        let count = usize::try_from(self.unread)
            .unwrap_or(usize::MAX)
            .min(available);
        let piece = self.start..self.start + count;
        self.start += count;
        self.unread -= count as u64;
        Ok(&self.buffer[piece])
    }

    /// What is behind the end marker, to be read to its end by whoever hashes the stream.
    pub(super) fn into_rest(self) -> R {
        self.reader
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        while !self.content()?.is_empty() {}
        let mut padding = std::mem::take(&mut self.padding);
        // That of the last file may be missing, as the end marker may: all of the file is there
        // (umoci insert writes such layers).
        while padding > 0 && (self.start < self.end || self.fill(1)?) {
            let count = self.end - self.start;
            let count = usize::try_from(padding).map_or(count, |left| left.min(count));
            self.start += count;
            padding -= count as u64;
        }
        Ok(())
    }

    /// Whether the archive ends here for want of bytes.
    fn at_end_of_file(&self) -> Result<Option<Entry>, Error> {
        let rest = &self.buffer[self.start..self.end];
        // A missing end marker is common and harmless; one zero block is half a marker.
        let is_end = rest.is_empty() || (rest.len() == BLOCK && rest.iter().all(|byte| *byte == 0));
        if is_end {
            Ok(None)
        } else {
            Err(Error::Strict("it ends within a header"))
        }
    }

    /// Refuses a single zero block before more entries, where readers part ways (L97).
    ///
    /// Returns whether the archive ends in a single zero block.
    fn refuse_stray_zero_block(&mut self) -> Result<bool, Error> {
        let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        if self.end - self.start < 2 * BLOCK {
            self.fill(2 * BLOCK)?;
        }
        let input = &self.buffer[self.start..self.end];
        let Some(first) = input.get(..BLOCK) else {
            return Ok(false);
        };
        if !is_zero(first) {
            return Ok(false);
        }
        match input.get(BLOCK..2 * BLOCK) {
            Some(second) if !is_zero(second) => Err(Error::Strict("entries after an end marker")),
            Some(_) => Ok(false),
            // Not a part of a second block: that is an archive cut short.
            None => Ok(input.len() == BLOCK),
        }
    }

    /// Reads on until `wanted` bytes are in the buffer; false when the file ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, Error> {
        if wanted > MAX_BUFFER {
            return Err(Error::Strict("an entry with too much metadata"));
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(true)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Where the current entry's content begins, before any of it is read.
    pub(super) fn content_start(&mut self) -> Result<u64, Error> {
        let read = self.reader.stream_position().map_err(Error::Read)?;
        Ok(read - (self.end - self.start) as u64)
    }

    /// Passes over the current entry's content, reading no more than is read already.
    ///
    /// # Errors
    /// When the file ends within it.
    pub(super) fn seek_over_content(&mut self) -> Result<(), Error> {
        let length = self.unread.saturating_add(self.padding);
        let buffered = (self.end - self.start) as u64;
        if length <= buffered {
            return self.skip_content();
        }
        let end = self.content_start()?.saturating_add(self.unread);
        let file_end = self.reader.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        if end > file_end {
            return Err(Error::Strict("it ends within a file"));
        }
        // Without its padding the last file lacks the end marker too, which is harmless.
        let next = SeekFrom::Start((end + self.padding).min(file_end));
        self.reader.seek(next).map_err(Error::Read)?;
        (self.unread, self.padding) = (0, 0);
        (self.start, self.end) = (0, 0);
        Ok(())
    }
}

fn convert(parsed: &ParsedEntry<'_>, facts: &strict::Facts) -> Result<Entry, Error> {
    let refuse = |why: &str| Error::Entry {
        path: parsed.path.to_vec(),
        why: why.to_owned(),
    };
    let kind = kind(parsed).map_err(refuse)?;
    if !matches!(kind, Kind::File(_)) && parsed.size != 0 {
        // Readers that skip this content and readers that do not see different archives.
        return Err(refuse("it has content, which its kind may not have"));
    }
    // 2^32-1 means "leave as it is" to chown(2), which would leave it to root.
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    Ok(Entry {
        kind,
        uid: id(parsed.uid).ok_or_else(|| refuse("its user ID is out of range"))?,
        gid: id(parsed.gid).ok_or_else(|| refuse("its group ID is out of range"))?,
        mode: parsed.mode & 0o7777,
        time: facts
            .pax_time
            .unwrap_or_else(|| strict::header_time(parsed.header.as_bytes(), parsed.mtime)),
        xattrs: parsed
            .xattrs
            .iter()
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect(),
        path: parsed.path.to_vec(),
    })
}

fn kind(parsed: &ParsedEntry<'_>) -> Result<Kind, &'static str> {
    let target = || {
        let target = parsed.link_target.as_deref().unwrap_or_default();
        if target.is_empty() {
            Err("it links to nothing")
        } else if target.contains(&0) {
            Err("its target has a NUL in it")
        } else {
            Ok(target.to_vec())
        }
    };
    let device = || {
        let numbers = parsed.dev_major.zip(parsed.dev_minor);
        // What Linux can hold: 12 bits of major, 20 of minor.
        numbers
            .filter(|(major, minor)| *major < 1 << 12 && *minor < 1 << 20)
            .ok_or("its device number is out of range")
    };
    Ok(match parsed.entry_type {
        // Archives older than ustar mark a directory by a slash only.
        EntryType::Regular if parsed.header.as_bytes()[156] == 0 && parsed.path.ends_with(b"/") => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous => Kind::File(parsed.size),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::HardLink(target()?),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => match device()? {
            // Overlayfs takes this one for a whiteout.
            (0, 0) => return Err("a character device 0:0 would hide a file of a lower layer"),
            (major, minor) => Kind::CharDevice(major, minor),
        },
        EntryType::Block => {
            let (major, minor) = device()?;
            Kind::BlockDevice(major, minor)
        }
        _ => return Err("it is of an unknown kind"),
    })
}
