//! Text that files of the image get, in the container's own writable layer.
//!
//! An image decides what is found at a path. So what is there is looked at
//! before it is opened (a FIFO waits for its other end, a device acts), and all
//! of it is resolved inside the root.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use ucr_sys::inroot::{self, InRoot, Kind, Links};
use ucr_sys::{Errno, FileType, Stat, at};

use crate::failure::{Cause, During, Failure, Step};
use crate::plan::{Additions, Bytes, HashDirectory, HashedFile, Missing};

/// Largest file that is added to: the first write to a file copies all of it out of its layer.
const FILE_MAX: u64 = 16 << 20;
/// Most files of one hash that are looked past for a free number.
const NUMBERS_MAX: u32 = 1 << 16;

/// Writes `additions` inside `root`, where nothing is mounted yet.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Additions`] that names the path: it is no regular
/// file, larger than 16 MiB, behind a loop of links, or cannot be written.
pub fn make(root: &InRoot, additions: &Additions) -> Result<(), Failure> {
    let mut writer = Writer {
        root,
        text: &additions.text.0,
        written: Vec::new(),
    };
    let mut found = false;
    for file in &additions.files {
        let there = writer.add(&file.path)?;
        if !there && file.missing == Missing::Make {
            writer.make(&file.path)?;
        }
        found |= there;
    }
    if !found {
        writer.make(&additions.fallback)?;
    }
    add_hashed(root, &additions.hashed)
}

/// Which file a path led to: its device and inode number.
type Identity = (u64, u64);

/// Adds one text to files, to each of them once.
struct Writer<'a> {
    root: &'a InRoot,
    text: &'a [u8],
    written: Vec<Identity>,
}

impl Writer<'_> {
    /// Adds the text to the file at `path`; false where there is none.
    fn add(&mut self, path: &Bytes) -> Result<bool, Failure> {
        let place = match self.root.place(path.as_path(), Links::Follow) {
            Err(error) if is_absent(&error) => return Ok(false),
            other => other.during(Step::Additions, path)?,
        };
        let stat = inroot::stat(place.as_fd()).during(Step::Additions, path)?;
        if self.written.contains(&identity(&stat)) {
            return Ok(true);
        }
        check(&stat).during(Step::Additions, path)?;
        let written = self.append(path).during(Step::Additions, path)?;
        self.written.push(written);
        Ok(true)
    }

    /// Makes the file at `path` of the text, unless the text went there under another name.
    fn make(&mut self, path: &Bytes) -> Result<(), Failure> {
        self.root
            .ensure(path.as_path(), Kind::File, Links::Follow)
            .during(Step::Additions, path)?;
        self.add(path).map(drop)
    }

    fn append(&self, path: &Bytes) -> ucr_sys::Result<Identity> {
        let mut file = self.root.appendable_file(path.as_path())?;
        if !ends_a_line(&file).map_err(|error| io_error("read", path, &error))? {
            write(&mut file, b"\n", path)?;
        }
        write(&mut file, self.text, path)?;
        // Of the copy: opened for writing, a file of a layer may get another number.
        inroot::stat(file.as_fd()).map(|stat| identity(&stat))
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn check(stat: &Stat) -> Result<(), Cause> {
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Cause::NotFile);
    }
    match u64::try_from(stat.st_size) {
        Ok(size) if size <= FILE_MAX => Ok(()),
        _ => Err(Cause::TooLarge(FILE_MAX)),
    }
}

/// Whether nothing, or a line end, is at the end of `file`.
fn ends_a_line(file: &File) -> std::io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Makes the files of `hashed`, if programs look into this directory by hash.
fn add_hashed(root: &InRoot, hashed: &HashDirectory) -> Result<(), Failure> {
    let path = &hashed.path;
    let directory = match root.directory(path.as_path()) {
        Err(error) if is_absent(&error) => return Ok(()),
        other => other.during(Step::Additions, path)?,
    };
    let directory = directory.as_fd();
    if !at::has_name(directory, is_hash_name).during(Step::Additions, path)? {
        return Ok(());
    }
    for file in &hashed.files {
        let mut new = create_numbered(directory, file).during(Step::Additions, path)?;
        write(&mut new, &file.content.0, path).during(Step::Additions, path)?;
        at::set_mode_fd(new.as_fd(), 0o644).during(Step::Additions, path)?;
    }
    Ok(())
}

