//! The least that pulling can cost on a machine: what `scripts/bench` holds `ucr pull` against.
//!
//! Fetches the layers of an image over TLS, side by side, and for each keeps a copy of the
//! compressed bytes, hashes them, decompresses, hashes again and writes the files: three threads
//! a layer, so that even one layer finds work for three cores. Nothing is resumed, locked or made
//! durable, no owner, mode or time is set, and the archive is trusted: it is not a puller, and
//! unpacks only what the bench itself has made.
//!
//! `floor HOST REPOSITORY CAFILE DIRECTORY DIGEST…`, and `$FLOOR_USER` is `user:password`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, of which the password must not stand in the arguments"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use curl::easy::Easy;
use sha2::{Digest, Sha256};

type Failure = Box<dyn Error + Send + Sync>;

/// Bytes that threads hand on at once, and how many such portions wait in between.
const PORTION: usize = 128 * 1024;
const WAITING: usize = 8;
/// As many connections as `ucr pull` has.
const CONNECTIONS: usize = 6;
const BLOCK: usize = 512;

struct Image {
    /// All of the URL of a blob but its digest.
    blobs: String,
    cafile: PathBuf,
    user: String,
    directory: PathBuf,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, repository, cafile, directory, digests @ ..] = &arguments[..] else {
        return Err("usage: floor HOST REPOSITORY CAFILE DIRECTORY DIGEST…".into());
    };
    let image = Image {
        blobs: format!("https://{host}/v2/{repository}/blobs/"),
        cafile: cafile.into(),
        user: std::env::var("FLOOR_USER")?,
        directory: directory.into(),
    };
    let waiting = Mutex::new(digests.iter().enumerate());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let work = || -> Result<(), Failure> {
        while let Some((number, digest)) = next() {
            layer(&image, number, digest)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| ended(worker.join())?)
    })
}

fn ended<T>(joined: thread::Result<T>) -> Result<T, Failure> {
    joined.map_err(|_panic| "a thread panicked".into())
}

/// One layer: this thread fetches, the second decompresses, the third writes.
fn layer(image: &Image, number: usize, digest: &str) -> Result<(), Failure> {
    let copy = File::create(image.directory.join(format!("{number}.compressed")))?;
    let tree = image.directory.join(number.to_string());
    fs::create_dir_all(&tree)?;
    let (compressed, fetched) = mpsc::sync_channel(WAITING);
    let (plain, decompressed) = mpsc::sync_channel(WAITING);
    thread::scope(|scope| {
        let decompressing = scope.spawn(move || decompress(Portions::of(fetched), &plain));
        let writing = scope.spawn(move || write_tree(Portions::of(decompressed), &tree));
        let fetched = fetch(image, digest, &copy, compressed);
        let plain_digest = ended(writing.join())?;
        ended(decompressing.join())??;
        let (fetched, plain_digest) = (fetched?, plain_digest?);
        println!("{digest} {plain_digest}");
        match fetched == digest {
            true => Ok(()),
            false => Err(format!("{digest} came as {fetched}").into()),
        }
    })
}

/// Hands a blob on, keeps a copy, and gives its digest.
fn fetch(
    image: &Image,
    digest: &str,
    mut copy: &File,
    compressed: SyncSender<Vec<u8>>,
) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let mut hand_on = |portion: &mut Vec<u8>| -> Result<(), Failure> {
        copy.write_all(portion)?;
        hasher.update(&portion);
        let next = Vec::with_capacity(2 * PORTION);
        compressed.send(std::mem::replace(portion, next))?;
        Ok(())
    };
    let mut easy = Easy::new();
    easy.url(&format!("{}{digest}", image.blobs))?;
    easy.cainfo(&image.cafile)?;
    let (name, password) = image.user.split_once(':').unwrap_or_default();
    easy.username(name)?;
    easy.password(password)?;
    easy.fail_on_error(true)?;
    easy.buffer_size(PORTION)?;
    let mut portion = Vec::with_capacity(2 * PORTION);
    {
        let mut transfer = easy.transfer();
        transfer.write_function(|bytes| {
            portion.extend_from_slice(bytes);
            let taken = portion.len() < PORTION || hand_on(&mut portion).is_ok();
            Ok(if taken { bytes.len() } else { 0 })
        })?;
        transfer.perform()?;
    }
    hand_on(&mut portion)?;
    Ok(format!("sha256:{}", hex::encode(hasher.finalize())))
}

