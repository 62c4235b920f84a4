//! The archive as a stream: L85 to L111.

use std::io::{self, Read};

use test_support::{Checksum, Compression, Magic};

use super::super::decompress;
use super::*;

const UNTRUSTED: &str = "no tar archive that can be trusted";

/// A record that counts its own length, of less than 100 bytes.
fn record(key: &str, value: &str) -> String {
    let length = key.len() + value.len() + 5;
    format!("{length} {key}={value}\n")
}

#[test]
fn l85_the_size_of_a_pax_record_counts_for_content_and_position() {
    let case = Case::new();
    // An archive in the content, which readers of the ustar size (0) would take for entries.
    let inner = layer().file("smuggled", "x").build().bytes;
    let size = inner.len().to_string();
    let carrier = Entry::file("f", &inner).claim_size(0).pax("size", size);
    let shape = case.unpack(layer().entry(carrier).file("g", "y"));
    assert_eq!(shape, ["/f file 0644 0:0", "/g file 0644 0:0"]);
    assert_eq!(case.content("f"), inner);

    let case = Case::new();
    let inverse = Entry::file("f", "").claim_size(1024).pax("size", "0");
    assert_eq!(case.unpack(layer().entry(inverse).file("g", "y")).len(), 2);
    assert_eq!(case.content("f"), b"");
}

#[test]
fn l86_a_pax_size_is_not_that_of_an_extension_header() {
    let case = Case::new();
    let name = format!("{}/f", "n".repeat(120));
    let layer = layer()
        .pax_header(b'x', record("size", "3").as_bytes())
        .gnu_long_name(&name)
        .entry(Entry::file("short", "abc").claim_size(0));
    case.unpack(layer);
    assert_eq!(case.content(&name), b"abc");
}

#[test]
fn l87_two_long_names_for_one_entry_are_refused() {
    let pax = |layer: LayerBuilder| layer.pax_header(b'x', record("path", "one").as_bytes());
    let said = Case::new().refuse(pax(layer().gnu_long_name("two")).file("f", ""));
    assert_contains(&said, "two long names");
    let said = Case::new().refuse(pax(layer()).gnu_long_name("two").file("f", ""));
    assert_contains(&said, "two long names");
    let twice = record("path", "one") + &record("path", "two");
    let said = Case::new().refuse(layer().pax_header(b'x', twice.as_bytes()).file("f", ""));
    assert_contains(&said, "two long names");
}

#[test]
fn l88_an_extension_without_its_entry_is_refused() {
    let path = record("path", "a");
    let x = || layer().pax_header(b'x', path.as_bytes());
    for layer in [
        x(),
        x().without_end_marker(),
        x().pax_header(b'x', path.as_bytes()).file("f", ""),
        layer().gnu_long_name("a"),
        layer().gnu_long_name("a").without_end_marker(),
        layer().gnu_long_name("a").gnu_long_name("b").file("f", ""),
    ] {
        assert_contains(&Case::new().refuse(layer), UNTRUSTED);
    }
}

#[test]
fn l88_nothing_may_stand_between_an_extension_and_its_entry() {
    let path = record("path", "renamed");
    let global = layer()
        .pax_header(b'x', path.as_bytes())
        .pax_header(b'g', record("comment", "x").as_bytes())
        .file("f", "");
    assert_contains(&Case::new().refuse(global), UNTRUSTED);
    let zero = layer()
        .pax_header(b'x', path.as_bytes())
        .raw([0; 512])
        .file("f", "");
    assert_contains(&Case::new().refuse(zero), UNTRUSTED);
}

#[test]
fn l89_a_malformed_record_is_refused_and_not_skipped() {
    for body in [
        &b"12 path=ab\n"[..],
        b"10 path=ab\n",
        b"11 path=ab ",
        b"8 pathab\n",
        b"0 path=ab\n",
        b"path=ab\n",
        b"11 size=1x\n",
        b"9 path=\n",
        b"8 size=\n",
        b"11 path=ab\n5",
    ] {
        let said = Case::new().refuse(layer().pax_header(b'x', body).file("f", "x"));
        assert_contains(&said, UNTRUSTED);
    }
}

#[test]
fn l90_a_global_header_changes_nothing_and_makes_nothing() {
    let global = record("path", "evil") + &record("uid", "5") + &record("size", "0");
    let case = Case::new();
    let shape = case.unpack(
        layer()
            .pax_header(b'g', global.as_bytes())
            .file("f", "x")
            .pax_header(b'g', b"not even a record"),
    );
    assert_eq!(shape, ["/f file 0644 0:0"]);
    assert_eq!(case.content("f"), b"x");
}