/// Creates `file` with the first number that no file of its hash has.
fn create_numbered(directory: BorrowedFd<'_>, file: &HashedFile) -> ucr_sys::Result<File> {
    let mut number = 0;
    loop {
        let name = format!("{}.{number}", file.hash);
        match at::create_file(directory, name.as_bytes()) {
            Err(error) if error.errno() == Errno::EXIST && number < NUMBERS_MAX => number += 1,
            other => return other.map(File::from),
        }
    }
}

/// Eight hexadecimal digits, a dot and a digit, openssl-rehash(1).
fn is_hash_name(name: &[u8]) -> bool {
    match name {
        [hash @ .., b'.', number] => {
            hash.len() == 8 && hash.iter().all(u8::is_ascii_hexdigit) && number.is_ascii_digit()
        }
        _ => false,
    }
}

fn is_absent(error: &ucr_sys::Error) -> bool {
    error.is_not_found() || error.errno() == Errno::NOTDIR
}

fn write(file: &mut File, text: &[u8], path: &Bytes) -> ucr_sys::Result<()> {
    file.write_all(text)
        .map_err(|error| io_error("write", path, &error))
}

fn io_error(call: &'static str, path: &Bytes, error: &std::io::Error) -> ucr_sys::Error {
    ucr_sys::Error::from_io(call, format!("{:?}", path.as_path()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::plan::AddedFile;

    /// A root below a temporary directory, to be filled by the test.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let temp = tempfile::tempdir().expect("tempdir");
            std::fs::create_dir(temp.path().join("root")).expect("mkdir");
            Self(temp)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join("root").join(name)
        }

        fn file(self, name: &str, content: &str) -> Self {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            let mut file = File::create(path).expect("create");
            file.write_all(content.as_bytes()).expect("write");
            self
        }

        fn link(self, name: &str, target: &str) -> Self {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            symlink(target, path).expect("symlink");
            self
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).expect(name)
        }

        /// Adds "new" to `/a` and `/b` where they are, and to `/made`.
        fn add(&self, made: &[&str]) -> Result<(), Failure> {
            let file = |path: &&str, missing| AddedFile {
                path: (*path).into(),
                missing,
            };
            let skipped = ["/a", "/b"].iter().map(|path| file(path, Missing::Skip));
            let made = made.iter().map(|path| file(path, Missing::Make));
            let hashed = ["one", "two"].map(|content| HashedFile {
                hash: "0123abcd".into(),
                content: content.into(),
            });
            let additions = Additions {
                text: "new\n".into(),
                files: skipped.chain(made).collect(),
                fallback: "/deep/in/side".into(),
                hashed: HashDirectory {
                    path: "/hashes".into(),
                    files: hashed.into(),
                },
            };
            let root = inroot::host_place(&self.path("")).expect("open");
            make(&InRoot::new(root), &additions)
        }

        fn cause(&self) -> (Vec<u8>, Cause) {
            let failure = self.add(&[]).expect_err("refused");
            assert_eq!((failure.step, failure.exit_code()), (Step::Additions, 125));
            (failure.operand, failure.cause)
        }
    }

    #[test]
    fn text_comes_after_a_whole_line() {
        let tree = Tree::new().file("a", "line\n").file("b", "no end");
        tree.add(&[]).expect("add");
        assert_eq!(tree.read("a"), "line\nnew\n");
        assert_eq!(tree.read("b"), "no end\nnew\n");
        assert!(!tree.path("deep").exists());
    }

    #[test]
    fn a_file_of_several_names_gets_it_once() {
        let tree = Tree::new()
            .file("real/file", "")
            .link("a", "b")
            .link("b", "/real/file");
        tree.add(&["/real/../real/file"]).expect("add");
        assert_eq!(tree.read("real/file"), "new\n");
    }

    #[test]
    fn a_file_that_is_missing_is_made_where_asked_and_the_fallback_beside_it() {
        let tree = Tree::new().link("b", "nowhere");
        tree.add(&["/x/y/made"]).expect("add");
        for name in ["x/y/made", "deep/in/side"] {
            assert_eq!(tree.read(name), "new\n", "{name}");
        }
        assert!(!tree.path("a").exists() && !tree.path("nowhere").exists());
    }

    #[test]
    fn a_fallback_that_was_made_already_gets_it_once() {
        let tree = Tree::new().link("b", "deep/in/side");
        tree.add(&["/b"]).expect("add");
        assert_eq!(tree.read("deep/in/side"), "new\n");
    }

    #[test]
    fn a_directory_of_hashes_gets_files_of_free_numbers() {
        let tree = Tree::new()
            .file("hashes/0123abcd.0", "old")
            .link("hashes/0123abcd.2", "dangling");
        tree.add(&[]).expect("add");
        let names = ["0123abcd.0", "0123abcd.1", "0123abcd.3"];
        let contents = names.map(|name| tree.read(&format!("hashes/{name}")));
        assert_eq!(contents, ["old", "one", "two"]);
    }

    #[test]
    fn a_directory_without_hashes_is_left_alone() {
        for name in ["ca.crt", "0123abc.0", "0123abcdg.0", "0123abcd.x", "hashes"] {
            let tree = Tree::new().file(&format!("hashes/{name}"), "");
            tree.add(&[]).expect("add");
            let left = std::fs::read_dir(tree.path("hashes")).expect("list");
            assert_eq!(left.count(), 1, "{name}");
        }
        Tree::new().file("hashes", "").add(&[]).expect("a file");
    }

    #[test]
    fn s23_what_is_no_regular_file_is_refused_unopened() {
        let tree = Tree::new();
        let status = std::process::Command::new("mkfifo")
            .arg(tree.path("a"))
            .status();
        assert!(status.expect("mkfifo").success());
        assert_eq!(tree.cause(), (b"/a".to_vec(), Cause::NotFile));

        let tree = Tree::new().file("b/file", "");
        assert_eq!(tree.cause(), (b"/b".to_vec(), Cause::NotFile));
    }

    #[test]
    fn s23_a_loop_of_links_is_refused() {
        let tree = Tree::new().link("a", "b").link("b", "a");
        let (operand, cause) = tree.cause();
        let errno = Errno::LOOP.raw_os_error();
        assert_eq!(operand, b"/a");
        assert!(
            matches!(cause, Cause::System { errno: found, .. } if found == errno),
            "{cause:?}"
        );
    }

    #[test]
    fn s23_a_file_of_more_than_16_mebibytes_is_refused_as_it_is() {
        let tree = Tree::new().file("a", "");
        let resize = |size| {
            let file = File::options().write(true).open(tree.path("a"));
            file.expect("open").set_len(size).expect("truncate");
        };
        resize(FILE_MAX + 1);
        assert_eq!(tree.cause(), (b"/a".to_vec(), Cause::TooLarge(FILE_MAX)));
        assert_eq!(tree.path("a").metadata().expect("stat").len(), FILE_MAX + 1);
        resize(FILE_MAX);
        tree.add(&[]).expect("just as large as may be");
    }

    #[test]
    fn s23_links_that_climb_out_lead_to_files_inside() {
        let tree = Tree::new();
        let outside = tree.0.path().join("outside");
        File::create(&outside).expect("create");
        let absolute = outside.to_str().expect("name").to_owned();
        let tree = tree.link("up", "../../../..").link("abs", &absolute);
        tree.add(&["/up/outside", "/abs"]).expect("add");
        assert_eq!(tree.read("outside"), "new\n");
        assert_eq!(tree.read(absolute.trim_start_matches('/')), "new\n");
        assert_eq!(Path::new(&outside).metadata().expect("stat").len(), 0);
    }
}
