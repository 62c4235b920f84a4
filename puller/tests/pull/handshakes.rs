//! Servers that spoil a connection before anything is asked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use test_support::fake_registry::{Ending, Fault, Framing, Response};
use test_support::{FakeRegistry, Image, OpensslServer, TestCa, need_command};
use ucr_images::ErrorKind;
use ucr_puller::http::{Error, Greeting, Settings, greet};

use crate::bench::{Bench, assert_contains, image, layer};
use crate::greeting::settings;

fn try_greet(port: u16, pem: &str) -> Result<Greeting, Error> {
    greet(&settings(pem), "127.0.0.1", port)
}

#[test]
fn p21_a_server_without_tls_1_2_is_not_spoken_to() {
    need_command!("openssl");
    let ca = TestCa::new("old");
    let issued = ca.issue(&["127.0.0.1"]);
    for version in ["-tls1", "-tls1_1"] {
        let arguments = [version, "-cipher", "ALL:@SECLEVEL=0"];
        let server = OpensslServer::start(&issued, &arguments);
        let error = try_greet(server.address().port(), &ca.pem()).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{version}: {error}");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpensslServer::start(&issued, &[version]);
        let greeting = try_greet(server.address().port(), &ca.pem()).unwrap();
        assert_eq!(greeting.status, 200, "{version}");
    }
}

#[test]
fn p21_a_server_with_broken_ciphers_alone_is_not_spoken_to() {
    need_command!("openssl");
    let ca = TestCa::new("weak");
    let issued = ca.issue(&["127.0.0.1"]);
    let arguments = ["-tls1_2", "-cipher", "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"];
    let server = OpensslServer::start(&issued, &arguments);
    let error = try_greet(server.address().port(), &ca.pem()).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

#[test]
fn p23_a_handshake_that_stalls_ends_with_the_connect_timeout() {
    // Connected by the kernel, and never accepted.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let settings = Settings {
        connect_timeout: Duration::from_millis(50),
        ..settings(&TestCa::new("silent").pem())
    };
    let port = silent.local_addr().unwrap().port();
    let error = greet(&settings, "127.0.0.1", port).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
}

#[test]
fn p23_a_connection_that_ends_within_the_handshake_is_no_tls_session() {
    for said in [&b""[..], b"\x16\x03\x03", b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // Of the client's hello only a part is read: closed then, it is a reset.
            client.read_exact(&mut [0; 5]).unwrap();
            client.write_all(said).unwrap();
        });
        let error = try_greet(port, &TestCa::new("reset").pem()).unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, Error::Tls { .. }), "{error}");
    }
}

#[test]
fn p23_a_chain_of_two_hundred_certificates_is_refused() {
    let root = TestCa::new("root");
    let mut chain = String::new();
    let mut ca = root.intermediate("first");
    for nth in 0..199 {
        chain = ca.pem() + &chain;
        ca = ca.intermediate(&format!("next {nth}"));
    }
    let mut issued = ca.issue(&["127.0.0.1"]);
    issued.certificate += &(ca.pem() + &chain);
    let registry = FakeRegistry::with_tls(issued.server_config());
    let error = try_greet(registry.address().port(), &root.pem()).unwrap_err();
    let is_tls = matches!(error, Error::Tls { .. } | Error::Untrusted { .. });
    assert!(is_tls, "{error}");
    assert_eq!(registry.count(""), 0);
}

#[test]
fn p23_a_chain_of_three_is_followed_to_its_root() {
    let root = TestCa::new("root");
    let (one, two) = (root.intermediate("one"), root.intermediate("two"));
    let three = one.intermediate("three");
    let mut issued = three.issue(&["127.0.0.1"]);
    issued.certificate += &(three.pem() + &one.pem());
    let registry = FakeRegistry::with_tls(issued.server_config());
    let port = registry.address().port();
    assert_eq!(try_greet(port, &root.pem()).unwrap().status, 200);
    try_greet(port, &two.pem()).unwrap_err();
}

/// At most so many bytes of each document, whose end is that of a connection without an end.
fn cut(image: &Image, keep: usize) -> Fault {
    let mut bodies = image.blobs();
    bodies.insert("1".to_owned(), image.manifest.bytes.clone());
    let media_type = image.manifest.media_type.clone();
    Fault::Respond(Arc::new(move |request| {
        let name = request.target.rsplit('/').next().unwrap();
        let body = &bodies[name];
        Response {
            framing: Framing::Close,
            ending: Ending::Cut,
            ..Response::new(200, &media_type, &body[..keep.min(body.len())])
        }
    }))
}

/// Stricter than it need be, with size and digest known; but OpenSSL 3 makes no exception.
#[test]
fn p25_a_body_that_ends_without_close_notify_has_broken_off_whole_or_not() {
    let image = image([layer().file("f", "x").build()]);
    for pattern in ["/blobs/", "/manifests/"] {
        for keep in [usize::MAX, 20, 0] {
            let bench = Bench::serving(&image);
            bench.registry.fault(pattern, cut(&image, keep));
            let failed = bench.fail("app:1");
            assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
            assert_contains(&failed.text, "broke off");
            bench.assert_heals(&bench.request("app:1"));
        }
    }
}
