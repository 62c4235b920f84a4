use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use test_support::{Issued, TestCa, Validity};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers one connection, and returns what came over it.
fn serve<T: Send + 'static>(
    answer: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || answer(listener.accept().unwrap().0));
    (port, server)
}

fn serve_tls(issued: &Issued) -> (u16, JoinHandle<io::Error>) {
    let config = issued.server_config();
    serve(move |mut stream| {
        let mut connection = rustls::ServerConnection::new(config).unwrap();
        connection.complete_io(&mut stream).unwrap_err()
    })
}

#[test]
fn takes_down_what_an_untrusted_server_presents_and_sends_nothing() {
    let issued = TestCa::new("nobody's").issue(&["localhost", "127.0.0.1"]);
    let (port, server) = serve_tls(&issued);
    let presented = probe("127.0.0.1", port, Route::Direct, PATIENCE).unwrap();

    let leaf = presented.leaf().facts();
    assert_eq!(presented.chain().len(), 1);
    assert_eq!(leaf.subject, "CN=localhost");
    assert_eq!(leaf.alternative_names, ["DNS:localhost", "IP:127.0.0.1"]);
    // The server saw an alert instead of the end of a handshake.
    let seen = server.join().unwrap().to_string();
    assert!(
        seen.contains("AccessDenied") || seen.contains("Alert"),
        "{seen}"
    );
}

#[test]
fn an_expired_certificate_is_taken_down_too() {
    let ca = TestCa::new("old");
    let (port, server) = serve_tls(&ca.issue_with_validity(&["localhost"], Validity::Expired));
    let presented = probe("localhost", port, Route::Direct, PATIENCE).unwrap();
    let facts = presented.leaf().facts();
    assert_eq!(facts.not_after.to_string(), "2021-01-01T00:00:00Z");
    server.join().unwrap();
}

