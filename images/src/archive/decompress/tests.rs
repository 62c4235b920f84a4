//! Streams of every compression: whole, in several parts, cut short, corrupt, too large.

use std::io::Write;

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// xz with a dictionary of so many bytes.
fn xz_with(bytes: &[u8], dictionary: u32) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc64).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    xz_with(bytes, 1 << 16)
}

/// zstd with a checksum and a window of 2^`log` bytes.
fn zstd_with(bytes: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd_with(bytes, 17)
}

type Encode = fn(&[u8]) -> Vec<u8>;
const ALL: [(&str, Encode); 4] = [("gzip", gzip), ("bzip2", bzip2), ("xz", xz), ("zstd", zstd)];

fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut reader = decompress(bytes).map_err(io::Error::other)?;
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Text that compresses, but not to nothing.
fn text() -> Vec<u8> {
    (0..20_000_u32)
        .flat_map(|n| format!("{} ", n * n % 9973).into_bytes())
        .collect()
}

#[test]
fn l103_all_members_of_a_gzip_are_read() {
    let two = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(plain(&two).unwrap(), b"one two");
}

#[test]
fn streams_of_one_compression_may_follow_each_other() {
    for (name, encode) in ALL {
        let parts = [
            encode(b"one "),
            encode(b""),
            encode(&text()),
            encode(b"two"),
        ];
        let expected = [b"one ", &text()[..], b"two"].concat();
        assert!(plain(&parts.concat()).unwrap() == expected, "{name}");
    }
}

#[test]
fn l104_a_hundred_thousand_empty_members_do_no_harm() {
    for (name, encode) in ALL {
        let many = encode(b"").repeat(100_000);
        let all = [many, encode(b"end")].concat();
        assert_eq!(plain(&all).unwrap(), b"end", "{name}");
    }
}

#[test]
fn l104_a_million_empty_members_of_gzip_do_no_harm() {
    let all = [gzip(b"").repeat(1_000_000), gzip(b"end")].concat();
    assert_eq!(plain(&all).unwrap(), b"end");
}

/// A member of gzip with a field in its header, by the flag that tells of it (RFC 1952, 2.3.1).
fn gzip_with(flag: u8, field: &[u8]) -> Vec<u8> {
    let member = gzip(b"x");
    let (header, rest) = member.split_at(10);
    let mut header = header.to_vec();
    header[3] = flag;
    [&header, field, rest].concat()
}

const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

#[test]
fn l104_fields_of_a_gzip_header_are_passed_over_and_must_end() {
    let extra = [&[0xff, 0xff][..], &[7; 0xffff]].concat();
    let members = gzip_with(FEXTRA, &extra).repeat(100);
    assert_eq!(plain(&members).unwrap(), b"x".repeat(100));
    for flag in [FNAME, FCOMMENT] {
        let name = [&[b'n'; 60_000][..], &[0]].concat();
        assert_eq!(plain(&gzip_with(flag, &name)).unwrap(), b"x");
        // 10 MB of it, behind which there may be an end or not.
        let endless = vec![b'n'; 10_000_000];
        assert!(plain(&gzip_with(flag, &endless)).is_err());
        let late = [&endless[..], &[0]].concat();
        assert!(plain(&gzip_with(flag, &late)).is_err());
    }
}

#[test]
fn l105_garbage_after_a_stream_and_wrong_checksums_are_refused() {
    for (name, encode) in ALL {
        let garbage = [encode(b"x"), b"garbage".to_vec()].concat();
        assert!(plain(&garbage).is_err(), "{name}");
    }
    let mut wrong = gzip(b"some content");
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    assert!(plain(&wrong).is_err());
}

#[test]
fn l106_zstd_frames_follow_each_other_and_may_be_skippable() {
    let frame = |bytes: &[u8]| ::zstd::encode_all(bytes, 1).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
    let all = [
        skippable.clone(),
        frame(b"one "),
        skippable.clone(),
        frame(b"two"),
        skippable,
    ]
    .concat();
    assert_eq!(plain(&all).unwrap(), b"one two");
}

#[test]
fn l106_a_window_beyond_128_mebibytes_is_refused() {
    // Frame header with a window descriptor of 2^31 (RFC 8878, 3.1.1.1.2).
    let descriptor = (31 - 10) << 3;
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0];
    let error = plain(&frame).unwrap_err().to_string();
    assert_eq!(error, "decoding takes a window of more than 128 MiB");
    let error = plain(&xz_header(128 * 1024 * 1024 + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "decoding takes a window of more than 128 MiB"
    );
}

