//! Servers that are trusted and too weak, or that speak in a way that not everybody understands.

use serde_json::Value;
use test_support::{FakeRegistry, Issued, OpensslServer, need_command};

use crate::env::Home;
use crate::made;
use crate::output::Output;
use crate::verdict::{Verdict, verdict_at};

/// Lets `openssl s_server` use what is too weak for it.
const ANYTHING: [&str; 2] = ["-cipher", "DEFAULT:@SECLEVEL=0"];

fn on(home: &Home, server: &OpensslServer, cafile: &str) -> Verdict {
    verdict_at(home, &server.address().to_string(), cafile)
}

/// Makes `root.pem`, and a server's certificate with `key` that is signed with `hash`.
fn issue(home: &Home, key: &str, hash: &str) -> Issued {
    let script = r#"
        exec 2>&1
        openssl req -x509 -newkey "$1" -nodes -keyout root.key -out root.pem -subj /CN=Root -days 9
        openssl req -newkey "$1" -nodes -keyout server.key -out server.csr -subj /CN=registry
        echo subjectAltName=IP:127.0.0.1 >names
        openssl x509 -req "-$2" -in server.csr -CA root.pem -CAkey root.key -CAcreateserial \
            -extfile names -days 9 -out server.pem"#;
    Output::of(&mut home.shell(script, &[key, hash])).ok();
    let read = |name| std::fs::read_to_string(home.path(name)).unwrap();
    Issued {
        certificate: read("server.pem"),
        key: read("server.key"),
    }
}

#[test]
fn a_key_of_1024_bits_is_too_weak() {
    need_command!("openssl");
    let home = Home::new();
    let issued = issue(&home, "rsa:1024", "sha256");
    let server = OpensslServer::start(&issued, &ANYTHING);
    on(&home, &server, "root.pem")
        .refused("weak")
        .because(&["CN=registry", "its key is too short"])
        .rustls_objects("of a kind that it refuses");
}

#[test]
fn a_signature_over_sha_1_is_too_weak() {
    need_command!("openssl");
    let home = Home::new();
    let issued = issue(&home, "rsa:2048", "sha1");
    let server = OpensslServer::start(&issued, &ANYTHING);
    on(&home, &server, "root.pem")
        .refused("weak")
        .because(&["CN=registry", "signed over a broken hash"])
        .rustls_objects("is of a kind that it refuses");
}

#[test]
fn a_server_that_rustls_cannot_speak_with_is_trusted_with_an_objection() {
    need_command!("openssl");
    let home = Home::new();
    let root = made::root("Root");
    home.write("root.pem", root.pem());
    let issued = made::issued(&[&made::server(&root)]);
    let arguments = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"];
    let server = OpensslServer::start(&issued, &arguments);
    let verdict = on(&home, &server, "root.pem");
    // OpenSSL takes the chain down where rustls cannot; s_server is no registry, though.
    assert_eq!(verdict.report["anchor"]["subject"], "CN=Root");
    assert_eq!(verdict.report["diagnosis"], Value::Null);
    verdict.rustls_objects("have no cipher");
}

#[test]
fn p21_a_server_of_tls_1_1_is_not_ok_and_its_certificate_not_to_blame() {
    need_command!("openssl");
    let home = Home::new();
    let root = made::root("Root");
    home.write("root.pem", root.pem());
    let issued = made::issued(&[&made::server(&root)]);
    let arguments = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let server = OpensslServer::start(&issued, &arguments);
    let report = on(&home, &server, "root.pem").report;
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["diagnosis"], Value::Null, "{report:#}");
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains("no TLS session with")
    );
}

#[test]
fn p23_a_server_without_tls_is_told_from_one_that_is_not_trusted() {
    let home = Home::new();
    home.write("root.pem", made::root("Root").pem());
    let clear = FakeRegistry::http();
    let report = verdict_at(&home, &clear.host(), "root.pem").report;
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["diagnosis"], Value::Null, "{report:#}");
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains("no TLS session with")
    );
}
