//! Layers as tar archives, made entry by entry, well-formed or hostile.
//!
//! Written against the formats themselves (POSIX.1-2017 pax, "ustar
//! Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar
//! Format"), with no tar library between, so that a test controls every byte.

use std::io::Write;

use flate2::write::GzEncoder;

use crate::image::sha256_digest;

const BLOCK: usize = 512;
const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK_NAME: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const MAJOR: std::ops::Range<usize> = 329..337;
const MINOR: std::ops::Range<usize> = 337..345;

/// Which format a header claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// `ustar\0` `00`.
    Ustar,
    /// `ustar  \0`.
    Gnu,
    /// None: the format of Unix V7.
    V7,
}

/// What is written as the checksum of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The sum of unsigned bytes, as the standard says.
    Right,
    /// The sum of signed bytes, as some old programs wrote.
    Signed,
    /// A wrong one.
    Wrong,
}

/// One entry of a layer. Nothing that is set here is checked.
#[derive(Debug, Clone)]
pub struct Entry {
    name: Vec<u8>,
    type_flag: u8,
    mode: i128,
    uid: i128,
    gid: i128,
    size: Option<i128>,
    mtime: i128,
    link_name: Vec<u8>,
    device: Option<(i128, i128)>,
    content: Vec<u8>,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
    magic: Magic,
    checksum: Checksum,
    overwrites: Vec<(usize, Vec<u8>)>,
}