/// The beginning of an xz file that claims the next larger dictionary that its format can say.
///
/// Made of that of a small one, whose property byte is replaced (xz-file-format.txt, 5.3.1):
/// no test should need the memory of an encoder for 128 MiB.
fn xz_header(dictionary: u64) -> Vec<u8> {
    let size = |bits: u32| u64::from(2 | (bits & 1)) << (bits / 2 + 11);
    let bits = (0..40).find(|bits| size(*bits) >= dictionary).unwrap();
    let mut file = xz(b"content");
    let header = &mut file[12..24];
    // Size of the header, flags, filter LZMA2, size of its property, the property.
    assert_eq!(&header[..4], [2, 0, 0x21, 1]);
    header[4] = u8::try_from(bits).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&header[..8]);
    let sum = crc.sum().to_le_bytes();
    header[8..].copy_from_slice(&sum);
    file
}

#[test]
fn l106_a_frame_that_needs_a_dictionary_is_refused() {
    let dictionary = text();
    let mut encoder = ::zstd::Encoder::with_dictionary(Vec::new(), 1, &dictionary).unwrap();
    encoder.write_all(&text()).unwrap();
    let frame = encoder.finish().unwrap();
    assert!(!plain(&frame).is_ok_and(|bytes| bytes == text()));
}

#[test]
fn windows_of_any_allowed_size_are_decoded_while_others_wait() {
    static MEMORY: Memory = Memory::new(18 * MIB);
    let streams = [
        zstd_with(&text(), 24),
        zstd_with(&text(), 23),
        xz_header(64 * MIB),
        xz_with(&text(), 1 << 23),
        bzip2(&text()),
        [zstd_with(&text(), 20), zstd_with(&text(), 25)].concat(),
    ];
    std::thread::scope(|scope| {
        for stream in &streams {
            scope.spawn(|| {
                let mut reader = decompress_with(MEMORY.share(None), &stream[..]).unwrap();
                io::copy(&mut reader, &mut io::sink()).unwrap();
            });
        }
    });
    assert!(MEMORY.share(None).covers(0));
    assert_eq!(plain(&xz_header(64 * MIB)).unwrap(), b"content");
}

#[test]
fn l99_a_truncated_stream_is_no_end() {
    for (name, encode) in ALL {
        let whole = encode(&text());
        for cut in [1, 4, whole.len() / 2, whole.len() - 7] {
            assert!(plain(&whole[..whole.len() - cut]).is_err(), "{name} {cut}");
        }
    }
}

#[test]
fn s59_corruption_anywhere_ends_in_an_error_or_does_no_harm() {
    for (name, encode) in ALL {
        let whole = encode(&text());
        for part in 0..50 {
            let mut bytes = whole.clone();
            bytes[part * whole.len() / 50] ^= 0xff;
            // Some bytes of a header mean nothing, such as gzip's time.
            let same = plain(&bytes).map(|plain| plain == text());
            let harmless = matches!(same, Err(_) | Ok(true)) || !has_magic(&bytes);
            assert!(harmless, "{name} at {part}/50");
        }
    }
}

fn has_magic(bytes: &[u8]) -> bool {
    !decompress(bytes).is_ok_and(|bytes| bytes.is_plain())
}

/// Gives one byte at a time, after the first ones.
struct Slow<'b>(&'b [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

impl BufRead for Slow<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.0[..self.0.len().min(6)])
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

#[test]
fn l110_bytes_that_come_a_few_at_a_time_are_the_same_bytes() {
    for (name, encode) in ALL {
        let stream = [encode(&text()), encode(b"more")].concat();
        let mut decoded = Vec::new();
        let mut reader = decompress(Slow(&stream)).unwrap();
        reader.read_to_end(&mut decoded).unwrap();
        assert!(decoded == [&text()[..], b"more"].concat(), "{name}");
    }
}

#[test]
fn l107_what_is_of_no_known_compression_is_plain() {
    for bytes in [&b""[..], b"B", b"BZh", b"BZhx", b"\x1f", b"\x5d\0\0\x80\0"] {
        assert_eq!(plain(bytes).unwrap(), bytes);
    }
}