#[test]
fn l91_s57_metadata_beyond_a_mebibyte_is_refused() {
    let size = 2 << 20;
    for layer in [
        layer().gnu_long_name("n".repeat(size)),
        layer().pax_header(b'x', &vec![b'1'; size]),
        layer().pax_header(b'g', &vec![b'1'; size]),
    ] {
        assert_contains(&Case::new().refuse(layer.file("f", "")), UNTRUSTED);
    }
    // A size that is only claimed, of an archive that never ends.
    let claim = Entry::new(b'x', "x").claim_size(1 << 40).to_bytes();
    let endless = claim.as_slice().chain(io::repeat(b'1'));
    let case = Case::new();
    let root = File::open(case.root()).unwrap();
    let error = apply(endless, root.as_fd()).err().unwrap();
    assert_contains(&chain(&error), UNTRUSTED);
}

#[test]
fn l92_a_sparse_map_of_a_million_entries_is_refused_long_before_its_end() {
    // A file of 8 EiB whose map is gone on with in the next block, and in each one after it.
    let size = [&[0x80][..], &[0; 3], &(1_u64 << 63).to_be_bytes()].concat();
    let sparse = Entry::new(b'S', "f").magic(Magic::Gnu);
    let header = sparse.overwrite(482, [1]).overwrite(483, size).to_bytes();
    let block = [b"00000000000\0".repeat(42), vec![1; 8]].concat();
    let bytes = [header, block.repeat(50_000)].concat();
    let case = Case::new();
    let root = File::open(case.root()).unwrap();
    let mut source = bytes.as_slice();
    let error = apply(&mut source, root.as_fd()).err().unwrap();
    assert_contains(&chain(&error), UNTRUSTED);
    assert!(source.len() > bytes.len() / 2, "{} are left", source.len());
    assert!(case.shape().is_empty());

    let map = "0,1,".repeat(100_000);
    let said = refusal([Entry::file("f", "x").pax("GNU.sparse.map", map)]);
    assert_contains(&said, UNTRUSTED);
}

#[test]
fn l93_a_row_of_extensions_is_refused() {
    let mut layer = layer();
    for at in 0..40 {
        layer = if at % 2 == 0 {
            layer.gnu_long_name("n")
        } else {
            layer.pax_header(b'x', record("comment", "x").as_bytes())
        };
    }
    assert_contains(&Case::new().refuse(layer.file("f", "")), UNTRUSTED);
}

#[test]
fn l94_names_and_numbers_as_old_programs_wrote_them() {
    let hundred = "n".repeat(100);
    assert_eq!(
        shape([Entry::file(&hundred, "")]),
        [format!("/{hundred} file 0644 0:0")]
    );
    let prefixed = Entry::file("name", "").overwrite(345, "prefix/deep");
    let expected = [
        "/prefix dir 0755 0:0",
        "/prefix/deep dir 0755 0:0",
        "/prefix/deep/name file 0644 0:0",
    ];
    assert_eq!(shape([prefixed]), expected);
    let spaces = Entry::file("f", "abc").overwrite(124, "          3 ");
    assert_eq!(shape([spaces]), ["/f file 0644 0:0"]);
    let empty = Entry::file("f", "")
        .overwrite(108, [0; 8])
        .overwrite(116, [b' '; 8]);
    assert_eq!(shape([empty]), ["/f file 0644 0:0"]);
}

#[test]
fn l95_sizes_that_are_negative_or_too_large_are_refused() {
    for size in [-1, i128::from(i64::MIN), 1 << 63, (1 << 64) - 1, 1 << 70] {
        Case::new().refuse(layer().entry(Entry::file("f", "").claim_size(size)));
    }
    for size in [
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775807",
    ] {
        Case::new().refuse(layer().entry(Entry::file("f", "").pax("size", size)));
    }
}

#[test]
fn l96_a_wrong_checksum_is_refused() {
    let said = refusal([Entry::file("f", "x").checksum(Checksum::Wrong)]);
    assert_contains(&said, UNTRUSTED);
}

#[test]
fn l97_entries_behind_an_end_marker_are_never_unpacked() {
    let more = || Entry::file("later", "x").to_bytes();
    let said = Case::new().refuse(layer().file("f", "x").raw([0; 512]).raw(more()));
    assert_contains(&said, "entries after an end marker");
    let shape = Case::new().unpack(layer().file("f", "x").raw([0; 1024]).raw(more()));
    assert_eq!(shape, ["/f file 0644 0:0"]);
    for blocks in [0, 1] {
        let end = layer()
            .file("f", "x")
            .raw(vec![0; blocks * 512])
            .without_end_marker();
        assert_eq!(Case::new().unpack(end), ["/f file 0644 0:0"]);
    }
}

#[test]
fn l98_an_empty_layer_is_a_layer() {
    for blocks in [0, 2, 20] {
        let empty = layer()
            .raw(vec![0; blocks * 512])
            .without_end_marker()
            .build();
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let case = Case::new();
            let root = File::open(case.root()).unwrap();
            let blob = empty.compress(compression).bytes;
            let plain = decompress(blob.as_slice()).unwrap();
            let (applied, _) = apply(plain, root.as_fd()).unwrap();
            assert_eq!(applied, Applied::default());
        }
    }
}

