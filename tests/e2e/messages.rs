//! What a person reads, word for word.
//!
//! Ports, fingerprints, dates of today and paths of the test stand as placeholders.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use insta::assert_snapshot;
use test_support::fake_registry::Response;
use test_support::{FakeRegistry, OpensslServer, need_command, need_root};

use crate::env::Home;
use crate::made::{self, Made};
use crate::output::Output;

/// A home, and a root in its `ca.pem`.
fn with_root() -> (Home, Made) {
    let home = Home::new();
    let root = made::root("Example Corp CA");
    home.write("ca.pem", root.pem());
    (home, root)
}

fn certs(home: &Home, words: &[&str]) -> String {
    read(home, home.command(&["certs"]).args(words))
}

/// What `ucr certs check` says of a server when nothing but `ca.pem` is trusted.
fn checked(home: &Home, server: &FakeRegistry) -> String {
    let host = server.host();
    certs(home, &["check", "--cafile", "ca.pem", &host]).replace(&host, "[host]")
}

/// All that a command says, and how it ends.
fn read(home: &Home, command: &mut Command) -> String {
    let output = Output::of(command);
    let text = format!(
        "{}{}exit code {}",
        output.stdout, output.stderr, output.code
    );
    words(&text.replace(&home.shown(""), "[home]/"))
}

/// Replaces what is another each time.
fn words(text: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let mut replaced = String::new();
    for piece in text.split_inclusive(|c| !is_of_word(c)) {
        let word = piece.trim_end_matches(|c| !is_of_word(c) || c == ':');
        let (prefix, bare) = match word.strip_prefix("sha256:") {
            Some(bare) => ("sha256:", bare),
            None => ("", word),
        };
        let rest = &piece[word.len()..];
        replaced.extend([prefix, placeholder(bare).unwrap_or(bare), rest]);
    }
    replaced
}

fn placeholder(word: &str) -> Option<&'static str> {
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_serial = word.len() > 30 && word.split(':').all(|pair| pair.len() == 2);
    // What expired did so in 2021, and all else is valid from 2020 into another decade.
    let is_own = word.starts_with("2020-01-01") || word.starts_with("2021-01-01");
    let is_date = word.starts_with("20") && word.matches('-').count() == 2 && !is_own;
    let is_date = is_date && !word.starts_with("2089") && !word.starts_with("2090");
    match word.len() {
        64 if is_hex => Some("[sha256]"),
        12 if is_hex => Some("[short]"),
        5 if is_number => Some("[days]"),
        10 if is_date => Some("[today]"),
        20 if is_date => Some("[now]"),
        _ if is_serial => Some("[serial]"),
        _ => None,
    }
}