impl Entry {
    /// Starts an entry of any type.
    pub fn new(type_flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            type_flag,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: None,
            mtime: 1_600_000_000,
            link_name: Vec::new(),
            device: None,
            content: Vec::new(),
            pax: Vec::new(),
            magic: Magic::Ustar,
            checksum: Checksum::Right,
            overwrites: Vec::new(),
        }
    }

    /// A regular file of mode 0644.
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            content: content.as_ref().to_vec(),
            ..Self::new(b'0', name)
        }
    }

    /// A directory of mode 0755.
    pub fn dir(name: impl AsRef<[u8]>) -> Self {
        Self {
            mode: 0o755,
            ..Self::new(b'5', name)
        }
    }

    /// A symbolic link.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            mode: 0o777,
            link_name: target.as_ref().to_vec(),
            ..Self::new(b'2', name)
        }
    }

    /// A hard link to an entry of this or an earlier layer.
    pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link_name: target.as_ref().to_vec(),
            ..Self::new(b'1', name)
        }
    }

    /// A character device.
    pub fn char_device(name: impl AsRef<[u8]>, major: i128, minor: i128) -> Self {
        Self {
            device: Some((major, minor)),
            ..Self::new(b'3', name)
        }
    }

    /// A block device.
    pub fn block_device(name: impl AsRef<[u8]>, major: i128, minor: i128) -> Self {
        Self {
            device: Some((major, minor)),
            ..Self::new(b'4', name)
        }
    }

    /// A fifo.
    pub fn fifo(name: impl AsRef<[u8]>) -> Self {
        Self::new(b'6', name)
    }

    /// The marker that hides `path` of lower layers (OCI image-spec, layer.md, "Whiteouts").
    pub fn whiteout(path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if parent.is_empty() { "" } else { "/" };
        Self::file(format!("{parent}{slash}.wh.{name}"), b"")
    }

    /// The marker that hides all that lower layers have in a directory; `""` is the root.
    pub fn opaque(directory: &str) -> Self {
        let slash = if directory.is_empty() { "" } else { "/" };
        Self::file(format!("{directory}{slash}.wh..wh..opq"), b"")
    }

    /// Sets the permission bits, or anything else that the field can hold.
    pub fn mode(mut self, mode: i128) -> Self {
        self.mode = mode;
        self
    }

    /// Sets user and group; what does not fit octal is written in base 256.
    pub fn owner(mut self, uid: i128, gid: i128) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Sets the modification time in seconds.
    pub fn mtime(mut self, seconds: i128) -> Self {
        self.mtime = seconds;
        self
    }

    /// Sets the content, of any type of entry.
    pub fn content(mut self, content: impl AsRef<[u8]>) -> Self {
        self.content = content.as_ref().to_vec();
        self
    }

    /// Claims another size than the content has.
    pub fn claim_size(mut self, size: i128) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets the link target, of any type of entry.
    pub fn link_name(mut self, target: impl AsRef<[u8]>) -> Self {
        self.link_name = target.as_ref().to_vec();
        self
    }

    /// Adds a PAX record in an extended header before this entry.
    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax
            .push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds an extended attribute as the record `SCHILY.xattr.NAME`.
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// Sets the format that the header claims.
    pub fn magic(mut self, magic: Magic) -> Self {
        self.magic = magic;
        self
    }

    /// Sets what is written as checksum.
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Overwrites bytes of the header before its checksum is computed.
    pub fn overwrite(mut self, offset: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.overwrites.push((offset, bytes.as_ref().to_vec()));
        self
    }

    /// Writes the entry as it stands in an archive, with its PAX header if it needs one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut pax = self.pax.clone();
        for (key, value) in [("path", &self.name), ("linkpath", &self.link_name)] {
            let given = pax.iter().any(|(present, _)| present == key.as_bytes());
            if value.len() > NAME.len() && !given {
                pax.push((key.into(), value.clone()));
            }
        }
        let mut bytes = Vec::new();
        if !pax.is_empty() {
            bytes.extend(pax_header(b'x', &pax_records(&pax)));
        }
        bytes.extend(self.header());
        bytes.extend(&self.content);
        pad(&mut bytes);
        bytes
    }

    fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        put(&mut header[NAME], &self.name);
        put_number(&mut header[MODE], self.mode);
        put_number(&mut header[UID], self.uid);
        put_number(&mut header[GID], self.gid);
        let length = i128::try_from(self.content.len()).unwrap();
        put_number(&mut header[SIZE], self.size.unwrap_or(length));
        put_number(&mut header[MTIME], self.mtime);
        header[TYPE] = self.type_flag;
        put(&mut header[LINK_NAME], &self.link_name);
        match self.magic {
            Magic::Ustar => put(&mut header[MAGIC], b"ustar\x0000"),
            Magic::Gnu => put(&mut header[MAGIC], b"ustar  \0"),
            Magic::V7 => {}
        }
        if let Some((major, minor)) = self.device {
            put_number(&mut header[MAJOR], major);
            put_number(&mut header[MINOR], minor);
        }
        for (offset, bytes) in &self.overwrites {
            header[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        let sum = self.checksum.of(&header);
        put(&mut header[CHECKSUM], format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

impl Checksum {
    fn of(self, header: &[u8; BLOCK]) -> i64 {
        let mut header = *header;
        header[CHECKSUM].fill(b' ');
        let unsigned = header.iter().map(|&byte| i64::from(byte)).sum();
        match self {
            Self::Right => unsigned,
            Self::Signed => header
                .iter()
                .map(|&byte| i64::from(byte.cast_signed()))
                .sum(),
            Self::Wrong => unsigned + 1,
        }
    }
}

/// Makes a layer, entry after entry.
#[derive(Debug, Clone, Default)]
pub struct LayerBuilder {
    bytes: Vec<u8>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, Default)]
enum Ending {
    #[default]
    Marker,
    Nothing,
}

impl LayerBuilder {
    /// Starts an empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.bytes.extend(entry.to_bytes());
        self
    }

    /// Adds a directory with its mode.
    pub fn dir(self, name: &str, mode: i128) -> Self {
        self.entry(Entry::dir(name).mode(mode))
    }

    /// Adds a regular file of mode 0644.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::file(name, content))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(Entry::symlink(name, target))
    }

    /// Adds a hard link.
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(Entry::hardlink(name, target))
    }

    /// Adds a whiteout of `path`.
    pub fn whiteout(self, path: &str) -> Self {
        self.entry(Entry::whiteout(path))
    }

    /// Adds an opaque marker to a directory; `""` is the root.
    pub fn opaque(self, directory: &str) -> Self {
        self.entry(Entry::opaque(directory))
    }

    /// Adds a PAX header (`x`, or `g` for a global one) with this very body.
    pub fn pax_header(mut self, type_flag: u8, body: &[u8]) -> Self {
        self.bytes.extend(pax_header(type_flag, body));
        self
    }

    /// Adds a GNU `L` entry, which names the next entry.
    pub fn gnu_long_name(self, name: impl AsRef<[u8]>) -> Self {
        let content = [name.as_ref(), b"\0"].concat();
        let entry = Entry::new(b'L', "././@LongLink").magic(Magic::Gnu);
        self.entry(entry.content(content))
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend(bytes.as_ref());
        self
    }

    /// Leaves out the two zero blocks at the end.
    pub fn without_end_marker(mut self) -> Self {
        self.ending = Ending::Nothing;
        self
    }

    /// Finishes the layer.
    pub fn build(mut self) -> Layer {
        if let Ending::Marker = self.ending {
            self.bytes.extend([0; 2 * BLOCK]);
        }
        Layer::from_bytes(self.bytes)
    }
}

/// An uncompressed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The tar archive.
    pub bytes: Vec<u8>,
    /// Its digest, as the image's config lists it.
    pub diff_id: String,
}

/// How a layer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Plain,
    /// One gzip member.
    Gzip,
    /// Several gzip members, as pigz and eStargz write.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
    /// One xz stream.
    Xz,
    /// One bzip2 stream.
    Bzip2,
}

/// A layer as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: String,
    /// How they are compressed.
    pub compression: Compression,
}