#[test]
fn l99_an_archive_that_ends_early_is_refused_wherever_it_does() {
    let whole = layer()
        .entry(Entry::file("f", "x".repeat(700)).xattr("user.x", "y"))
        .dir("d", 0o755)
        .build();
    // A PAX header, its record, the header and two blocks of content, and the directory. Of the
    // second block no more is needed than the file's own bytes.
    let content_end = 3 * 512 + 700;
    let padding = content_end..5 * 512;
    let entry_ends: Vec<_> = padding
        .chain([0, 5, 6, 7, 8].map(|block| block * 512))
        .collect();
    let at_blocks =
        (0..8_usize).flat_map(|block| [block * 512, block * 512 + 1, block * 512 + 511]);
    for length in at_blocks.chain([content_end - 1, content_end]) {
        let case = Case::new();
        let result = case.apply(&whole.truncated(length));
        assert_eq!(result.is_ok(), entry_ends.contains(&length), "{length}");
    }
}

#[test]
fn l100_bytes_behind_the_end_are_left_for_who_hashes_them() {
    let trailing = layer()
        .file("f", "x")
        .raw([0; 1024])
        .raw("garbage")
        .without_end_marker();
    let bytes = trailing.build().bytes;
    let case = Case::new();
    let root = File::open(case.root()).unwrap();
    let mut source = bytes.as_slice();
    apply(&mut source, root.as_fd()).unwrap();
    assert_eq!(case.shape(), ["/f file 0644 0:0"]);
}

#[test]
fn l101_junk_is_refused() {
    let text = b"This is not a layer.\n".repeat(100);
    let zeros_and_junk = [vec![0; 512], text.clone()].concat();
    for junk in [
        text,
        zeros_and_junk,
        b"<html>".to_vec(),
        vec![0xff; 4096],
        vec![0; 100],
    ] {
        let junk = Layer::from_bytes(junk);
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let case = Case::new();
            let root = File::open(case.root()).unwrap();
            let blob = junk.compress(compression).bytes;
            let plain = decompress(blob.as_slice()).unwrap();
            assert!(apply(plain, root.as_fd()).is_err(), "{compression:?}");
            assert!(case.shape().is_empty());
        }
    }
}

#[test]
fn l102_headers_that_contradict_themselves_are_refused() {
    let nul_version = Entry::file("f", "").overwrite(257, b"ustar\0\0\0");
    assert_contains(&refusal([nul_version]), "no known version");
    for flag in *b"xgLKS" {
        let old = Entry::new(flag, "f").magic(Magic::V7).content("9 path=a\n");
        let said = refusal([old, Entry::file("f", "")]);
        assert_contains(&said, UNTRUSTED);
    }
    let solaris = Entry::new(b'X', "f").content("9 path=a\n");
    refusal([solaris, Entry::file("f", "")]);
}

/// Gives as much at a time as its caller would not expect.
struct Dribble<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step = self.step % 7 + 1;
        if self.step == 7 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.step.min(self.rest.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

#[test]
fn l110_how_the_bytes_come_makes_no_difference() {
    let name = format!("{}/deep", "n".repeat(150));
    let layer = layer()
        .file("a", "x".repeat(1000))
        .entry(Entry::file(&name, "y").xattr("user.x", "z"))
        .whiteout("gone")
        .build();
    let (whole, dribbled) = (Case::new(), Case::new());
    whole.apply(&layer).unwrap();
    let root = File::open(dribbled.root()).unwrap();
    let source = Dribble {
        rest: &layer.bytes,
        step: 0,
    };
    apply(source, root.as_fd()).unwrap();
    assert_eq!(whole.shape(), dribbled.shape());
}

#[test]
fn l111_padding_to_a_record_of_any_size_is_fine() {
    let padded = layer()
        .file("f", "x")
        .raw(vec![0; 20 * 512])
        .without_end_marker();
    assert_eq!(Case::new().unpack(padded), ["/f file 0644 0:0"]);
}

#[test]
fn l109_many_names_in_one_directory_and_many_directories() {
    // A million differ in time alone (a minute): what is remembered of each is a record of the
    // index, which a pull writes to the disk, and a directory is never listed.
    let files = (0..20_000).map(|n| Entry::file(format!("one/f{n}"), ""));
    let dirs = (0..10_000).flat_map(|n| [format!("d{n}"), format!("d{n}/e")].map(Entry::dir));
    let case = Case::new();
    let layer = of(files.chain(dirs)).build();
    case.apply(&layer)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let count = |path: &str| std::fs::read_dir(case.root().join(path)).unwrap().count();
    assert_eq!(
        (count("one"), count(""), count("d9999")),
        (20_000, 10_001, 1)
    );
}
