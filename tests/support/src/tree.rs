//! Directory trees as text, to compare what was unpacked with what should be,
//! and what should not have changed with what it was.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

use crate::image::sha256_digest;

/// Writes a tree as sorted lines: path, type, mode, owner, size, time, and what
/// only some have: link target, device number, extended attributes, content hash.
///
/// The root itself is `/`. Symbolic links are not followed, and only regular
/// files are opened.
pub fn tree(root: &Path) -> String {
    let mut lines = Vec::new();
    visit(root, Path::new("/"), &mut |path, shown| {
        lines.push(describe(path, shown));
    });
    lines.sort();
    lines.concat()
}

/// A tree that must not change while something hostile is unpacked beside it.
#[derive(Debug)]
pub struct Sentinel {
    root: PathBuf,
    before: String,
}

impl Sentinel {
    /// Fills a directory with a file, a link, and a subdirectory, and remembers them.
    pub fn plant(root: &Path) -> Self {
        std::fs::create_dir_all(root.join("dir")).unwrap();
        for name in ["file", "dir/inner"] {
            put(&root.join(name), b"do not touch");
        }
        std::os::unix::fs::symlink("file", root.join("link")).unwrap();
        Self::watch(root)
    }

    /// Remembers a tree that is there.
    pub fn watch(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            before: Self::record(root),
        }
    }

    /// Panics if bytes, mode, owner, time, or number of links of anything changed.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        assert_eq!(
            Self::record(&self.root),
            self.before,
            "{} changed",
            self.root.display()
        );
    }

    fn record(root: &Path) -> String {
        let mut links = Vec::new();
        visit(root, Path::new("/"), &mut |path, shown| {
            let nlink = path.symlink_metadata().unwrap().nlink();
            links.push(format!("{} nlink={nlink}\n", shown.display()));
        });
        links.sort();
        tree(root) + &links.concat()
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own files, by path")]
fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn visit(path: &Path, shown: &Path, each: &mut dyn FnMut(&Path, &Path)) {
    each(path, shown);
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            visit(&entry.path(), &shown.join(entry.file_name()), each);
        }
    }
}

fn describe(path: &Path, shown: &Path) -> String {
    let metadata = path.symlink_metadata().unwrap();
    let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    let name = shown.as_os_str().as_bytes().escape_ascii();
    let mut line = format!("{name} {} {mode:04o} {uid}:{gid}", kind(&metadata));
    if !metadata.is_dir() {
        write!(line, " size={}", metadata.len()).unwrap();
    }
    write!(
        line,
        " mtime={}.{:09}",
        metadata.mtime(),
        metadata.mtime_nsec()
    )
    .unwrap();
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
    }
    let device = metadata.rdev();
    if metadata.file_type().is_char_device() || metadata.file_type().is_block_device() {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        write!(line, " device={major}:{minor}").unwrap();
    }
    for (name, value) in attributes(path) {
        write!(line, " {}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    if metadata.is_file() {
        let digest = sha256_digest(&std::fs::read(path).unwrap());
        write!(line, " {}", &digest[..23]).unwrap();
    }
    line + "\n"
}

fn kind(metadata: &Metadata) -> &'static str {
    let file_type = metadata.file_type();
    match () {
        () if file_type.is_dir() => "dir",
        () if file_type.is_file() => "file",
        () if file_type.is_symlink() => "symlink",
        () if file_type.is_fifo() => "fifo",
        () if file_type.is_char_device() => "char",
        () if file_type.is_block_device() => "block",
        () => "socket",
    }
}

/// Extended attributes, sorted by name; none where the file system has none.
fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    // The kernel's limits for a list and for a value (xattr(7)).
    let mut names = vec![0; 64 << 10];
    let Ok(length) = llistxattr(path, names.as_mut_slice()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for name in names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_in_order_with_what_matters() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("b")).unwrap();
        put(&root.join("b/file"), b"x");
        std::os::unix::fs::symlink("/b", root.join("a\n")).unwrap();
        for (name, mode) in [("", 0o700), ("b", 0o755), ("b/file", 0o644)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(root.join(name), mode).unwrap();
        }
        let listing = tree(root);
        let names: Vec<_> = listing
            .lines()
            .map(|line| line.split(" mtime").next().unwrap())
            .collect();
        let (uid, gid) = (
            root.metadata().unwrap().uid(),
            root.metadata().unwrap().gid(),
        );
        assert_eq!(
            names,
            [
                format!("/ dir 0700 {uid}:{gid}"),
                format!("/a\\n symlink 0777 {uid}:{gid} size=2"),
                format!("/b dir 0755 {uid}:{gid}"),
                format!("/b/file file 0644 {uid}:{gid} size=1"),
            ]
        );
        assert!(listing.contains(" -> /b\n"), "{listing}");
        assert!(listing.contains("sha256:2d711642b726b044"), "{listing}");
    }

    #[test]
    fn a_sentinel_notices_a_new_link_and_a_new_byte() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("sentinel");
        let sentinel = Sentinel::plant(&root);
        sentinel.assert_unchanged();

        let outside = directory.path().join("outside");
        std::fs::hard_link(root.join("file"), &outside).unwrap();
        assert_ne!(Sentinel::record(&root), sentinel.before);
        std::fs::remove_file(&outside).unwrap();
        sentinel.assert_unchanged();

        put(&root.join("dir/inner"), b"do not touch!");
        assert_ne!(Sentinel::record(&root), sentinel.before);
    }
}
