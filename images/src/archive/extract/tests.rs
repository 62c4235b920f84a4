//! Archives as they come, and as an attacker makes them.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use ::zip::ZipWriter;
use ::zip::write::SimpleFileOptions;
use tempfile::TempDir;
use test_support::{Compression, Entry, LayerBuilder, Sentinel};

use super::*;

const MIB: usize = 1024 * 1024;

/// A sandbox, and beside it what nothing of an archive may touch.
struct Place {
    temp: TempDir,
    beside: Sentinel,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("sandbox")).unwrap();
        let beside = Sentinel::plant(&temp.path().join("beside"));
        Self { temp, beside }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("sandbox").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.temp.path().join("beside").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn extract(&self, bytes: &[u8], promised: Kind) -> Result<Extracted, Error> {
        self.extract_within(bytes, promised, limits())
    }

    /// Unpacks, and looks whether what stands beside is as it was.
    fn extract_within(
        &self,
        bytes: &[u8],
        promised: Kind,
        limits: Limits,
    ) -> Result<Extracted, Error> {
        let root = File::open(self.path("")).unwrap();
        let tree = Tree::new(root.as_fd(), owner());
        let done = extract(&file(bytes), promised, &tree, (limits, Deadline::default()));
        self.beside.assert_unchanged();
        done
    }

    /// What is there after an archive was refused for an entry: the rule that it breaks.
    #[track_caller]
    fn refused(&self, bytes: &[u8], promised: Kind) -> String {
        let error = self.extract(bytes, promised).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Refused, "{error}");
        error.to_string()
    }
}

fn owner() -> Owner {
    // As root another's, so that it shows whose a file is.
    let (uid, gid) = (ucr_sys::user_id(), ucr_sys::group_id());
    match uid {
        0 => Owner { uid: 77, gid: 78 },
        _ => Owner { uid, gid },
    }
}

fn limits() -> Limits {
    Limits {
        bytes: u64::MAX,
        entries: 1000,
        ratio: 200,
        ratio_from: 512 * MIB as u64,
    }
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn tar(builder: LayerBuilder) -> Vec<u8> {
    builder.build().bytes
}

/// A zip archive of files, each with a mode.
fn zip(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, content) in files {
        let options = SimpleFileOptions::default().unix_permissions(*mode);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip_with_symlink(name: &str, target: &str) -> ZipWriter<std::io::Cursor<Vec<u8>>> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    writer.add_symlink(name, target, options).unwrap();
    writer
}

#[test]
fn a_name_tells_what_is_unpacked_and_a_jar_stays_one() {
    let archive = |name: &str| Form::of_name(name.as_bytes());
    for name in [
        "a.tar",
        "a.tar.gz",
        "A.TGZ",
        "a.tar.bz2",
        "a.tbz2",
        "a.tbz",
        "a.tar.xz",
        "a.txz",
        "a.tar.zst",
        "a.tzst",
        "a.b.tar",
    ] {
        assert_eq!(archive(name), Form::Archive(Kind::Tar), "{name}");
    }
    assert_eq!(archive("a.zip"), Form::Archive(Kind::Zip));
    assert_eq!(archive("a.gz"), Form::Compressed);
    for name in [
        "a.jar",
        "a.war",
        "a",
        "tar",
        ".tar.gz",
        "a.tar.gz.sig",
        "a.rar",
        ".zip",
    ] {
        let form = archive(name);
        // ".tar.gz" is a file called ".tar" that is compressed.
        let expected = if name == ".tar.gz" {
            Form::Compressed
        } else {
            Form::Other
        };
        assert_eq!(form, expected, "{name}");
    }
}

#[test]
fn what_is_in_an_archive_is_the_owners_with_its_mode_and_time() {
    let place = Place::new();
    let archive = LayerBuilder::new()
        .dir("d", 0o750)
        .entry(Entry::file("d/run", "x").mode(0o755).owner(0, 0))
        .symlink("d/link", "run")
        .hardlink("d/again", "d/run");
    let done = place.extract(&tar(archive), Kind::Tar).unwrap();
    assert_eq!((done.entries, done.bytes, done.lied), (4, 1, None));
    let facts = place.path("d/run").metadata().unwrap();
    assert_eq!((facts.uid(), facts.gid()), (owner().uid, owner().gid));
    assert_eq!(
        (facts.mode() & 0o7777, facts.mtime()),
        (0o755, 1_600_000_000)
    );
    assert_eq!(facts.nlink(), 2);
    let folder = place.path("d").metadata().unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o750, owner().uid));
    let link = place.path("d/link").symlink_metadata().unwrap();
    assert_eq!((link.is_symlink(), link.uid()), (true, owner().uid));
}

