//! Whose certificates count: those in the settings, and no others.

use std::io::Write as _;
use std::process::Command;

use test_support::{FakeRegistry, TestCa, Validity, need_command};
use ucr_images::{ErrorKind, Store};
use ucr_puller::pull;

use crate::bench::{Bench, Failed, assert_contains, chain, image, layer, settings};
use crate::policy::Policy;

fn bench() -> Bench {
    Bench::serving(&image([layer().file("f", "x").build()]))
}

/// A pull from the bench's registry that trusts this and nothing else.
fn pull_trusting(bench: &Bench, pem: &str) -> Result<(), Failed> {
    bench.pull_by(Policy::of(pem), &bench.request("app:1"))
}

#[test]
fn p2_an_unknown_ca_is_refused_by_host_and_reason() {
    let bench = bench();
    let failed = pull_trusting(&bench, &TestCa::new("another").pem()).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Untrusted);
    assert_eq!(failed.untrusted_server(), Some(bench.registry.host()));
    assert_contains(&failed.text, &bench.registry.host());
    assert_contains(&failed.text, "is not trusted");
    bench.assert_nothing_left();
    assert_eq!(bench.registry.count(""), 0);
}

#[test]
fn nobody_is_trusted_without_a_certificate() {
    let bench = bench();
    for none in ["", "no certificate at all\n"] {
        let failed = pull_trusting(&bench, none).unwrap_err();
        // What is no certificate OpenSSL cannot even take for one.
        let refused = matches!(failed.kind, ErrorKind::Untrusted | ErrorKind::Tls);
        assert!(refused, "{}", failed.text);
    }
    assert_eq!(bench.registry.count(""), 0);
}

#[test]
fn p13_an_expired_certificate_and_one_of_the_future_are_refused() {
    for (validity, said) in [
        (Validity::Expired, "expired"),
        (Validity::NotYet, "not yet valid"),
    ] {
        let mut bench = bench();
        let issued = bench.ca.issue_with_validity(&["127.0.0.1"], validity);
        bench.registry = FakeRegistry::with_tls(issued.server_config());
        let failed = pull_trusting(&bench, &bench.ca.pem()).unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Untrusted);
        assert_contains(&failed.text, said);
    }
}

#[test]
fn p15_a_certificate_of_another_name_is_refused() {
    let mut bench = bench();
    let issued = bench.ca.issue(&["registry.example", "127.0.0.2"]);
    bench.registry = FakeRegistry::with_tls(issued.server_config());
    let failed = pull_trusting(&bench, &bench.ca.pem()).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Untrusted);
}

#[test]
fn s75_a_registry_in_clear_is_never_spoken_to() {
    let mut bench = bench();
    bench.registry = FakeRegistry::http();
    let failed = pull_trusting(&bench, &bench.ca.pem()).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Tls, "{}", failed.text);
    assert_eq!(bench.registry.count(""), 0);
}

#[test]
fn s85_trust_that_is_taken_back_counts_at_once() {
    let bench = bench();
    pull_trusting(&bench, &bench.ca.pem()).unwrap();
    let failed = pull_trusting(&bench, &TestCa::new("another").pem()).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Untrusted);
}

/// Writes `pem` where OpenSSL would find it, under its own name and under its hash.
fn write_hashed(directory: &std::path::Path, pem: &str) {
    std::fs::create_dir(directory).unwrap();
    let file = directory.join("ca.pem");
    std::fs::File::create(&file)
        .unwrap()
        .write_all(pem.as_bytes())
        .unwrap();
    let output = Command::new("openssl")
        .args(["x509", "-hash", "-noout", "-in"])
        .arg(&file)
        .output()
        .unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    std::os::unix::fs::symlink("ca.pem", directory.join(format!("{}.0", hash.trim()))).unwrap();
}

/// The environment belongs to the process, so the pull is done by another one.
#[test]
fn p20_a_ca_that_only_the_environment_names_is_refused() {
    need_command!("openssl");
    let bench = bench();
    let hashed = bench.temp.path().join("hashed");
    write_hashed(&hashed, &bench.ca.pem());
    let bundle = hashed.join("ca.pem");
    let job = format!("{}\n", bench.registry.host());
    std::fs::File::create(bench.temp.path().join("job"))
        .unwrap()
        .write_all(job.as_bytes())
        .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "trust::pull_by_another_process",
            "--ignored",
            "--nocapture",
        ])
        .current_dir(bench.temp.path())
        .env("SSL_CERT_DIR", &hashed)
        .env("SSL_CERT_FILE", &bundle)
        .env("CURL_CA_BUNDLE", &bundle)
        .env("https_proxy", "http://127.0.0.1:1")
        .env("HOME", bench.temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_contains(&said, "1 passed");
    assert_eq!(bench.registry.count(""), 0);
}

#[test]
#[ignore = "done by p20, with an environment of its own"]
fn pull_by_another_process() {
    let Ok(job) = std::fs::read_to_string("job") else {
        return;
    };
    let store = Store::open(std::path::Path::new("store-of-another")).unwrap();
    let request = ucr_puller::Request {
        reference: format!("{}/app:1", job.trim()).parse().unwrap(),
        platform: ucr_images::Platform::host(),
        credentials: std::sync::Arc::new(()),
        registries: ucr_images::Registries::default(),
        budget: ucr_puller::Budget::default(),
        foreign: ucr_images::ForeignLayers::default(),
    };
    let settings = settings(&store, &TestCa::new("another").pem());
    let error = pull(&store, settings, &request, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{}", chain(&error));
}