fn decompress(mut compressed: Portions, plain: &SyncSender<Vec<u8>>) -> Result<(), Failure> {
    let is_zstd = compressed.fill_buf()?.starts_with(&[0x28, 0xb5]);
    let mut reader: Box<dyn Read> = match is_zstd {
        true => Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?),
        false => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
    };
    loop {
        let mut portion = vec![0; PORTION];
        let count = reader.read(&mut portion)?;
        if count == 0 {
            return Ok(());
        }
        portion.truncate(count);
        plain.send(portion)?;
    }
}

/// Writes directories, files and symbolic links of an archive, and gives its digest.
fn write_tree(plain: Portions, tree: &Path) -> Result<String, Failure> {
    let mut archive = Archive {
        plain,
        hasher: Sha256::new(),
    };
    let mut long_name = None;
    loop {
        let mut header = Vec::with_capacity(BLOCK);
        archive.pass(BLOCK, |piece| header.write_all(piece))?;
        if header[0] == 0 {
            break;
        }
        let size = octal(&header[124..136]);
        let name = long_name.take().unwrap_or_else(|| text(&header[..100]));
        let path = tree.join(name.trim_matches('/'));
        match header[156] {
            b'5' => fs::create_dir_all(path)?,
            b'0' => {
                let mut file = create(&path)?;
                archive.pass(size, |piece| file.write_all(piece))?;
            }
            b'2' => std::os::unix::fs::symlink(text(&header[157..257]), path)?,
            b'L' => {
                let mut name = Vec::new();
                archive.pass(size, |piece| name.write_all(piece))?;
                long_name = Some(text(&name));
            }
            _ => archive.pass(size, |_| Ok(()))?,
        }
        archive.pass(size.next_multiple_of(BLOCK) - size, |_| Ok(()))?;
    }
    while archive.pass(1, |_| Ok(())).is_ok() {}
    Ok(format!("sha256:{}", hex::encode(archive.hasher.finalize())))
}

/// Creates a file, and what is missing on the way to it.
fn create(path: &Path) -> io::Result<File> {
    match File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(path)
        }
        other => other,
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

fn octal(field: &[u8]) -> usize {
    usize::from_str_radix(text(field).trim(), 8).unwrap_or(0)
}

/// The plain bytes of a layer, hashed as they pass.
struct Archive {
    plain: Portions,
    hasher: Sha256,
}

impl Archive {
    /// Hands `count` bytes to `take`, a piece at a time.
    fn pass(
        &mut self,
        mut count: usize,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while count > 0 {
            let is_new = self.plain.is_empty();
            let available = self.plain.fill_buf()?;
            if available.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if is_new {
                self.hasher.update(available);
            }
            let piece = available.len().min(count);
            take(&available[..piece])?;
            self.plain.consume(piece);
            count -= piece;
        }
        Ok(())
    }
}

/// What another thread hands on, as one stream.
struct Portions {
    portions: Receiver<Vec<u8>>,
    portion: Vec<u8>,
    at: usize,
}

impl Portions {
    fn of(portions: Receiver<Vec<u8>>) -> Self {
        Self {
            portions,
            portion: Vec::new(),
            at: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.at == self.portion.len()
    }
}

impl BufRead for Portions {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_empty() {
            self.portion = self.portions.recv().unwrap_or_default();
            self.at = 0;
        }
        Ok(&self.portion[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Portions {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
