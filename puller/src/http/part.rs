//! Whether the part of a body that comes is the one that was asked for.

use super::request::ByteRange;
use crate::spool::{SpoolWriter, Taken};

/// What `Content-Range` says of a part (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    /// The size of the whole, where it is told.
    whole: Option<u64>,
}

/// Prepares `sink` for a body, by what was asked for and what status and `Content-Range` say of it.
///
/// libcurl takes any 206 for an answer to any range, and a 200 too (measured).
pub(super) fn compare(
    asked: Option<ByteRange>,
    status: u16,
    came: Option<&str>,
    sink: &mut SpoolWriter,
) -> Taken {
    if status == 200 && sink.position() > 0 {
        return sink.expect_whole();
    }
    let Some(asked) = asked.filter(|_| status == 206) else {
        return Taken::All;
    };
    let fits = came.and_then(parse).is_some_and(|came| {
        let whole = came.whole.is_none_or(|whole| whole == sink.size());
        came.first == asked.first && whole
    });
    if fits { Taken::All } else { sink.refuse() }
}

/// Which byte a part begins with that `Content-Range` is told of.
pub(super) fn first_byte(content_range: &str) -> Option<u64> {
    Some(parse(content_range)?.first)
}

fn parse(text: &str) -> Option<ContentRange> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
    let whole = match whole {
        "*" => None,
        whole => Some(whole.parse().ok()?),
    };
    (first <= last).then_some(ContentRange { first, whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p59_content_range_is_read_and_nonsense_is_none() {
        let range = |first, whole| Some(ContentRange { first, whole });
        assert_eq!(parse("bytes 5-9/10"), range(5, Some(10)));
        assert_eq!(parse("bytes 0-0/*"), range(0, None));
        for nonsense in [
            "",
            "bytes */10",
            "bytes 9-5/10",
            "5-9/10",
            "bytes 5-9",
            "bytes a-b/c",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