impl Layer {
    /// Takes any bytes as a layer.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let diff_id = sha256_digest(&bytes);
        Self { bytes, diff_id }
    }

    /// The first `length` bytes as a layer of its own.
    pub fn truncated(&self, length: usize) -> Self {
        Self::from_bytes(self.bytes[..length].to_vec())
    }

    /// Compresses the layer.
    pub fn compress(&self, compression: Compression) -> Blob {
        let bytes = match compression {
            Compression::Plain => self.bytes.clone(),
            Compression::Gzip => gzip(&self.bytes),
            Compression::GzipMembers(count) => {
                let part = self.bytes.len().div_ceil(count).max(1);
                self.bytes.chunks(part).flat_map(gzip).collect()
            }
            Compression::Zstd => zstd::encode_all(self.bytes.as_slice(), 1).unwrap(),
            Compression::Xz => liblzma::encode_all(self.bytes.as_slice(), 0).unwrap(),
            Compression::Bzip2 => bzip2(&self.bytes),
        };
        Blob {
            digest: sha256_digest(&bytes),
            bytes,
            compression,
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pax_header(type_flag: u8, body: &[u8]) -> Vec<u8> {
    let entry = Entry {
        content: body.to_vec(),
        ..Entry::new(type_flag, "PaxHeaders/x")
    };
    let mut bytes = entry.header().to_vec();
    bytes.extend(body);
    pad(&mut bytes);
    bytes
}

/// Each record is "LENGTH KEY=VALUE\n", where LENGTH counts itself.
fn pax_records(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        body.extend(format!("{length} ").bytes());
        body.extend(key);
        body.push(b'=');
        body.extend(value);
        body.push(b'\n');
    }
    body
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// Writes as much of the value as fits.
fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Octal where it fits, else GNU's base 256, negative numbers too.
fn put_number(field: &mut [u8], value: i128) {
    let digits = field.len() - 1;
    let octal = format!("{:0digits$o}", value.max(0));
    if value >= 0 && octal.len() == digits {
        put(field, octal.as_bytes());
        return;
    }
    let bytes = value.to_be_bytes();
    let start = bytes.len() - field.len();
    field.copy_from_slice(&bytes[start..]);
    field[0] |= 0x80;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{need_command, tree};

    /// GNU tar is the judge of whether the archives are what they should be.
    fn extract(layer: &Layer) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("tar")
            .args(["-xf", "-", "--xattrs", "--xattrs-include=user.*", "-C"])
            .arg(directory.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&layer.bytes).unwrap();
        assert!(child.wait().unwrap().success());
        directory
    }

    #[test]
    fn gnu_tar_reads_what_is_built() {
        need_command!("tar");
        let long = format!("deep/{}", "n".repeat(150));
        let layer = LayerBuilder::new()
            .dir("etc", 0o750)
            .file("etc/hello", "hello")
            .symlink("link", "etc/hello")
            .hardlink("hard", "etc/hello")
            .entry(Entry::fifo("fifo"))
            .entry(Entry::file(&long, "x").mode(0o600).mtime(5))
            .build();
        let directory = extract(&layer);
        let listing = tree(directory.path());
        assert!(listing.contains("/etc/hello file 0644"), "{listing}");
        assert!(listing.contains("/link symlink"), "{listing}");
        assert!(listing.contains("/fifo fifo"), "{listing}");
        assert!(listing.contains(&format!("/{long} file 0600")), "{listing}");
    }

    #[test]
    fn numbers_that_do_not_fit_octal_are_in_base_256() {
        let mut field = [0; 8];
        put_number(&mut field, 0o7_777_777);
        assert_eq!(&field, b"7777777\0");
        put_number(&mut field, 1 << 32);
        assert_eq!(field, [0x80, 0, 0, 1, 0, 0, 0, 0]);
        put_number(&mut field, -1);
        assert_eq!(field, [0xff; 8]);
    }

    #[test]
    fn a_pax_record_counts_its_own_length() {
        let record = |value: usize| pax_records(&[(b"k".to_vec(), vec![b'v'; value])]);
        assert_eq!(record(1), b"6 k=v\n");
        for length in 1..200 {
            let text = String::from_utf8(record(length)).unwrap();
            let (said, _) = text.split_once(' ').unwrap();
            assert_eq!(said.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn every_compression_gives_back_the_layer() {
        let layer = LayerBuilder::new().file("a", [7; 5000]).build();
        let gunzip = |bytes: &[u8]| {
            let mut out = Vec::new();
            std::io::copy(&mut flate2::read::MultiGzDecoder::new(bytes), &mut out).unwrap();
            out
        };
        assert_eq!(
            gunzip(&layer.compress(Compression::Gzip).bytes),
            layer.bytes
        );
        let members = layer.compress(Compression::GzipMembers(3));
        assert_eq!(gunzip(&members.bytes), layer.bytes);
        assert_ne!(members.digest, layer.compress(Compression::Gzip).digest);
        let zstd = layer.compress(Compression::Zstd);
        assert_eq!(
            zstd::decode_all(zstd.bytes.as_slice()).unwrap(),
            layer.bytes
        );
        assert_eq!(layer.compress(Compression::Plain).digest, layer.diff_id);
    }
}
