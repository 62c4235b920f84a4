//! `ucr certs check`, `fetch`, `show HOST`: real handshakes, and what is said of them.

use serde_json::Value;
use test_support::fake_registry::Response;
use test_support::{FakeRegistry, RealRegistry, TestCa};

use crate::env::{CA_NAME, TestEnv};
use crate::output::Output;

fn checked(env: &TestEnv, host: &str) -> (Output, Value) {
    let output = env.ucr(&["certs", "check", "--format", "json", host]);
    let mut reports: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(reports.len(), 1, "{output:?}");
    (output, reports.remove(0))
}

fn fingerprint(env: &TestEnv) -> String {
    let shown = env.ucr(&["certs", "show", "--format", "json", &env.shown("ca.pem")]);
    let shown: Vec<Value> = serde_json::from_str(&shown.ok().stdout).unwrap();
    shown[0]["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn a_trusted_registry_is_ok_and_its_anchor_named() {
    needs_machine!();
    let env = TestEnv::new();
    let host = env.registry.host();
    let (output, report) = checked(&env, host);
    output.ok();
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["status"], 401, "it wants a credential: {report:#}");
    assert_eq!(report["protocol"], "TLS 1.3");
    let anchor = &report["anchor"];
    assert_eq!(anchor["fingerprint"], fingerprint(&env).as_str());
    assert_eq!(anchor["source"], env.certs_dir().to_str().unwrap());
    assert_eq!(report["presented"].as_array().unwrap().len(), 1);

    let table = env.ucr(&["certs", "check", host]).ok();
    for text in [
        format!("{host}: ok"),
        CA_NAME.to_owned(),
        "TLS 1.3, answers 401".to_owned(),
    ] {
        assert!(table.stdout.contains(&text), "{table:?}");
    }
    // No credential was asked for, and none sent.
    assert_eq!(env.registry.count(RealRegistry::USER, 0), 0);
}

#[test]
fn one_that_is_not_fails_the_whole_check_with_reason_and_fix() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let trusted = TestCa::new("Trusted");
    let ca = env.write("trusted.pem", trusted.pem());
    env.ucr(&["certs", "add", ca.to_str().unwrap()]).ok();
    let other = FakeRegistry::with_tls(trusted.issue(&["127.0.0.1"]).server_config());
    let host = env.registry.host();
    let both = env.ucr(&["certs", "check", &other.host(), host]).ended(1);
    assert!(
        both.stdout.contains(&format!("{}: ok", other.host())),
        "{both:?}"
    );
    for text in [
        format!("{host}: FAILED"),
        format!("{CA_NAME}, which is not trusted"),
        format!("ucr certs add CA.crt, where CA.crt is the certificate of CN={CA_NAME}"),
    ] {
        assert!(both.stdout.contains(&text), "{text}: {both:?}");
    }
    let (_, report) = checked(&env, host);
    assert_eq!(report["diagnosis"]["code"], "unknown-issuer", "{report:#}");
    assert_eq!(report["anchor"], Value::Null);
    assert!(!report["fixes"].as_array().unwrap().is_empty());
}

#[test]
fn a_server_that_is_no_registry_or_not_there_is_not_ok() {
    needs_machine!();
    let env = TestEnv::new();
    let web = FakeRegistry::with_tls(env.ca.issue(&["127.0.0.1"]).server_config());
    web.respond("GET /v2/", |_| Response::error(404, "NONE", "no registry"));
    let output = env.ucr(&["certs", "check", &web.host()]).ended(1);
    assert!(
        output
            .stdout
            .contains("trusted, but it answers 404 to /v2/"),
        "{output:?}"
    );
    let output = env.ucr(&["certs", "check", "127.0.0.1:1"]).ended(1);
    assert!(
        output
            .stdout
            .contains("127.0.0.1:1: FAILED: cannot connect"),
        "{output:?}"
    );
    env.ucr(&["certs", "check", "https://r.example/v2"])
        .ended(2);
}