#[test]
fn of_a_pull_from_a_registry_that_is_not_trusted() {
    need_root!();
    let (home, _) = with_root();
    let server = made::presenting(&[&made::server(&made::root("Other CA"))]);
    let host = server.host();
    let image = format!("{host}/team/app:1");
    let mut pull = home.command(&["pull", "-q", "--cafile", "ca.pem", &image]);
    let text = read(&home, &mut pull).replace(&host, "[host]");
    assert_snapshot!(text, @"
    ucr: cannot pull [host]/team/app:1: the certificate of [host] is not trusted: SSL certificate OpenSSL verify result: unable to get local issuer certificate (20)
      note: [host] presented 1. CN=registry, issued by CN=Other CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      note: CN=registry is signed by CN=Other CA, which is not trusted. The server did not send the certificate of CN=Other CA, which it should unless that is a root.
      note: trusted: ca.pem (1 certificate, from --cafile); [home]/certs (nothing added for this host); /etc/containers/certs.d/[host] (absent); /etc/docker/certs.d/[host] (absent)
      try: ucr certs add CA.crt, where CA.crt is the certificate of CN=Other CA
      try: have [host] send the certificate of CN=Other CA with its own, unless that is a root
    exit code 1
    ");
}

#[test]
fn of_a_pull_from_a_registry_of_v1() {
    need_root!();
    let (home, root) = with_root();
    let server = made::presenting(&[&made::server(&root)]);
    server.respond("/v2/", |_| {
        Response::new(404, "text/html", "<title>404 Not Found</title>")
            .header("X-Docker-Registry-Version", "0.9.1")
    });
    let host = server.host();
    let image = format!("{host}/team/app:1");
    let mut pull = home.command(&["pull", "-q", "--cafile", "ca.pem", &image]);
    let text = read(&home, &mut pull).replace(&host, "[host]");
    assert_snapshot!(text, @r#"
    ucr: cannot pull [host]/team/app:1: [host] speaks the registry protocol v1 only, which is not supported (HTTP 404, "<title>404 Not Found</title>")
      try: docker save -o FILE IMAGE, with a docker that still pulls it, and docker-archive:FILE in place of the name here
    exit code 1
    "#);
}

#[test]
fn of_a_check_that_is_ok() {
    let (home, root) = with_root();
    let server = made::presenting(&[&made::server(&root)]);
    assert_snapshot!(checked(&home, &server), @r"
    [host]: ok
      speaks     TLS 1.3, answers 200 to /v2/
      presents   1. CN=registry, issued by CN=Example Corp CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      trusted by CN=Example Corp CA, sha256:[sha256], from ca.pem
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
    exit code 0
    ");
}

#[test]
fn of_a_check_that_failed() {
    let (home, _) = with_root();
    let other = made::root("Other CA");
    let server = made::presenting(&[&made::server(&other), &other]);
    assert_snapshot!(checked(&home, &server), @"
    [host]: FAILED: the certificate of [host] is not trusted: SSL certificate OpenSSL verify result: self-signed certificate in certificate chain (19)
      speaks     TLS 1.3
      presents   1. CN=registry, issued by CN=Other CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      presents   2. CN=Other CA, issued by itself, valid until 2090-01-01 ([days] days), sha256:[sha256]
      reason     CN=registry is signed by CN=Other CA, which is not trusted. The server sent it (sha256 [sha256]), but nothing vouches for that one.
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
      note       nobody but [host] itself vouches for that certificate: compare its sha256 with what whoever runs it tells you
      try        ucr certs add CA.crt, where CA.crt is the certificate of CN=Other CA
      try        ucr certs fetch [host] --fingerprint sha256:[sha256]
    exit code 1
    ");
}

#[test]
fn of_a_check_of_a_server_that_signed_itself() {
    let (home, _) = with_root();
    let server = made::presenting(&[&made::self_signed()]);
    assert_snapshot!(checked(&home, &server), @"
    [host]: FAILED: the certificate of [host] is not trusted: SSL certificate OpenSSL verify result: self-signed certificate (18)
      speaks     TLS 1.3
      presents   1. CN=registry, issued by itself, valid until 2090-01-01 ([days] days), sha256:[sha256]
      reason     The server's certificate (CN=registry, sha256 [sha256]) signed itself and is not trusted.
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
      note       nobody but [host] itself vouches for that certificate: compare its sha256 with what whoever runs it tells you
      try        ucr certs add SERVER.crt, with that certificate from whoever runs the server
      try        ucr certs fetch [host] --fingerprint sha256:[sha256]
    exit code 1
    ");
}

#[test]
fn of_a_check_with_a_strict_objection() {
    let (home, root) = with_root();
    let bare = made::server_but(&root, |it| {
        it.subject_alt_names.clear();
        let name = rcgen::DnType::CommonName;
        it.distinguished_name.push(name, "127.0.0.1");
    });
    let server = made::presenting(&[&bare]);
    assert_snapshot!(checked(&home, &server), @r#"
    [host]: ok
      speaks     TLS 1.3, answers 200 to /v2/
      presents   1. CN=127.0.0.1, issued by CN=Example Corp CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      trusted by CN=Example Corp CA, sha256:[sha256], from ca.pem
      but        stricter clients refuse it (rustls: certificate not valid for name "127.0.0.1"; certificate is not valid for any names (according to its subjectAltName extension))
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
    exit code 0
    "#);
}

#[test]
fn of_a_check_of_a_wrong_name() {
    let (home, root) = with_root();
    let other = made::server_but(&root, |it| made::only_for(it, "registry.example"));
    let server = made::presenting(&[&other]);
    assert_snapshot!(checked(&home, &server), @r"
    [host]: FAILED: the certificate of [host] is not trusted: SSL: no alternative certificate subject name matches target IPv4 address '127.0.0.1'
      speaks     TLS 1.3
      presents   1. CN=registry, issued by CN=Example Corp CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      reason     The server's certificate is not for 127.0.0.1, only for DNS:registry.example.
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
      try        use a name that the certificate is for, or have a certificate made for 127.0.0.1
    exit code 1
    ");
}

#[test]
fn of_a_check_of_an_expired_certificate() {
    let (home, root) = with_root();
    let server = made::presenting(&[&made::server_but(&root, made::expired)]);
    assert_snapshot!(checked(&home, &server), @r"
    [host]: FAILED: the certificate of [host] is not trusted: SSL certificate OpenSSL verify result: certificate has expired (10)
      speaks     TLS 1.3
      presents   1. CN=registry, issued by CN=Example Corp CA, expired 2021-01-01, sha256:[sha256]
      reason     The certificate of CN=registry expired on 2021-01-01T00:00:00Z; it is [now] here.
      looked in  ca.pem (1 certificate, from --cafile)
      looked in  [home]/certs (nothing added for this host)
      looked in  /etc/containers/certs.d/[host] (absent)
      looked in  /etc/docker/certs.d/[host] (absent)
      try        have the certificate renewed; if it has been, the clock of this machine is wrong
    exit code 1
    ");
}

#[test]
fn of_a_check_of_a_host_that_does_not_exist() {
    need_root!();
    need_command!("unshare");
    let (home, _) = with_root();
    let script = r#"
        mount -t tmpfs tmpfs /etc
        echo 'hosts: files' >/etc/nsswitch.conf
        echo '127.0.0.1 localhost' >/etc/hosts
        "$UCR" certs check --cafile ca.pem registry.invalid"#;
    let text = read(&home, &mut home.shell_with_own_mounts(script, &[]));
    assert_snapshot!(text, @"
    registry.invalid: FAILED: cannot find the host registry.invalid: Could not resolve host: registry.invalid
      try        is the host right, and can this machine reach it?
    exit code 1
    ");
}

#[test]
fn of_a_check_of_a_server_without_tls() {
    let (home, _) = with_root();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _hello = stream.read(&mut [0; 16 << 10]).unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    });
    let words = ["check", "--cafile", "ca.pem", &host];
    assert_snapshot!(certs(&home, &words).replace(&host, "[host]"), @"
    [host]: FAILED: no TLS session with [host]: TLS connect error: error:0A00010B:SSL routines::wrong version number
      try        is that the right port? what answers at [host] does not speak TLS; only with --plain-http [host] is it spoken to in clear
    exit code 1
    ");
}

#[test]
fn of_a_check_of_a_server_of_old_tls() {
    need_command!("openssl");
    let (home, root) = with_root();
    let issued = made::issued(&[&made::server(&root)]);
    let server = OpensslServer::start(&issued, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let host = server.address().to_string();
    let words = ["check", "--cafile", "ca.pem", &host];
    assert_snapshot!(certs(&home, &words).replace(&host, "[host]"), @"
    [host]: FAILED: no TLS session with [host]: TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version
      try        have TLS 1.2 or 1.3 switched on at [host]: nothing older is spoken
    exit code 1
    ");
}

#[test]
fn of_add_list_show_and_remove() {
    need_root!();
    let (home, _) = with_root();
    assert_snapshot!(certs(&home, &["add", "ca.pem"]), @r"
    added [short]  CN=Example Corp CA  (valid until 2090-01-01)
    exit code 0
    ");
    assert_snapshot!(certs(&home, &["add", "ca.pem"]), @r"
    already trusted [short]  CN=Example Corp CA  (valid until 2090-01-01)
    exit code 0
    ");
    assert_snapshot!(certs(&home, &["list"]), @"
    FINGERPRINT   NAME  REGISTRY  DAYS LEFT  SUBJECT             ISSUER  ORIGIN
    [short]  -     all       [days]      CN=Example Corp CA  itself  [home]/ca.pem, by root, [today]
    exit code 0
    ");
    assert_snapshot!(certs(&home, &["show", "ca.pem"]), @r"
    CN=Example Corp CA
      issuer       itself
      sha256       [sha256]
      serial       [serial]
      valid from   2020-01-01T00:00:00Z
      valid until  2090-01-01T00:00:00Z ([days] days left)
      CA           yes
    exit code 0
    ");
    assert_snapshot!(certs(&home, &["expiring"]), @r"
    exit code 0
    ");
    assert_snapshot!(certs(&home, &["expiring", "--within", "5200w"]), @r"
    [short]  valid until 2090-01-01 ([days] days)  CN=Example Corp CA  (all registries)
    exit code 1
    ");
    assert_snapshot!(certs(&home, &["remove", "corp"]), @r"
    ucr: no certificate in [home]/certs has the name corp or a fingerprint that begins so
      try: ucr certs list
    exit code 1
    ");
    assert_snapshot!(certs(&home, &["remove", "0000"]), @r"
    ucr: no certificate in [home]/certs has the name 0000 or a fingerprint that begins so
      try: ucr certs list
    exit code 1
    ");
}

#[test]
fn of_what_is_added_with_a_note() {
    let (home, root) = with_root();
    home.write("server.pem", made::server(&root).pem());
    let words = [
        "add",
        "--registry",
        "r.example",
        "--name",
        "r",
        "server.pem",
    ];
    assert_snapshot!(certs(&home, &words), @r"
    added [short]  CN=registry  (valid until 2090-01-01, for r.example alone)
      note: [short]: not a CA: trusts the one server that presents it, nothing that it signed
    exit code 0
    ");
}

#[test]
fn of_what_is_not_added() {
    let (home, root) = with_root();
    home.write("server.key", root.key().serialize_pem());
    assert_snapshot!(certs(&home, &["add", "server.key"]), @r"
    ucr: server.key holds a private key: keep it secret and give the file that holds only the certificate
    exit code 1
    ");
    home.write("old.pem", made::root_but("Old CA", made::expired).pem());
    assert_snapshot!(certs(&home, &["add", "old.pem"]), @"
    ucr: [home]/old.pem: not added: CN=Old CA: expired on 2021-01-01T00:00:00Z: no connection will accept it
      try: --force, to trust it nevertheless
    exit code 1
    ");
    home.write(
        "young.pem",
        made::root_but("Young CA", made::of_the_future).pem(),
    );
    assert_snapshot!(certs(&home, &["add", "young.pem"]), @"
    ucr: [home]/young.pem: not added: CN=Young CA: not valid before 2089-01-01T00:00:00Z: is the clock of this machine right?
      try: --force, to trust it nevertheless
    exit code 1
    ");
}

#[test]
fn of_a_fetch_without_a_terminal() {
    let (home, root) = with_root();
    let server = made::presenting(&[&made::server(&root), &root]);
    let host = server.host();
    let text = certs(&home, &["fetch", &host]).replace(&host, "[host]");
    assert_snapshot!(text, @r"
    ucr: nobody is here to say which certificate of [host] is the right one (no terminal)
      note: [host] presents 1. CN=registry, issued by CN=Example Corp CA, valid until 2090-01-01 ([days] days), sha256:[sha256]
      note: [host] presents 2. CN=Example Corp CA, issued by itself, valid until 2090-01-01 ([days] days), sha256:[sha256]
      try: --fingerprint sha256:…, with the one that whoever runs the server gave you
    exit code 1
    ");
}

#[test]
fn of_a_damaged_cafile() {
    let (home, root) = with_root();
    let pem = root.pem();
    home.write("ca.pem", format!("{}{pem}", pem.trim_end()));
    let words = ["check", "--cafile", "ca.pem", "registry.example"];
    assert_snapshot!(certs(&home, &words), @r"
    ucr: cannot use the CAfile ca.pem (from --cafile): ca.pem: PEM block 1 (line 1) is damaged: line 10 holds more than one BEGIN or END: two files were joined without a newline
      try: mend that file, or name another with --cafile
    exit code 1
    ");
    home.write("ca.pem", format!("{pem}{}", &pem[..100]));
    assert_snapshot!(certs(&home, &words), @r"
    ucr: cannot use the CAfile ca.pem (from --cafile): ca.pem: PEM block 2 (line 11) is damaged: its END line is missing
      try: mend that file, or name another with --cafile
    exit code 1
    ");
    home.write("ca.pem", "");
    assert_snapshot!(certs(&home, &words), @r"
    ucr: cannot use the CAfile ca.pem (from --cafile): ca.pem holds no certificate
      try: mend that file, or name another with --cafile
    exit code 1
    ");
    assert_snapshot!(certs(&home, &["add", "ca.pem"]), @r"
    ucr: ca.pem holds no certificate
    exit code 1
    ");
    let missing = ["check", "--cafile", "missing.pem", "registry.example"];
    assert_snapshot!(certs(&home, &missing), @r"
    ucr: the CAfile missing.pem (from --cafile) does not exist
    exit code 1
    ");
}
