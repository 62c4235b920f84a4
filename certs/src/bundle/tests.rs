use std::path::Path;

use super::*;
use crate::error::Error;
use crate::testing::{Workshop, explain};
use crate::x509::Timestamp;

const NOBODY: [&str; 0] = [];

fn base(path: PathBuf) -> BaseCafile {
    BaseCafile {
        path,
        origin: CafileOrigin::Flag("--cafile"),
    }
}

fn load(workshop: &Workshop, name: &str) -> Result<TrustBundle, Error> {
    let store = TrustStore::new(workshop.path("certs"));
    TrustBundle::load(Some(&base(workshop.path(name))), &store, &NOBODY)
}

#[test]
fn merges_base_and_added_without_doubles() {
    let workshop = Workshop::new();
    for name in ["one", "two", "three"] {
        workshop.ca(name);
    }
    let [one, two, three] = ["one.pem", "two.pem", "three.pem"].map(|name| workshop.read(name));
    workshop.write("base.pem", [&one[..], &two, &one].concat());
    workshop.write("added.pem", [&two[..], &three].concat());
    let store = TrustStore::new(workshop.path("certs"));
    store
        .add(&[workshop.input("added.pem")], Timestamp::from_unix(0))
        .unwrap();

    let bundle = load(&workshop, "base.pem").unwrap();
    assert_eq!(bundle.to_pem(), [&one[..], &two, &three].concat());
    let origins: Vec<_> = bundle
        .anchors()
        .iter()
        .map(|anchor| anchor.source)
        .collect();
    assert_eq!(origins, [0, 0, 1]);
    let sources: Vec<_> = bundle
        .sources()
        .iter()
        .map(|source| {
            source
                .to_string()
                .replace(workshop.path("").to_str().unwrap(), "")
        })
        .collect();
    assert_eq!(
        sources,
        [
            "base.pem (2 certificates, from --cafile)",
            "certs (2 certificates, added)"
        ]
    );
}

#[test]
fn p16_what_libcurl_tolerates_in_a_base_is_tolerated() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let certificate = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let key = String::from_utf8(workshop.read("ca.key")).unwrap();
    let text = format!("\u{feff}# comment\n{key}\nTest CA\n=======\n{certificate}{certificate}");
    workshop.write("odd.pem", text.replace('\n', "\r\n").trim_end());

    let bundle = load(&workshop, "odd.pem").unwrap();
    assert_eq!(bundle.to_pem(), certificate.as_bytes());
    assert_eq!(bundle.sources()[0].private_keys, 1);
}

/// libcurl fails every transfer with code 77 for each of these, without a reason.
#[test]
fn p17_a_damaged_base_is_an_error_that_names_file_and_block() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let good = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let broken = good.replacen("MII", "M!I", 1);
    let last_line = good.lines().count();
    for (name, text, expected) in [
        (
            "before",
            format!("{broken}{good}"),
            "PEM block 1 (line 1) is damaged".to_owned(),
        ),
        (
            "after",
            format!("{good}{broken}"),
            format!("PEM block 2 (line {}) is damaged", last_line + 1),
        ),
        (
            "truncated",
            format!("{good}{}", &good[..200]),
            format!("PEM block 2 (line {}) is damaged", last_line + 1),
        ),
        (
            "glued",
            format!("{}{good}", good.trim_end()),
            format!(
                "PEM block 1 (line 1) is damaged: line {last_line} holds more than one BEGIN or END"
            ),
        ),
        ("empty", String::new(), "holds no certificate".to_owned()),
        (
            "text",
            "nothing\n".to_owned(),
            "holds no certificate".to_owned(),
        ),
    ] {
        workshop.write(name, text);
        let message = explain(&load(&workshop, name).unwrap_err(), &workshop.path(""));
        let told = message
            .strip_prefix(name)
            .unwrap_or_default()
            .trim_start_matches([':', ' ']);
        assert!(told.starts_with(&expected), "{name}: {message}");
    }
    let key = workshop.read("ca.key");
    workshop.write("key", key);
    let message = explain(&load(&workshop, "key").unwrap_err(), &workshop.path(""));
    assert_eq!(message, "key holds no certificate, only private keys");
}

#[test]
fn p17_der_as_base_is_accepted() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.der");
    assert_eq!(
        load(&workshop, "ca.der").unwrap().to_pem(),
        workshop.read("ca.pem")
    );
}

#[test]
fn a_damaged_added_file_is_an_error_that_names_it() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = TrustStore::new(workshop.path("certs"));
    let added = store
        .add(&[workshop.input("ca.pem")], Timestamp::from_unix(0))
        .unwrap();
    let name = format!("certs/{}.pem", added[0].fingerprint);
    workshop.write(&name, "-----BEGIN CERTIFICATE-----\n");
    let message = explain(&load(&workshop, "ca.pem").unwrap_err(), &workshop.path(""));
    assert_eq!(
        message,
        format!("{name}: PEM block 1 (line 1) is damaged: its END line is missing")
    );
}

#[test]
fn nothing_to_trust_names_the_places_that_were_tried() {
    let store = TrustStore::new("/no/such/directory");
    let error = TrustBundle::load(None, &store, &["/a.pem", "/b.pem"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no CAfile found (tried /a.pem, /b.pem) and no certificate added"
    );
}

/// Prints how long a whole distribution's bundle takes; the mark is a release build's.
#[test]
fn the_bundle_of_a_distribution_loads() {
    let path = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if !path.exists() {
        println!("skipped: {} is not installed", path.display());
        return;
    }
    let store = TrustStore::new("/no/such/directory");
    let start = std::time::Instant::now();
    let bundle = TrustBundle::load(Some(&base(path.to_owned())), &store, &NOBODY).unwrap();
    let pem = bundle.to_pem();
    println!(
        "{} certificates in {:?}",
        bundle.anchors().len(),
        start.elapsed()
    );
    assert_eq!(
        String::from_utf8(pem)
            .unwrap()
            .matches("BEGIN CERTIFICATE")
            .count(),
        bundle.anchors().len()
    );
}