#[test]
fn fetch_adds_what_the_fingerprint_names_and_nothing_else() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let mut issued = env.ca.issue(&["127.0.0.1"]);
    issued.certificate.push_str(&env.ca.pem());
    let server = FakeRegistry::with_tls(issued.server_config());
    let host = server.host();
    let ca = fingerprint(&env);

    let refused = env.ucr(&["certs", "fetch", &host]).refused(1);
    refused.said(&["no terminal", &ca, "--fingerprint"]);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let refused = env.ucr(&["certs", "fetch", &host, "--fingerprint", &wrong]);
    refused.refused(1).said(&[&wrong, &ca]);
    let short = &ca[.."sha256:".len() + 12];
    env.ucr(&["certs", "fetch", &host, "--fingerprint", short])
        .ended(2);
    assert!(!env.certs_dir().exists(), "nothing was added");

    let fetch = ["certs", "fetch", &host, "--fingerprint", &ca];
    env.ucr(&fetch).ok();
    env.ucr(&["certs", "check", &host]).ok();
    // One server's word counts for that server, unless more is asked for.
    env.ucr(&["certs", "check", env.registry.host()]).ended(1);
    let added = env.ucr(&[&fetch[..], &["--all"]].concat()).ok();
    assert!(added.stdout.contains(CA_NAME), "{added:?}");
    let listed = env.ucr(&["certs", "list"]).ok();
    assert!(
        listed.stdout.contains(&format!("fetched from {host}")),
        "{listed:?}"
    );
    env.ucr(&["certs", "check", env.registry.host()]).ok();
}

#[test]
fn show_knows_files_fingerprints_names_and_servers() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let add = ["certs", "add", "--name", "corp", &env.shown("ca.crt")];
    env.ucr(&add).ok();
    let ca = fingerprint(&env);
    let digits = &ca["sha256:".len()..];
    for what in ["corp", &digits[..8], &ca, &env.shown("ca.crt"), "ca.pem"] {
        let shown = env.ucr(&["certs", "show", what]).ok();
        assert!(shown.stdout.contains(digits), "{what}: {shown:?}");
    }
    let server = env.ucr(&["certs", "show", env.registry.host()]).ok();
    assert!(
        server.stdout.contains("DNS:localhost, IP:127.0.0.1"),
        "{server:?}"
    );
    let key = env.write("only.key", &env.ca.issue(&["x"]).key);
    let key = env.ucr(&["certs", "show", key.to_str().unwrap()]);
    key.refused(1)
        .said(&["holds a private key and no certificate"]);
    let nothing = env.ucr(&["certs", "show", "no such thing"]).refused(1);
    nothing.said(&["no added or trusted certificate, no file and no host"]);
}

#[test]
fn s74_a_token_server_that_is_not_trusted_fails_the_check_as_it_would_the_pull() {
    needs_machine!();
    let env = TestEnv::new();
    let stranger = TestCa::new("Stranger");
    let tokens = FakeRegistry::with_tls(stranger.issue(&["127.0.0.1"]).server_config());
    let registry = FakeRegistry::with_tls(env.ca.issue(&["127.0.0.1"]).server_config());
    registry.require_bearer_from(&tokens.url("/token"));
    let (output, report) = checked(&env, &registry.host());
    output.ended(1);
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["tokenServerRefused"], true);
    let error = report["error"].as_str().unwrap();
    assert!(error.contains(&tokens.host()), "{report:#}");
    let table = env.ucr(&["certs", "check", &registry.host()]).ended(1);
    for text in [
        "no token from its token server: the certificate of".to_owned(),
        format!("{} presented 1. CN=127.0.0.1", tokens.host()),
        "ucr certs add CA.crt, where CA.crt is the certificate of CN=Stranger".to_owned(),
    ] {
        assert!(table.stdout.contains(&text), "{text}: {table:?}");
    }
    let ca = env.write("stranger.pem", stranger.pem());
    env.ucr(&["certs", "add", ca.to_str().unwrap()]).ok();
    env.ucr(&["certs", "check", &registry.host()]).ok();
    // A pull would not ask it, so the check is not ok either.
    registry.require_bearer_from("https://localhost:1/token");
    let refused = env.ucr(&["certs", "check", &registry.host()]).ended(1);
    assert!(
        refused.stdout.contains("inside this network"),
        "{refused:?}"
    );
}

#[test]
fn a_web_server_that_says_200_is_no_registry() {
    needs_machine!();
    let env = TestEnv::new();
    let web = FakeRegistry::with_tls(env.ca.issue(&["127.0.0.1"]).server_config());
    web.respond("GET /v2/", |_| {
        Response::new(200, "text/html", "<p>Welcome")
    });
    let output = env.ucr(&["certs", "check", &web.host()]).ended(1);
    let said = "trusted, but it answers 200 to /v2/ and may be no registry";
    assert!(output.stdout.contains(said), "{output:?}");
}
