//! Decompression, chosen by what the bytes are and not by what anyone says they are.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::error::Error;

/// The largest window that a zstd frame may ask for: 2^27 bytes, as `zstd -d` allows.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The plain bytes of a layer.
pub(crate) enum Decompressed<R: BufRead> {
    /// They were plain already.
    Plain(R),
    /// From gzip, of one or many members (pigz and bgzip write many).
    Gzip(Box<MultiGzDecoder<R>>),
    /// From zstd, of one or many frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

/// Looks at the first bytes of `reader` and decompresses accordingly.
///
/// # Errors
/// When nothing can be read, or the bytes are of a compression that is not supported.
pub(crate) fn decompress<R: BufRead>(mut reader: R) -> Result<Decompressed<R>, Error> {
    // A reader of ours gives more than six bytes at once unless there are no more.
    let magic = reader.fill_buf().map_err(Error::Read)?;
    match magic {
        [0x1f, 0x8b, ..] => Ok(Decompressed::Gzip(Box::new(MultiGzDecoder::new(reader)))),
        // A zstd frame, or a skippable one before it, as zstd:chunked has it (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd_decoder(reader).map_err(Error::Read)?;
            Ok(Decompressed::Zstd(Box::new(decoder)))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression("xz")),
        [b'B', b'Z', b'h', ..] => Err(Error::Compression("bzip2")),
        _ => Ok(Decompressed::Plain(reader)),
    }
}

fn zstd_decoder<R: BufRead>(reader: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

impl<R: BufRead> Decompressed<R> {
    /// The reader of the compressed bytes, wherever it stands.
    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: BufRead> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reader = decompress(bytes).map_err(io::Error::other)?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn l103_all_members_of_a_gzip_are_read() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(plain(&two).unwrap(), b"one two");
    }

    #[test]
    fn l104_a_hundred_thousand_empty_members_do_no_harm() {
        let many = gzip(b"").repeat(100_000);
        assert_eq!(plain(&[many, gzip(b"end")].concat()).unwrap(), b"end");
    }

    #[test]
    fn l105_garbage_after_a_gzip_and_wrong_checksums_are_refused() {
        assert!(plain(&[gzip(b"x"), b"garbage".to_vec()].concat()).is_err());
        let mut wrong = gzip(b"some content");
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        assert!(plain(&wrong).is_err());
    }

    #[test]
    fn l106_zstd_frames_follow_each_other_and_may_be_skippable() {
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let all = [skippable.clone(), frame(b"one "), skippable, frame(b"two")].concat();
        assert_eq!(plain(&all).unwrap(), b"one two");
    }

    #[test]
    fn l106_a_window_of_two_gigabytes_is_refused() {
        // Frame header with a window descriptor of 2^31 (RFC 8878, 3.1.1.1.2).
        let frame = [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0x00,
            (31 - 10) << 3,
            0x01,
            0x00,
            0x00,
        ];
        assert!(plain(&frame).is_err());
    }

    #[test]
    fn l99_a_truncated_stream_is_no_end() {
        let whole = gzip(&[7; 100_000]);
        assert!(plain(&whole[..whole.len() - 4]).is_err());
        let whole = zstd::encode_all(&[7_u8; 100_000][..], 1).unwrap();
        assert!(plain(&whole[..whole.len() - 4]).is_err());
    }

    #[test]
    fn l107_other_compressions_are_named() {
        let error = plain(b"\xfd7zXZ\0rest").unwrap_err();
        assert!(error.to_string().contains("xz"), "{error}");
    }
}
