//! Answers that are not HTTP as it should be (RFC 9110, RFC 9112, RFC 9113).

use std::time::Duration;

use test_support::Image;
use test_support::fake_registry::Fault;
use ucr_images::ErrorKind;
use ucr_puller::http::{Patience, Settings};

use crate::bench::{Bench, Failed, bulky, image};

fn one() -> Image {
    image([bulky("a", 200_000)])
}

/// Repeats a little, and soon.
fn patient(settings: &mut Settings) {
    settings.patience = Patience {
        retries: 2,
        first_delay: Duration::from_millis(1),
        ..Patience::default()
    };
}

/// What comes of a pull whose requests for `of` are all answered by these bytes, and of another
/// one after that.
fn answered_by(of: &str, bytes: &[u8]) -> Result<(), Failed> {
    let bench = Bench::serving(&one());
    bench.registry.fault(of, Fault::Raw(bytes.to_vec()));
    let request = bench.request("app:1");
    let pulled = bench.pull_changed(&request, patient, &());
    bench.registry.heal();
    bench.assert_heals(&request);
    pulled.map(drop)
}

/// A pull whose manifest or layer is answered so ends in one error of this kind.
#[track_caller]
fn refused(bytes: &[u8], kinds: [ErrorKind; 2]) {
    for (of, kind) in ["/manifests/", "/blobs/"].into_iter().zip(kinds) {
        let failed = answered_by(of, bytes).unwrap_err();
        assert_eq!(failed.kind, kind, "{}", failed.text);
    }
}

/// An answer with these fields, before the bytes of the layer.
fn layer(fields: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    [head.as_bytes(), &one().layers[0].bytes].concat()
}

#[test]
fn p53_lengths_that_are_none_or_contradict_each_other() {
    let bytes = &one().layers[0].bytes;
    let size = bytes.len();
    let less = size - 1000;
    for fields in [
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: many\r\n".to_owned(),
        format!("Content-Length: {less}\r\nContent-Length: {size}\r\n"),
        format!("Content-Length: {size}\r\nContent-Length: {less}\r\n"),
    ] {
        refused(&layer(&fields), [ErrorKind::Registry, ErrorKind::Registry]);
    }
    // What no number holds is as good as none, and twice the same is once: the digest decides.
    let of = format!("/blobs/{}", one().layers[0].digest);
    for fields in [
        "Content-Length: 99999999999999999999999\r\n".to_owned(),
        format!("Content-Length: {size}\r\nContent-Length: {size}\r\n"),
    ] {
        answered_by(&of, &layer(&fields)).unwrap_or_else(|failed| panic!("{}", failed.text));
    }
}

#[test]
fn p53_a_length_beside_chunks_does_not_count() {
    let bytes = &one().layers[0].bytes;
    let of = format!("/blobs/{}", one().layers[0].digest);
    let chunk = [
        format!("{:x}\r\n", bytes.len()).as_bytes(),
        bytes,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for length in [0, bytes.len() - 1000, bytes.len() * 2] {
        let fields = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n");
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let answer = [head.as_bytes(), &chunk].concat();
        answered_by(&of, &answer).unwrap_or_else(|failed| panic!("{length}: {}", failed.text));
        // No chunk begins with the bytes of a layer.
        let failed = answered_by(&of, &layer(&fields)).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Network, "{length}: {}", failed.text);
    }
}

#[test]
fn p54_what_is_no_http_is_told_as_that() {
    use ErrorKind::{Network, Registry};
    // Garbage, what another protocol says, and a body without a head (HTTP/0.9).
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"{\"schemaVersion\":2}",
        b"HTTP/9.7 banana\r\n\r\n",
    ] {
        refused(bytes, [Registry, Registry]);
    }
    refused(b"", [Network, Network]);
}

#[test]
fn p54_answers_that_promise_another_one_for_ever_end() {
    let flood = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100_000);
    refused(&flood, [ErrorKind::Registry, ErrorKind::Registry]);
}

#[test]
fn p57_a_hundred_thousand_header_fields_or_an_endless_one_end_it() {
    let fields: String = (0..100_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(20_000));
    let endless = format!("X: {}\r\n", "y".repeat(10 << 20));
    for fields in [fields, large.repeat(20), endless] {
        refused(&layer(&fields), [ErrorKind::Registry, ErrorKind::Registry]);
    }
}