#[test]
fn a_server_that_speaks_no_tls_is_named() {
    let (port, server) = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = probe("127.0.0.1", port, Route::Direct, PATIENCE).unwrap_err();
    assert!(matches!(error, ProbeError::Handshake { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("the TLS handshake with 127.0.0.1:{port} failed before it presented a certificate")
    );
    server.join().unwrap();
}

#[test]
fn a_server_that_drips_bytes_is_left_at_the_deadline() {
    // A record that promises 16 KiB, then one byte for each that fits in time.
    let (port, server) = serve(|mut stream| {
        stream.write_all(&[22, 3, 3, 64, 0]).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut ignored = [0; 4096];
        loop {
            match stream.read(&mut ignored) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
            if stream.write_all(&[2]).is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let error = probe("127.0.0.1", port, Route::Direct, Duration::from_millis(300)).unwrap_err();
    assert!(began.elapsed() < PATIENCE);
    let ProbeError::Handshake { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    server.join().unwrap();
}

#[test]
fn a_server_that_floods_is_left_after_an_amount() {
    // Warning alerts are harmless one by one, and rustls counts them as well.
    let (port, server) = serve(|mut stream| {
        let empty_records = [22, 3, 3, 0, 0].repeat(4096);
        while stream.write_all(&empty_records).is_ok() {}
    });
    let error = probe("127.0.0.1", port, Route::Direct, PATIENCE).unwrap_err();
    assert!(matches!(error, ProbeError::Handshake { .. }), "{error:?}");
    server.join().unwrap();
}

#[test]
fn a_long_chain_is_cut() {
    let ca = TestCa::new("many");
    let der = CertificateDer::from(ca.der());
    let witness = Witness::default();
    let chain = vec![der.clone(); 100];
    let name = ServerName::try_from("localhost").unwrap();
    let now = UnixTime::since_unix_epoch(Duration::ZERO);
    witness
        .verify_server_cert(&der, &chain, &name, &[], now)
        .unwrap_err();
    assert_eq!(witness.chain.get().unwrap().len(), LONGEST_CHAIN);
}

#[test]
fn who_cannot_be_reached_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let error = probe("127.0.0.1", port, Route::Direct, PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot connect to 127.0.0.1:{port}")
    );

    let error = probe("not a host", 443, Route::Direct, PATIENCE).unwrap_err();
    assert!(matches!(error, ProbeError::InvalidHost { .. }), "{error:?}");
}

#[test]
fn something_else_than_a_certificate_is_named_by_its_place() {
    let good = CertificateDer::from(TestCa::new("good").der());
    let bad = CertificateDer::from(vec![0x30, 0]);
    let error = Presented::from_der(&[good, bad]).unwrap_err();
    assert!(
        matches!(error, ProbeError::Unreadable { position: 2, .. }),
        "{error:?}"
    );
    assert!(matches!(
        Presented::from_der(&[]),
        Err(ProbeError::NoCertificate)
    ));
}

/// Reads the head of a request, answers with `answer`, and says what it read.
fn answer_connect(stream: &mut TcpStream, answer: &str) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(head).unwrap()
}

#[test]
fn p27_a_probe_through_a_proxy_sees_what_is_presented_there() {
    let issued = TestCa::new("inspector").issue(&["registry.example"]);
    let config = issued.server_config();
    let (port, server) = serve(move |mut stream| {
        let head = answer_connect(&mut stream, "HTTP/1.1 200 Connection established\r\n\r\n");
        let mut connection = rustls::ServerConnection::new(config).unwrap();
        connection.complete_io(&mut stream).unwrap_err();
        head
    });
    let route = Route::Proxy {
        host: "127.0.0.1",
        port,
        authorization: Some("Basic c2VjcmV0"),
    };
    assert!(!format!("{route:?}").contains("c2VjcmV0"));
    let presented = probe("registry.example", 5000, route, PATIENCE).unwrap();
    assert_eq!(presented.leaf().facts().issuer, "CN=inspector");
    assert_eq!(presented.protocol(), Some("TLS 1.3"));
    let head = server.join().unwrap();
    assert!(
        head.starts_with("CONNECT registry.example:5000 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Proxy-Authorization: Basic c2VjcmV0\r\n"),
        "{head}"
    );
}

#[test]
fn p27_a_proxy_that_opens_no_tunnel_is_quoted() {
    for (answer, expected) in [
        (
            "HTTP/1.1 407 Who are you?\u{1b}\r\n\r\n",
            "HTTP/1.1 407 Who are you?\\u{1b}",
        ),
        ("SSH-2.0-OpenSSH 200\r\n\r\n", "SSH-2.0-OpenSSH 200"),
    ] {
        let (port, server) = serve(move |mut stream| answer_connect(&mut stream, answer));
        let route = Route::Proxy {
            host: "localhost",
            port,
            authorization: None,
        };
        let error = probe("registry.example", 443, route, PATIENCE).unwrap_err();
        let text = error.to_string();
        assert_eq!(
            text,
            format!("the proxy localhost:{port} opens no tunnel: {expected}")
        );
        assert!(!server.join().unwrap().contains("Proxy-Authorization"));
    }
}

#[test]
fn a_connection_that_only_broke_is_no_lack_of_a_common_tongue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = TestCa::new("ca").issue(&["localhost"]).server_config();
    let server = std::thread::spawn(move || {
        drop(listener.accept().unwrap());
        let mut stream = listener.accept().unwrap().0;
        let mut connection = rustls::ServerConnection::new(config).unwrap();
        let _ = connection.complete_io(&mut stream);
    });
    let presented = probe("localhost", port, Route::Direct, PATIENCE).unwrap();
    server.join().unwrap();
    assert!(!presented.is_unspeakable_for_rustls());
    assert_eq!(presented.leaf().facts().subject, "CN=localhost");
    // OpenSSL's look does not see what the server asks of its clients.
    assert_eq!(presented.asks_for_client_certificate(), None);
}