#[test]
fn every_compression_is_told_by_its_bytes() {
    let layer = LayerBuilder::new().file("f", "content").build();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&layer.bytes).unwrap();
    let bytes = |how| layer.compress(how).bytes;
    for compressed in [
        layer.bytes.clone(),
        bytes(Compression::Gzip),
        bytes(Compression::Zstd),
        bytes(Compression::Xz),
        bzip2.finish().unwrap(),
    ] {
        let place = Place::new();
        place.extract(&compressed, Kind::Tar).unwrap();
        assert_eq!(place.text("f"), "content");
    }
}

#[test]
fn a_zip_archive_has_files_directories_links_and_modes() {
    let place = Place::new();
    let mut writer = zip_with_symlink("d/link", "run");
    let options = SimpleFileOptions::default();
    writer.add_directory("e", options).unwrap();
    writer
        .start_file("d/run", options.unix_permissions(0o755))
        .unwrap();
    writer.write_all(&b"x".repeat(100_000)).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let done = place.extract(&bytes, Kind::Zip).unwrap();
    assert_eq!((done.entries, done.bytes), (3, 100_000));
    let facts = place.path("d/run").metadata().unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.uid()), (0o755, owner().uid));
    assert_eq!(facts.len(), 100_000);
    assert!(place.path("e").is_dir());
    let target = fs::read_link(place.path("d/link")).unwrap();
    assert_eq!(target, PathBuf::from("run"));
}

#[test]
fn a_name_that_lies_is_told_and_the_bytes_count() {
    let place = Place::new();
    let plain = tar(LayerBuilder::new().file("t", "tar"));
    let done = place.extract(&plain, Kind::Zip).unwrap();
    assert_eq!(
        (place.text("t").as_str(), done.lied),
        ("tar", Some(Kind::Tar))
    );
    let done = place
        .extract(&zip(&[("z", 0o644, b"zip")]), Kind::Tar)
        .unwrap();
    assert_eq!(
        (place.text("z").as_str(), done.lied),
        ("zip", Some(Kind::Zip))
    );
}

#[test]
fn what_is_no_archive_at_all_is_refused() {
    for bytes in [&b"<!DOCTYPE html><title>Log in</title>"[..], &[7; 4096]] {
        for kind in [Kind::Tar, Kind::Zip] {
            let place = Place::new();
            place.refused(bytes, kind);
            assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_name_that_climbs_is_refused() {
    for name in [
        "../beside/file",
        "a/../../beside/file",
        "/../../beside/file",
    ] {
        let place = Place::new();
        let said = place.refused(&tar(LayerBuilder::new().file(name, "evil")), Kind::Tar);
        assert!(said.ends_with("it climbs above the root"), "{said}");
        let said = place.refused(&zip(&[(name, 0o644, b"evil")]), Kind::Zip);
        assert!(said.ends_with("it climbs above the root"), "{said}");
    }
}

#[test]
fn an_absolute_name_stays_below_the_directory() {
    let place = Place::new();
    let target = place.outside("file");
    let name = target.to_str().unwrap();
    let inside = name.trim_start_matches('/');
    place
        .extract(&tar(LayerBuilder::new().file(name, "tar")), Kind::Tar)
        .unwrap();
    assert_eq!(place.text(inside), "tar");
    place
        .extract(&zip(&[(name, 0o644, b"zip")]), Kind::Zip)
        .unwrap();
    assert_eq!(place.text(inside), "zip");
}

#[test]
fn a_symlink_that_leads_out_is_made_and_never_followed() {
    for target in ["../beside", "/", "/proc/self/root", "."] {
        let place = Place::new();
        let through = LayerBuilder::new()
            .symlink("way", target)
            .file("way/file", "evil");
        let said = place.refused(&tar(through), Kind::Tar);
        assert!(said.contains("something that is no directory"), "{said}");
        assert!(place.path("way").symlink_metadata().unwrap().is_symlink());
        let mut writer = zip_with_symlink("way", target);
        writer
            .start_file("way/file", SimpleFileOptions::default())
            .unwrap();
        place.refused(&writer.finish().unwrap().into_inner(), Kind::Zip);
    }
}

#[test]
fn a_file_takes_the_place_of_a_symlink_and_is_not_written_through_it() {
    let place = Place::new();
    symlink(place.outside("file"), place.path("way")).unwrap();
    let archive = LayerBuilder::new().file("way", "new");
    place.extract(&tar(archive), Kind::Tar).unwrap();
    assert!(place.path("way").symlink_metadata().unwrap().is_file());
    symlink(place.outside("file"), place.path("zip")).unwrap();
    place
        .extract(&zip(&[("zip", 0o644, b"new")]), Kind::Zip)
        .unwrap();
    assert_eq!(place.text("zip"), "new");
}

#[test]
fn a_directory_takes_the_place_of_a_symlink_and_keeps_one_that_is_there() {
    let place = Place::new();
    symlink(place.outside("dir"), place.path("d")).unwrap();
    fs::create_dir(place.path("kept")).unwrap();
    fs::set_permissions(place.path("kept"), fs::Permissions::from_mode(0o711)).unwrap();
    let archive = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/inner", "new")
        .dir("kept", 0o777)
        .dir(".", 0o777);
    place.extract(&tar(archive), Kind::Tar).unwrap();
    assert_eq!(place.text("d/inner"), "new");
    let mode = place.path("kept").metadata().unwrap().mode();
    assert_eq!(mode & 0o7777, 0o711);
}

#[test]
fn a_hard_link_to_what_is_not_a_file_of_the_directory_is_refused() {
    for target in [
        "../beside/file",
        "/etc/passwd",
        "missing",
        "way/file",
        "way",
        "d",
        ".",
    ] {
        let place = Place::new();
        let archive = LayerBuilder::new()
            .dir("d", 0o755)
            .symlink("way", "../beside")
            .hardlink("hard", target);
        let said = place.refused(&tar(archive), Kind::Tar);
        assert!(
            said.contains("no file of this directory"),
            "{target}: {said}"
        );
    }
}

#[test]
fn a_hard_link_is_not_written_through_either() {
    let place = Place::new();
    let archive = LayerBuilder::new()
        .file("one", "1")
        .hardlink("two", "one")
        .hardlink("two", "two")
        .file("two", "2");
    place.extract(&tar(archive), Kind::Tar).unwrap();
    assert_eq!(
        (place.text("one"), place.text("two")),
        ("1".into(), "2".into())
    );
}

#[test]
fn a_device_and_a_named_pipe_are_refused() {
    for entry in [
        Entry::char_device("dev", 1, 3),
        Entry::block_device("dev", 8, 0),
        Entry::fifo("dev"),
    ] {
        let place = Place::new();
        let said = place.refused(&tar(LayerBuilder::new().entry(entry)), Kind::Tar);
        assert!(said.contains("a device or a named pipe"), "{said}");
        assert!(!place.path("dev").exists());
    }
}

#[test]
fn a_set_user_id_bit_is_lost() {
    let place = Place::new();
    let archive = LayerBuilder::new()
        .entry(Entry::file("f", "x").mode(0o6755).owner(0, 0))
        .dir("d", 0o7777);
    place.extract(&tar(archive), Kind::Tar).unwrap();
    place
        .extract(&zip(&[("z", 0o4755, b"x")]), Kind::Zip)
        .unwrap();
    for (name, mode) in [("f", 0o755), ("d", 0o777), ("z", 0o755)] {
        let facts = place.path(name).metadata().unwrap();
        assert_eq!(
            (facts.mode() & 0o7777, facts.uid()),
            (mode, owner().uid),
            "{name}"
        );
    }
}

#[test]
fn an_attribute_that_gives_rights_is_lost() {
    let place = Place::new();
    let archive = Entry::file("f", "x").xattr("security.capability", [1, 0, 0, 2]);
    place
        .extract(&tar(LayerBuilder::new().entry(archive)), Kind::Tar)
        .unwrap();
    let file = File::open(place.path("f")).unwrap();
    let value = ucr_sys::at::xattr_fd(file.as_fd(), b"security.capability");
    assert_eq!(value.unwrap(), None);
}

#[test]
fn a_directory_in_the_way_of_a_file_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    for archive in [
        LayerBuilder::new().file("d", "x"),
        LayerBuilder::new().symlink("d", "x"),
        LayerBuilder::new().file(".", "x"),
    ] {
        place.refused(&tar(archive), Kind::Tar);
    }
    assert!(place.path("d").is_dir());
}

#[test]
fn an_archive_that_ends_early_is_refused_and_no_half_of_a_file_has_its_name() {
    let place = Place::new();
    let whole = LayerBuilder::new().file("f", vec![1; 100_000]).build();
    place.refused(&whole.truncated(50_000).bytes, Kind::Tar);
    let cut = whole.compress(Compression::Gzip).bytes;
    place.refused(&cut[..cut.len() / 2], Kind::Tar);
    // All of the file is there: only the checksum is not.
    Place::new().refused(&cut[..cut.len() - 12], Kind::Tar);
    let mut zipped = zip(&[("f", 0o644, &[1; 1000])]);
    // One bit of the content, so that its checksum is wrong.
    zipped[40] ^= 1;
    place.refused(&zipped, Kind::Zip);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn too_many_bytes_are_refused_while_they_come() {
    let place = Place::new();
    let limits = Limits {
        bytes: 1000,
        ..limits()
    };
    let many = LayerBuilder::new().file("f", vec![0; 1001]);
    for (bytes, kind) in [
        (tar(many), Kind::Tar),
        (zip(&[("f", 0o644, &[0; 1001])]), Kind::Zip),
    ] {
        let error = place.extract_within(&bytes, kind, limits).unwrap_err();
        assert!(matches!(error, Error::Bytes { limit: 1000 }), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::Budget);
        assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
    }
}

#[test]
fn too_many_entries_are_refused() {
    let place = Place::new();
    let limits = Limits {
        entries: 2,
        ..limits()
    };
    let three = LayerBuilder::new()
        .file("1", "")
        .file("2", "")
        .file("3", "");
    let zipped = zip(&[("1", 0o644, b""), ("2", 0o644, b""), ("3", 0o644, b"")]);
    for (bytes, kind) in [(tar(three), Kind::Tar), (zipped, Kind::Zip)] {
        let error = place.extract_within(&bytes, kind, limits).unwrap_err();
        assert!(matches!(error, Error::Entries { limit: 2 }), "{error}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_fills_the_disk() {
    let limits = Limits {
        ratio: 10,
        ratio_from: MIB as u64,
        ..limits()
    };
    let zeros = vec![0; 8 * MIB];
    let layer = LayerBuilder::new().file("f", &zeros).build();
    let bombs = [
        (layer.compress(Compression::Gzip).bytes, Kind::Tar),
        (layer.compress(Compression::Zstd).bytes, Kind::Tar),
        (layer.compress(Compression::Xz).bytes, Kind::Tar),
        (zip(&[("f", 0o644, &zeros)]), Kind::Zip),
    ];
    for (bytes, kind) in bombs {
        let place = Place::new();
        let error = place.extract_within(&bytes, kind, limits).unwrap_err();
        let Error::Ratio { unpacked, .. } = error else {
            panic!("{error}");
        };
        assert!(unpacked < 2 * MIB as u64, "{unpacked}");
    }
}

/// Two entries of the directory that say that they are the same bytes.
#[test]
fn a_zip_archive_whose_files_overlap_is_refused() {
    let mut bytes = zip(&[("a", 0o644, &[0; 1000]), ("b", 0o644, &[0; 1000])]);
    let entry = b"PK\x01\x02";
    let find = |bytes: &[u8], from: usize| {
        let found = bytes[from..].windows(4).position(|four| four == entry);
        found.unwrap() + from
    };
    let first = find(&bytes, 0);
    let second = find(&bytes, first + 4);
    // The place of the local header: of the second that of the first.
    let place_of = first + 42..first + 46;
    bytes.copy_within(place_of, second + 42);
    let place = Place::new();
    let error = place.extract(&bytes, Kind::Zip).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Refused, "{error}");
}

#[test]
fn a_zip_archive_with_a_password_is_refused() {
    let mut bytes = zip(&[("a", 0o644, b"x")]);
    let central = bytes.windows(4).position(|four| four == b"PK\x01\x02");
    // Bit 0 of the flags, of both headers (APPNOTE.TXT, section 4.4.4).
    bytes[6] |= 1;
    bytes[central.unwrap() + 8] |= 1;
    Place::new().refused(&bytes, Kind::Zip);
}

#[test]
fn a_symlink_of_a_zip_archive_that_says_too_much_is_refused() {
    let place = Place::new();
    let writer = zip_with_symlink("link", &"x".repeat(5000));
    let said = place.refused(&writer.finish().unwrap().into_inner(), Kind::Zip);
    assert!(said.contains("links to nothing"), "{said}");
}

#[test]
fn what_takes_too_long_ends_at_the_deadline() {
    let place = Place::new();
    let root = File::open(place.path("")).unwrap();
    let tree = Tree::new(root.as_fd(), owner());
    let over = Deadline::within(std::time::Duration::ZERO);
    let archives = [
        tar(LayerBuilder::new().file("f", "x")),
        zip(&[("f", 0o644, b"x")]),
    ];
    for bytes in archives {
        let done = extract(&file(&bytes), Kind::Tar, &tree, (limits(), over));
        assert_eq!(done.unwrap_err().kind(), crate::ErrorKind::Deadline);
    }
}

#[test]
fn one_file_is_decompressed_and_what_is_not_compressed_is_refused() {
    let place = Place::new();
    let root = File::open(place.path("")).unwrap();
    let tree = Tree::new(root.as_fd(), owner());
    let how = (limits(), Deadline::default());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"content").unwrap();
    let size = decompress_into(&file(&gzip.finish().unwrap()), &tree, b"f", how);
    assert_eq!((size.unwrap(), place.text("f").as_str()), (7, "content"));
    let error = decompress_into(&file(b"plain"), &tree, b"g", how).unwrap_err();
    assert!(matches!(error, Error::NotCompressed), "{error}");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![0; 8 * MIB]).unwrap();
    let tight = Limits {
        ratio: 10,
        ratio_from: MIB as u64,
        ..limits()
    };
    let how = (tight, Deadline::default());
    let error = decompress_into(&file(&bomb.finish().unwrap()), &tree, b"h", how).unwrap_err();
    assert!(matches!(error, Error::Ratio { .. }), "{error}");
    assert!(!place.path("h").exists());
}
